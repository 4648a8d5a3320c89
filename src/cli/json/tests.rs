use super::*;
use crate::model::Severity;
use crate::snapshot::{CgroupKey, ListenerKey, LogValue, Moment, Section, Task, Tasks, Text};
use std::sync::Arc;

fn finding(subject: Subject, label: SubjectLabel) -> Finding {
    Finding {
        id: "tcp.syn_sent_pile",
        severity: Severity::Critical,
        subject,
        label,
        remote: Some(("10.0.0.9".parse().unwrap(), 61616)),
        value: 412.0,
        limit: None,
        unit: "sockets",
        rate_per_s: Some(3.1),
        rate_unit: "sockets",
        since: Moment(1_000_000_000),
        last_true: Moment(2_000_000_000),
        active: true,
        message: "412 SYN_SENT".into(),
        evidence: vec![Evidence {
            source: "sock_diag".into(),
            field: "state".into(),
            value: EvidenceValue::Text("SYN_SENT".into()),
            rate_per_s: None,
        }],
        command: Some("ss -tn".into()),
        advice: vec!["restart it".into()],
        explained_by: vec![],
        spark: vec![],
    }
}

fn frame() -> Frame {
    let key = TaskKey { pid: 7, start_ticks: 9 };
    let task = Task { key, comm: "java".into(), cgroup: Some("/a".into()), ..Task::default() };
    let snap = Snapshot {
        at: Moment(2_000_000_000),
        wall_unix_ns: 1_700_000_000_000_000_000,
        tasks: Section::ok(Moment(1), Tasks { rows: vec![task], ..Tasks::default() }),
        ..Snapshot::default()
    };
    let mut frame = Frame { snap: Arc::new(snap), window_start: Moment(500), ..Frame::default() };
    frame.model.tasks.insert(key, crate::model::TaskFacts::default());
    let event = |at| LogEvent {
        kind: "oom_kill".into(),
        line: 3,
        at: Some(Moment(at)),
        fields: [(Text::from("victim_pid"), LogValue::Int(7)), ("scope".into(), LogValue::Text("memcg".into()))].into(),
        text: "Killed".into(),
    };
    frame.log = Arc::new([event(100), event(600)].into());
    frame.log_in_window = 1;
    let label = SubjectLabel { comm: Some("java".into()), cgroup: Some("/a".into()), ..SubjectLabel::default() };
    frame.findings.push(finding(Subject::Task(key), label));
    frame.stories.push(Story {
        severity: Severity::Critical,
        root: 0,
        summary: "java piles".into(),
        findings: vec![0],
    });
    frame
}

#[test]
fn why_has_the_keys_of_the_contract() {
    let frame = frame();
    let cost = Cost { cpu_ms: 1.5, samples: 4, rss_bytes: 1 };
    insta::assert_snapshot!(serde_json::to_string_pretty(&Why::new(&frame, 5.0, cost)).unwrap(), @r#"
    {
      "schema": 1,
      "host": null,
      "taken_at": "2023-11-14T22:13:20.000Z",
      "window_s": 5.0,
      "cost": {
        "cpu_ms": 1.5,
        "samples": 4,
        "rss_bytes": 1
      },
      "sections": {
        "cgroups": "absent",
        "cpu": "absent",
        "host": "absent",
        "klog": "absent",
        "memory": "absent",
        "net": "absent",
        "pressure": "absent",
        "slab": "absent",
        "sockets": "absent",
        "tasks": "ok"
      },
      "stories": [
        {
          "severity": "critical",
          "root": 0,
          "summary": "java piles",
          "findings": [
            0
          ]
        }
      ],
      "findings": [
        {
          "id": "tcp.syn_sent_pile",
          "severity": "critical",
          "subject": {
            "kind": "task",
            "pid": 7,
            "start_ticks": 9,
            "comm": "java",
            "cgroup": "/a",
            "container": null
          },
          "remote": {
            "addr": "10.0.0.9",
            "port": 61616
          },
          "value": 412,
          "limit": null,
          "unit": "sockets",
          "rate_per_s": 3.1,
          "rate_unit": "sockets",
          "since": "2023-11-14T22:13:19.000Z",
          "active": true,
          "message": "412 SYN_SENT",
          "evidence": [
            {
              "source": "sock_diag",
              "field": "state",
              "value": "SYN_SENT",
              "rate_per_s": null
            }
          ],
          "command": "ss -tn",
          "advice": [
            "restart it"
          ],
          "explained_by": []
        }
      ],
      "history": [
        {
          "at": "2023-11-14T22:13:18.000Z",
          "boot_time_s": 1e-7,
          "kind": "oom_kill",
          "line": 3,
          "message": "Killed",
          "scope": "memcg",
          "victim_pid": 7
        }
      ]
    }
    "#);
}

#[test]
fn subjects_have_the_keys_of_the_contract() {
    let frame = frame();
    let owner = Some((TaskKey { pid: 7, start_ticks: 9 }, "java".into()));
    let label = SubjectLabel { owner, container: Some("web".into()), ..SubjectLabel::default() };
    let local = "0.0.0.0:80".parse().unwrap();
    let subjects = [
        Subject::Host,
        Subject::Netns(NetnsId(4_026_531_840)),
        Subject::Listener(ListenerKey { netns: NetnsId(1), local }),
        Subject::Cgroup(CgroupKey { path: "/docker/1".into(), inode: 5 }),
        Subject::Iface(NetnsId(1), "eth0".into()),
        Subject::Wchan("rwsem".into()),
    ];
    let lines: Vec<String> =
        subjects.iter().map(|s| serde_json::to_string(&SubjectRow::new(s, &label, &frame)).unwrap()).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"kind":"host","name":null}
    {"kind":"netns","inode":4026531840,"name":null}
    {"kind":"listener","proto":"tcp","local":{"addr":"0.0.0.0","port":80},"remote":null,"netns":1,"owner":{"pid":7,"start_ticks":9,"comm":"java","cgroup":"/a","container":null}}
    {"kind":"cgroup","path":"/docker/1","inode":5,"container":"web","pod":null,"image":null}
    {"kind":"iface","name":"eth0","netns":1}
    {"kind":"wchan","name":"rwsem"}
    "#);
}

#[test]
fn numbers_are_whole_where_they_can_be() {
    let text = |n| serde_json::to_string(&Number(n)).unwrap();
    assert_eq!([text(412.0), text(3.5), text(1e300), text(f64::NAN)], ["412", "3.5", "1e+300", "null"]);
}
