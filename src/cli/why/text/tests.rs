use super::*;
use crate::model::SubjectLabel;
use crate::snapshot::{LogEvent, Memory, Moment, Section, Snapshot, Subject};
use std::sync::Arc;

const HOW: &str = "looked for 5.0 s, 20 samples, 12 ms CPU";
const PLAIN: Dress = Dress { colour: false, ascii: false };

fn finding(id: &'static str, message: &str) -> Finding {
    Finding {
        id,
        severity: Severity::Critical,
        subject: Subject::Host,
        label: SubjectLabel::default(),
        remote: None,
        value: 1.0,
        limit: None,
        unit: "tasks",
        rate_per_s: None,
        rate_unit: "tasks",
        since: Moment(8_000_000_000),
        last_true: Moment(200_000_000_000),
        active: true,
        message: message.into(),
        evidence: vec![],
        command: None,
        advice: vec![],
        explained_by: vec![],
        spark: vec![],
    }
}

fn number(field: &str, value: f64, rate_per_s: Option<f64>) -> Evidence {
    Evidence { source: "/proc/x".into(), field: field.into(), value: EvidenceValue::Number(value), rate_per_s }
}

fn frame(findings: Vec<Finding>) -> Frame {
    let snap = Snapshot { at: Moment(200_000_000_000), ..Snapshot::default() };
    let all = (0..findings.len()).collect();
    let story = Story { severity: Severity::Critical, root: 0, summary: "web is at its limit".into(), findings: all };
    let stories = if findings.is_empty() { vec![] } else { vec![story] };
    Frame { snap: Arc::new(snap), findings, stories, ..Frame::default() }
}

/// What stands between the head and what was not seen.
fn stories(frame: &Frame, dress: Dress) -> String {
    let text = render(frame, HOW, dress);
    let body = text.split_once('\n').unwrap().1;
    body.split("\nnot seen").next().unwrap().trim_start().to_owned()
}

