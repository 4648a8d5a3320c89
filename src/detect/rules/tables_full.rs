//! Pids and descriptors near their limits.

use crate::detect::{Case, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{Subject, Task, TcpState};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BTreeMap;

const SHARE: Knob = Knob { key: "share", default: 0.9, unit: "of the limit", about: "use that is a finding" };
const CRITICAL: Knob = Knob { key: "critical_share", default: 0.98, unit: "of the limit", about: "use that is critical" };

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "task.pid_exhaustion",
        about: "tasks near pid_max or threads-max, or a user's near RLIMIT_NPROC",
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
    let rows = look.snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    for user in users(rows) {
        out.put(Subject::Task(user.largest.key), user.tasks as f64).limit(Some(user.limit as f64));
    }
    let Some(memory) = look.snap.memory.data() else { return };
    let limit = [memory.limits.pid_max, memory.limits.threads_max].into_iter().flatten().min();
    // Zombies hold a pid and are no longer counted among the entities of loadavg.
    let entities = look.snap.cpu.data().map_or(0, |c| c.entities);
    let counted: u64 = rows.iter().map(|t| u64::from(t.threads.max(1))).sum();
    out.put(Subject::Host, entities.max(counted) as f64).limit(limit.map(|n| n as f64));
}

/// A user with half of the tasks it may have, or more.
struct User<'a> {
    tasks: u64,
    /// The smallest limit among its tasks.
    limit: u64,
    /// The largest of those that have this limit.
    largest: &'a Task,
}

/// The users near a limit of their own. The kernel holds every user but root to it, counts threads and zombies, and
/// does so for each task by that task's own limit.
fn users(rows: &[Task]) -> impl Iterator<Item = User<'_>> {
    let mut users: BTreeMap<u32, User<'_>> = BTreeMap::new();
    let mut tasks: FxHashMap<u32, u64> = FxHashMap::default();
    for task in rows {
        let Some(uid) = task.uid.filter(|&uid| uid != 0) else { continue };
        *tasks.entry(uid).or_default() += u64::from(task.threads.max(1));
        let Some(limit) = task.nproc_limit else { continue };
        let user = users.entry(uid).or_insert(User { tasks: 0, limit, largest: task });
        let better = (limit, Reverse(task.threads)) < (user.limit, Reverse(user.largest.threads));
        if better {
            (user.limit, user.largest) = (limit, task);
        }
    }
    users.into_iter().filter_map(move |(uid, user)| {
        let tasks = tasks.get(&uid).copied()?;
        (tasks.saturating_mul(2) >= user.limit).then_some(User { tasks, ..user })
    })
}

fn largest<'a>(look: &Look<'a>, size: impl Fn(&Task) -> u64) -> Vec<&'a Task> {
    let mut rows: Vec<&Task> = look.snap.tasks.data().map(|t| t.rows.iter().collect()).unwrap_or_default();
    rows.sort_by_key(|t| (Reverse(size(t)), t.key));
    rows.truncate(3);
    rows
}

fn judge_pids(case: &Case<'_>) -> Option<Verdict> {
    let severity = severity(case)?;
    if let Some(task) = case.task() {
        return judge_user(case, severity, task);
    }
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
    let dead_of = |t: &Task| case.look.model.tasks.get(&t.key).map_or(0, |f| u64::from(f.zombie_children));
    let parents = largest(case.look, dead_of).into_iter().filter(|t| dead_of(t) > 0);
    Some(
        case.verdict(severity, "tasks", message)
            .rate(case.growth())
            .number("/proc/loadavg", "entities", case.value())
            .number("/proc/sys", "kernel.pid_max", number(limits.pid_max))
            .number("/proc/sys", "kernel.threads-max", number(limits.threads_max))
            .advise("stop what grows first: the largest are named")
            .advise_some(raise)
            .shown_by("cat /proc/loadavg /proc/sys/kernel/pid_max /proc/sys/kernel/threads-max".to_owned())
            .about(top.iter().copied().chain(parents).map(|t| t.key), []),
    )
}

