//! The host is out of memory or of swap.

use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{Counters, Subject, Task};
use std::cmp::Reverse;

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "host.memory_exhausted",
        about: "little memory is available on the host",
        effect: "the host runs out of memory",
        knobs: &[
            Knob { key: "share", default: 0.05, unit: "of RAM", about: "available memory that is a finding" },
            Knob { key: "critical_share", default: 0.02, unit: "of RAM", about: "available memory that is critical" },
        ],
        explains: &[("host.swap_full", Join::Host), ("host.oom_kill", Join::Host), ("host.pressure", Join::Host)],
        hold_s: 1.0,
        measure: measure_memory,
        judge: judge_memory,
    },
    Rule {
        id: "host.swap_full",
        about: "swap is full and memory is short",
        effect: "swap is full",
        knobs: &[
            Knob { key: "share", default: 0.9, unit: "of swap", about: "used swap that is a finding" },
            Knob { key: "available", default: 0.25, unit: "of RAM", about: "available memory above which full swap is calm" },
        ],
        explains: &[("host.oom_kill", Join::Host)],
        hold_s: 1.0,
        measure: measure_swap,
        judge: judge_swap,
    },
];

/// `MemAvailable`, or what kernels before 3.14 would have said.
fn available(meminfo: &Counters) -> Option<u64> {
    meminfo.get("MemAvailable").or_else(|| {
        let get = |name: &str| meminfo.get(name).unwrap_or(0);
        let cache = get("Cached").saturating_sub(get("Shmem"));
        Some(meminfo.get("MemFree")?.saturating_add(cache).saturating_add(get("SReclaimable")))
    })
}

fn measure_memory(look: &Look<'_>, out: &mut Measures) {
    let Some(bytes) = look.snap.memory.data().and_then(|m| available(&m.meminfo)) else { return };
    out.put(Subject::Host, bytes as f64).limit(look.ram_bytes());
}

fn judge_memory(case: &Case<'_>) -> Option<Verdict> {
    let ram = case.now.limit?;
    let share = case.value() / ram;
    // Less is worse here: a finding that stands ends a tenth above where it began.
    let threshold = case.knob("share") * if case.is_firing() { 1.1 } else { 1.0 };
    if share > threshold {
        return None;
    }
    let severity = if share <= case.knob("critical_share") { Severity::Critical } else { Severity::Warning };
    let top = largest(case.look);
    let names: Vec<String> = top.iter().map(|t| format!("{} {}", words::task(t), words::bytes(t.rss_bytes as f64))).collect();
    let meminfo = &case.look.snap.memory.data()?.meminfo;
    let slab = meminfo.get("SUnreclaim").map_or(0.0, |b| b as f64);
    let kernel = if slab > ram * 0.2 { format!("; {} is unreclaimable slab", words::bytes(slab)) } else { String::new() };
    let message = format!(
        "{} of {} memory is available ({}); largest: {}{kernel}",
        words::bytes(case.value()),
        words::bytes(ram),
        words::percent(share),
        words::list(&names, 3)
    );
    let number = |name: &str| meminfo.get(name).map(|b| b as f64);
    Some(
        case.verdict(severity, "bytes", message)
            .rate(case.trend().map(|t| t.per_s))
            .number("/proc/meminfo", "MemAvailable", case.value())
            .number("/proc/meminfo", "MemTotal", ram)
            .number("/proc/meminfo", "AnonPages", number("AnonPages"))
            .number("/proc/meminfo", "Shmem", number("Shmem"))
            .number("/proc/meminfo", "SUnreclaim", number("SUnreclaim"))
            .advise("end or shrink the largest before the kernel chooses; k shows what a kill would do")
            .about(top.iter().take(1).map(|t| t.key), []),
    )
}

fn largest<'a>(look: &Look<'a>) -> Vec<&'a Task> {
    let mut rows: Vec<&Task> = look.snap.tasks.data().map(|t| t.rows.iter().collect()).unwrap_or_default();
    rows.sort_by_key(|t| (Reverse(t.rss_bytes), t.key));
    rows.truncate(3);
    rows
}

