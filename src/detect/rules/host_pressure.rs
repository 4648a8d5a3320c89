//! Tasks of the host stall for memory, or for I/O that hangs (PSI).

use super::cgroup_at_limit::{hung_in, is_full_of_cache, is_mostly_cache};
use super::task_d_state_pile::is_frozen;
use crate::detect::{Case, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{Cgroup, Psi, Subject, Text};

pub(super) static RULES: &[Rule] = &[Rule {
    id: "host.pressure",
    about: "tasks stall for memory, or for I/O that hangs (PSI)",
    effect: "the host stalls",
    knobs: &[
        Knob { key: "memory", default: 10.0, unit: "percent", about: "time some task stalls for memory" },
        Knob { key: "critical", default: 40.0, unit: "percent", about: "as much is critical" },
        Knob {
            key: "read_again",
            default: 10.0,
            unit: "pages/s",
            about: "pages in use that were reclaimed and are needed again: from here stalls in a cgroup full of page cache are not calm",
        },
        Knob { key: "io", default: 80.0, unit: "percent", about: "time all tasks stall for I/O while some hang in D" },
    ],
    explains: &[],
    hold_s: 1.5,
    measure,
    judge,
}];

fn measure(look: &Look<'_>, out: &mut Measures) {
    if let Some(pct) = look.model.totals.psi_memory_pct {
        let vmstat = |names: &[&str]| {
            let vmstat = look.snap.memory.data().map(|m| &m.vmstat)?;
            names.iter().filter_map(|name| vmstat.get(name)).reduce(u64::saturating_add)
        };
        out.put(Subject::Host, pct)
            .limit(Some(100.0))
            .counter("io full", look.snap.pressure.data().and_then(|p| p.io?.full_usec))
            .counter("read again", vmstat(&READ_AGAIN))
            .counter("host's reclaim", vmstat(&ALLOCSTALL))
            .counter("kills", vmstat(&["oom_kill"]));
    }
}

/// Pages of the working set that were reclaimed and came back (4.20; apart since 5.9), and pages from swap: the waits for
/// them are what PSI calls a stall besides reclaim itself.
const READ_AGAIN: [&str; 4] = ["workingset_restore", "workingset_restore_file", "workingset_restore_anon", "pswpin"];

/// Tasks that had to reclaim memory of the host themselves, by zone; not those at a cgroup's limit.
const ALLOCSTALL: [&str; 5] =
    ["allocstall", "allocstall_dma", "allocstall_dma32", "allocstall_normal", "allocstall_movable"];

/// Whether all that stalls is reclaim of page cache at the limit of cgroups that hold little else, as when a large file is
/// copied in one: what was reclaimed is not needed again, nothing is killed, nothing hangs.
fn is_a_copy(case: &Case<'_>) -> bool {
    let look = case.look;
    // Not known is no proof.
    let known = look.snap.memory.data().is_some_and(|m| READ_AGAIN.iter().any(|name| m.vmstat.get(name).is_some()));
    if !known
        || case.rate("read again") >= case.knob("read_again")
        || case.grown_lately("host's reclaim") >= 1.0
        || case.grown_lately("kills") >= 1.0
    {
        return false;
    }
    let rows = look.snap.cgroups.data().map(|c| c.rows.as_slice()).unwrap_or_default();
    let mut copies = false;
    for (cgroup, facts) in rows.iter().zip(&look.model.cgroups).filter(|(c, _)| &*c.key.path != "/") {
        let Some(mem) = cgroup.memory.as_ref().filter(|m| m.limit_bytes.is_some()) else { continue };
        let hits = facts.limit_hits_per_s.is_some_and(|hits| hits > 0.0);
        if hits && !is_mostly_cache(mem) {
            return false;
        }
        copies |= (hits || is_full_of_cache(mem)) && hung_in(look, &cgroup.key.path) == 0;
    }
    copies
}

/// Whether some thread has not woken for seconds: I/O pressure of a busy disk alone is calm.
fn something_hangs(look: &Look<'_>) -> bool {
    let tasks = look.snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    tasks.iter().filter(|t| t.by_state.blocked > 0 && !t.kthread && !is_frozen(look, t)).any(|t| {
        look.model.tasks.get(&t.key).and_then(|f| f.blocked_since).is_some_and(|since| look.age_s(since) >= 3.0)
    })
}

/// The cgroups whose tasks stall for at least half as long as the host's, or hit their limit where that is not known,
/// and in words the innermost of those that stall most.
fn stalled(look: &Look<'_>, memory_pct: f64) -> (Vec<Text>, String) {
    let rows = look.snap.cgroups.data().map(|c| c.rows.as_slice()).unwrap_or_default();
    let mut paths = Vec::new();
    let mut most = None;
    for (cgroup, facts) in rows.iter().zip(&look.model.cgroups).filter(|(c, _)| &*c.key.path != "/") {
        let stalls = facts.psi_memory_pct.filter(|&pct| pct >= memory_pct / 2.0);
        let share = stalls.map_or(0.0, |pct| (pct * 10.0).round());
        if stalls.is_none() && facts.limit_hits_per_s.is_none_or(|hits| hits <= 0.0) {
            continue;
        }
        paths.push(cgroup.key.path.clone());
        // A parent stalls as long as its child.
        if share > 0.0 && most.is_none_or(|(than, of): (f64, &Cgroup)| (share, cgroup.key.path.len()) >= (than, of.key.path.len())) {
            most = Some((share, cgroup));
        }
    }
    let name = |c: &Cgroup| words::cgroup_name(Some(c), &c.key.path);
    (paths, most.map_or_else(String::new, |(_, c)| format!(", those of {} most", name(c))))
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let memory = case.value();
    let io = (case.rate("io full") / 1e4).min(100.0);
    let by_memory = case.reaches(memory, case.knob("memory")) && !is_a_copy(case);
    let by_io = case.reaches(io, case.knob("io")) && something_hangs(case.look);
    if !by_memory && !by_io {
        return None;
    }
    let worst = if by_memory { memory } else { io };
    let severity = if by_memory && memory >= case.knob("critical") { Severity::Critical } else { Severity::Warning };
    let (paths, whose) = if by_memory { stalled(case.look, memory) } else { (Vec::new(), String::new()) };
    let message = if by_memory {
        format!("tasks stall for memory {memory:.0} % of the time{whose}")
    } else {
        format!("all tasks stall for I/O {io:.0} % of the time, and some hang")
    };
    let pressure = case.look.snap.pressure.data()?;
    let usec = |psi: Option<Psi>| psi.map(|p| p.some_usec as f64);
    let again = Some(case.rate("read again")).filter(|&pages| by_memory && pages > 0.0);
    let mut verdict = case
        .verdict(severity, "percent", message)
        .number("/proc/pressure/memory", "some total, µs", usec(pressure.memory))
        .number("/proc/pressure/io", "some total, µs", usec(pressure.io))
        .number("/proc/pressure/memory", "some avg10", pressure.memory.map(|p| p.some_avg10))
        .number("/proc/vmstat", "pages in use that were reclaimed and are needed again, a second", again);
    verdict.value = worst;
    Some(verdict.about([], paths).advise(if by_memory {
        "see which cgroup is at its limit, or who uses the host's memory"
    } else {
        "see what the tasks in D wait for"
    }))
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{Script, counters};
    use crate::snapshot::Psi;

    #[test]
    fn memory_stalls_fire_and_cpu_or_a_busy_disk_do_not() {
        for (mem, io, found) in [(300_000, 0, true), (0, 990_000, false), (0, 0, false)] {
            let mut s = Script::new();
            for n in 0..5 {
                let psi = |step: u64| Some(Psi { some_usec: n * step, full_usec: Some(n * step), ..Psi::default() });
                (s.world.pressure.memory, s.world.pressure.io, s.world.pressure.cpu) = (psi(mem), psi(io), psi(900_000));
                s.secs(1);
            }
            assert_eq!(s.found("host.pressure").is_some(), found, "{mem} {io}");
        }
    }

    /// What runs beside a copy in a cgroup whose cache fills it, and stalls at its limit 15 % of the time.
    #[derive(Default)]
    struct Beside {
        read_again: u64,
        host_reclaim: u64,
        kills: u64,
        /// Hits of the limit of a cgroup without cache.
        hits: u64,
        /// The page cache of the copy's cgroup, MiB of 256.
        cache: u64,
        hung: bool,
    }

    fn copy(beside: &Beside) -> Script {
        let mut s = Script::new();
        let copier = s.world.task(50, "cp");
        s.world.in_cgroup(copier, "/backup");
        if beside.hung {
            s.world.blocked(copier, "folio_wait_bit", 1);
        }
        for n in 0..9 {
            s.world.pressure.memory = Some(Psi { some_usec: n * 150_000, ..Psi::default() });
            s.world.memory.vmstat = counters(&[
                ("workingset_restore_file", 350_000 + n * beside.read_again),
                ("pswpin", 12),
                ("allocstall_movable", 15 + n * beside.host_reclaim),
                ("oom_kill", 3 + n * beside.kills),
            ]);
            for (path, usage, cache, hits) in [("/backup", 256, beside.cache, 300), ("/web", 200, 4, beside.hits)] {
                let mem = s.world.cgroup_memory(path);
                (mem.limit_bytes, mem.usage_bytes) = (Some(256 << 20), Some(usage << 20));
                (mem.inactive_file_bytes, mem.active_file_bytes) = (Some(cache << 20), Some(0));
                mem.limit_hits = Some(700 + n * hits);
            }
            s.secs(1);
        }
        s
    }

    #[test]
    fn a_file_copied_through_a_cgroups_cache_is_calm_and_nothing_else_is() {
        let calm = || Beside { cache: 250, ..Beside::default() };
        copy(&calm()).silent();
        for (why, beside) in [
            ("its files are needed again", Beside { read_again: 200, ..calm() }),
            ("the host is short of memory", Beside { host_reclaim: 1, ..calm() }),
            ("something is killed", Beside { kills: 1, ..calm() }),
            ("another hits its limit without cache", Beside { hits: 5, ..calm() }),
            ("it holds no cache", Beside { cache: 30, ..calm() }),
            ("it hangs", Beside { hung: true, ..calm() }),
        ] {
            assert!(copy(&beside).found("host.pressure").is_some(), "{why}");
        }
    }

    #[test]
    fn a_counter_that_went_back_and_no_section_are_silent() {
        let mut s = Script::new();
        for usec in [5_000_000, 0, 0] {
            s.world.pressure.memory = Some(Psi { some_usec: usec, ..Psi::default() });
            s.secs(1);
        }
        s.world.hide("pressure");
        s.secs(3);
        s.silent();
    }

    #[test]
    fn clears_with_the_stall() {
        let mut s = Script::new();
        for n in 0..10 {
            s.world.pressure.memory = Some(Psi { some_usec: 500_000 * n.min(4), ..Psi::default() });
            s.secs(1);
        }
        assert!(!s.expect("host.pressure").active);
    }
}