/// All tasks of a user against the limit that this one has.
fn judge_user(case: &Case<'_>, severity: Severity, task: &Task) -> Option<Verdict> {
    let (who, uid, limit) = (words::task(task), task.uid?, case.now.limit?);
    let message = format!(
        "user {uid} has {} of the {} tasks that {who} lets it have: fork and new threads fail when they run out",
        words::count(case.value()),
        words::count(limit)
    );
    let pid = task.key.pid;
    Some(
        case.verdict(severity, "tasks", message)
            .rate(case.growth())
            .number("/proc/PID/status", format!("tasks of Uid {uid}, threads and zombies too"), case.value())
            .number("/proc/PID/limits", "Max processes", limit)
            .number("/proc/PID/stat", format!("num_threads of {pid}"), f64::from(task.threads))
            .advise(format!("see which tasks of user {uid} grow: threads of {who}, or children that nobody ends"))
            .advise(format!("raise it while it runs: prlimit --pid {pid} --nproc={:.0}   # now {limit:.0}; for good: LimitNPROC= of its unit, or limits.conf", limit * 4.0))
            .shown_by(format!("ps -L -U {uid} -o comm= | sort | uniq -c | sort -rn | head")),
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
                .advise(format!("most descriptors: {}", words::list(&names, 3)))
                .shown_by("cat /proc/sys/fs/file-nr".to_owned()),
        );
    };
    let who = words::task(task);
    let facts = case.look.model.tasks.get(&task.key);
    let sockets = facts.map(|f| f.tcp.iter().sum::<u64>().saturating_add(f.udp));
    let most = facts.and_then(|f| TcpState::ALL.into_iter().zip(f.tcp).max_by_key(|(_, n)| *n)).filter(|(_, n)| *n >= 10);
    let held = most.map_or_else(String::new, |(state, n)| {
        format!(" ({} TCP sockets in {})", words::count(n as f64), state.name().to_uppercase())
    });
    let message = format!("{who} has {used} of its {limit} descriptors open{held}: open() and accept() fail when they run out");
    Some(
        case.verdict(severity, "files", message)
            .shown_by(format!("ls -l /proc/{pid}/fd | awk '{{print $NF}}' | cut -d: -f1 | sort | uniq -c | sort -rn | head", pid = task.key.pid))
            .rate(case.growth())
            .number("/proc/PID/fd", "descriptors", case.value())
            .number("/proc/PID/limits", "Max open files", case.now.limit)
            .number("sock_diag", "sockets, TCP and UDP", sockets.map(|n| n as f64))
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
    fn a_users_tasks_are_held_against_the_limit_of_its_largest_and_roots_are_not() {
        let mut s = Script::new();
        let java = s.world.task(9, "java");
        let zombie = s.world.child(java, 10, "worker");
        let root = s.world.task(11, "dockerd");
        for (key, uid, threads, limit) in
            [(java, 999, 58, Some(60)), (zombie, 999, 1, None), (root, 0, 5000, Some(100))]
        {
            let row = s.world.row(key);
            (row.uid, row.threads, row.nproc_limit) = (Some(uid), threads, limit);
        }
        s.secs(3);
        let f = s.expect("task.pid_exhaustion");
        assert_eq!((s.value(f.id), f.limit, f.severity), (59, Some(60.0), Severity::Critical));
        assert_eq!(s.last().findings.len(), 1, "{:?}", s.messages());
        assert!(f.message.starts_with("user 999 has 59 of the 60 tasks that java(9) lets it have"), "{}", f.message);
        assert!(f.advice[1].contains("prlimit --pid 9 --nproc=240   # now 60"), "{:?}", f.advice);
        s.world.row(java).threads = 20;
        s.secs(3);
        assert!(!s.expect("task.pid_exhaustion").active);
    }

    #[test]
    fn another_process_whose_threads_grow_is_not_the_cause_of_a_users_limit() {
        let mut s = Script::new();
        let leak = s.world.task(7, "leak");
        let java = s.world.task(9, "java");
        let row = s.world.row(java);
        (row.uid, row.threads, row.nproc_limit) = (Some(999), 60, Some(60));
        for n in 0..20 {
            s.world.row(leak).threads = 20 + n * 20;
            s.secs(1);
        }
        s.expect("task.thread_growth");
        assert!(s.expect("task.pid_exhaustion").explained_by.is_empty());
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
