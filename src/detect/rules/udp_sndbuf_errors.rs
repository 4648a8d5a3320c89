//! Datagrams that could not be sent for want of buffer (story E).

use crate::detect::command::in_netns;
use crate::detect::{Case, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{NetnsCounters, Subject, UdpSocket};

const ERRORS: [&str; 2] = ["UdpSndbufErrors", "Udp6SndbufErrors"];

pub(super) static RULES: &[Rule] = &[Rule {
    id: "udp.sndbuf_errors",
    about: "datagrams not sent because a send buffer or the queue below it was full",
    effect: "datagrams can't be sent",
    knobs: &[Knob { key: "errors", default: 10.0, unit: "datagrams", about: "errors in the window that are a finding" }],
    explains: &[],
    hold_s: 0.0,
    measure,
    judge,
}];

fn measure(look: &Look<'_>, out: &mut Measures) {
    for netns in look.snap.net.data().map(|n| n.netns.as_slice()).unwrap_or_default() {
        let errors: u64 = ERRORS.iter().filter_map(|name| netns.counters.get(name)).fold(0, u64::saturating_add);
        let m = out.put(Subject::Netns(netns.id), errors as f64).counter("errors", errors);
        for name in ERRORS {
            m.counter(name, netns.counters.get(name));
        }
    }
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let netns = case.netns()?;
    let errors = case.grown("errors");
    if errors < case.knob("errors") || case.grown_lately("errors") < 1.0 {
        return None;
    }
    let rate = case.rate("errors");
    let look = case.look;
    let fullest = fullest(look, netns);
    let who = fullest.and_then(|s| s.owner).map(|owner| look.task_name(owner));
    let at = who.as_ref().map_or_else(String::new, |who| format!("; the fullest send buffer is {who}'s"));
    let message =
        format!("{} can't be sent: send buffers or the queue below them are full{at}", words::rate_of(rate, "UDP datagrams"));
    let mut verdict = case
        .verdict(Severity::Critical, "datagrams", message)
        .rate(rate)
        .shown_by(in_netns(look, netns.id, "nstat -asz UdpSndbufErrors Udp6SndbufErrors"));
    for name in ERRORS.into_iter().filter(|name| case.grown(name) >= 1.0) {
        let source = if name.starts_with("Udp6") { "/proc/net/snmp6" } else { "/proc/net/snmp" };
        verdict = verdict.rated(source, name, netns.counters.get(name).map(|v| v as f64), Some(case.rate(name)));
    }
    verdict.value = errors;
    let sysctl = |name: &str| look.sysctl(netns, name);
    Some(
        verdict
            .number("/proc/sys", "net.core.wmem_max", sysctl("net.core.wmem_max"))
            .number("/proc/sys", "net.core.wmem_default", sysctl("net.core.wmem_default"))
            .number("sock_diag", "send queue of the fullest socket", fullest.map(|s| s.send_q_bytes as f64))
            .number("sock_diag", "SKMEMINFO sndbuf (granted)", fullest.and_then(|s| s.sndbuf_bytes).map(|b| b as f64))
            .advise("see whether the link is full or its queue drops (Net pane): a larger buffer then only delays")
            .advise_some(enlarge(case, netns, fullest, who.as_deref()))
            .about(fullest.and_then(|s| s.owner), []),
    )
}

/// The socket whose send buffer is fullest, where it is at least half full.
fn fullest<'a>(look: &Look<'a>, netns: &NetnsCounters) -> Option<&'a UdpSocket> {
    let sockets = look.snap.sockets.data()?.udp.iter().filter(|s| s.key.netns == netns.id);
    let full = |s: &&UdpSocket| s.sndbuf_bytes.is_some_and(|granted| s.send_q_bytes >= (granted / 2).max(1));
    sockets.filter(full).max_by_key(|s| s.send_q_bytes)
}

/// How that socket gets more: by the cap, by the default, or by asking. The kernel grants twice what is asked for.
fn enlarge(case: &Case<'_>, netns: &NetnsCounters, socket: Option<&UdpSocket>, who: Option<&str>) -> Option<String> {
    let sysctl = |name: &str| case.look.sysctl(netns, name);
    let raise = |name: &str| case.look.sysctl_change(netns, name, (sysctl(name).unwrap_or(0.0) * 4.0).max(4_194_304.0));
    let granted = socket.and_then(|s| s.sndbuf_bytes).map(|b| b as f64);
    let is = |n: Option<f64>| granted.zip(n).is_some_and(|(a, b)| (a - b).abs() < 1.0);
    match (granted, who) {
        (Some(_), _) if is(sysctl("net.core.wmem_max").map(|max| max * 2.0)) => raise("net.core.wmem_max"),
        (Some(_), _) if is(sysctl("net.core.wmem_default")) => raise("net.core.wmem_default"),
        (Some(granted), Some(who)) => Some(format!(
            "{who} asked for a send buffer of {}: let it ask for more (SO_SNDBUF), net.core.wmem_max allows {}",
            words::bytes(granted / 2.0),
            words::bytes(sysctl("net.core.wmem_max")?)
        )),
        _ => raise("net.core.wmem_max"),
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{Script, counters};

    #[test]
    fn rising_errors_fire_with_the_cap_and_end() {
        let mut s = Script::new();
        s.world.netns().sysctls = counters(&[("net.core.wmem_max", 212_992)]);
        for n in 0..4 {
            s.world.netns().counters = counters(&[("UdpSndbufErrors", 1000 + n * 40)]);
            s.secs(1);
        }
        let f = s.expect("udp.sndbuf_errors");
        assert_eq!(s.value("udp.sndbuf_errors"), 120);
        assert!(f.advice[1].contains("net.core.wmem_max=4194304   # now 212992"));
        s.secs(9);
        assert!(!s.expect("udp.sndbuf_errors").active);
    }

    #[test]
    fn the_fullest_socket_says_what_would_help() {
        for (granted, advice) in [
            (425_984, "net.core.wmem_max=4194304"),
            (106_496, "net.core.wmem_default=4194304"),
            (65_536, "app(5) asked for a send buffer of 32 kB: let it ask for more (SO_SNDBUF), net.core.wmem_max allows 208 kB"),
        ] {
            let mut s = Script::new();
            let app = s.world.task(5, "app");
            let idle = s.world.task(6, "idle");
            s.world.udp(idle, "0.0.0.0:8").send_q_bytes = 768;
            let socket = s.world.udp(app, "0.0.0.0:9");
            (socket.sndbuf_bytes, socket.send_q_bytes) = (Some(granted), granted - 700);
            s.world.netns().sysctls = counters(&[("net.core.wmem_max", 212_992), ("net.core.wmem_default", 106_496)]);
            for n in 0..4 {
                s.world.netns().counters = counters(&[("UdpSndbufErrors", n * 40), ("Udp6SndbufErrors", 7)]);
                s.secs(1);
            }
            let f = s.expect("udp.sndbuf_errors");
            assert!(f.message.ends_with("the fullest send buffer is app(5)'s"), "{}", f.message);
            assert!(f.advice[1].contains(advice), "{:?}", f.advice);
            assert!(f.evidence.iter().all(|e| &*e.field != "Udp6SndbufErrors"), "{:?}", f.evidence);
        }
    }

    #[test]
    fn old_errors_a_reset_and_no_section_are_silent() {
        let mut s = Script::new();
        for n in [5000, 5000, 3, 3] {
            s.world.netns().counters = counters(&[("UdpSndbufErrors", n)]);
            s.secs(1);
        }
        s.world.hide("net");
        s.secs(2);
        s.silent();
    }
}
