//! A cgroup at its memory limit (story D).

use crate::detect::command::{change_limit, memory_files};
use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::{AT_LIMIT, Metric, Severity, limit_hits, memory_limit};
use crate::snapshot::{Cgroup, MemUse, Subject};

/// Reclaim takes cache in batches: between two hits usage lies this near its limit.
const NEAR_LIMIT: f64 = 0.9;

pub(super) static RULES: &[Rule] = &[Rule {
    id: "cgroup.at_limit",
    about: "a cgroup at its memory limit, or hitting it",
    effect: "a cgroup is at its memory limit",
    knobs: &[Knob {
        key: "reclaimable",
        default: 0.5,
        unit: "of usage",
        about: "reclaimable cache from which a full cgroup is calm",
    }],
    explains: &[
        ("cgroup.oom_kill", Join::Cgroup),
        ("task.d_state_pile", Join::Cgroup),
        ("task.d_state_long", Join::TaskOrCgroup),
        ("task.hung", Join::TaskOrCgroup),
        ("task.respawn_loop", Join::TaskOrCgroup),
        ("task.zombie_pile", Join::TaskOrCgroup),
        ("host.pressure", Join::Cgroup),
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

/// Whether a cgroup stands at its limit with page cache above all, which reclaim takes without a kill.
pub(super) fn is_full_of_cache(mem: &MemUse) -> bool {
    let Some((usage, limit)) = mem.usage_bytes.zip(mem.limit_bytes) else { return false };
    usage as f64 >= limit as f64 * NEAR_LIMIT && is_mostly_cache(mem)
}

/// Whether what a cgroup holds is page cache above all.
pub(super) fn is_mostly_cache(mem: &MemUse) -> bool {
    mem.usage_bytes.zip(reclaimable_bytes(mem)).is_some_and(|(usage, cache)| cache >= usage / 2)
}

/// Whether kernel memory (slab, stacks, page tables, socket buffers) takes a large part of a limited cgroup's usage: no
/// process of it shows that as its own.
pub(super) fn is_kernel_memory(mem: &MemUse) -> bool {
    let share = |kmem: u64| mem.limit_bytes.is_some() && kmem >= mem.usage_bytes.unwrap_or(u64::MAX) / 3;
    mem.kmem_bytes.is_some_and(share)
}

/// Whether the kernel reached this limit and did not count it: v1 of 6.18 counts no hit where the limits of memory and
/// of memory + swap are equal. In v2 a child's peak may pass its parent's limit by some pages, and means nothing.
pub(super) fn hits_uncounted(mem: &MemUse) -> bool {
    if !is_v1(mem) {
        return false;
    }
    let reached = mem.peak_bytes.zip(mem.limit_bytes).is_some_and(|(peak, limit)| peak as f64 >= limit as f64 * AT_LIMIT);
    reached && limit_hits(mem) == Some(0)
}

/// Whether these are the numbers of a v1 hierarchy, which alone has `memory.oom_control`.
pub(super) fn is_v1(mem: &MemUse) -> bool {
    mem.oom.is_some()
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
            .limit(high.or(limit).or(mem.kmem_limit_bytes).map(|b| b as f64))
            .counter("hits", hits.filter(|_| limit.is_some() || mem.kmem_limit_bytes.is_some()))
            .counter("high", mem.high_hits.filter(|_| high.is_some()))
            .counter("kills", facts.oom_kills)
            .born_after(facts.new_since);
    }
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let cgroup = case.cgroup()?;
    let mem = cgroup.memory.as_ref()?;
    // The tighter one is the measure's limit. What hits `memory.max` in spite of `memory.high` is held by `memory.max`.
    let by_high = case.now.limit.is_some() && case.now.limit == mem.high_bytes.map(|b| b as f64);
    if by_high && case.grown_lately("hits") < 1.0 {
        return judge_high(case, cgroup, mem);
    }
    let own = if by_high { mem.limit_bytes.map(|b| b as f64) } else { case.now.limit };
    let limit = own.filter(|&l| l > 0.0)?;
    let usage = case.value();
    let reclaimable = reclaimable_share(case, mem);
    let hits = case.grown_lately("hits");
    let full = usage >= limit * AT_LIMIT;
    let hangs = mem.oom.is_some_and(|o| o.under_oom && o.kill_disabled);
    let mostly_cache = reclaimable.is_some_and(|r| r >= case.knob("reclaimable"));
    let filled = full && !mostly_cache;
    let killed = hits_uncounted(mem) && case.grown_lately("kills") >= 1.0;
    let calm = mostly_cache && is_calm(case, cgroup, mem);
    if !(hangs || filled || killed || hits >= 1.0 && !calm) {
        return None;
    }
    let facts = case.look.cgroup_facts(&cgroup.key.path)?;
    let kills = case.grown("kills");
    let stuck = filled && facts.blocked > 0;
    let critical = hangs || kills >= 1.0 || stuck;
    let severity = if critical { Severity::Critical } else { Severity::Warning };
    let rate = case.rate("hits");
    let mut verdict = case
        .verdict(severity, "bytes", message(case, cgroup, limit, rate, hangs))
        .rate_of((rate > 0.0).then_some(rate), "hits")
        .draw(Metric::Usage)
        .number(file(cgroup, mem, "usage_in_bytes", "current"), "usage", usage)
        .number(file(cgroup, mem, "limit_in_bytes", "max"), "limit", limit)
        .rated(file(cgroup, mem, "failcnt", "events.local"), "limit hits", limit_hits(mem).map(|n| n as f64), Some(rate))
        .number(file(cgroup, mem, "stat", "stat"), "reclaimable cache, percent of usage", reclaimable.map(|r| r * 100.0))
        .number(file(cgroup, mem, "oom_control", "events.local"), "oom_kill, descendants too", facts.oom_kills as f64)
        .number("/proc/PID/stat", "threads in D in it", f64::from(facts.blocked))
        .number(file(cgroup, mem, "kmem.usage_in_bytes", "stat"), "kernel memory", mem.kmem_bytes.map(|b| b as f64));
    verdict.limit = Some(limit);
    verdict.command =
        memory_files(cgroup, "failcnt oom_control", "events current max");
    let peak = mem.peak_bytes.map(|b| b as f64);
    let verdict = verdict.number(file(cgroup, mem, "max_usage_in_bytes", "peak"), "highest usage", peak);
    Some(advise(verdict, cgroup, limit, mostly_cache, hangs))
}

/// At `memory.high` nothing is killed: the kernel reclaims, and makes the tasks sleep where that is not enough.
fn judge_high(case: &Case<'_>, cgroup: &Cgroup, mem: &MemUse) -> Option<Verdict> {
    let high = case.now.limit.filter(|&l| l > 0.0 && case.grown_lately("high") >= 1.0)?;
    let rate = case.rate("high");
    let name = words::cgroup_name(Some(cgroup), &cgroup.key.path);
    let (usage, high_words) = (case.value(), words::bytes(high));
    let reclaimable = reclaimable_share(case, mem);
    let hung = hung_in(case.look, &cgroup.key.path);
    let severity = if hung > 0 { Severity::Critical } else { Severity::Warning };
    let hangs = match hung {
        0 => String::new(),
        1 => "; 1 task in it hangs".into(),
        n => format!("; {n} tasks in it hang"),
    };
    let message = format!(
        "{name} is slowed down at its memory.high of {high_words}: {} now, {}{hangs}",
        words::bytes(usage),
        words::times(rate)
    );
    let facts = case.look.cgroup_facts(&cgroup.key.path)?;
    let verdict = case
        .verdict(severity, "bytes", message)
        .rate_of(rate, "hits")
        .draw(Metric::Usage)
        .number(file(cgroup, mem, "", "current"), "usage", usage)
        .number(file(cgroup, mem, "", "high"), "limit that slows down", high)
        .rated(file(cgroup, mem, "", "events.local"), "high", mem.high_hits.map(|n| n as f64), Some(rate))
        .number(file(cgroup, mem, "", "stat"), "reclaimable cache, percent of usage", reclaimable.map(|r| r * 100.0))
        .number("/proc/PID/stat", "threads in D in it", f64::from(facts.blocked));
    Some(if reclaimable.is_some_and(|r| r >= case.knob("reclaimable")) {
        verdict.advise(format!("most of it is page cache: {name} works, but reads its files again and again"))
    } else {
        verdict.advise(format!(
            "raise memory.high of {name} (now {high_words}), or find what in it grows: its tasks sleep at every allocation"
        ))
    })
}

/// Whether a cgroup that holds page cache above all works on: whoever reads or writes large files in it hits its limit
/// all the time, and reclaim takes cache. Not where something is killed, swapped out, or hangs.
fn is_calm(case: &Case<'_>, cgroup: &Cgroup, mem: &MemUse) -> bool {
    let swapped = mem.swap_bytes.is_some_and(|swap| swap as f64 >= case.value() * 0.1);
    case.grown("kills") < 1.0 && !swapped && hung_in(case.look, &cgroup.key.path) == 0
}

/// Page cache that reclaim can take, as a part of usage.
fn reclaimable_share(case: &Case<'_>, mem: &MemUse) -> Option<f64> {
    reclaimable_bytes(mem).map(|b| (b as f64 / case.value().max(1.0)).min(1.0))
}

/// Tasks of a cgroup, and of those below it, with a thread in D that has not run for longer than the kernel makes one
/// sleep at `memory.high` (2 s).
pub(super) fn hung_in(look: &Look<'_>, path: &str) -> u32 {
    let inside = |of: &str| of.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let tasks = look.snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    let hung = tasks.iter().filter(|t| t.by_state.blocked > 0 && t.cgroup.as_deref().is_some_and(inside)).filter(|t| {
        look.model.tasks.get(&t.key).and_then(|f| f.blocked_since).is_some_and(|since| look.age_s(since) >= 3.0)
    });
    u32::try_from(hung.count()).unwrap_or(u32::MAX)
}

/// The file of a number, as this hierarchy calls it.
fn file(cgroup: &Cgroup, mem: &MemUse, v1: &str, v2: &str) -> String {
    let name = if is_v1(mem) { v1 } else { v2 };
    format!("{}/memory.{name}", cgroup.key.path.trim_end_matches('/'))
}

fn message(case: &Case<'_>, cgroup: &Cgroup, limit: f64, rate: f64, hangs: bool) -> String {
    let name = words::cgroup_name(Some(cgroup), &cgroup.key.path);
    let usage = case.value();
    let limit_words = words::bytes(limit);
    let kmem = cgroup.memory.as_ref().filter(|mem| is_kernel_memory(mem)).and_then(|mem| mem.kmem_bytes);
    let kernel = kmem.map_or_else(String::new, |b| format!(", {} of it kernel memory", words::bytes(b as f64)));
    let now = format!("({} now{kernel})", words::bytes(usage));
    if hangs {
        return format!("{name} is out of memory at its limit of {limit_words} and may not kill: its tasks hang");
    }
    if usage >= limit * AT_LIMIT {
        let hits = if rate > 0.0 { format!(", hit {}", words::times(rate)) } else { String::new() };
        return format!("{name} is at its memory limit: {} of {limit_words}{kernel}{hits}", words::bytes(usage));
    }
    if rate <= 0.0 {
        return format!("{name} reaches its memory limit of {limit_words} and tasks are killed {now}");
    }
    format!("{name} hits its memory limit of {limit_words}, {} {now}", words::times(rate))
}

/// The command that doubles a limit, where whoever set it has one.
fn raise(cgroup: &Cgroup, limit: f64) -> Option<String> {
    let mib = (limit * 2.0 / 1_048_576.0).ceil().max(1.0);
    let now = words::bytes(limit);
    let property = if cgroup.memory.as_ref().is_some_and(is_v1) { "MemoryLimit" } else { "MemoryMax" };
    let docker = format!("--memory {mib:.0}m --memory-swap {:.0}m", mib * 2.0);
    change_limit(cgroup, &docker, &format!("{property}={mib:.0}M"), &now)
}

fn advise(verdict: Verdict, cgroup: &Cgroup, limit: f64, mostly_cache: bool, hangs: bool) -> Verdict {
    let name = words::cgroup_name(Some(cgroup), &cgroup.key.path);
    let verdict = if mostly_cache {
        verdict.advise(format!("most of it is page cache: {name} works, but reads its files again and again"))
    } else {
        verdict
            .advise(format!("raise the limit of {name} (now {}), or find what in it grows", words::bytes(limit)))
            .advise_some(raise(cgroup, limit))
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
    use crate::snapshot::{Container, OomState, Psi};

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
    fn hits_on_cache_are_calm_unless_swapped_and_with_kills_critical_whatever_usage_shows() {
        let mut s = web(99, 90);
        s.secs(2);
        hit(&mut s, 0);
        s.silent();
        s.world.cgroup_memory(WEB).swap_bytes = Some(30 << 20);
        hit(&mut s, 0);
        assert_eq!(s.expect("cgroup.at_limit").severity, Severity::Warning);
        let mut s = web(99, 20);
        s.secs(2);
        hit(&mut s, 0);
        assert_eq!(s.expect("cgroup.at_limit").severity, Severity::Warning);
        let mut s = web(1, 0);
        s.secs(1);
        hit(&mut s, 1);
        let f = s.expect("cgroup.at_limit");
        assert_eq!(f.severity, Severity::Critical);
        assert!(f.message.contains("hits its memory limit of 100 MB, 212 times a second (1.0 MB now)"), "{}", f.message);
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
    fn the_command_that_raises_the_limit_is_whose_it_is() {
        let container = |runtime: &str| Container { runtime: runtime.into(), id: "6b44b1a0f9d207c2".into(), ..Container::default() };
        for (container, unit, command) in [
            (Some(container("docker")), None, "docker update --memory 200m --memory-swap 400m 6b44b1a0f9d2   # now 100 MB"),
            (Some(container("podman")), None, ""),
            (None, Some("$(reboot).service"), ""),
            (None, Some("web.service"), "systemctl set-property web.service MemoryMax=200M   # now 100 MB"),
        ] {
            let mut s = web(100, 0);
            let cgroup = s.world.cgroup(WEB);
            (cgroup.container, cgroup.unit) = (container, unit.map(Into::into));
            s.secs(2);
            assert_eq!(s.expect("cgroup.at_limit").advice.get(1).map_or("", String::as_str), command);
        }
    }

    #[test]
    fn under_oom_without_a_kill_hangs() {
        let mut s = web(100, 0);
        s.world.cgroup_memory(WEB).oom = Some(OomState { kill_disabled: true, under_oom: true });
        s.secs(2);
        assert!(s.expect("cgroup.at_limit").message.ends_with("its tasks hang"));
    }

    /// A v2 cgroup with both limits: `high` hits and `max` hits a second.
    fn high(high_hits: u64, max_hits: u64) -> Script {
        let mut s = web(60, 0);
        let mem = s.world.cgroup_memory(WEB);
        mem.high_bytes = Some(80 << 20);
        mem.high_hits = Some(7);
        s.secs(2);
        s.silent();
        s.world.cgroup_memory(WEB).usage_bytes = Some(82 << 20);
        for _ in 0..4 {
            let mem = s.world.cgroup_memory(WEB);
            *mem.high_hits.as_mut().unwrap() += high_hits;
            *mem.limit_hits.as_mut().unwrap() += max_hits;
            s.secs(1);
        }
        s
    }

    #[test]
    fn the_limit_that_slows_down_is_named_with_its_own_count() {
        let mut s = high(24, 0);
        let f = s.expect("cgroup.at_limit");
        assert_eq!((f.severity, f.limit, f.rate_unit), (Severity::Warning, Some(f64::from(80 << 20)), "hits"));
        assert_eq!(f.message, "/docker/web is slowed down at its memory.high of 80 MB: 82 MB now, 19 times a second");
        let limit = f.evidence.iter().find(|e| e.source.ends_with("/memory.high")).unwrap();
        assert_eq!(limit.value, crate::model::EvidenceValue::Number(f64::from(80 << 20)));
        let hits = f.evidence.iter().find(|e| &*e.field == "high").unwrap();
        assert_eq!((&hits.value, hits.rate_per_s), (&crate::model::EvidenceValue::Number(103.0), f.rate_per_s));
        assert!(f.advice[0].starts_with("raise memory.high of /docker/web (now 80 MB)"), "{:?}", f.advice);
        // It sleeps 2 s at most: what sleeps for longer hangs.
        let java = s.last().snap.tasks.data().unwrap().rows[1].key;
        s.world.blocked(java, "mem_cgroup_handle_over_high", 1);
        for _ in 0..5 {
            *s.world.cgroup_memory(WEB).high_hits.as_mut().unwrap() += 1;
            s.secs(1);
        }
        let f = s.expect("cgroup.at_limit");
        assert!(f.severity == Severity::Critical && f.message.ends_with("1 task in it hangs"), "{}", f.message);
    }

    #[test]
    fn full_below_memory_high_without_a_hit_is_calm_and_the_hard_limit_is_told_when_it_is_hit() {
        high(0, 0).silent();
        let s = high(24, 3);
        let f = s.expect("cgroup.at_limit");
        assert_eq!(f.limit, Some(f64::from(100 << 20)));
        assert!(f.message.starts_with("/docker/web hits its memory limit of 100 MB, 2 times a second"), "{}", f.message);
    }

    #[test]
    fn stalls_of_the_host_are_its_tasks_when_they_are() {
        for (own_pct, joined) in [(40, true), (2, false)] {
            let mut s = web(99, 0);
            for n in 0..5 {
                let psi = |pct: u64| Some(Psi { some_usec: n * pct * 10_000, ..Psi::default() });
                s.world.pressure.memory = psi(50);
                s.world.cgroup(WEB).psi_memory = psi(own_pct);
                s.world.cgroup("/docker").psi_memory = psi(own_pct);
                if joined {
                    *s.world.cgroup_memory(WEB).limit_hits.as_mut().unwrap() += 50;
                }
                s.secs(1);
            }
            let f = s.expect("host.pressure");
            assert_eq!(f.message.ends_with("those of /docker/web most"), joined, "{}", f.message);
            assert_eq!(f.explained_by.iter().map(|&i| s.last().findings[i].id).collect::<Vec<_>>(), if joined { vec!["cgroup.at_limit"] } else { vec![] });
        }
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
