//! Tasks joined with their children, their CPU, and since when they stand in D or wait to be reaped.

use super::before::{Before, BlockedThread, Span, per_second, span};
use super::{Model, TaskFacts};
use crate::snapshot::{Moment, Snapshot, Task, TaskKey, TaskState, Tasks};

pub(super) fn join(m: &mut Model, now: &Snapshot, before: &Before) {
    let Some(tasks) = now.tasks.data() else { return };
    let at = now.tasks.at().unwrap_or(now.at);
    let span = span(&now.tasks, &before.tasks);
    let ticks_per_sec = now.host.data().map_or(100, |h| h.ticks_per_sec.max(1)) as f64;
    m.tasks.reserve(tasks.rows.len());
    m.by_pid.reserve(tasks.rows.len());
    for (row, task) in tasks.rows.iter().enumerate() {
        m.by_pid.insert(task.key.pid, task.key);
        let mut facts = TaskFacts { row, ..TaskFacts::default() };
        if let Some((old, secs)) = span.and_then(|s| earlier(s, task.key)) {
            let ticks = |t: &Task| t.utime_ticks.saturating_add(t.stime_ticks);
            facts.cpu_pct = per_second(ticks(old), ticks(task), secs).map(|r| r / ticks_per_sec * 100.0);
            facts.major_faults_per_s = per_second(old.major_faults, task.major_faults, secs);
        }
        facts.blocked_since = blocked_since(m, task, before, at);
        facts.cgroup_row = task.cgroup.as_ref().and_then(|path| m.cgroup_by_path.get(path)).copied();
        m.tasks.insert(task.key, facts);
    }
    join_children(m, tasks, before, at);
}

/// The same process in the sample before, found by pid (rows are sorted by it).
fn earlier(span: Span<'_, Tasks>, key: TaskKey) -> Option<(&Task, f64)> {
    let at = span.old.rows.binary_search_by_key(&key.pid, |t| t.key.pid).ok()?;
    span.old.rows.get(at).filter(|t| t.key == key).map(|t| (t, span.secs))
}

fn blocked_since(m: &mut Model, task: &Task, before: &Before, at: Moment) -> Option<Moment> {
    let mut oldest = None;
    for thread in task.awake.iter().filter(|t| t.state == TaskState::Blocked) {
        let id = (task.key, thread.tid);
        let seen = before.blocked.get(&id).filter(|b| b.still(thread.switches, thread.wchan.as_ref()));
        let since = seen.map_or(at, |b| b.since);
        oldest = Some(oldest.map_or(since, |o: Moment| o.min(since)));
        let blocked = BlockedThread { since, switches: thread.switches, wchan: thread.wchan.clone() };
        m.blocked_threads.insert(id, blocked);
    }
    oldest
}

fn join_children(m: &mut Model, tasks: &Tasks, before: &Before, at: Moment) {
    for (row, task) in tasks.rows.iter().enumerate() {
        let zombie_since = task.is_zombie().then(|| {
            let since = before.zombies.get(&task.key).copied().unwrap_or(at);
            m.zombies_since.insert(task.key, since);
            since
        });
        let Some(parent) = m.by_pid.get(&task.ppid).and_then(|key| m.tasks.get_mut(key)) else { continue };
        parent.children.push(row);
        if let Some(since) = zombie_since {
            parent.zombie_children = parent.zombie_children.saturating_add(1);
            parent.zombie_since = Some(parent.zombie_since.map_or(since, |s| s.min(since)));
        }
    }
}
