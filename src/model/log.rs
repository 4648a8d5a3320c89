//! Kernel-log events as they come in, each joined with the task it names while that can still be seen.

use super::{Before, Model};
use crate::snapshot::{Cgroup, LogEvent, Moment, Snapshot, Task, TaskKey, Text, Thread};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// Events kept.
const EVENTS_MAX: usize = 1000;

/// What an event was joined with when it came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogJoin {
    /// When it was seen first.
    pub arrived: Moment,
    /// Whether it was in the log before the first look.
    pub history: bool,
    /// The task that it names (`victim_pid`, else `pid`).
    pub task: Option<TaskKey>,
    /// Whether that task was the init of a container; `None` when it had gone and so has that container's init, or when
    /// it lives in no pid namespace of its own.
    pub container_init: Option<bool>,
    /// The memory cgroup that an OOM kill is about, as it was then or in the sample before: it often goes with its victim.
    pub cgroup: Option<Arc<Cgroup>>,
}

impl LogEvent {
    /// The memory cgroup that an OOM kill is about: the limit's, or the victim's where the line does not say. `None`
    /// for a kill of the whole machine.
    #[must_use]
    pub fn oom_cgroup(&self) -> Option<&Text> {
        (self.str("scope") != Some("global")).then(|| self.text("oom_memcg").or_else(|| self.text("task_memcg")))?
    }
}

/// The events of a run, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LogBook {
    events: Arc<VecDeque<LogEvent>>,
    joins: VecDeque<LogJoin>,
    read_at: Option<Moment>,
    in_window: usize,
}

impl LogBook {
    /// Takes the new events of a look. Those of the first look, and those the kernel wrote before it, are history.
    pub fn take(&mut self, now: &Snapshot, m: &Model, before: &Before, first_look: Moment) {
        let Some((at, klog)) = now.klog.at().zip(now.klog.data()) else { return };
        if self.read_at.is_some_and(|last| at <= last) {
            return;
        }
        let first_read = self.read_at.is_none();
        self.read_at = Some(at);
        if klog.events.is_empty() {
            return;
        }
        let events = Arc::make_mut(&mut self.events);
        for event in &klog.events {
            // A ring that is read late still tells by its stamps what is old; without a stamp it is taken as old.
            let old = now.at == first_look || (first_read && event.at.is_none_or(|at| at < first_look));
            let (task, container_init) = named_task(event, now, m, before);
            let container_init = container_init.or_else(|| outlived(event, now).then_some(false));
            let cgroup = named_cgroup(event, now, m, before);
            self.joins.push_back(LogJoin { arrived: now.at, history: old, task, container_init, cgroup });
            events.push_back(event.clone());
        }
        while events.len() > EVENTS_MAX {
            events.pop_front();
            self.joins.pop_front();
        }
    }

    /// Sets where the window begins.
    pub fn look_back_to(&mut self, window_start: Moment) {
        let inside = |j: &&LogJoin| !j.history && j.arrived >= window_start;
        self.in_window = self.joins.iter().rev().take_while(inside).count();
    }

    /// All events.
    #[must_use]
    pub fn events(&self) -> &Arc<VecDeque<LogEvent>> {
        &self.events
    }

    /// How many of the last ones are inside the window.
    #[must_use]
    pub fn in_window(&self) -> usize {
        self.in_window
    }

    /// The events inside the window, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = (&LogEvent, &LogJoin)> {
        let skip = self.events.len().saturating_sub(self.in_window);
        self.events.iter().zip(&self.joins).skip(skip)
    }

    /// A cgroup that an OOM kill inside the window was about, as it was when it was seen last.
    #[must_use]
    pub fn oom_cgroup(&self, path: &str) -> Option<&Cgroup> {
        self.recent_of("oom_kill")
            .filter_map(|(_, join)| join.cgroup.as_deref())
            .filter(|c| &*c.key.path == path)
            .last()
    }

    /// Those of one kind.
    pub fn recent_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a LogEvent, &'a LogJoin)> {
        self.recent().filter(move |(event, _)| &*event.kind == kind)
    }
}