#[test]
fn the_root_leads_and_its_consequences_nest() {
    let mut root = finding("cgroup.at_limit", "2.0G of 2.0G, hit 212 times a second");
    root.evidence = vec![number("memory.failcnt", 41_134.0, Some(212.0)), number("memory.usage_in_bytes", 2e9, None)];
    root.command = Some("cat memory.failcnt".into());
    root.advice = vec!["raise memory.limit_in_bytes".into(), "stop the respawn".into()];
    let mut over = finding("task.zombie_pile", "312 zombies");
    over.active = false;
    let frame = frame(vec![root, finding("task.d_state_pile", "2,871 tasks wait"), over]);
    insta::assert_snapshot!(stories(&frame, PLAIN), @r#"
    CRITICAL  web is at its limit
      cgroup.at_limit  2.0G of 2.0G, hit 212 times a second (since 3m12s)
          memory.failcnt 41,134 (+212/s) · /proc/x
          memory.usage_in_bytes 2,000,000,000 · /proc/x
      see it   cat memory.failcnt
      ├─ task.d_state_pile  2,871 tasks wait (since 3m12s)
      └─ task.zombie_pile  312 zombies (over now)
      do next  raise memory.limit_in_bytes
               stop the respawn
    "#);
}

#[test]
fn one_story_fits_a_screen_however_much_there_is_to_say() {
    let long = "word ".repeat(400);
    let mut root = finding("cgroup.at_limit", &long);
    root.evidence = (0..40).map(|i| number(&format!("field{i}{}", "x".repeat(300)), 1.0, None)).collect();
    root.command = Some(long.clone());
    root.advice = vec![long.clone(); 20];
    let mut findings = vec![root];
    let ids = ["a.a", "a.b", "a.c", "a.d", "a.e", "a.f", "a.g", "a.h"];
    findings.extend(ids.iter().cycle().take(40).map(|id| finding(id, &long)));
    let mut frame = frame(findings);
    frame.stories[0].summary = long;
    for ascii in [false, true] {
        let text = stories(&frame, Dress { colour: false, ascii });
        assert!(text.lines().count() <= STORY_LINES, "{}", text.lines().count());
        assert!(text.lines().all(|l| width(l) <= COLUMNS), "{text}");
        assert_eq!(text.is_ascii(), ascii);
    }
}

#[test]
fn hostile_text_does_not_reach_the_terminal() {
    let mut root = finding("task.hung", "\x1b]0;owned\x07 \u{202e}evil");
    root.evidence = vec![Evidence { value: EvidenceValue::Text("\x1b[2J".into()), ..number("\x1b[1m", 0.0, None) }];
    root.command = Some("\x1b[31m".into());
    root.advice = vec!["\x1b[31m".into()];
    let mut frame = frame(vec![root]);
    frame.stories[0].summary = "\x1b[5m".into();
    let text = render(&frame, HOW, PLAIN);
    assert!(!text.contains('\x1b') && !text.contains('\u{202e}') && !text.contains('\x07'), "{text}");
}

#[test]
fn calm_says_so_and_what_it_could_not_see() {
    let mut frame = frame(vec![]);
    let memory = Section::ok(Moment(1), Memory::default());
    frame.snap = Arc::new(Snapshot { memory, ..Snapshot::default() });
    frame.log = Arc::new([LogEvent::default()].into());
    let text = render(&frame, HOW, PLAIN);
    assert!(text.contains("\nNothing is wrong that whytop can see.\n"), "{text}");
    assert!(text.contains("\n1 older kernel-log events: whytop log\n"), "{text}");
    assert!(text.contains("not seen   slab: not read yet\n"), "{text}");
}

#[test]
fn a_host_that_could_not_be_looked_at_is_not_called_well() {
    let text = render(&frame(vec![]), HOW, PLAIN);
    assert!(text.contains("\nwhytop could not look at this host.\n") && !text.contains("Nothing is wrong"), "{text}");
}

#[test]
fn consequences_of_one_kind_are_told_once_with_their_number() {
    let mut findings = vec![finding("cgroup.at_limit", "web is at its limit"), finding("task.d_state_pile", "40 hang")];
    findings.extend((0..20).map(|i| finding("task.d_state_long", &format!("java({i}) hangs"))));
    findings.push(finding("task.zombie_pile", "312 zombies"));
    insta::assert_snapshot!(stories(&frame(findings), PLAIN), @r"
    CRITICAL  web is at its limit
      cgroup.at_limit  since 3m12s
      ├─ task.d_state_pile  40 hang (since 3m12s)
      ├─ task.d_state_long  java(0) hangs (since 3m12s; 19 more like it)
      └─ task.zombie_pile  312 zombies (since 3m12s)
    ");
}

#[test]
fn ids_of_containers_are_short() {
    let id = "4b1d2341943bc7ff488fddd07a84a15e132182b580c52262029357151ddf1fab";
    assert_eq!(short_ids(&format!("/docker/{id}/memory.max")), "/docker/4b1d2341943b…/memory.max");
    assert_eq!(short_ids(&format!("/docker-{id}.scope")), "/docker-4b1d2341943b….scope");
    assert_eq!(short_ids("/proc/net/netstat é abcdef"), "/proc/net/netstat é abcdef");
    assert_eq!(short_ids(id), "4b1d2341943b…");
}

#[test]
fn a_path_keeps_its_end() {
    assert_eq!(tail("/docker/21d06575892a/memory.failcnt", 16), "…/memory.failcnt");
    assert_eq!(tail("/short", 16), "/short");
    assert_eq!(tail("日本語", 4), "…語");
}

#[test]
fn what_the_summary_says_is_not_said_again_but_where_it_is() {
    let mut root = finding("tcp.close_wait_pile", "web is at its limit");
    root.label = SubjectLabel {
        container: Some("web".into()),
        cgroup: Some("/docker/4b1d".into()),
        netns_name: Some("blue".into()),
        ..SubjectLabel::default()
    };
    let mut frame = frame(vec![root]);
    frame.stories[0].summary = "web is at its limit; with it zombies pile up".into();
    insta::assert_snapshot!(stories(&frame, PLAIN), @r"
    CRITICAL  web is at its limit; with it zombies pile up
      tcp.close_wait_pile  since 3m12s · container web · network namespace blue
    ");
}
