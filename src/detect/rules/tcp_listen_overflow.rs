//! A listener whose accept queue or SYN queue is full.

use crate::detect::command::in_netns;
use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{ListenerKey, Subject, TaskKey};
use std::collections::BTreeMap;

const OVERFLOWS: &str = "TcpExtListenOverflows";
const DROPS: &str = "TcpExtListenDrops";
const COOKIES: &str = "TcpExtTCPReqQFullDoCookies";
/// Answers that found no way out: the SYN is then dropped although every queue has room.
const NO_ROUTES: &str = "IpOutNoRoutes";

pub(super) static RULES: &[Rule] = &[Rule {
    id: "tcp.listen_overflow",
    about: "an accept queue at its backlog, or connections dropped at a listener",
    effect: "new connections are dropped",
    knobs: &[Knob { key: "syn_share", default: 0.9, unit: "of the backlog", about: "SYN_RECV that are a finding" }],
    explains: &[("tcp.syn_sent_pile", Join::Listener)],
    hold_s: 1.0,
    measure,
    judge,
}];

/// The sockets that share one address (`SO_REUSEPORT`), as one.
#[derive(Default)]
struct Port {
    owner: Option<TaskKey>,
    queue: u64,
    backlog: u64,
    /// Whether one of the queues is full: the queue admits one more than its backlog.
    full: bool,
    drops: Option<u64>,
    syn_recv: u64,
}

fn ports(look: &Look<'_>) -> BTreeMap<ListenerKey, Port> {
    let mut ports: BTreeMap<ListenerKey, Port> = BTreeMap::new();
    for l in look.snap.sockets.data().map(|s| s.listeners.as_slice()).unwrap_or_default() {
        let port = ports.entry(l.key).or_default();
        port.owner = port.owner.or(l.owner);
        port.queue += l.queue;
        port.backlog += l.backlog;
        port.full |= l.queue >= l.backlog.max(1);
        port.syn_recv += l.syn_recv;
        port.drops = port.drops.map_or(l.drops, |sum| Some(sum + l.drops.unwrap_or(0)));
    }
    ports
}

fn measure(look: &Look<'_>, out: &mut Measures) {
    for (key, port) in ports(look) {
        let counters = look.netns(key.netns).map(|n| &n.counters);
        let counter = |name: &str| counters.and_then(|c| c.get(name));
        out.put(Subject::Listener(key), port.queue as f64)
            .limit(Some(port.backlog as f64))
            .counter("drops", port.drops)
            .counter(OVERFLOWS, counter(OVERFLOWS))
            .counter(DROPS, counter(DROPS))
            .counter(COOKIES, counter(COOKIES))
            .counter(NO_ROUTES, counter(NO_ROUTES));
    }
}

