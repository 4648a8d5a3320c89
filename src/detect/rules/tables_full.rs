//! Pids and descriptors near their limits.

use crate::detect::{Case, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{Subject, Task};
use std::cmp::Reverse;

const SHARE: Knob = Knob { key: "share", default: 0.9, unit: "of the limit", about: "use that is a finding" };
const CRITICAL: Knob = Knob { key: "critical_share", default: 0.98, unit: "of the limit", about: "use that is critical" };

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "task.pid_exhaustion",
        about: "tasks near pid_max or threads-max",
        effect: "pids run out",
        knobs: &[SHARE, CRITICAL],
        explains: &[],
        hold_s: 1.0,
        measure: measure_pids,
        judge: judge_pids,
    },
    Rule {
        id: "host.fd_exhaustion",
        about: "open files near fs.file-max, or a task's near its own limit",
        effect: "descriptors run out",
        knobs: &[SHARE, CRITICAL],
        explains: &[],
        hold_s: 1.0,
        measure: measure_files,
        judge: judge_files,
    },
];

fn severity(case: &Case<'_>) -> Option<Severity> {
    let limit = case.now.limit.filter(|&l| l > 0.0)?;
    let near = case.reaches(case.value(), limit * case.knob("share"));
    let critical = case.value() >= limit * case.knob("critical_share");
    near.then_some(if critical { Severity::Critical } else { Severity::Warning })
}

fn measure_pids(look: &Look<'_>, out: &mut Measures) {
    let Some(memory) = look.snap.memory.data() else { return };
    let limit = [memory.limits.pid_max, memory.limits.threads_max].into_iter().flatten().min();
    // Zombies hold a pid and are no longer counted among the entities of loadavg.
    let entities = look.snap.cpu.data().map_or(0, |c| c.entities);
    let counted: u64 = look.snap.tasks.data().map_or(0, |t| t.rows.iter().map(|t| u64::from(t.threads.max(1))).sum());
    out.put(Subject::Host, entities.max(counted) as f64).limit(limit.map(|n| n as f64));
}

fn largest<'a>(look: &Look<'a>, size: impl Fn(&Task) -> u64) -> Vec<&'a Task> {
    let mut rows: Vec<&Task> = look.snap.tasks.data().map(|t| t.rows.iter().collect()).unwrap_or_default();
    rows.sort_by_key(|t| (Reverse(size(t)), t.key));
    rows.truncate(3);
    rows
}

fn judge_pids(case: &Case<'_>) -> Option<Verdict> {
    let severity = severity(case)?;
    let limits = &case.look.snap.memory.data()?.limits;
    let top = largest(case.look, |t| u64::from(t.threads));
    let names: Vec<String> = top.iter().map(|t| format!("{} with {}", words::task(t), words::count(f64::from(t.threads)))).collect();
    let zombies = case.look.model.totals.zombies;
    let dead = if zombies > 0 { format!(", {zombies} of them zombies") } else { String::new() };
    let message = format!(
        "{} of {} pids are in use{dead}; most threads: {}: fork fails when they run out",
        words::count(case.value()),
        words::count(case.now.limit.unwrap_or(0.0)),
        words::list(&names, 2)
    );
    let number = |n: Option<u64>| n.map(|n| n as f64);
    let raise = limits.pid_max.map(|now| words::sysctl("kernel.pid_max", now as f64, (now as f64 * 4.0).min(4_194_304.0), None));
    Some(
        case.verdict(severity, "tasks", message)
            .rate(case.growth())
            .number("/proc/loadavg", "entities", case.value())
            .number("/proc/sys", "kernel.pid_max", number(limits.pid_max))
            .number("/proc/sys", "kernel.threads-max", number(limits.threads_max))
            .advise("stop what grows first: the largest are named")
            .advise_some(raise)
            .about(top.iter().map(|t| t.key), []),
    )
}

