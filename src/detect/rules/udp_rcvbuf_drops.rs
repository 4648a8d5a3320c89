//! Datagrams dropped because a socket's receive buffer was full (story E).

use crate::detect::command::in_netns;
use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{Moment, MulticastGroup, NetnsCounters, Sockets, Subject, UdpSocket};
use rustc_hash::FxHashSet;

pub(super) static RULES: &[Rule] = &[Rule {
    id: "udp.rcvbuf_drops",
    about: "datagrams dropped at a full receive buffer",
    effect: "datagrams are lost at a socket",
    knobs: &[Knob { key: "drops", default: 10.0, unit: "datagrams", about: "drops in the window that are a finding" }],
    explains: &[("task.memory_growth", Join::Task), ("net.link_saturated", Join::Netns)],
    hold_s: 0.0,
    measure,
    judge,
}];

const NETNS_ERRORS: [&str; 2] = ["UdpRcvbufErrors", "Udp6RcvbufErrors"];

fn measure(look: &Look<'_>, out: &mut Measures) {
    if let Some(sockets) = look.snap.sockets.data() {
        let known = Known::of(look, sockets);
        for socket in sockets.udp.iter().filter(|s| s.drops > 0 || s.recv_q_bytes > 0) {
            out.put(Subject::Socket(socket.key), socket.drops as f64)
                .counter("drops", socket.drops)
                .born_after(known.born_after(socket));
        }
    }
    let Some(net) = look.snap.net.data() else { return };
    for netns in &net.netns {
        let errors = NETNS_ERRORS.iter().filter_map(|name| netns.counters.get(name)).fold(0, u64::saturating_add);
        let sockets = look.snap.sockets.data().map(|s| s.udp.as_slice()).unwrap_or_default();
        let seen = sockets.iter().filter(|s| s.key.netns == netns.id).map(|s| s.drops).fold(0, u64::saturating_add);
        let m = out.put(Subject::Netns(netns.id), errors as f64).counter("errors", errors).counter("seen", seen);
        for name in NETNS_ERRORS {
            m.counter(name, netns.counters.get(name));
        }
    }
}

/// The sockets of the sample before: one that was not there was made since, and its drops are all new.
struct Known {
    at: Option<Moment>,
    sockets: FxHashSet<crate::snapshot::SockKey>,
}

impl Known {
    fn of(look: &Look<'_>, sockets: &Sockets) -> Self {
        let at = look.snap.sockets.at().unwrap_or(look.at());
        let old = look.before.sockets.before(at);
        // With rows left out, a socket that was not there may be old.
        let old = old.filter(|o| o.data.udp_more == 0 && sockets.udp_more == 0);
        let keys = old.map(|o| o.data.udp.iter().map(|s| s.key).collect());
        Self { at: old.map(|o| o.at), sockets: keys.unwrap_or_default() }
    }

    fn born_after(&self, socket: &UdpSocket) -> Option<Moment> {
        self.at.filter(|_| !self.sockets.contains(&socket.key))
    }
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    match case.now.subject {
        Subject::Socket(_) => judge_socket(case),
        _ => judge_netns(case),
    }
}

fn judge_socket(case: &Case<'_>) -> Option<Verdict> {
    let drops = case.grown("drops");
    if drops < case.knob("drops") || case.grown_lately("drops") < 1.0 {
        return None;
    }
    let Subject::Socket(key) = case.now.subject else { return None };
    let socket = case.look.snap.sockets.data()?.udp.iter().find(|s| s.key == key)?;
    let netns = case.look.netns(key.netns);
    let rate = case.rate("drops");
    let who = socket.owner.map_or_else(|| "a socket without a known owner".into(), |owner| case.look.task_name(owner));
    let grant = Grant::of(case.look, netns, socket);
    let message = format!(
        "{who} loses {} at UDP {}{}: its receive buffer is full{}",
        words::rate_of(rate, "datagrams"),
        key.local,
        if key.local.ip().is_multicast() { " (a multicast group)" } else { "" },
        grant.words()
    );
    let mut verdict = case
        .verdict(Severity::Critical, "datagrams", message)
        .rate(rate)
        .rated("sock_diag", "SKMEMINFO drops", socket.drops as f64, Some(rate))
        .number("sock_diag", "SKMEMINFO rcvbuf (granted, twice what was asked)", socket.rcvbuf_bytes.map(|b| b as f64))
        .number("/proc/sys", "net.core.rmem_max", grant.max)
        .number("/proc/sys", "net.core.rmem_default", grant.default)
        .number("sock_diag", "SKMEMINFO rmem_alloc", socket.recv_q_bytes as f64);
    if let Some(groups) = netns.and_then(|n| groups(&n.multicast)) {
        verdict = verdict.text("/proc/net/igmp", "multicast groups joined in its namespace", groups);
    }
    verdict.value = drops;
    verdict.command = in_netns(case.look, key.netns, &format!("ss -uanmp sport = :{}", key.local.port()));
    Some(grant.advise(verdict, case.look, netns, &who))
}

