//! A cgroup at its memory limit (story D).

use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::{AT_LIMIT, Metric, Severity, limit_hits, memory_limit};
use crate::snapshot::{Cgroup, MemUse, Subject};

pub(super) static RULES: &[Rule] = &[Rule {
    id: "cgroup.at_limit",
    about: "a cgroup at its memory limit, or hitting it",
    effect: "a cgroup is at its memory limit",
    knobs: &[Knob {
        key: "reclaimable",
        default: 0.5,
        unit: "of usage",
        about: "reclaimable cache from which a full cgroup that does not hit its limit is calm",
    }],
    explains: &[
        ("cgroup.oom_kill", Join::Cgroup),
        ("task.d_state_pile", Join::Cgroup),
        ("task.d_state_long", Join::TaskOrCgroup),
        ("task.hung", Join::TaskOrCgroup),
        ("task.respawn_loop", Join::TaskOrCgroup),
        ("task.zombie_pile", Join::TaskOrCgroup),
    ],
    hold_s: 0.0,
    measure,
    judge,
}];

/// Page cache that reclaim can take. tmpfs pages are not among them: they stand on the anonymous lists.
pub(super) fn reclaimable_bytes(mem: &MemUse) -> Option<u64> {
    match (mem.inactive_file_bytes, mem.active_file_bytes) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        _ => mem.file_bytes.map(|f| f.saturating_sub(mem.shmem_bytes.unwrap_or(0))),
    }
}

/// Whether the kernel reached this limit and did not count it: 6.18 counts no hit where the limits of memory and of
/// memory + swap are equal.
pub(super) fn hits_uncounted(mem: &MemUse) -> bool {
    let reached = mem.peak_bytes.zip(mem.limit_bytes).is_some_and(|(peak, limit)| peak as f64 >= limit as f64 * AT_LIMIT);
    reached && limit_hits(mem) == Some(0)
}

fn measure(look: &Look<'_>, out: &mut Measures) {
    let Some(cgroups) = look.snap.cgroups.data() else { return };
    let ram = look.snap.host.data().map(|h| h.mem_total_bytes).filter(|&b| b > 0);
    for (cgroup, facts) in cgroups.rows.iter().zip(&look.model.cgroups) {
        let Some(mem) = &cgroup.memory else { continue };
        let limit = memory_limit(cgroup, ram);
        let high = mem.high_bytes.filter(|&high| limit.is_none_or(|max| high < max));
        if limit.is_none() && high.is_none() && mem.kmem_limit_bytes.is_none() {
            continue;
        }
        let hits = limit_hits(mem).map(|n| n.saturating_add(mem.kmem_hits.unwrap_or(0)));
        out.put(Subject::Cgroup(cgroup.key.clone()), mem.usage_bytes.unwrap_or(0) as f64)
            .limit(limit.or(high).or(mem.kmem_limit_bytes).map(|b| b as f64))
            .counter("hits", hits.filter(|_| limit.is_some() || mem.kmem_limit_bytes.is_some()))
            .counter("high", mem.high_hits.filter(|_| high.is_some()))
            .counter("kills", facts.oom_kills)
            .born_after(facts.new_since);
    }
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let cgroup = case.cgroup()?;
    let mem = cgroup.memory.as_ref()?;
    let limit = case.now.limit.filter(|&l| l > 0.0)?;
    let usage = case.value();
    let reclaimable = reclaimable_bytes(mem).map(|b| (b as f64 / usage.max(1.0)).min(1.0));
    let hits = case.grown_lately("hits") + case.grown_lately("high");
    let full = usage >= limit * AT_LIMIT;
    let hangs = mem.oom.is_some_and(|o| o.under_oom && o.kill_disabled);
    let mostly_cache = reclaimable.is_some_and(|r| r >= case.knob("reclaimable"));
    let filled = full && !mostly_cache;
    let killed = hits_uncounted(mem) && case.grown_lately("kills") >= 1.0;
    if !(hangs || filled || killed || hits >= 1.0) {
        return None;
    }
    let facts = case.look.cgroup_facts(&cgroup.key.path)?;
    let kills = case.grown("kills");
    let stuck = filled && facts.blocked > 0;
    let critical = hangs || kills >= 1.0 || stuck;
    let severity = if critical { Severity::Critical } else { Severity::Warning };
    let rate = case.rate("hits") + case.rate("high");
    let verdict = case
        .verdict(severity, "bytes", message(case, cgroup, limit, rate, hangs))
        .rate((rate > 0.0).then_some(rate))
        .draw(Metric::Usage)
        .number(file(cgroup, mem, "usage_in_bytes", "current"), "usage", usage)
        .number(file(cgroup, mem, "limit_in_bytes", "max"), "limit", limit)
        .rated(file(cgroup, mem, "failcnt", "events.local"), "limit hits", limit_hits(mem).map(|n| n as f64), Some(rate))
        .number(file(cgroup, mem, "stat", "stat"), "reclaimable cache, percent of usage", reclaimable.map(|r| r * 100.0))
        .number(file(cgroup, mem, "oom_control", "events.local"), "oom_kill, descendants too", facts.oom_kills as f64)
        .number("/proc/PID/stat", "threads in D in it", f64::from(facts.blocked));
    let peak = mem.peak_bytes.map(|b| b as f64);
    let verdict = verdict.number(file(cgroup, mem, "max_usage_in_bytes", "peak"), "highest usage", peak);
    Some(advise(verdict, cgroup, limit, mostly_cache, hangs))
}

