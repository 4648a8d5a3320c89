//! What a rule measures: one look with its joins and its past.

use super::earlier;
use crate::model::{Before, History, LogBook, Metric, Model, Trend};
use crate::snapshot::{Cgroup, CgroupKey, Moment, NetnsCounters, NetnsId, Snapshot, Subject, Task, TaskKey, Text};

/// Limits that every namespace shows and only the first may change (0444 in the others).
const HOST_WIDE: [&str; 4] =
    ["net.core.rmem_max", "net.core.rmem_default", "net.core.wmem_max", "net.core.wmem_default"];

/// One look with its joins, its past and the log of its window.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The raw look.
    pub snap: &'a Snapshot,
    /// Its joins and rates.
    pub model: &'a Model,
    /// The samples before.
    pub before: &'a Before,
    /// Histories of tasks, cgroups, slab caches and the host.
    pub history: &'a History,
    /// Kernel-log events.
    pub log: &'a LogBook,
    /// Where the window begins.
    pub window_start: Moment,
    /// From when on a finding that stands counts as bad as it was.
    pub worst_from: Moment,
}

impl<'a> Look<'a> {
    /// When it was taken.
    #[must_use]
    pub fn at(&self) -> Moment {
        self.snap.at
    }

    /// From where growth is judged: the window, a minute at most.
    #[must_use]
    pub fn trend_from(&self) -> Moment {
        self.window_start.max(earlier(self.at(), 60.0))
    }

    /// By how much a subject's metric rose since `from`, and over how many seconds: a cheap look before a trend.
    #[must_use]
    pub fn rise(&self, subject: &Subject, metric: Metric, from: Moment) -> Option<(f64, f64)> {
        let series = self.history.series(subject, metric)?;
        let from = from.max(series.first_at()?);
        Some((series.last()? - series.value_from(from)?, series.seen().since(from)))
    }

    /// The trend of a subject's metric from `from` on.
    #[must_use]
    pub fn trend_of(&self, subject: &Subject, metric: Metric, from: Moment) -> Option<Trend> {
        Trend::over(self.history.series(subject, metric)?, from)
    }

    /// When a task was `age_s` old: what a program takes while it starts is no trend.
    #[must_use]
    pub fn when_aged(&self, task: &Task, age_s: f64) -> Moment {
        let per_second = self.snap.host.data().map_or(100, |h| h.ticks_per_sec.max(1));
        let born_s = task.key.start_ticks as f64 / per_second as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "boot-clock ns, not negative")]
        Moment(((born_s + age_s) * 1e9) as u64)
    }

    /// A task's row.
    #[must_use]
    pub fn task(&self, key: TaskKey) -> Option<&'a Task> {
        self.snap.tasks.data()?.rows.get(self.model.tasks.get(&key)?.row)
    }

    /// `name(pid)` of a task, `pid N` when it can't be seen.
    #[must_use]
    pub fn task_name(&self, key: TaskKey) -> String {
        self.task(key).map_or_else(|| format!("pid {}", key.pid), super::words::task)
    }

    /// A cgroup's row, by path.
    #[must_use]
    pub fn cgroup(&self, path: &str) -> Option<&'a Cgroup> {
        self.snap.cgroups.data()?.rows.get(*self.model.cgroup_by_path.get(path)?)
    }

    /// A namespace's counters.
    #[must_use]
    pub fn netns(&self, id: NetnsId) -> Option<&'a NetnsCounters> {
        self.snap.net.data()?.netns.iter().find(|n| n.id == id)
    }

    /// The joins of a cgroup, by path.
    #[must_use]
    pub fn cgroup_facts(&self, path: &str) -> Option<&'a crate::model::CgroupFacts> {
        self.model.cgroups.get(*self.model.cgroup_by_path.get(path)?)
    }

    /// The namespace that holds the limits of the whole host.
    #[must_use]
    pub fn first_netns(&self) -> Option<&'a NetnsCounters> {
        let host = self.snap.host.data().map(|h| h.netns);
        host.and_then(|id| self.netns(id)).or_else(|| self.snap.net.data()?.netns.first())
    }

    /// A sysctl of a namespace, or of the host where it is not per namespace.
    #[must_use]
    pub fn sysctl(&self, netns: &NetnsCounters, name: &str) -> Option<f64> {
        let own = netns.sysctls.get(name);
        own.or_else(|| self.first_netns()?.sysctls.get(name)).map(|v| v as f64)
    }

    /// A change of a namespace's sysctl as a command, from what it is to what is proposed.
    #[must_use]
    pub fn sysctl_change(&self, netns: &NetnsCounters, name: &str, proposed: f64) -> Option<String> {
        let now = self.sysctl(netns, name)?;
        let own = !HOST_WIDE.contains(&name)
            && netns.sysctls.get(name).is_some()
            && self.first_netns().is_some_and(|first| first.id != netns.id);
        let enter = netns.pid.filter(|_| own);
        (proposed > now).then(|| super::words::sysctl(name, now, proposed, enter))
    }

    /// The key of a cgroup by path; inode 0 when it is not in the snapshot.
    #[must_use]
    pub fn cgroup_key(&self, path: &Text) -> CgroupKey {
        self.cgroup(path).map_or_else(|| CgroupKey { path: path.clone(), inode: 0 }, |c| c.key.clone())
    }

    /// RAM, bytes; `None` when unknown.
    #[must_use]
    pub fn ram_bytes(&self) -> Option<f64> {
        let host = self.snap.host.data().map(|h| h.mem_total_bytes);
        let total = host.filter(|&b| b > 0).or_else(|| self.snap.memory.data()?.meminfo.get("MemTotal"));
        total.filter(|&b| b > 0).map(|b| b as f64)
    }

    /// Seconds from `at` to now.
    #[must_use]
    pub fn age_s(&self, at: Moment) -> f64 {
        self.at().since(at)
    }
}