/// Half-open connections that a listener may have: its backlog, and without SYN cookies three quarters of
/// `tcp_max_syn_backlog` at most.
fn syn_room(case: &Case<'_>, key: &ListenerKey, port: &Port) -> f64 {
    let backlog = port.backlog as f64;
    let Some(netns) = case.look.netns(key.netns) else { return backlog };
    let sysctl = |name: &str| case.look.sysctl(netns, name);
    let no_cookies = sysctl("net.ipv4.tcp_syncookies").is_some_and(|n| n < 1.0);
    let all = sysctl("net.ipv4.tcp_max_syn_backlog").filter(|_| no_cookies).map(|max| max * 0.75);
    all.map_or(backlog, |all| all.min(backlog))
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let Subject::Listener(key) = case.now.subject else { return None };
    // Cheap tests first: most listeners are idle.
    if case.value() < 1.0 && case.grown_lately("drops") < 1.0 && case.grown_lately(DROPS) + case.grown_lately(COOKIES) < 1.0 {
        return None;
    }
    let port = ports(case.look).remove(&key)?;
    let told_apart = case.look.netns(key.netns).is_some_and(|n| n.counters.get(DROPS).is_some());
    let syn_full = port.syn_recv as f64 >= (syn_room(case, &key, &port) * case.knob("syn_share")).max(8.0);
    let drops = match port.drops {
        // The socket counts whatever it drops, a stray reset too; the namespace counts connections, of all its listeners.
        Some(_) => case.grown_lately("drops") >= 1.0 && (!told_apart || case.grown_lately(DROPS) >= 1.0),
        None => case.grown_lately(DROPS) >= 1.0 && (port.full || syn_full),
    };
    let cookies = case.grown_lately(COOKIES) >= 1.0 && syn_full;
    if !port.full && !drops && !syn_full && !cookies {
        return None;
    }
    let severity = if drops { Severity::Critical } else { Severity::Warning };
    let rate = case.rate(if port.drops.is_some() { "drops" } else { DROPS });
    let who = port.owner.map_or_else(|| "nobody known".into(), |owner| case.look.task_name(owner));
    // A SYN that was dropped comes again after 1 s, 3 s, 7 s …: between such bursts nothing fails.
    let before = case.grown("drops");
    let lost = match (drops, before >= 1.0) {
        (true, _) => format!(" and drops {}", words::rate_of(rate, "connections")),
        (false, true) => format!(", {} dropped before", words::plural(before, "connection")),
        (false, false) => String::new(),
    };
    // Between two looks an accept queue may fill and empty again: its counter tells.
    let slow = port.full || (!syn_full && !cookies && case.grown_lately(OVERFLOWS) >= 1.0);
    let message = if slow {
        let queue = match (port.full, port.queue, port.backlog) {
            // The queue admits one more than its backlog.
            (true, 1, 0) => "its backlog is 0 and 1 waits".into(),
            (_, queue, backlog) => format!("queue {queue} of {backlog}"),
        };
        format!("{who} does not accept fast enough on {}: {queue}{lost}", key.local)
    } else if !(syn_full || cookies) {
        let why = if case.rate(NO_ROUTES) * 2.0 >= rate { ": there is no route back" } else { "" };
        format!("{} ({who}) drops {} though its accept queue has room{why}", key.local, words::rate_of(rate, "new connections"))
    } else {
        let sent = if cookies { "; the kernel answers with SYN cookies" } else { "" };
        format!("{} half-open connections fill the SYN queue of {} ({who}){lost}{sent}", port.syn_recv, key.local)
    };
    let netns = case.look.netns(key.netns);
    let counter = |name: &str| netns.and_then(|n| n.counters.get(name)).map(|v| v as f64);
    let mut verdict = case
        .verdict(severity, "connections", message)
        .rate(drops.then_some(rate))
        .number("sock_diag", "idiag_rqueue (waiting for accept)", port.queue as f64)
        .number("sock_diag", "idiag_wqueue (backlog)", port.backlog as f64)
        .rated("sock_diag", "SKMEMINFO drops", port.drops.map(|n| n as f64), Some(rate))
        .number("sock_diag", "SYN_RECV", port.syn_recv as f64);
    for name in [OVERFLOWS, DROPS, COOKIES, NO_ROUTES].into_iter().filter(|name| case.grown(name) >= 1.0) {
        let source = if name == NO_ROUTES { "/proc/net/snmp" } else { "/proc/net/netstat" };
        let field = name.trim_start_matches("TcpExt");
        verdict = verdict.rated(source, field, counter(name), Some(case.rate(name)));
    }
    verdict.command = in_netns(case.look, key.netns, &format!("ss -ltn sport = :{}", key.local.port()));
    Some(if slow {
        advise(verdict, case, &key, &who, port.backlog as f64)
    } else {
        advise_half_open(verdict, case, &key)
    })
}

/// The process is not at fault: the handshakes do not come to their end.
fn advise_half_open(verdict: Verdict, case: &Case<'_>, key: &ListenerKey) -> Verdict {
    let verdict = verdict.advise(
        "see who sends the SYNs and whether the answers reach them: a flood of forged addresses, a firewall, or no route back",
    );
    let Some(netns) = case.look.netns(key.netns) else { return verdict };
    let sysctl = |name: &str| case.look.sysctl(netns, name);
    let verdict = verdict
        .number("/proc/sys", "net.ipv4.tcp_syncookies", sysctl("net.ipv4.tcp_syncookies"))
        .number("/proc/sys", "net.ipv4.tcp_max_syn_backlog", sysctl("net.ipv4.tcp_max_syn_backlog"));
    let off = sysctl("net.ipv4.tcp_syncookies").is_some_and(|n| n < 1.0);
    verdict.advise_some(off.then(|| case.look.sysctl_change(netns, "net.ipv4.tcp_syncookies", 1.0)).flatten())
}