/// `228.8.8.8 on eth0 and 1 more`.
fn groups(joined: &[MulticastGroup]) -> Option<String> {
    let names: Vec<String> = joined.iter().map(|g| format!("{} on {}", g.addr, g.iface)).collect();
    (!names.is_empty()).then(|| words::list(&names, 4))
}

/// What the socket got, against what it could have got.
struct Grant {
    granted: Option<f64>,
    max: Option<f64>,
    default: Option<f64>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// The kernel cut what it asked to `rmem_max`.
    Capped,
    /// It never asked: raising the cap changes nothing.
    Default,
    /// It asked for less than the cap and got it.
    Own,
    Unknown,
}

impl Grant {
    fn of(look: &Look<'_>, netns: Option<&NetnsCounters>, socket: &UdpSocket) -> Self {
        let sysctl = |name: &str| netns.and_then(|n| look.sysctl(n, name)).or_else(|| look.sysctl(look.first_netns()?, name));
        let (max, default) = (sysctl("net.core.rmem_max"), sysctl("net.core.rmem_default"));
        let granted = socket.rcvbuf_bytes.map(|b| b as f64);
        let same = |a: f64, b: Option<f64>| b.is_some_and(|b| (a - b).abs() < 1.0);
        let kind = match granted {
            None => Kind::Unknown,
            Some(g) if same(g, default) => Kind::Default,
            Some(g) if same(g, max.map(|m| m * 2.0)) => Kind::Capped,
            Some(_) => Kind::Own,
        };
        Self { granted, max, default, kind }
    }

    fn words(&self) -> String {
        let Some(granted) = self.granted.map(words::bytes) else { return String::new() };
        match self.kind {
            Kind::Capped => format!(" ({granted} granted: capped by net.core.rmem_max)"),
            Kind::Default => format!(" ({granted} granted: the default, it never asked for more)"),
            Kind::Own | Kind::Unknown => format!(" ({granted} granted, as it asked)"),
        }
    }

    fn advise(&self, verdict: Verdict, look: &Look<'_>, netns: Option<&NetnsCounters>, who: &str) -> Verdict {
        let raise = |name: &str, to: f64| look.sysctl_change(netns.or_else(|| look.first_netns())?, name, to);
        let enough = 8.0 * 1024.0 * 1024.0;
        match self.kind {
            Kind::Capped => verdict
                .advise_some(raise("net.core.rmem_max", (self.max.unwrap_or(0.0) * 4.0).max(enough)))
                .advise(format!("then restart {who}: a socket keeps the buffer it was given")),
            Kind::Default => verdict
                .advise(format!("raising net.core.rmem_max alone won't help: {who} must set SO_RCVBUF"))
                .advise_some(raise("net.core.rmem_default", (self.default.unwrap_or(0.0) * 8.0).min(enough)))
                .advise(format!("the new default holds for new sockets: restart {who}")),
            Kind::Own => verdict.advise(format!(
                "{who} asked for {}: let it ask for more{}",
                words::bytes(self.granted.unwrap_or(0.0) / 2.0),
                self.max.map_or_else(String::new, |m| format!(", net.core.rmem_max allows {}", words::bytes(m)))
            )),
            Kind::Unknown => verdict.advise("compare what it asks for (SO_RCVBUF) with net.core.rmem_max"),
        }
        .advise("or it reads too slowly: look at its CPU and its threads")
    }
}

