//! Kernel memory that does not come back (story C).

use super::cgroup_dying_pile;
use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, earlier, words};
use crate::model::{Metric, Severity, Trend};
use crate::snapshot::{Moment, Slab, Subject};

pub(super) static RULES: &[Rule] = &[Rule {
    id: "slab.unreclaimable",
    about: "kernel memory that can't be reclaimed: a large part of RAM, or growing steadily",
    effect: "kernel memory does not come back",
    knobs: &[
        Knob { key: "share", default: 0.3, unit: "of RAM", about: "unreclaimable slab that is a finding" },
        Knob { key: "critical_share", default: 0.5, unit: "of RAM", about: "as much is critical" },
        Knob { key: "per_min", default: 0.01, unit: "of RAM a minute", about: "steady growth that is a finding" },
        Knob { key: "slow_per_min", default: 0.001, unit: "of RAM a minute", about: "the same over 10 minutes" },
        Knob { key: "dying", default: DYING, unit: "cgroups", about: "dying cgroups from which reclaimable slab counts as stuck" },
    ],
    explains: &[("slab.growth", Join::Host), ("host.memory_exhausted", Join::Host)],
    hold_s: 0.0,
    measure,
    judge,
}];

fn measure(look: &Look<'_>, out: &mut Measures) {
    let Some(memory) = look.snap.memory.data() else { return };
    let Some(stuck) = memory.meminfo.get("SUnreclaim") else { return };
    out.put(Subject::Host, stuck as f64).limit(look.ram_bytes());
}

/// Whether so many cgroups are dead that slab labelled reclaimable may be theirs: then it goes only with the last of
/// their pages.
pub(super) fn is_held_by_the_dead(look: &Look<'_>, from: f64) -> bool {
    look.snap.cgroups.data().and_then(|c| c.dying).is_some_and(|n| n as f64 >= from)
}

/// Growth of all slab, where it grows with the dead that hold it. What else grows reclaimable is cache.
fn growth_with_the_dead(case: &Case<'_>, ram: f64) -> Option<f64> {
    steady_growth(case, ram, |from| {
        cgroup_dying_pile::growth(case.look, from)?;
        case.look.trend_of(&Subject::Host, Metric::SlabBytes, from)
    })
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let ram = case.look.ram_bytes()?;
    let meminfo = |name: &str| case.look.snap.memory.data().and_then(|m| m.meminfo.get(name)).map(|v| v as f64);
    let own = steady_growth(case, ram, |from| case.trend_since(from));
    let all = meminfo("SReclaimable").filter(|_| is_held_by_the_dead(case.look, case.knob("dying"))).map(|b| b + case.value());
    let with_the_dead = all.and_then(|_| growth_with_the_dead(case, ram));
    let held = all.filter(|&b| with_the_dead.is_some() || case.reaches(b / ram, case.knob("share")));
    let n = held.unwrap_or(case.value());
    let share = n / ram;
    let growth = with_the_dead.or(own);
    if !case.reaches(share, case.knob("share")) && growth.is_none() {
        return None;
    }
    let critical = case.reaches(share, case.knob("critical_share"));
    let severity = if critical { Severity::Critical } else { Severity::Warning };
    let caches = largest(case.look, held.is_some());
    let names: Vec<String> = caches.iter().map(|s| format!("{} {}", s.name, words::bytes(s.bytes as f64))).collect();
    let grows = growth.map_or_else(String::new, |r| format!(", growing {}/min", words::bytes(r * 60.0)));
    let most = if names.is_empty() { String::new() } else { format!("; most is {}", words::list(&names, 2)) };
    let message = format!(
        "{} of kernel memory can't be reclaimed ({} of RAM){grows}{most}",
        words::bytes(n),
        words::percent(share),
    );
    let cgroups = case.look.snap.cgroups.data();
    let dying = cgroups.and_then(|c| c.dying);
    let dying_source = cgroups.map_or_else(|| "/proc/cgroups".into(), |c| c.dying_source.clone());
    let mut verdict = case
        .verdict(severity, "bytes", message)
        .rate(growth)
        .rated("/proc/meminfo", "SUnreclaim", case.value(), own)
        .number("/proc/meminfo", "SReclaimable", meminfo("SReclaimable"))
        .number(dying_source, "dying memory cgroups", dying.map(|n| n as f64));
    verdict.value = n;
    if held.is_some() {
        verdict = verdict.draw(Metric::SlabBytes);
    }
    for slab in &caches {
        let rate = case.look.model.slab_bytes_per_s.get(&slab.name).copied();
        verdict = verdict.rated("/proc/slabinfo", slab.name.clone(), slab.bytes as f64, rate);
    }
    Some(
        verdict
            .shown_by("slabtop -o -s c | head -12; grep -E 'SUnreclaim|SReclaimable' /proc/meminfo".to_owned())
            .advise("dropping caches does not free it: find what allocates it (slab pane, growth column)")
            .advise("if dying cgroups grow with it, see cgroup.dying_pile; else suspect a driver or a kernel leak and plan a reboot"),
    )
}

