//! What a look is held against: of every section the last distinct sample, and since when threads and zombies stand.

use super::{Model, Nest};
use crate::snapshot::{
    Cgroups, Cpu, Memory, Moment, Net, Pressure, Section, Slabs, Snapshot, Sockets, TaskKey, Tasks, Text,
};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Two looks may come right after one another (a drill-down's): over less than this a share of CPU says nothing.
const OWN_SPAN_S: f64 = 0.5;

/// One sample of a section.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sampled<T> {
    /// When the kernel was read.
    pub at: Moment,
    /// What it said.
    pub data: Arc<T>,
}

/// The two newest distinct samples of a section. Lanes have periods of their own: a section whose time has not moved
/// is held against the same sample as before, and so keeps its rates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pair<T> {
    older: Option<Sampled<T>>,
    newer: Option<Sampled<T>>,
}

impl<T> Default for Pair<T> {
    fn default() -> Self {
        Self { older: None, newer: None }
    }
}

impl<T> Pair<T> {
    /// The newest sample taken before `at`.
    #[must_use]
    pub fn before(&self, at: Moment) -> Option<&Sampled<T>> {
        [&self.newer, &self.older].into_iter().flatten().find(|s| s.at < at)
    }

    /// Whether the sample of this time has been seen.
    pub(super) fn has(&self, at: Moment) -> bool {
        self.newer.as_ref().is_some_and(|n| n.at >= at)
    }

    fn advance(&mut self, section: &Section<T>) {
        let (Some(at), Some(data)) = (section.at(), section.shared()) else { return };
        if self.newer.as_ref().is_some_and(|n| n.at >= at) {
            return;
        }
        self.older = self.newer.replace(Sampled { at, data: Arc::clone(data) });
    }
}

/// A section's data now and in the sample before it, with the seconds between.
pub struct Span<'a, T> {
    /// The newer data.
    pub now: &'a T,
    /// The older data.
    pub old: &'a T,
    /// Seconds from the older to the newer, more than 0.
    pub secs: f64,
}

impl<T> Clone for Span<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Span<'_, T> {}

/// The span of a section since its sample before; `None` on its first sample.
pub(super) fn span<'a, T>(now: &'a Section<T>, pair: &'a Pair<T>) -> Option<Span<'a, T>> {
    let at = now.at()?;
    let old = pair.before(at)?;
    Some(Span { now: now.data()?, old: &old.data, secs: at.since(old.at) })
}

/// Change of a counter per second. `None` where it went back: a namespace, cgroup or driver was made anew.
#[must_use]
pub fn per_second(old: u64, now: u64, secs: f64) -> Option<f64> {
    let delta = now.checked_sub(old)?;
    (secs > 0.0).then(|| delta as f64 / secs)
}

/// A thread in D and since when it has not woken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockedThread {
    /// First look that saw it so.
    pub since: Moment,
    /// Its context switches then.
    pub switches: Option<u64>,
    /// Its wait channel then.
    pub wchan: Option<Text>,
}

impl BlockedThread {
    /// Whether a thread seen in D again has not run in between, as far as its numbers tell.
    pub(super) fn still(&self, switches: Option<u64>, wchan: Option<&Text>) -> bool {
        match (self.switches, switches) {
            (Some(old), Some(now)) => old == now,
            _ => self.wchan.as_ref() == wchan,
        }
    }
}

/// The past that one look needs: never a window of snapshots, only the sample before.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Before {
    /// CPU.
    pub cpu: Pair<Cpu>,
    /// Tasks.
    pub tasks: Pair<Tasks>,
    /// Sockets.
    pub sockets: Pair<Sockets>,
    /// Network counters.
    pub net: Pair<Net>,
    /// Cgroups.
    pub cgroups: Pair<Cgroups>,
    /// Memory.
    pub memory: Pair<Memory>,
    /// Pressure.
    pub pressure: Pair<Pressure>,
    /// Slab.
    pub slab: Pair<Slabs>,
    /// When whytop's own CPU time was last taken, ns of it then, and its share of a core up to then, percent.
    own: Option<(Moment, u64, Option<f64>)>,
    /// Threads in D, by process and thread id.
    pub blocked: FxHashMap<(TaskKey, u32), BlockedThread>,
    /// Zombies, and when each was first seen as one.
    pub zombies: FxHashMap<TaskKey, Moment>,
    /// Cgroups below which others come and go, by path.
    pub nests: FxHashMap<Text, Nest>,
}

impl Before {
    /// whytop's own CPU time, percent of one core.
    #[must_use]
    pub fn own_cpu_pct(&self, now: &Snapshot) -> Option<f64> {
        let (at, cpu_ns, known) = self.own?;
        let secs = now.at.since(at);
        if secs < OWN_SPAN_S && known.is_some() {
            return known;
        }
        per_second(cpu_ns, now.own.cpu_ns, secs).map(|ns_per_s| ns_per_s / 1e7)
    }

    /// Takes the look that was just modelled as the past of the next one.
    pub fn advance(&mut self, now: &Snapshot, model: &Model) {
        self.cpu.advance(&now.cpu);
        self.tasks.advance(&now.tasks);
        self.sockets.advance(&now.sockets);
        self.net.advance(&now.net);
        self.cgroups.advance(&now.cgroups);
        self.memory.advance(&now.memory);
        self.pressure.advance(&now.pressure);
        self.slab.advance(&now.slab);
        if self.own.is_none_or(|(at, ..)| now.at.since(at) >= OWN_SPAN_S) {
            self.own = Some((now.at, now.own.cpu_ns, model.totals.own_cpu_pct));
        }
        if now.tasks.data().is_some() {
            self.blocked.clone_from(&model.blocked_threads);
            self.zombies.clone_from(&model.zombies_since);
        }
        if now.cgroups.data().is_some() {
            self.nests.clone_from(&model.nests);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_that_did_not_move_is_held_against_the_same_sample() {
        let mut pair = Pair::<u32>::default();
        let first = Section::ok(Moment(10), 1);
        let second = Section::ok(Moment(20), 2);
        pair.advance(&first);
        pair.advance(&second);
        pair.advance(&second.clone().grown_stale("late"));
        assert_eq!(pair.before(Moment(20)).map(|s| *s.data), Some(1));
        assert_eq!(pair.before(Moment(30)).map(|s| *s.data), Some(2));
        assert!(pair.before(Moment(10)).is_none());
    }

    #[test]
    fn a_counter_that_went_back_has_no_rate() {
        assert_eq!(per_second(10, 20, 2.0), Some(5.0));
        assert_eq!(per_second(20, 10, 2.0), None);
        assert_eq!(per_second(10, 20, 0.0), None);
    }
}