/// A namespace counts errors that no socket in sight explains: its socket has gone, or was not listed.
fn judge_netns(case: &Case<'_>) -> Option<Verdict> {
    let netns = case.netns()?;
    let errors = case.grown("errors");
    let unseen = errors - case.grown("seen");
    if unseen < case.knob("drops") || unseen < errors * 0.5 || case.grown_lately("errors") < 1.0 {
        return None;
    }
    let rate = case.rate("errors");
    let message = format!(
        "{} are lost at full receive buffers, of sockets that have gone or can't be seen",
        words::rate_of(rate, "UDP datagrams")
    );
    let mut verdict = case.verdict(Severity::Critical, "datagrams", message).rate(rate);
    for name in NETNS_ERRORS.into_iter().filter(|name| case.grown(name) >= 1.0) {
        let source = if name.starts_with("Udp6") { "/proc/net/snmp6" } else { "/proc/net/snmp" };
        verdict = verdict.rated(source, name, netns.counters.get(name).map(|v| v as f64), Some(case.rate(name)));
    }
    verdict.value = errors;
    Some(verdict.number("/proc/sys", "net.core.rmem_max", case.look.sysctl(netns, "net.core.rmem_max")))
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{Script, counters};
    use crate::snapshot::{MulticastGroup, NetnsCounters, NetnsId};

    fn jgroups(granted: u64) -> Script {
        let mut s = Script::new();
        let java = s.world.task(300, "java");
        let socket = s.world.udp(java, "0.0.0.0:45588");
        socket.rcvbuf_bytes = Some(granted);
        socket.drops = 44;
        s.world.netns().sysctls = counters(&[("net.core.rmem_max", 131_071), ("net.core.rmem_default", 212_992)]);
        s.secs(2);
        s
    }

    fn lose(s: &mut Script, n: u64) {
        for _ in 0..4 {
            s.world.sockets.udp[0].drops += n;
            s.secs(1);
        }
    }

    #[test]
    fn a_capped_buffer_names_process_rate_and_the_cap() {
        let mut s = jgroups(262_142);
        s.silent();
        lose(&mut s, 30);
        let f = s.expect("udp.rcvbuf_drops");
        assert_eq!(s.value("udp.rcvbuf_drops"), 120);
        assert!(f.message.contains("java(300)") && f.message.contains("capped by net.core.rmem_max"), "{}", f.message);
        assert!(f.advice[0].contains("sysctl -w net.core.rmem_max=8388608   # now 131071"), "{:?}", f.advice);
        assert_eq!(f.label.owner.as_ref().map(|(key, _)| key.pid), Some(300));
    }

    #[test]
    fn the_default_buffer_says_that_raising_the_cap_does_not_help() {
        let mut s = jgroups(212_992);
        lose(&mut s, 30);
        let f = s.expect("udp.rcvbuf_drops");
        assert!(f.message.contains("never asked") && f.advice[0].contains("won't help"), "{f:?}");
    }

    #[test]
    fn in_another_namespace_the_cap_is_still_the_hosts_and_its_groups_are_told() {
        let mut s = jgroups(262_142);
        let sysctls = s.world.netns().sysctls.clone();
        let multicast = vec![MulticastGroup { iface: "eth0".into(), addr: "228.8.8.8".parse().unwrap() }];
        let own = NetnsCounters { id: NetnsId(9), pid: Some(300), sysctls, multicast, ..NetnsCounters::default() };
        s.world.net.netns.push(own);
        let key = &mut s.world.sockets.udp[0].key;
        (key.netns, key.local) = (NetnsId(9), "228.8.8.8:45588".parse().unwrap());
        s.secs(1);
        lose(&mut s, 30);
        let f = s.expect("udp.rcvbuf_drops");
        assert!(f.message.contains("at UDP 228.8.8.8:45588 (a multicast group)"), "{}", f.message);
        assert!(f.advice[0].starts_with("sysctl -w net.core.rmem_max="), "{:?}", f.advice);
        assert!(f.evidence.iter().any(|e| format!("{:?}", e.value).contains("228.8.8.8 on eth0")), "{:?}", f.evidence);
        assert_eq!(f.command.as_deref(), Some("nsenter -t 300 -n ss -uanmp sport = :45588"));
    }

    #[test]
    fn old_drops_a_few_and_a_reset_are_silent() {
        let mut s = jgroups(262_142);
        s.secs(3);
        lose(&mut s, 1);
        s.world.sockets.udp[0].drops = 0;
        s.secs(3);
        s.silent();
    }

    #[test]
    fn a_socket_made_inside_the_look_has_all_its_drops() {
        let mut s = Script::new();
        s.secs(2);
        let app = s.world.task(5, "app");
        s.world.udp(app, "0.0.0.0:9").drops = 50;
        s.secs(1);
        assert_eq!(s.value("udp.rcvbuf_drops"), 50);
    }

    #[test]
    fn errors_without_a_socket_in_sight_are_told_of_the_namespace_and_clear() {
        let mut s = Script::new();
        for n in 0..4 {
            s.world.netns().counters = counters(&[("UdpRcvbufErrors", 100 + n * 50)]);
            s.secs(1);
        }
        assert!(s.expect("udp.rcvbuf_drops").message.contains("can't be seen"));
        s.secs(10);
        assert!(!s.expect("udp.rcvbuf_drops").active);
    }
}
