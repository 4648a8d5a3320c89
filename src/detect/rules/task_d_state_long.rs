//! A task stuck in D (stories A, D).

use super::task_d_state_pile::is_frozen;
use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{Subject, Task, TaskState, Thread, WaitFor};

/// Tasks at most, the longest first: a pile has its own rule.
const TASKS_MAX: usize = 20;

pub(super) static RULES: &[Rule] = &[Rule {
    id: "task.d_state_long",
    about: "a task in uninterruptible sleep that does not wake",
    effect: "tasks hang in D",
    knobs: &[Knob { key: "seconds", default: 3.0, unit: "s", about: "in D without waking, at least" }],
    explains: &[
        // A vfork's child that hangs is why its parent waits.
        ("task.d_state_long", Join::Task),
        ("task.hung", Join::Task),
        ("task.zombie_pile", Join::Task),
        ("host.load_blocked", Join::Host),
    ],
    hold_s: 0.0,
    measure,
    judge,
}];

/// whytop itself, or one of its readers: they hang so that nothing else does.
fn is_ours(look: &Look<'_>, task: &Task) -> bool {
    let own = look.snap.own.pid;
    own != 0 && (task.key.pid == own || task.ppid == own)
}

fn measure(look: &Look<'_>, out: &mut Measures) {
    let Some(tasks) = look.snap.tasks.data() else { return };
    let mut rows: Vec<_> = tasks
        .rows
        .iter()
        .filter(|t| t.by_state.blocked > 0 && !t.kthread && !is_frozen(look, t))
        // A lane of ours that waits shows as a section that is stale.
        .filter(|t| !is_ours(look, t))
        .filter_map(|t| Some((look.model.tasks.get(&t.key)?.blocked_since?, t.key)))
        .collect();
    rows.sort_unstable();
    for (since, key) in rows.into_iter().take(TASKS_MAX) {
        out.put(Subject::Task(key), look.age_s(since));
    }
}

/// The thread that has waited longest.
fn oldest<'a>(case: &Case<'a>, task: &'a Task) -> Option<&'a Thread> {
    let blocked = task.awake.iter().filter(|t| t.state == TaskState::Blocked);
    blocked.min_by_key(|t| (case.look.model.blocked_threads.get(&(task.key, t.tid)).map(|b| b.since), t.tid))
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    if !case.reaches(case.value(), case.knob("seconds")) {
        return None;
    }
    let task = case.task()?;
    let thread = oldest(case, task)?;
    let wchan = thread.wchan.as_deref().filter(|w| !w.is_empty());
    let kind = WaitFor::of(wchan, &thread.stack);
    let vfork = kind == WaitFor::Vfork;
    let severity = if vfork { Severity::Warning } else { Severity::Critical };
    let who = words::task(task);
    let place = wchan.map_or_else(|| "at a place the kernel does not tell".into(), |w| format!("at {w}"));
    let kill = if thread.sigkill_pending == Some(true) { ", SIGKILL pending" } else { "" };
    let age = words::age(case.value());
    let child = if vfork { youngest_child(case, task) } else { None };
    let message = match child {
        _ if !vfork => format!("{who} has been in D {place} for at least {age}{kill}"),
        Some(child) => format!("{who} has waited at least {age} for its vfork child {} (it can be killed){kill}", words::task(child)),
        None => format!("{who} has waited at least {age} for its vfork child (it can be killed){kill}"),
    };
    let mut verdict = case
        .verdict(severity, "s", message)
        .since(case.look.model.blocked_threads.get(&(task.key, thread.tid)).map(|b| b.since))
        .number("/proc/PID/status", "seconds without a context switch, at least", case.value())
        .text("/proc/PID/wchan", "wchan", wchan.unwrap_or("unknown"));
    if let Some(what) = waits_for(kind) {
        verdict = verdict.text("/proc/PID/stack", "waits for", what);
    }
    if !thread.stack.is_empty() {
        verdict = verdict.text("/proc/PID/stack", "stack", thread.stack.join(" ← "));
    }
    if let Some(pending) = thread.sigkill_pending {
        verdict = verdict.text("/proc/PID/status", "SIGKILL pending", if pending { "yes" } else { "no" });
    }
    let (pid, tid) = (task.key.pid, thread.tid);
    let verdict = verdict
        .number("/proc/PID/task", "threads in D", f64::from(task.by_state.blocked))
        .number("/proc/PID/syscall", "system call", thread.syscall.map(|n| n as f64))
        .about(child.map(|c| c.key), [])
        .shown_by(format!("cat /proc/{pid}/task/{tid}/stack; grep -E 'State|SigPnd|ShdPnd' /proc/{pid}/task/{tid}/status"));
    Some(match child {
        Some(child) => verdict.advise(format!(
            "look at {}: it has not called exec yet, and until then its parent stands still",
            words::task(child)
        )),
        None => advise(verdict, kind, thread.sigkill_pending == Some(true), &place),
    })
}

