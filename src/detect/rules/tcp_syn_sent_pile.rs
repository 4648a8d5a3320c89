//! Connections being opened to one far end that does not answer (story A: reconnect storm).

use crate::detect::label::remote_name;
use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{RemoteKey, Side, Subject, TcpState};
use rustc_hash::FxHashMap;
use std::net::IpAddr;

pub(super) static RULES: &[Rule] = &[Rule {
    id: "tcp.syn_sent_pile",
    about: "many connections being opened to one remote that does not answer",
    effect: "connections to one remote never open",
    knobs: &[
        Knob { key: "count", default: 50.0, unit: "sockets", about: "SYN_SENT to one remote that are a finding" },
        Knob { key: "critical", default: 500.0, unit: "sockets", about: "as many are critical" },
    ],
    explains: &[
        ("tcp.syn_sent_pile", Join::Remote),
        ("task.thread_growth", Join::Task),
        ("task.memory_growth", Join::Task),
        ("task.hung", Join::Task),
        ("tcp.port_exhaustion", Join::Remote),
        ("cgroup.pids_limit", Join::Cgroup),
        ("cgroup.at_limit", Join::Cgroup),
        ("cgroup.oom_kill", Join::TaskOrCgroup),
        ("host.oom_kill", Join::TaskOrCgroup),
    ],
    hold_s: 1.0,
    measure,
    judge,
}];

fn measure(look: &Look<'_>, out: &mut Measures) {
    let Some(sockets) = look.snap.sockets.data() else { return };
    let mut piles: FxHashMap<(Subject, IpAddr, u16), u64> = FxHashMap::default();
    for g in sockets.groups.iter().filter(|g| g.state == TcpState::SynSent && g.side == Side::Client) {
        let (Some(addr), Some(port)) = (g.remote_addr, g.remote_port) else { continue };
        let remote = || Subject::Remote(RemoteKey { netns: g.netns, addr, port: Some(port) });
        let subject = g.owner.map_or_else(remote, Subject::Task);
        *piles.entry((subject, addr, port)).or_default() += g.count;
    }
    for ((subject, addr, port), count) in piles {
        out.put(subject, count as f64).remote(addr, port);
    }
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let n = case.value();
    if !case.reaches(n, case.knob("count")) {
        return None;
    }
    let (addr, port) = case.now.remote?;
    let far = remote_name(addr, Some(port));
    let growth = case.growth();
    let severity = if n >= case.knob("critical") || growth.is_some() { Severity::Critical } else { Severity::Warning };
    let who = match case.now.subject {
        Subject::Task(key) => case.look.task_name(key),
        _ => "an unknown process".into(),
    };
    let grows = growth.map_or_else(String::new, |r| format!(", growing {}", words::rate(r)));
    let message = format!("{who} holds {} in SYN_SENT to {far}{grows}: nothing answers there", words::plural(n, "socket"));
    let retrying = case.look.snap.sockets.data().map(|s| {
        let same = s.groups.iter().filter(|g| g.state == TcpState::SynSent && g.remote_addr == Some(addr));
        same.filter(|g| g.remote_port == Some(port)).map(|g| g.retransmitting).sum::<u64>() as f64
    });
    let threads = case.task().map(|t| f64::from(t.threads));
    Some(
        case.verdict(severity, "sockets", message)
            .rate(growth)
            .rated("sock_diag", format!("SYN_SENT to {far}"), n, growth)
            .number("sock_diag", "SYN_SENT sockets retransmitting", retrying)
            .number("/proc/PID/stat", "num_threads", threads)
            .advise(format!("check that {far} is up and reachable from here: route, firewall, the service itself"))
            .advise(format!("make {who} close the old socket before it retries, with a timeout and a growing pause"))
            .advise("until then each try waits tcp_syn_retries (about 2 minutes); restarting the process frees them"),
    )
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;
    use crate::model::Severity;

    const FAR: &str = "10.0.0.9:61616";

    #[test]
    fn fires_within_four_seconds_and_names_task_and_remote() {
        let mut s = Script::new();
        let java = s.world.task(100, "java");
        s.world.tcp_client(java, "SYN_SENT", FAR, 60);
        s.secs(3);
        let f = s.expect("tcp.syn_sent_pile");
        assert_eq!((s.value("tcp.syn_sent_pile"), f.severity, f.remote), (60, Severity::Warning, Some((FAR.parse::<std::net::SocketAddr>().unwrap().ip(), 61616))));
        assert_eq!(&*f.label.name, "java(100)");
        assert!(f.message.contains("java(100) holds 60 sockets in SYN_SENT to 10.0.0.9:61616"), "{}", f.message);
    }

    #[test]
    fn growth_makes_it_critical_and_has_a_rate() {
        let mut s = Script::new();
        let java = s.world.task(100, "java");
        for i in 0..6 {
            s.world.sockets.groups.clear();
            s.world.tcp_client(java, "SYN_SENT", FAR, 60 + i * 20);
            s.secs(1);
        }
        let f = s.expect("tcp.syn_sent_pile");
        assert_eq!(f.severity, Severity::Critical);
        assert!((f.rate_per_s.unwrap() - 20.0).abs() < 2.0, "{:?}", f.rate_per_s);
    }

    #[test]
    fn few_per_remote_are_silent_even_if_many_in_all() {
        let mut s = Script::new();
        let crawler = s.world.task(100, "crawler");
        for host in 1..40 {
            s.world.tcp_client(crawler, "SYN_SENT", &format!("10.0.0.{host}:443"), 10);
        }
        s.secs(6);
        s.silent();
    }

    #[test]
    fn clears_after_the_pile_has_gone_and_leaves_the_window() {
        let mut s = Script::new();
        let java = s.world.task(100, "java");
        s.world.tcp_client(java, "SYN_SENT", FAR, 60);
        s.secs(5);
        s.world.sockets.groups.clear();
        s.secs(5);
        assert!(!s.expect("tcp.syn_sent_pile").active);
        s.secs(70);
        s.silent();
    }

    #[test]
    fn a_missing_section_is_silence_not_error() {
        let mut s = Script::new();
        let java = s.world.task(100, "java");
        s.world.tcp_client(java, "SYN_SENT", FAR, 60);
        s.world.hide("sockets");
        s.secs(5);
        s.silent();
        s.world.show("sockets");
        s.world.hide("tasks");
        s.secs(5);
        assert!(s.expect("tcp.syn_sent_pile").active);
    }

    #[test]
    fn several_tasks_to_one_remote_are_one_story() {
        let mut s = Script::new();
        for pid in 100..103 {
            let agent = s.world.task(pid, "agent");
            s.world.tcp_client(agent, "SYN_SENT", FAR, 60);
        }
        s.secs(4);
        let frame = s.last();
        assert_eq!(frame.stories.len(), 1);
        assert_eq!(frame.stories[0].findings.len(), 3);
        assert!(frame.stories[0].summary.contains("2 more like it"), "{}", frame.stories[0].summary);
    }
}
