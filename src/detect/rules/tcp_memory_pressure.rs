//! TCP runs out of memory or of orphans.

use crate::detect::{Case, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{NetnsCounters, Subject};

const ABORT: &str = "TcpExtTCPAbortOnMemory";
/// Data that a socket threw away for want of buffer.
const LOST: [&str; 3] = ["TcpExtRcvPruned", "TcpExtTCPBacklogDrop", "TcpExtTCPRcvQDrop"];
const PRUNE_CALLED: &str = "TcpExtPruneCalled";

pub(super) static RULES: &[Rule] = &[Rule {
    id: "tcp.memory_pressure",
    about: "tcp_mem or orphans near their limit, connections reset or data dropped for memory",
    effect: "TCP is short of memory",
    knobs: &[
        Knob { key: "share", default: 0.9, unit: "of tcp_mem or tcp_max_orphans", about: "use that is a finding" },
        Knob { key: "lost", default: 100.0, unit: "segments", about: "segments dropped for memory in the window" },
    ],
    explains: &[],
    hold_s: 0.0,
    measure,
    judge,
}];

fn measure(look: &Look<'_>, out: &mut Measures) {
    let Some(net) = look.snap.net.data() else { return };
    for netns in &net.netns {
        let get = |name: &str| netns.counters.get(name);
        let lost: u64 = LOST.iter().filter_map(|name| get(name)).fold(0, u64::saturating_add);
        out.put(Subject::Netns(netns.id), lost as f64)
            .counter("lost", lost)
            .counter(ABORT, get(ABORT))
            .counter(PRUNE_CALLED, get(PRUNE_CALLED));
    }
    let Some(first) = look.first_netns() else { return };
    let pages = first.sockstat.get("TCPmem");
    let limit = look.sysctl(first, "net.ipv4.tcp_mem.2");
    if let (Some(pages), Some(limit)) = (pages, limit) {
        out.put(Subject::Host, pages as f64).limit(Some(limit));
    }
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    match case.netns() {
        Some(netns) => judge_netns(case, netns),
        None => judge_host(case),
    }
}

fn judge_host(case: &Case<'_>) -> Option<Verdict> {
    let first = case.look.first_netns()?;
    let (pages, limit) = (case.value(), case.now.limit?);
    let orphans: u64 = case.look.snap.net.data()?.netns.iter().filter_map(|n| n.sockstat.get("TCPorphan")).fold(0, u64::saturating_add);
    let orphans_max = case.look.sysctl(first, "net.ipv4.tcp_max_orphans");
    let share = case.knob("share");
    let full = case.reaches(pages, limit * share);
    let orphaned = orphans_max.is_some_and(|max| max > 0.0 && case.reaches(orphans as f64, max * share));
    if !full && !orphaned {
        return None;
    }
    let critical = pages >= limit || orphans_max.is_some_and(|max| orphans as f64 >= max);
    let severity = if critical { Severity::Critical } else { Severity::Warning };
    let page = case.look.snap.host.data().map_or(4096.0, |h| h.page_bytes as f64);
    let message = if full {
        format!("TCP uses {} of the {} that tcp_mem allows", words::bytes(pages * page), words::bytes(limit * page))
    } else {
        format!("{} TCP sockets without a process, near tcp_max_orphans", words::count(orphans as f64))
    };
    Some(
        case.verdict(severity, "pages", message)
            .rate(case.growth())
            .number("/proc/net/sockstat", "TCP mem", pages)
            .number("/proc/sys", "net.ipv4.tcp_mem.2", limit)
            .number("/proc/net/sockstat", "TCP orphan", orphans as f64)
            .number("/proc/sys", "net.ipv4.tcp_max_orphans", orphans_max)
            .advise("find who holds unread or unsent data: TCP pane, sorted by queue")
            .advise(format!("tcp_mem's third value caps all TCP memory of the host: raise it if RAM allows   # now {limit:.0} pages")),
    )
}

fn judge_netns(case: &Case<'_>, netns: &NetnsCounters) -> Option<Verdict> {
    let aborts = case.grown_lately(ABORT) >= 1.0;
    let lost = case.grown("lost");
    let drops = lost >= case.knob("lost") && case.grown_lately("lost") >= 1.0;
    if !aborts && !drops {
        return None;
    }
    let severity = if aborts { Severity::Critical } else { Severity::Warning };
    let rate = case.rate(if aborts { ABORT } else { "lost" });
    let message = if aborts {
        format!("{} are reset for want of memory or too many orphans", words::rate_of(rate, "TCP connections"))
    } else {
        format!("{} are dropped because receive buffers are full", words::rate_of(rate, "TCP segments"))
    };
    let mut verdict = case.verdict(severity, "events", message).rate(rate);
    verdict.value = if aborts { case.grown(ABORT) } else { lost };
    for name in LOST.into_iter().chain([ABORT, PRUNE_CALLED]) {
        let value = netns.counters.get(name).map(|v| v as f64);
        verdict = verdict.number("/proc/net/netstat", name.trim_start_matches("TcpExt"), value);
    }
    Some(verdict.advise("see which process does not read: TCP pane, sorted by receive queue"))
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{Script, counters};
    use crate::model::Severity;

    #[test]
    fn tcp_mem_near_its_limit_fires_and_clears() {
        let mut s = Script::new();
        s.world.netns().sysctls = counters(&[("net.ipv4.tcp_mem.2", 1000), ("net.ipv4.tcp_max_orphans", 100)]);
        s.world.netns().sockstat = counters(&[("TCPmem", 950), ("TCPorphan", 3)]);
        s.secs(2);
        assert_eq!(s.value("tcp.memory_pressure"), 950);
        s.world.netns().sockstat = counters(&[("TCPmem", 10), ("TCPorphan", 3)]);
        s.secs(3);
        assert!(!s.expect("tcp.memory_pressure").active);
    }

    #[test]
    fn resets_for_memory_are_critical_and_old_ones_and_a_reset_counter_silent() {
        let mut s = Script::new();
        for n in [100, 100, 5, 5] {
            s.world.netns().counters = counters(&[("TcpExtTCPAbortOnMemory", n)]);
            s.secs(1);
        }
        s.silent();
        s.world.netns().counters = counters(&[("TcpExtTCPAbortOnMemory", 25)]);
        s.secs(1);
        assert_eq!(s.expect("tcp.memory_pressure").severity, Severity::Critical);
        s.world.hide("net");
        s.secs(4);
        assert!(!s.expect("tcp.memory_pressure").active);
    }
}