/// The child of a vfork is the one that was started last.
fn youngest_child<'a>(case: &Case<'a>, task: &Task) -> Option<&'a Task> {
    let rows = &case.look.snap.tasks.data()?.rows;
    let children = case.look.model.tasks.get(&task.key)?.children.iter().filter_map(|&row| rows.get(row));
    children.filter(|t| !t.is_zombie()).max_by_key(|t| (t.key.start_ticks, t.key.pid))
}

fn waits_for(kind: WaitFor) -> Option<&'static str> {
    Some(match kind {
        WaitFor::Disk => "a disk",
        WaitFor::Nfs => "an NFS server",
        WaitFor::Fuse => "a FUSE server: a process that does not answer",
        WaitFor::FrozenFs => "a frozen file system",
        WaitFor::FrozenCgroup => "its frozen cgroup",
        WaitFor::Lock => "a lock that another task holds",
        WaitFor::Memory => "memory",
        WaitFor::Throttled => "memory.high of its cgroup",
        WaitFor::Vfork => "its vfork child",
        WaitFor::Swap => "pages from swap",
        WaitFor::CoreDump => "its core dump",
        WaitFor::Unknown => return None,
    })
}

/// What brings back what it waits for, and what a kill does meanwhile.
fn advise(verdict: Verdict, kind: WaitFor, killed: bool, place: &str) -> Verdict {
    let verdict = match kind {
        WaitFor::Fuse => verdict
            .advise("restart the FUSE server, or end the wait: echo 1 > /sys/fs/fuse/connections/N/abort (N: third column of /proc/PID/mountinfo, after the colon)"),
        WaitFor::FrozenFs => verdict.advise("fsfreeze --unfreeze its mount point, if no snapshot is being taken of it"),
        WaitFor::Memory => verdict.advise("raise the memory limit of its cgroup, or end what fills it"),
        WaitFor::Lock => verdict.advise("find the task that holds the lock: often one that waits for something else in the same place"),
        WaitFor::FrozenCgroup => verdict.advise("thaw its cgroup"),
        WaitFor::Vfork => verdict.advise("look at its child: that has not called exec yet"),
        _ => verdict.advise(format!("find what it waits for ({place})")),
    };
    match (killed, kind.killable()) {
        (true, _) => verdict.advise("another kill changes nothing: it dies when what it waits for comes back"),
        (false, Some(true)) => verdict.advise("kill -9 ends it at once"),
        (false, Some(false)) => verdict.advise("kill -9 is taken only when it wakes"),
        (false, None) => verdict.advise("kill -9 may be taken only when it wakes: whytop kill PID --plan says what is known"),
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;
    use crate::model::Severity;

    #[test]
    fn a_task_that_stands_through_a_look_is_named_with_place_and_signal() {
        let mut s = Script::new();
        let dd = s.world.task(50, "dd");
        s.world.blocked(dd, "jbd2_log_wait_commit", 1);
        s.world.row(dd).awake[0].sigkill_pending = Some(true);
        s.secs(4);
        let f = s.expect("task.d_state_long");
        assert_eq!(f.severity, Severity::Critical);
        assert_eq!(f.message, "dd(50) has been in D at jbd2_log_wait_commit for at least 3 s, SIGKILL pending");
        s.world.unblock(dd);
        s.secs(3);
        assert!(!s.expect("task.d_state_long").active);
    }

    #[test]
    fn whytop_and_its_readers_are_not_the_trouble() {
        let mut s = Script::new();
        let own = s.world.task(60, "whytop");
        let reader = s.world.child(own, 61, "whytop-reader");
        s.world.own_pid = 60;
        s.world.blocked(reader, "request_wait_answer", 1);
        s.secs(6);
        s.silent();
    }

    #[test]
    fn waking_now_and_then_frozen_kernel_threads_and_no_tasks_are_silent() {
        let mut s = Script::new();
        let dd = s.world.task(50, "dd");
        s.world.blocked(dd, "folio_wait_bit_common", 1);
        let frozen = s.world.task(51, "job");
        s.world.in_cgroup(frozen, "/frozen");
        s.world.cgroup("/frozen").frozen = Some(true);
        s.world.blocked(frozen, "do_nanosleep", 1);
        let elsewhere = s.world.task(53, "job");
        s.world.in_cgroup(elsewhere, "/web");
        s.world.row(elsewhere).freezer = Some("/frozen".into());
        s.world.blocked(elsewhere, "do_nanosleep", 1);
        let kthread = s.world.task(52, "driver");
        s.world.row(kthread).kthread = true;
        s.world.blocked(kthread, "msleep", 1);
        for _ in 0..8 {
            s.world.row(dd).awake[0].switches = s.world.row(dd).awake[0].switches.map(|n| n + 1);
            s.secs(1);
        }
        s.silent();
        s.world.hide("tasks");
        s.secs(3);
        s.silent();
    }

    #[test]
    fn a_wait_that_a_kill_ends_is_advised_so() {
        for (wchan, advice) in [("mem_cgroup_handle_over_high", "ends it at once"), ("percpu_rwsem_wait", "only when it wakes")] {
            let mut s = Script::new();
            let app = s.world.task(50, "app");
            s.world.blocked(app, wchan, 1);
            s.secs(5);
            let f = s.expect("task.d_state_long");
            assert!(f.advice.iter().any(|a| a.ends_with(advice)), "{wchan}: {:?}", f.advice);
        }
    }

    #[test]
    fn a_vfork_is_told_apart() {
        let mut s = Script::new();
        let sh = s.world.task(50, "sh");
        s.world.blocked(sh, "kernel_clone", 1);
        s.secs(5);
        let f = s.expect("task.d_state_long");
        assert_eq!(f.severity, Severity::Warning);
        assert!(f.message.contains("vfork child"), "{}", f.message);
        s.world.child(sh, 51, "sh");
        s.secs(2);
        let f = s.expect("task.d_state_long");
        assert!(f.message.contains("for its vfork child sh(51)") && f.advice[0].starts_with("look at sh(51)"), "{f:?}");
        let child = s.world.tasks.rows.iter().find(|t| t.key.pid == 51).unwrap().key;
        s.world.blocked(child, "request_wait_answer", 1);
        s.secs(5);
        let all: Vec<_> = s.last().findings.iter().map(|f| (&*f.label.name, f.explained_by.clone())).collect();
        assert_eq!(all, [("sh(51)", vec![]), ("sh(50)", vec![0])]);
    }

    #[test]
    fn a_kill_that_a_fuse_server_holds_up_says_how_to_end_the_wait() {
        let mut s = Script::new();
        let ls = s.world.task(50, "ls");
        s.world.blocked(ls, "request_wait_answer", 1);
        s.world.row(ls).awake[0].sigkill_pending = Some(true);
        s.secs(5);
        let f = s.expect("task.d_state_long");
        assert!(f.message.ends_with("SIGKILL pending") && f.advice[0].contains("/sys/fs/fuse/connections"), "{f:?}");
        assert!(f.evidence.iter().any(|e| &*e.field == "waits for"), "{:?}", f.evidence);
    }
}
