//! TCP runs out of memory or of orphans.

use crate::detect::command::in_netns;
use crate::detect::{Case, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{NetnsCounters, SockGroup, Subject, TaskKey};
use std::cmp::Reverse;
use std::collections::BTreeMap;

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
        let m = out
            .put(Subject::Netns(netns.id), lost as f64)
            .counter("lost", lost)
            .counter(ABORT, get(ABORT))
            .counter(PRUNE_CALLED, get(PRUNE_CALLED));
        for name in LOST {
            m.counter(name, get(name));
        }
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

const TCP_MEM: [&str; 3] = ["net.ipv4.tcp_mem.0", "net.ipv4.tcp_mem.1", "net.ipv4.tcp_mem.2"];
const ORPHANS_MAX: &str = "net.ipv4.tcp_max_orphans";

fn judge_host(case: &Case<'_>) -> Option<Verdict> {
    let first = case.look.first_netns()?;
    let (pages, limit) = (case.value(), case.now.limit?);
    let netns = &case.look.snap.net.data()?.netns;
    let orphans = netns.iter().filter_map(|n| n.sockstat.get("TCPorphan")).fold(0, u64::saturating_add) as f64;
    let orphans_max = case.look.sysctl(first, ORPHANS_MAX).filter(|&max| max > 0.0);
    let share = case.knob("share");
    let full = case.reaches(pages, limit * share);
    let orphaned = orphans_max.filter(|max| case.reaches(orphans, max * share));
    if !full && orphaned.is_none() {
        return None;
    }
    let critical = pages >= limit || orphans_max.is_some_and(|max| orphans >= max);
    let severity = if critical { Severity::Critical } else { Severity::Warning };
    let page = case.look.snap.host.data().map_or(4096.0, |h| h.page_bytes as f64);
    let holders = Holders::of(case.look.snap.sockets.data().into_iter().flat_map(|s| &s.groups), |g| g.mem_bytes);
    let message = match orphaned {
        Some(max) if !full => {
            format!("{} of {} TCP sockets without a process that tcp_max_orphans allows", words::count(orphans), words::count(max))
        }
        _ => format!(
            "TCP uses {} of the {} that tcp_mem allows{}",
            words::bytes(pages * page),
            words::bytes(limit * page),
            holders.words(case.look, "; most is of")
        ),
    };
    let mut verdict = case
        .verdict(severity, "pages", message)
        .rate(case.growth())
        .number("/proc/net/sockstat", "TCP mem, pages", pages)
        .number("/proc/sys", TCP_MEM[2], limit)
        .number("/proc/net/sockstat", "TCP orphan", orphans)
        .number("/proc/sys", ORPHANS_MAX, orphans_max)
        .shown_by("cat /proc/net/sockstat; ss -tnpm".to_owned())
        .about(holders.tasks(), []);
    if full {
        return Some(
            verdict
                .advise("find who holds unread or unsent data: TCP pane, sorted by queue")
                .advise_some(enlarge(case, first, page)),
        );
    }
    (verdict.value, verdict.limit, verdict.unit, verdict.rate_per_s) = (orphans, orphans_max, "sockets", None);
    Some(
        verdict
            .advise("see who closes before the far end has taken all that was sent, and whether far ends vanish")
            .advise_some(case.look.sysctl_change(first, ORPHANS_MAX, words::power_of_two(orphans_max.unwrap_or(0.0) * 2.0))),
    )
}

/// `tcp_mem` twice as large, where that still is a quarter of RAM at most.
fn enlarge(case: &Case<'_>, first: &NetnsCounters, page: f64) -> Option<String> {
    let [low, pressure, high] = TCP_MEM.map(|name| case.look.sysctl(first, name));
    let (low, pressure, high) = (low?, pressure?, high?);
    let fits = high * 2.0 * page <= case.look.ram_bytes()? / 4.0;
    let change = format!(
        "sysctl -w net.ipv4.tcp_mem=\"{:.0} {:.0} {:.0}\"   # pages; now {low:.0} {pressure:.0} {high:.0}",
        low * 2.0,
        pressure * 2.0,
        high * 2.0
    );
    Some(if fits { change } else { format!("tcp_mem is a large part of RAM already ({high:.0} pages): close connections instead") })
}

/// Who holds most of something, over socket groups; only those that hold any.
struct Holders {
    most: Vec<(TaskKey, u64)>,
}

impl Holders {
    fn of<'a>(groups: impl Iterator<Item = &'a SockGroup>, bytes: impl Fn(&SockGroup) -> u64) -> Self {
        let mut sums: BTreeMap<TaskKey, u64> = BTreeMap::new();
        for group in groups {
            if let (Some(owner), held @ 1..) = (group.owner, bytes(group)) {
                *sums.entry(owner).or_default() += held;
            }
        }
        let mut most: Vec<_> = sums.into_iter().collect();
        most.sort_by_key(|&(key, bytes)| (Reverse(bytes), key));
        most.truncate(3);
        Self { most }
    }

    fn words(&self, look: &Look<'_>, lead: &str) -> String {
        let name = |&(key, bytes): &(TaskKey, u64)| format!("{} ({})", look.task_name(key), words::bytes(bytes as f64));
        let names: Vec<String> = self.most.iter().map(name).collect();
        if names.is_empty() { String::new() } else { format!("{lead} {}", words::list(&names, 2)) }
    }

    fn tasks(&self) -> impl Iterator<Item = TaskKey> {
        self.most.iter().map(|(key, _)| *key)
    }
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
    let groups = case.look.snap.sockets.data().into_iter().flat_map(|s| &s.groups).filter(|g| g.netns == netns.id);
    let holders = Holders::of(groups, |g| g.recv_q_bytes);
    let unread = holders.words(case.look, "; most unread data waits for");
    let message = if aborts {
        format!("{} are reset for want of memory or too many orphans", words::rate_of(rate, "TCP connections"))
    } else {
        format!("{} are dropped because receive buffers are full{unread}", words::rate_of(rate, "TCP segments"))
    };
    let mut verdict = case.verdict(severity, if aborts { "connections" } else { "segments" }, message).rate(rate);
    verdict.value = if aborts { case.grown(ABORT) } else { lost };
    for name in LOST.into_iter().chain([ABORT, PRUNE_CALLED]).filter(|name| case.grown(name) >= 1.0) {
        let value = netns.counters.get(name).map(|v| v as f64);
        verdict = verdict.rated("/proc/net/netstat", name.trim_start_matches("TcpExt"), value, Some(case.rate(name)));
    }
    let verdict = verdict
        .number("/proc/sys", "net.ipv4.tcp_rmem.2", case.look.sysctl(netns, "net.ipv4.tcp_rmem.2"))
        .shown_by(in_netns(case.look, netns.id, "ss -tnp state established | sort -rn | head"))
        .about(holders.tasks(), []);
    Some(if aborts {
        verdict.advise("see what fills it: tcp_mem or orphans (Net pane), and who holds unsent data (TCP pane, by queue)")
    } else {
        verdict.advise("see which process does not read: TCP pane, sorted by receive queue; a larger buffer only delays it")
    })
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
    fn full_tcp_memory_names_its_holders_and_the_change() {
        let mut s = Script::new();
        let mem = [("net.ipv4.tcp_mem.0", 500), ("net.ipv4.tcp_mem.1", 700), ("net.ipv4.tcp_mem.2", 1000)];
        s.world.netns().sysctls = counters(&mem);
        s.world.netns().sockstat = counters(&[("TCPmem", 1001)]);
        let java = s.world.task(7, "java");
        s.world.tcp(java, "established", 40).mem_bytes = 3 << 20;
        s.secs(2);
        let f = s.expect("tcp.memory_pressure");
        assert_eq!(f.message, "TCP uses 3.9 MB of the 3.9 MB that tcp_mem allows; most is of java(7) (3.0 MB)");
        assert_eq!(f.advice[1], "sysctl -w net.ipv4.tcp_mem=\"1000 1400 2000\"   # pages; now 500 700 1000");
    }

    #[test]
    fn orphans_are_counted_as_sockets_against_their_own_limit() {
        let mut s = Script::new();
        s.world.netns().sysctls = counters(&[("net.ipv4.tcp_mem.2", 1000), ("net.ipv4.tcp_max_orphans", 4096)]);
        s.world.netns().sockstat = counters(&[("TCPmem", 10), ("TCPorphan", 4000)]);
        s.secs(2);
        let f = s.expect("tcp.memory_pressure");
        assert_eq!((s.value(f.id), f.limit, f.unit), (4000, Some(4096.0), "sockets"));
        assert!(f.advice[1].contains("net.ipv4.tcp_max_orphans=8192   # now 4096"), "{:?}", f.advice);
    }

    #[test]
    fn dropped_segments_name_who_does_not_read() {
        let mut s = Script::new();
        let slow = s.world.task(9, "slow-reader");
        s.world.tcp(slow, "established", 2).recv_q_bytes = 90_000;
        for n in 0..4 {
            s.world.netns().counters = counters(&[("TcpExtRcvPruned", n * 50), ("TcpExtTCPRcvQDrop", 0)]);
            s.secs(1);
        }
        let f = s.expect("tcp.memory_pressure");
        assert!(f.message.ends_with("most unread data waits for slow-reader(9) (88 kB)"), "{}", f.message);
        let moved: Vec<_> = f.evidence.iter().filter(|e| e.rate_per_s.is_some()).map(|e| &*e.field).collect();
        assert_eq!(moved, ["RcvPruned"]);
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