/// The file of a number, as this hierarchy calls it.
fn file(cgroup: &Cgroup, mem: &MemUse, v1: &str, v2: &str) -> String {
    let name = if mem.oom.is_some() { v1 } else { v2 };
    format!("{}/memory.{name}", cgroup.key.path.trim_end_matches('/'))
}

fn message(case: &Case<'_>, cgroup: &Cgroup, limit: f64, rate: f64, hangs: bool) -> String {
    let name = words::cgroup_name(Some(cgroup), &cgroup.key.path);
    let usage = case.value();
    let (usage_words, limit_words) = (words::bytes(usage), words::bytes(limit));
    if hangs {
        return format!("{name} is out of memory at its limit of {limit_words} and may not kill: its tasks hang");
    }
    if case.grown_lately("hits") < 1.0 && case.grown_lately("high") >= 1.0 {
        return format!("{name} is slowed down at memory.high {limit_words} ({usage_words} now), {}", words::rate(rate));
    }
    if usage >= limit * AT_LIMIT {
        let hits = if rate > 0.0 { format!(", hit {}", words::rate(rate)) } else { String::new() };
        return format!("{name} is at its memory limit: {usage_words} of {limit_words}{hits}");
    }
    if rate <= 0.0 {
        return format!("{name} reaches its memory limit of {limit_words} and tasks are killed ({usage_words} now)");
    }
    format!("{name} hits its memory limit of {limit_words} {} ({usage_words} now)", words::rate(rate))
}

fn advise(verdict: Verdict, cgroup: &Cgroup, limit: f64, mostly_cache: bool, hangs: bool) -> Verdict {
    let name = words::cgroup_name(Some(cgroup), &cgroup.key.path);
    let verdict = if mostly_cache {
        verdict.advise(format!("most of it is page cache: {name} works, but reads its files again and again"))
    } else {
        verdict.advise(format!("raise the limit of {name} (now {}), or find what in it grows", words::bytes(limit)))
    };
    if hangs {
        return verdict.advise("memory.oom_control has oom_kill_disable=1: raise the limit or kill a task in it by hand");
    }
    verdict
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;
    use crate::model::Severity;
    use crate::snapshot::OomState;

    const WEB: &str = "/docker/web";

    fn web(usage: u64, cache: u64) -> Script {
        let mut s = Script::new();
        let task = s.world.task(50, "java");
        s.world.in_cgroup(task, WEB);
        let mem = s.world.cgroup_memory(WEB);
        mem.limit_bytes = Some(100 << 20);
        mem.usage_bytes = Some(usage << 20);
        mem.inactive_file_bytes = Some(cache << 20);
        mem.active_file_bytes = Some(0);
        mem.limit_hits = Some(41_000);
        mem.oom_kills = Some(3);
        s
    }

    fn hit(s: &mut Script, kills: u64) {
        for _ in 0..3 {
            let mem = s.world.cgroup_memory(WEB);
            *mem.limit_hits.as_mut().unwrap() += 212;
            *mem.oom_kills.as_mut().unwrap() += kills;
            s.secs(1);
        }
    }

    #[test]
    fn full_of_anonymous_memory_is_found_and_old_hits_are_history() {
        let mut s = web(60, 0);
        s.secs(3);
        s.silent();
        s.world.cgroup_memory(WEB).usage_bytes = Some(100 << 20);
        s.secs(3);
        let f = s.expect("cgroup.at_limit");
        assert_eq!(f.severity, Severity::Warning);
        assert_eq!(f.message, "/docker/web is at its memory limit: 100 MB of 100 MB");
    }

    #[test]
    fn hits_on_cache_are_a_warning_and_with_kills_critical_whatever_usage_shows() {
        let mut s = web(99, 90);
        s.secs(2);
        s.silent();
        hit(&mut s, 0);
        assert_eq!(s.expect("cgroup.at_limit").severity, Severity::Warning);
        let mut s = web(1, 0);
        s.secs(1);
        hit(&mut s, 1);
        let f = s.expect("cgroup.at_limit");
        assert_eq!(f.severity, Severity::Critical);
        assert!(f.message.contains("hits its memory limit of 100 MB 212/s (1.0 MB now)"), "{}", f.message);
    }

    #[test]
    fn a_parent_that_owns_the_limit_is_named_for_kills_in_its_child() {
        let mut s = Script::new();
        let pod = s.world.cgroup_memory("/pod");
        pod.limit_bytes = Some(100 << 20);
        pod.usage_bytes = Some(20 << 20);
        pod.limit_hits = Some(1);
        s.world.cgroup_memory("/pod/app").oom_kills = Some(0);
        s.secs(2);
        s.world.cgroup_memory("/pod").limit_hits = Some(137);
        s.world.cgroup_memory("/pod/app").oom_kills = Some(1);
        s.secs(1);
        let f = s.expect("cgroup.at_limit");
        assert_eq!((&*f.label.name, f.severity), ("/pod", Severity::Critical));
    }

    #[test]
    fn under_oom_without_a_kill_hangs() {
        let mut s = web(100, 0);
        s.world.cgroup_memory(WEB).oom = Some(OomState { kill_disabled: true, under_oom: true });
        s.secs(2);
        assert!(s.expect("cgroup.at_limit").message.ends_with("its tasks hang"));
    }

    #[test]
    fn reset_missing_section_and_clearing() {
        let mut s = web(50, 0);
        s.secs(2);
        s.world.cgroup_memory(WEB).limit_hits = Some(0);
        s.secs(2);
        s.silent();
        hit(&mut s, 0);
        s.world.hide("cgroups");
        s.secs(1);
        assert!(s.expect("cgroup.at_limit").active);
        s.secs(5);
        assert!(!s.expect("cgroup.at_limit").active);
    }
}