fn advise(verdict: Verdict, case: &Case<'_>, key: &ListenerKey, who: &str, backlog: f64) -> Verdict {
    let Some(netns) = case.look.netns(key.netns) else {
        return verdict.advise(format!("see what keeps {who} from calling accept"));
    };
    let somaxconn = case.look.sysctl(netns, "net.core.somaxconn");
    let verdict = verdict
        .number("/proc/sys", "net.core.somaxconn", somaxconn)
        .number("/proc/sys", "net.ipv4.tcp_max_syn_backlog", case.look.sysctl(netns, "net.ipv4.tcp_max_syn_backlog"))
        .advise(format!("see what keeps {who} from calling accept: its CPU, its threads, what they wait for"));
    if somaxconn.is_some_and(|max| backlog >= max) {
        let more = words::power_of_two((backlog * 2.0).max(4096.0));
        return verdict
            .advise_some(case.look.sysctl_change(netns, "net.core.somaxconn", more))
            .advise("and let it ask for a longer backlog, then restart it");
    }
    verdict.advise(format!("its backlog is its own choice ({}): let it ask listen() for more", words::count(backlog)))
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{Script, counters};
    use crate::model::Severity;

    fn web(queue: u64, drops: u64) -> Script {
        let mut s = Script::new();
        let nginx = s.world.task(80, "nginx");
        let l = s.world.listener(nginx, "0.0.0.0:80");
        (l.queue, l.backlog, l.drops) = (queue, 16, Some(drops));
        s.world.netns().sysctls = counters(&[("net.core.somaxconn", 16)]);
        s
    }

    #[test]
    fn a_full_queue_is_a_warning_and_drops_are_critical() {
        let mut s = web(17, 0);
        s.secs(3);
        assert_eq!(s.expect("tcp.listen_overflow").severity, Severity::Warning);
        for _ in 0..4 {
            s.world.sockets.listeners[0].drops = s.world.sockets.listeners[0].drops.map(|n| n + 100);
            s.secs(1);
        }
        let f = s.expect("tcp.listen_overflow");
        assert_eq!(f.severity, Severity::Critical);
        assert!(f.message.contains("nginx(80)") && f.message.contains("queue 17 of 16"), "{}", f.message);
        assert!(f.advice.iter().any(|a| a.contains("net.core.somaxconn=4096   # now 16")), "{:?}", f.advice);
    }

    #[test]
    fn between_bursts_of_drops_nothing_fails_now() {
        let mut s = web(17, 0);
        s.secs(2);
        s.world.sockets.listeners[0].drops = Some(12);
        s.secs(4);
        assert_eq!(s.expect("tcp.listen_overflow").severity, Severity::Critical);
        s.secs(4);
        assert_eq!(s.expect("tcp.listen_overflow").severity, Severity::Critical);
        s.secs(4);
        let f = s.expect("tcp.listen_overflow");
        assert_eq!((f.severity, f.rate_per_s), (Severity::Warning, None));
        assert!(f.message.ends_with("queue 17 of 16, 12 connections dropped before"), "{}", f.message);
        s.world.sockets.listeners[0].drops = Some(14);
        s.secs(1);
        let f = s.expect("tcp.listen_overflow");
        assert!(f.severity == Severity::Critical && f.message.contains("and drops 0."), "{}", f.message);
    }

    #[test]
    fn old_drops_and_a_short_queue_are_silent() {
        let mut s = web(3, 2983);
        s.secs(5);
        s.silent();
        s.world.sockets.listeners[0].drops = Some(0);
        s.secs(3);
        s.silent();
    }

    #[test]
    fn a_packet_that_was_no_connection_is_no_drop() {
        let mut s = web(0, 0);
        for n in 0..5 {
            s.world.netns().counters = counters(&[("TcpExtListenDrops", 3)]);
            s.world.sockets.listeners[0].drops = Some(n);
            s.secs(1);
        }
        s.silent();
    }

    #[test]
    fn a_syn_flood_with_cookies_is_told_and_clears() {
        let mut s = web(0, 0);
        for n in 0..4 {
            s.world.sockets.listeners[0].syn_recv = 16;
            s.world.netns().counters = counters(&[("TcpExtTCPReqQFullDoCookies", n * 900)]);
            s.secs(1);
        }
        let f = s.expect("tcp.listen_overflow");
        assert!(f.message.contains("SYN cookies"));
        assert!(f.advice.iter().any(|a| a.contains("forged")) && !f.advice.iter().any(|a| a.contains("accept")), "{:?}", f.advice);
        s.world.sockets.listeners[0].syn_recv = 0;
        s.secs(12);
        assert!(!s.expect("tcp.listen_overflow").active);
    }

    #[test]
    fn drops_with_room_in_the_queue_do_not_blame_the_process() {
        let mut s = web(0, 0);
        s.world.netns().sysctls = counters(&[("net.ipv4.tcp_syncookies", 0)]);
        for overflows in [0, 50] {
            for n in 0..4 {
                s.world.sockets.listeners[0].drops = s.world.sockets.listeners[0].drops.map(|d| d + 100);
                s.world.netns().counters = counters(&[("TcpExtListenOverflows", n * overflows), ("TcpExtListenDrops", n * 100)]);
                s.secs(1);
            }
            let f = s.expect("tcp.listen_overflow");
            assert_eq!(f.message.contains("does not accept"), overflows > 0, "{}", f.message);
            assert_eq!(f.advice.iter().any(|a| a.contains("net.ipv4.tcp_syncookies=1")), overflows == 0, "{:?}", f.advice);
        }
    }

    #[test]
    fn without_cookies_the_syn_backlog_of_the_namespace_is_the_limit() {
        for (cookies, found) in [(0, true), (1, false)] {
            let mut s = Script::new();
            let web = s.world.task(80, "web");
            let sysctls = [("net.ipv4.tcp_syncookies", cookies), ("net.ipv4.tcp_max_syn_backlog", 512)];
            s.world.netns().sysctls = counters(&sysctls);
            let listener = s.world.listener(web, "10.0.0.1:80");
            (listener.backlog, listener.syn_recv) = (4096, 384);
            s.secs(1);
            for _ in 0..4 {
                s.world.sockets.listeners[0].drops = s.world.sockets.listeners[0].drops.map(|n| n + 100);
                s.secs(1);
            }
            let f = s.expect("tcp.listen_overflow");
            assert_eq!(f.message.contains("384 half-open connections fill the SYN queue"), found, "{}", f.message);
        }
    }

    #[test]
    fn drops_for_want_of_a_way_back_say_so() {
        let mut s = Script::new();
        let web = s.world.task(80, "web");
        s.world.listener(web, "10.0.0.1:80");
        for n in 0..5 {
            s.world.netns().counters = counters(&[("IpOutNoRoutes", 7 + n * 100), ("TcpExtListenDrops", n * 100)]);
            s.world.sockets.listeners[0].drops = Some(n * 100);
            s.secs(1);
        }
        let f = s.expect("tcp.listen_overflow");
        assert!(f.message.ends_with("though its accept queue has room: there is no route back"), "{}", f.message);
    }

    #[test]
    fn kernels_without_drops_per_listener_go_by_the_namespace() {
        let mut s = web(17, 0);
        s.world.sockets.listeners[0].drops = None;
        for n in 0..4 {
            s.world.netns().counters = counters(&[("TcpExtListenDrops", n * 50)]);
            s.secs(1);
        }
        assert_eq!(s.expect("tcp.listen_overflow").severity, Severity::Critical);
        s.world.hide("sockets");
        s.secs(3);
        assert!(!s.expect("tcp.listen_overflow").active);
    }
}
