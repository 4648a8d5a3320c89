//! What stuck threads wait for, in words.

use super::super::names::{path_name, task_name};
use super::{block, has_page};
use crate::model::{Frame, TaskFacts};
use crate::snapshot::{Cgroup, Subject, Task, TaskDetail, TaskState, Thread, Wait, WaitFor};
use crate::view::{Line, Role, Target, num};

/// Kinds of waits told.
const WAITS_MAX: usize = 8;
/// Functions of a stack.
const STACK_MAX: usize = 12;

/// A sentence for each kind of wait, its kernel stack below it.
pub(super) fn lines(frame: &Frame, task: &Task, known: &TaskFacts, detail: Option<&TaskDetail>) -> Vec<Line> {
    let seen = detail.map(|d| d.waits.clone()).filter(|waits| !waits.is_empty()).unwrap_or_else(|| of_threads(task));
    let mut lines = Vec::new();
    for wait in seen.iter().take(WAITS_MAX) {
        lines.push(sentence(frame, task, known, wait));
        lines.push(stack(wait));
    }
    let frozen = frozen(frame, task).filter(|_| seen.iter().all(|wait| wait.kind != WaitFor::FrozenCgroup));
    let thaw = frozen.map(|cgroup| {
        let line = Line::default().with(Role::Warn, "the thaw of its cgroup, which is frozen: ");
        line.text(path_name(frame, &cgroup.key.path)).to(Target::Subject(Subject::Cgroup(cgroup.key.clone())))
    });
    // Until then nothing else that it waits for matters.
    block("waits for", thaw.into_iter().chain(lines))
}

/// The waits of the threads that every look knows, while the detail has not come.
fn of_threads(task: &Task) -> Vec<Wait> {
    let mut waits: Vec<Wait> = Vec::new();
    let blocked = |thread: &&Thread| thread.state == TaskState::Blocked;
    for thread in task.awake.iter().filter(blocked) {
        let killed = u32::from(thread.sigkill_pending == Some(true));
        if let Some(same) = waits.iter_mut().find(|w| w.wchan == thread.wchan && w.stack == thread.stack) {
            same.threads += 1;
            same.sigkill_pending += killed;
            continue;
        }
        waits.push(Wait {
            kind: WaitFor::of(thread.wchan.as_deref(), &thread.stack),
            threads: 1,
            tid: thread.tid,
            wchan: thread.wchan.clone(),
            stack: thread.stack.clone(),
            sigkill_pending: killed,
            ..Wait::default()
        });
    }
    waits.sort_by_key(|wait| std::cmp::Reverse(wait.threads));
    waits
}

fn sentence(frame: &Frame, task: &Task, known: &TaskFacts, wait: &Wait) -> Line {
    let line = match wait.threads {
        1 => Line::default(),
        n => Line::default().text(format!("{} threads: ", num::grouped(n.into()))),
    };
    let line = what(line, frame, task, known, wait);
    let line = match (&wait.file, wait.kind) {
        (Some(file), _) => line.dim(" · file ").text(file.to_string()),
        (None, _) => line,
    };
    if wait.sigkill_pending > 0 {
        let words = match wait.kind.killable() {
            Some(true) => " · SIGKILL is pending and ends it",
            _ => " · SIGKILL is pending: it dies when it wakes",
        };
        return line.with(Role::Warn, words);
    }
    match wait.kind.killable() {
        Some(true) => line.dim(" · SIGKILL ends this wait"),
        Some(false) => line.dim(" · no signal ends this wait"),
        None => line,
    }
}