/// Dying cgroups from which reclaimable slab may be theirs.
pub(super) const DYING: f64 = 1000.0;

/// Slow growth must last so long.
pub(super) const SLOW_S: f64 = 600.0;

/// Less than this is no growth, however small the host: over the window a thousand connections, over ten minutes a few
/// dozen tasks and their stacks.
const RISE_MIN: f64 = (16_u64 << 20) as f64;
const SLOW_RISE_MIN: f64 = (4_u64 << 20) as f64;

/// Growth per second that is fast over the window, or slow over ten minutes, by the rule's `per_min` and
/// `slow_per_min`. `trend` gives the trend since a moment.
pub(super) fn steady_growth(case: &Case<'_>, ram: f64, trend: impl Fn(Moment) -> Option<Trend>) -> Option<f64> {
    let grows =
        |t: &Trend, min: f64, knob: &str| t.grows() && t.rise >= min && t.per_s * 60.0 >= ram * case.knob(knob);
    let fast = trend(case.look.trend_from()).filter(|t| grows(t, RISE_MIN, "per_min"));
    let lasts = |t: &Trend| t.span_s >= SLOW_S * 0.95 && grows(t, SLOW_RISE_MIN, "slow_per_min");
    let slow = || trend(earlier(case.look.at(), SLOW_S)).filter(lasts);
    fast.or_else(slow).map(|t| t.per_s)
}

