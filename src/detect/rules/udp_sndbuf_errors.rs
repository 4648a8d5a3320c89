//! Datagrams that could not be sent for want of buffer (story E).

use crate::detect::{Case, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::Subject;

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
        out.put(Subject::Netns(netns.id), errors as f64).counter("errors", errors);
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
    let max = look.sysctl(netns, "net.core.wmem_max");
    let message = format!("{} can't be sent: send buffers or the queue below them are full", words::rate_of(rate, "UDP datagrams"));
    let mut verdict = case
        .verdict(Severity::Critical, "datagrams", message)
        .rate(rate)
        .number("/proc/sys", "net.core.wmem_max", max)
        .number("/proc/sys", "net.core.wmem_default", look.sysctl(netns, "net.core.wmem_default"));
    for name in ERRORS {
        let source = if name.starts_with("Udp6") { "/proc/net/snmp6" } else { "/proc/net/snmp" };
        verdict = verdict.rated(source, name, netns.counters.get(name).map(|v| v as f64), Some(rate));
    }
    verdict.value = errors;
    Some(
        verdict
            .advise("see whether the link is full or its queue drops (Net pane): a larger buffer then only delays")
            .advise_some(look.sysctl_change(netns, "net.core.wmem_max", (max.unwrap_or(0.0) * 4.0).max(4_194_304.0))),
    )
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