/// The thing itself, leading to whoever must act.
fn what(line: Line, frame: &Frame, task: &Task, known: &TaskFacts, wait: &Wait) -> Line {
    let at = |fallback: &str| if wait.place.is_empty() { fallback.to_owned() } else { wait.place.to_string() };
    match wait.kind {
        WaitFor::Disk => line.text("a disk").dim(place(wait)),
        WaitFor::Nfs => line.text("the NFS server of ").text(at("a mount the kernel does not name")),
        WaitFor::Fuse => {
            let line = line.text("the FUSE server of ").text(at("a mount the kernel does not name"));
            match &wait.on {
                Some((key, comm)) => {
                    line.text(format!(": {comm}({})", key.pid)).to(Target::Subject(Subject::Task(*key)))
                }
                None => line.dim(", which process that is can't be told"),
            }
        }
        WaitFor::FrozenFs => {
            let line = line.text("a frozen file system: ").text(at("which one is not told"));
            line.dim(" · fsfreeze --unfreeze its mount point")
        }
        WaitFor::FrozenCgroup => {
            let cgroup = frame.cgroup(&wait.place);
            let line = line.text("its frozen cgroup ").text(path_name(frame, &wait.place));
            match cgroup {
                Some(cgroup) => line.to(Target::Subject(Subject::Cgroup(cgroup.key.clone()))),
                None => line,
            }
        }
        WaitFor::Lock => lock(line, frame, task, wait),
        WaitFor::Memory | WaitFor::Throttled => memory(line, frame, known, wait.kind),
        WaitFor::Vfork => match &wait.on {
            Some((key, comm)) => line
                .text(format!("its vfork child {comm}({})", key.pid))
                .dim(", until that runs a program or ends")
                .to(Target::Subject(Subject::Task(*key))),
            None => line.text("its vfork child, until that runs a program or ends"),
        },
        WaitFor::Swap => line.text("pages from swap"),
        WaitFor::CoreDump => line.text("a core dump to be written"),
        WaitFor::Unknown => match &wait.wchan {
            Some(wchan) => line.text("something that only the kernel function names: ").text(wchan.to_string()),
            None => line.dim("something the kernel does not tell"),
        },
    }
}

fn place(wait: &Wait) -> String {
    if wait.place.is_empty() { String::new() } else { format!(": {}", wait.place) }
}

/// Who holds the lock is told by the kernel's hung-task line alone (6.16).
fn lock(line: Line, frame: &Frame, task: &Task, wait: &Wait) -> Line {
    let ours = |pid: u32| pid == wait.tid || pid == task.key.pid;
    let mut told = frame.log.iter().rev().filter(|e| &*e.kind == "hung_task" && e.pid("pid").is_some_and(ours));
    let owner = told.find_map(|e| Some((e, e.pid("blocked_by_pid")?)));
    let Some((event, pid)) = owner else {
        return line.text("a lock").dim(", whose owner the kernel does not tell").dim(place(wait));
    };
    let kind = event.str("lock").unwrap_or("lock");
    let line = line.text(format!("a {kind} held by "));
    match frame.model.by_pid.get(&pid) {
        Some(key) => line.text(task_name(frame, *key)).to(Target::Subject(Subject::Task(*key))),
        None => line.text(format!("thread {pid}")),
    }
}

/// Memory, and whose limit holds it back.
fn memory(line: Line, frame: &Frame, known: &TaskFacts, kind: WaitFor) -> Line {
    let what = if kind == WaitFor::Throttled { "memory.high of " } else { "memory of " };
    let holder = known.cgroup_row.and_then(|row| frame.model.cgroups.get(row)?.limit_row);
    let Some(cgroup) = holder.and_then(|row| frame.snap.cgroups.data()?.rows.get(row)) else {
        return line.text("memory of the host");
    };
    let memory = cgroup.memory.as_ref();
    let bytes = |n: Option<u64>| n.map_or_else(|| "–".into(), num::bytes);
    let used = format!("{}/{}", bytes(memory.and_then(|m| m.usage_bytes)), bytes(memory.and_then(|m| m.limit_bytes)));
    let subject = Subject::Cgroup(cgroup.key.clone());
    let line = line.text(format!("{what}{}", path_name(frame, &cgroup.key.path))).dim(format!(" ({used})"));
    if has_page(&subject) { line.to(Target::Subject(subject)) } else { line }
}

/// The stack, innermost first, and the system call it is in.
fn stack(wait: &Wait) -> Line {
    let wchan = wait.wchan.as_deref();
    let frames = wait.stack.iter().map(|f| &**f).filter(|f| Some(*f) != wchan);
    let words: Vec<&str> = wchan.into_iter().chain(frames).take(STACK_MAX).collect();
    let line = Line::default().dim("  at ");
    let line =
        if words.is_empty() { line.dim("a place the kernel does not tell") } else { line.dim(words.join(" ← ")) };
    match wait.syscall {
        Some(number) => line.dim(format!(" · in system call {number}")),
        None => line,
    }
}

/// The frozen cgroup it is in.
fn frozen<'f>(frame: &'f Frame, task: &Task) -> Option<&'f Cgroup> {
    frame.cgroup(task.freezer_path()?).filter(|c| c.frozen == Some(true))
}