/// The caches that hold most of it.
fn largest<'a>(look: &Look<'a>, held: bool) -> Vec<&'a Slab> {
    let rows = look.snap.slab.data().map(|s| s.rows.as_slice()).unwrap_or_default();
    let mut rows: Vec<&Slab> = rows.iter().filter(|s| held || s.reclaimable != Some(true)).collect();
    rows.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    rows.truncate(3);
    rows
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{RAM, Script, counters};
    use crate::model::Severity;

    fn set(s: &mut Script, unreclaimable: u64, reclaimable: u64) {
        let all = [("MemTotal", RAM), ("MemAvailable", RAM / 4), ("SUnreclaim", unreclaimable), ("SReclaimable", reclaimable)];
        s.world.memory.meminfo = counters(&all);
    }

    #[test]
    fn a_large_part_of_ram_is_found_and_half_is_critical() {
        let mut s = Script::new();
        set(&mut s, RAM / 10 * 4, 0);
        s.secs(3);
        assert_eq!(s.expect("slab.unreclaimable").severity, Severity::Warning);
        set(&mut s, RAM / 10 * 8, 0);
        s.world.slab("kmalloc-192", RAM / 2, false);
        s.secs(3);
        let f = s.expect("slab.unreclaimable");
        assert_eq!(f.severity, Severity::Critical);
        assert!(f.message.contains("80 % of RAM") && f.message.contains("kmalloc-192 8.0 GB"), "{}", f.message);
    }

    #[test]
    fn growth_of_one_percent_a_minute_is_found_and_half_of_it_is_not() {
        for (step, found) in [(RAM / 100 / 60 * 2, true), (RAM / 200 / 60, false)] {
            let mut s = Script::new();
            for t in 0..20 {
                set(&mut s, RAM / 50 + t * step, 0);
                s.secs(1);
            }
            assert_eq!(s.found("slab.unreclaimable").is_some(), found, "{step}");
        }
    }

    #[test]
    fn a_few_started_tasks_are_no_growth_of_a_small_host() {
        for (step, found) in [(90_000, false), (900_000, true)] {
            let mut s = Script::new();
            s.world.ram_bytes = 480 << 20;
            for t in 0..25 {
                set(&mut s, (6 << 20) + t * step, 0);
                s.secs(1);
            }
            assert_eq!(s.found("slab.unreclaimable").is_some(), found, "{step}");
        }
    }

    #[test]
    fn slow_growth_is_found_after_ten_minutes() {
        let mut s = Script::new();
        for t in 0..640 {
            set(&mut s, RAM / 50 + t * (RAM / 1000 / 40), 0);
            s.secs(1);
            if t < 500 {
                s.without("slab.unreclaimable");
            }
        }
        assert!(s.expect("slab.unreclaimable").active);
    }

    #[test]
    fn reclaimable_slab_counts_beside_dying_cgroups_only() {
        let mut s = Script::new();
        set(&mut s, RAM / 50, RAM / 2);
        s.secs(4);
        s.silent();
        s.world.cgroups.dying = Some(61_204);
        s.secs(3);
        assert!(s.expect("slab.unreclaimable").message.contains("52 % of RAM"));
    }

    /// `secs` looks at a host with 1,800 dead cgroups, `more` of them a second, and slab that grows: cache, and a leak.
    fn beside_the_dead(secs: u64, more: u64, cache_step: u64, leak_step: u64) -> Script {
        let mut s = Script::new();
        for t in 0..secs {
            s.world.cgroups.dying = Some(1800 + t * more);
            set(&mut s, RAM / 50 + t * leak_step, RAM / 50 + t * cache_step);
            s.world.slab("dentry", RAM / 50 + t * cache_step, true);
            s.world.slab("kmalloc-cg-512", RAM / 100 + t * leak_step, false);
            s.secs(1);
        }
        s
    }

    fn causes(s: &Script, id: &str) -> Vec<&'static str> {
        s.expect(id).explained_by.iter().map(|&i| s.last().findings[i].id).collect()
    }

    #[test]
    fn a_pile_that_grows_explains_what_grows_with_it() {
        let s = beside_the_dead(12, 20, 8 << 20, 0);
        assert_eq!(causes(&s, "slab.unreclaimable"), ["cgroup.dying_pile"]);
        assert_eq!(&*s.expect("slab.growth").label.name, "dentry");
        assert!(causes(&s, "slab.growth").contains(&"cgroup.dying_pile"));
        let f = s.expect("slab.unreclaimable");
        assert!((f.rate_per_s.unwrap() - f64::from(8 << 20)).abs() < 1e6, "{f:#?}");
    }

    #[test]
    fn an_old_pile_that_stands_explains_no_leak_and_makes_no_cache_one() {
        // Files that are copied grow their caches.
        let s = beside_the_dead(12, 0, 8 << 20, 0);
        s.expect("cgroup.dying_pile");
        s.without("slab.unreclaimable");
        s.without("slab.growth");
        let s = beside_the_dead(12, 0, 8 << 20, 8 << 20);
        assert!(causes(&s, "slab.unreclaimable").is_empty());
        assert_eq!(causes(&s, "slab.growth"), ["slab.unreclaimable"]);
        assert_eq!(&*s.expect("slab.growth").label.name, "kmalloc-cg-512");
        let message = &s.expect("slab.unreclaimable").message;
        assert!(message.contains("416 MB of kernel memory") && !message.contains("dentry"), "{message}");
    }

    #[test]
    fn a_few_dead_more_are_no_growth() {
        let mut s = Script::new();
        for t in 0..40 {
            s.world.cgroups.dying = Some(1800 + t / 8);
            set(&mut s, RAM / 50, RAM / 50 + t * (8 << 20));
            s.secs(1);
        }
        s.expect("cgroup.dying_pile");
        s.without("slab.unreclaimable");
    }

    #[test]
    fn silent_without_memory_and_clears() {
        let mut s = Script::new();
        set(&mut s, RAM / 2, 0);
        s.world.hide("memory");
        s.secs(3);
        s.silent();
        s.world.show("memory");
        s.secs(2);
        assert!(s.expect("slab.unreclaimable").active);
        set(&mut s, RAM / 50, 0);
        s.secs(3);
        assert!(!s.expect("slab.unreclaimable").active);
    }
}