fn measure_files(look: &Look<'_>, out: &mut Measures) {
    if let Some(limits) = look.snap.memory.data().map(|m| &m.limits)
        && let Some(files) = limits.files
    {
        out.put(Subject::Host, files as f64).limit(limits.files_max.map(|n| n as f64));
    }
    let Some(tasks) = look.snap.tasks.data() else { return };
    for task in &tasks.rows {
        if let (Some(fds), Some(limit)) = (task.fds, task.fd_limit)
            && fds.saturating_mul(2) >= limit
        {
            out.put(Subject::Task(task.key), fds as f64).limit(Some(limit as f64));
        }
    }
}

fn judge_files(case: &Case<'_>) -> Option<Verdict> {
    let severity = severity(case)?;
    let (used, limit) = (words::count(case.value()), words::count(case.now.limit.unwrap_or(0.0)));
    let Some(task) = case.task() else {
        let message = format!("{used} of {limit} files are open on this host: open() fails when they run out");
        let now = case.now.limit.unwrap_or(0.0);
        let top = largest(case.look, |t| t.fds.unwrap_or(0));
        let names: Vec<String> = top.iter().filter_map(|t| Some(format!("{} with {}", words::task(t), t.fds?))).collect();
        return Some(
            case.verdict(severity, "files", message)
                .rate(case.growth())
                .number("/proc/sys/fs/file-nr", "allocated", case.value())
                .number("/proc/sys/fs/file-nr", "max", now)
                .advise(words::sysctl("fs.file-max", now, now * 2.0, None))
                .advise(format!("most descriptors: {}", words::list(&names, 3))),
        );
    };
    let who = words::task(task);
    let message = format!("{who} has {used} of its {limit} descriptors open: open() and accept() fail when they run out");
    Some(
        case.verdict(severity, "files", message)
            .rate(case.growth())
            .number("/proc/PID/fd", "descriptors", case.value())
            .number("/proc/PID/limits", "Max open files", case.now.limit)
            .advise(format!("see what {who} holds open (sockets by state in the TCP pane): a leak, or too low a limit"))
            .advise(format!("raise it while it runs: prlimit --pid {} --nofile={:.0}", task.key.pid, case.now.limit.unwrap_or(1024.0) * 4.0)),
    )
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;
    use crate::model::Severity;

    #[test]
    fn pids_fire_near_the_smaller_limit_and_clear() {
        let mut s = Script::new();
        (s.world.memory.limits.pid_max, s.world.memory.limits.threads_max) = (Some(32_768), Some(1000));
        s.world.cpu.entities = 950;
        s.secs(3);
        let f = s.expect("task.pid_exhaustion");
        assert_eq!((s.value("task.pid_exhaustion"), f.limit, f.severity), (950, Some(1000.0), Severity::Warning));
        s.world.cpu.entities = 100;
        s.secs(4);
        assert!(!s.expect("task.pid_exhaustion").active);
    }

    #[test]
    fn descriptors_of_a_task_and_of_the_host() {
        let mut s = Script::new();
        let leak = s.world.task(9, "leak");
        (s.world.row(leak).fds, s.world.row(leak).fd_limit) = (Some(1020), Some(1024));
        (s.world.memory.limits.files, s.world.memory.limits.files_max) = (Some(95), Some(100));
        s.secs(3);
        let all: Vec<_> = s.last().findings.iter().map(|f| (&*f.label.name, f.severity)).collect();
        assert_eq!(all, [("leak(9)", Severity::Critical), ("node-1", Severity::Warning)]);
    }

    #[test]
    fn room_left_unknown_limits_and_no_memory_section_are_silent() {
        let mut s = Script::new();
        let task = s.world.task(9, "db");
        (s.world.row(task).fds, s.world.row(task).fd_limit) = (Some(800), Some(1024));
        s.world.cpu.entities = 40_000;
        s.secs(3);
        s.world.memory.limits.pid_max = Some(40_100);
        s.world.hide("memory");
        s.secs(3);
        s.silent();
    }
}