/// The task a line names, now or in the sample before: an OOM victim is often gone by the time its line is read.
fn named_task(event: &LogEvent, now: &Snapshot, m: &Model, before: &Before) -> (Option<TaskKey>, Option<bool>) {
    let Some(pid) = event.pid("victim_pid").or_else(|| event.pid("pid")) else { return (None, None) };
    let comm = event.str("victim_comm").or_else(|| event.str("comm"));
    let same_name = |t: &&Task| comm.is_none_or(|c| c == &*t.comm);
    let earlier = || {
        let old = before.tasks.before(now.tasks.at().unwrap_or(now.at))?;
        let row = old.data.rows.binary_search_by_key(&pid, |t| t.key.pid).ok();
        let is_it = |t: &&Task| same_name(t) || is_victim_of_exec(event, t);
        row.and_then(|row| old.data.rows.get(row)).filter(is_it).or_else(|| of_thread(&old.data.rows, pid, comm))
    };
    let rows = now.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    let live = m.by_pid.get(&pid).and_then(|key| rows.get(m.tasks.get(key)?.row)).filter(same_name);
    let live = live.or_else(|| of_thread(rows, pid, comm));
    match (earlier(), live) {
        // A zombie has lost its namespace: what it was before counts.
        (Some(old), _) => (Some(old.key), container_init(old)),
        (None, Some(task)) if task.is_zombie() => (Some(task.key), None),
        (None, Some(task)) => (Some(task.key), container_init(task)),
        (None, None) => (None, None),
    }
}

/// Whether a task with the victim's pid sat in the victim's cgroup: it has another name because it executed another
/// program since, as a container's entry script does.
fn is_victim_of_exec(event: &LogEvent, task: &Task) -> bool {
    event.str("task_memcg").is_some_and(|path| path != "/" && task.cgroup.as_deref() == Some(path))
}

/// Whether a container's init that was there before an OOM kill in its cgroup still is: so it was not the victim, though
/// nobody ever saw that alive.
fn outlived(event: &LogEvent, now: &Snapshot) -> bool {
    let (Some(path), Some(victim)) = (event.text("task_memcg"), event.pid("victim_pid")) else { return false };
    let at = event.at.unwrap_or(now.at);
    let ticks = now.host.data().map_or(100, |h| h.ticks_per_sec.max(1));
    let within =
        |own: &str| own != "/" && path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let rows = now.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    let mut inits = rows.iter().filter(|t| t.is_container_init() && !t.is_zombie() && t.key.pid != victim);
    inits.any(|t| {
        t.cgroup.as_deref().is_some_and(within) && t.key.start_ticks as f64 / (ticks as f64) < at.0 as f64 / 1e9
    })
}

fn named_cgroup(event: &LogEvent, now: &Snapshot, m: &Model, before: &Before) -> Option<Arc<Cgroup>> {
    let path = event.oom_cgroup()?;
    let live = m.cgroup_by_path.get(path).and_then(|row| now.cgroups.data()?.rows.get(*row));
    let earlier = || {
        let old = before.cgroups.before(now.cgroups.at().unwrap_or(now.at))?;
        old.data.rows.iter().find(|c| c.key.path == *path)
    };
    live.or_else(earlier).map(|cgroup| Arc::new(cgroup.clone()))
}

/// The process of a thread that does not sleep: a hung-task line names the thread.
fn of_thread<'a>(rows: &'a [Task], tid: u32, comm: Option<&str>) -> Option<&'a Task> {
    let is_it = |t: &Thread| t.tid == tid && comm.is_none_or(|c| c == &*t.comm);
    rows.iter().find(|task| task.awake.iter().any(is_it))
}

/// A service's task is nobody's init and no member of a container: of it this says nothing.
fn container_init(task: &Task) -> Option<bool> {
    task.inner_pid.map(|_| task.is_container_init())
}