fn measure_swap(look: &Look<'_>, out: &mut Measures) {
    let Some(meminfo) = look.snap.memory.data().map(|m| &m.meminfo) else { return };
    let (Some(total), Some(free)) = (meminfo.get("SwapTotal"), meminfo.get("SwapFree")) else { return };
    if total > 0 {
        out.put(Subject::Host, total.saturating_sub(free) as f64).limit(Some(total as f64));
    }
}

fn judge_swap(case: &Case<'_>) -> Option<Verdict> {
    let total = case.now.limit?;
    let memory = case.look.snap.memory.data()?;
    let left = available(&memory.meminfo)? as f64 / case.look.ram_bytes()?;
    if !case.reaches(case.value(), total * case.knob("share")) || left > case.knob("available") {
        return None;
    }
    let severity = if left <= 0.05 { Severity::Critical } else { Severity::Warning };
    let message = format!(
        "swap is full: {} of {}, with {} of memory available",
        words::bytes(case.value()),
        words::bytes(total),
        words::percent(left)
    );
    let rate = |name: &str| case.look.model.vmstat_rates.get(name).copied();
    let mut top: Vec<&Task> = case.look.snap.tasks.data().map(|t| t.rows.iter().filter(|t| t.swap_bytes > Some(0)).collect()).unwrap_or_default();
    top.sort_by_key(|t| (Reverse(t.swap_bytes), t.key));
    let names: Vec<String> =
        top.iter().take(3).map(|t| format!("{} {}", words::task(t), words::bytes(t.swap_bytes.unwrap_or(0) as f64))).collect();
    let most = (!names.is_empty()).then(|| format!("most swapped: {}", words::list(&names, 3)));
    Some(
        case.verdict(severity, "bytes", message)
            .rate(case.growth())
            .number("/proc/meminfo", "SwapTotal", total)
            .number("/proc/meminfo", "SwapTotal - SwapFree", case.value())
            .rated("/proc/vmstat", "pswpin", memory.vmstat.get("pswpin").map(|n| n as f64), rate("pswpin"))
            .rated("/proc/vmstat", "pswpout", memory.vmstat.get("pswpout").map(|n| n as f64), rate("pswpout"))
            .advise_some(most)
            .advise("the next step is the OOM killer: free memory now"),
    )
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{RAM, Script, counters};
    use crate::model::Severity;

    fn memory(available: u64, swap_free: u64) -> Script {
        let mut s = Script::new();
        let all = [("MemTotal", RAM), ("MemAvailable", available), ("SwapTotal", 1000 << 20), ("SwapFree", swap_free)];
        s.world.memory.meminfo = counters(&all);
        let db = s.world.task(9, "db");
        s.world.row(db).rss_bytes = RAM / 2;
        s
    }

    #[test]
    fn little_memory_fires_names_the_largest_and_clears() {
        let mut s = memory(RAM / 100 * 4, 1000 << 20);
        s.secs(3);
        let f = s.expect("host.memory_exhausted");
        assert_eq!(f.severity, Severity::Warning);
        assert!(f.message.contains("db(9) 8.0 GB"), "{}", f.message);
        s.world.memory.meminfo = counters(&[("MemTotal", RAM), ("MemAvailable", RAM / 2)]);
        s.secs(3);
        assert!(!s.expect("host.memory_exhausted").active);
    }

    #[test]
    fn full_swap_counts_only_when_memory_is_short() {
        let mut s = memory(RAM / 2, 0);
        s.secs(3);
        s.silent();
        let mut s = memory(RAM / 100, 0);
        s.secs(3);
        assert_eq!(s.expect("host.swap_full").severity, Severity::Critical);
        assert_eq!(s.last().stories.len(), 1);
        assert_eq!(s.last().findings[s.last().stories[0].root].id, "host.memory_exhausted");
    }

    #[test]
    fn silent_without_sections() {
        let mut s = memory(1, 0);
        for name in ["memory", "host"] {
            s.world.hide(name);
        }
        s.secs(4);
        s.silent();
    }
}
