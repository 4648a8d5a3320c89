//! Connections being opened to one far end that does not answer (story A: reconnect storm).

use crate::detect::command::in_netns;
use crate::detect::label::remote_name;
use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{Listener, NetnsId, RemoteKey, Side, Subject, TcpState};
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
        ("task.d_state_long", Join::Task),
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
    let here = listener(case, addr, port);
    let why = match here.map(|l| (l.queue >= l.backlog.max(1), l.owner)) {
        None => "nothing answers there".to_owned(),
        Some((true, Some(owner))) => format!("{} listens there and does not accept", case.look.task_name(owner)),
        Some((true, None)) => "the accept queue there is full".into(),
        Some((false, _)) => "the listener there does not answer".into(),
    };
    let message = format!("{who} holds {} in SYN_SENT to {far}{grows}: {why}", words::plural(n, "socket"));
    let retrying = case.look.snap.sockets.data().map(|s| {
        let same = s.groups.iter().filter(|g| g.state == TcpState::SynSent && g.remote_addr == Some(addr));
        same.filter(|g| g.remote_port == Some(port)).map(|g| g.retransmitting).sum::<u64>() as f64
    });
    let threads = case.task().map(|t| f64::from(t.threads));
    let mut verdict = case
        .verdict(severity, "sockets", message)
        .rate(growth)
        .rated("sock_diag", format!("SYN_SENT to {far}"), n, growth)
        .number("sock_diag", "SYN_SENT sockets retransmitting", retrying)
        .number("/proc/PID/stat", "num_threads", threads)
        .shown_by(command(case, addr, port));
    verdict.listener = here.map(|l| l.key);
    Some(
        verdict
            .advise(match here.and_then(|l| l.owner) {
                Some(owner) => format!("see what keeps {} from accepting on {far}", case.look.task_name(owner)),
                None => format!("check that {far} is up and reachable from here: route, firewall, the service itself"),
            })
            .advise(format!("make {who} close the old socket before it retries, with a timeout and a growing pause"))
            .advise("until then each try waits tcp_syn_retries (about 2 minutes); restarting the process frees them"),
    )
}

fn netns(case: &Case<'_>) -> Option<NetnsId> {
    match case.now.subject {
        Subject::Task(_) => case.task()?.netns,
        Subject::Remote(key) => Some(key.netns),
        _ => None,
    }
}

/// The listener on this host to which they go, as far as its address tells: it is in the same namespace.
fn listener<'a>(case: &Case<'a>, addr: IpAddr, port: u16) -> Option<&'a Listener> {
    let netns = netns(case)?;
    let all = case.look.snap.sockets.data()?.listeners.iter();
    all.filter(|l| l.key.netns == netns && l.key.local.port() == port).find(|l| {
        let at = l.key.local.ip();
        at == addr || (at.is_unspecified() && addr.is_loopback())
    })
}

fn command(case: &Case<'_>, addr: IpAddr, port: u16) -> Option<String> {
    in_netns(case.look, netns(case)?, &format!("ss -tnp state syn-sent dst {}", remote_name(addr, Some(port))))
}

#[cfg(test)]
mod tests {
    use crate::detect::Window;
    use crate::detect::testing::Script;
    use crate::model::Severity;
    use crate::snapshot::{NetnsCounters, NetnsId};

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
    fn a_screen_says_what_fails_now_and_an_answer_about_a_span_the_worst_of_it() {
        for (window, end) in [(Window::Rolling(60.0), Severity::Warning), (Window::Whole, Severity::Critical)] {
            let mut s = Script::new();
            s.window = window;
            let java = s.world.task(100, "java");
            s.world.tcp_client(java, "SYN_SENT", FAR, 600);
            s.secs(4);
            assert_eq!(s.expect("tcp.syn_sent_pile").severity, Severity::Critical);
            s.world.sockets.groups[0].count = 100;
            s.secs(8);
            assert_eq!((s.expect("tcp.syn_sent_pile").severity, s.last().stories[0].severity), (end, end));
        }
    }

    #[test]
    fn a_listener_of_this_host_that_does_not_accept_is_the_cause() {
        for (remote, local, joined) in [
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("10.1.1.1:80", "10.1.1.1:80", true),
            ("10.0.0.9:80", "0.0.0.0:80", false),
            ("127.0.0.1:81", "0.0.0.0:80", false),
        ] {
            let mut s = Script::new();
            let broker = s.world.task(50, "broker");
            let l = s.world.listener(broker, local);
            (l.queue, l.backlog) = (17, 16);
            let java = s.world.task(100, "java");
            s.world.tcp_client(java, "SYN_SENT", remote, 60);
            s.secs(4);
            let f = s.expect("tcp.syn_sent_pile");
            assert_eq!(f.message.ends_with("broker(50) listens there and does not accept"), joined, "{}", f.message);
            assert_eq!(f.message.ends_with("nothing answers there"), !joined);
            assert_eq!(f.advice[0].contains("broker(50)"), joined);
            let root = s.last().findings[s.last().stories[0].root].id;
            assert_eq!(s.last().stories.len(), if joined { 1 } else { 2 });
            assert!(!joined || root == "tcp.listen_overflow");
        }
    }

    #[test]
    fn the_command_goes_into_the_namespace_of_the_process() {
        let mut s = Script::new();
        let java = s.world.task(100, "java");
        s.world.tcp_client(java, "SYN_SENT", "[fd00::9]:61616", 60);
        s.secs(3);
        let command = |s: &Script| s.expect("tcp.syn_sent_pile").command.clone().unwrap();
        assert_eq!(command(&s), "ss -tnp state syn-sent dst [fd00::9]:61616");
        s.world.row(java).netns = Some(NetnsId(9));
        s.world.net.netns.push(NetnsCounters { id: NetnsId(9), pid: Some(100), ..NetnsCounters::default() });
        s.secs(1);
        assert_eq!(command(&s), "nsenter -t 100 -n ss -tnp state syn-sent dst [fd00::9]:61616");
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
