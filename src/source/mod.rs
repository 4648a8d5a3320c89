//! Where snapshots come from: the running host, a recording, or a script of a test.

mod player;

pub use player::Player;

use crate::collect::now;
use crate::collect::sampler::Sampler;
use crate::snapshot::{Moment, Snapshot, TaskKey};
use std::collections::VecDeque;
use std::time::Duration;

/// Gives one snapshot after another.
pub trait Source: Send {
    /// How long until the next snapshot is due.
    fn due_in(&self) -> Duration;
    /// Takes the next snapshot, whether it is due or not; `None` at the end.
    fn look(&mut self) -> Option<Snapshot>;
    /// The task that a drill-down shows, from the next snapshot on.
    fn set_focus(&mut self, focus: Option<TaskKey>);
}

/// The running host, at a steady interval after a few quick looks.
pub struct Live {
    sampler: Sampler,
    due: Moment,
}

impl Live {
    /// A sampler's snapshots at its interval; the first is due now.
    #[must_use]
    pub fn new(sampler: Sampler) -> Self {
        Self { sampler, due: now() }
    }
}

impl Source for Live {
    fn due_in(&self) -> Duration {
        Duration::from_nanos(self.due.0.saturating_sub(now().0))
    }

    fn look(&mut self) -> Option<Snapshot> {
        let started = now();
        let snap = self.sampler.sample();
        if started >= self.due {
            // The beat is kept; beats that a slow sample missed are left out.
            let beat = u64::try_from(self.sampler.beat().as_nanos()).unwrap_or(u64::MAX);
            self.due = Moment(self.due.0.saturating_add(beat).max(now().0));
        }
        Some(snap)
    }

    fn set_focus(&mut self, focus: Option<TaskKey>) {
        self.sampler.set_focus(focus);
    }
}

/// Snapshots made beforehand, without waiting between them.
#[derive(Debug, Default)]
pub struct Script {
    snapshots: VecDeque<Snapshot>,
}

impl Script {
    /// A source of these snapshots, in their order.
    pub fn new(snapshots: impl IntoIterator<Item = Snapshot>) -> Self {
        Self { snapshots: snapshots.into_iter().collect() }
    }
}

impl Source for Script {
    fn due_in(&self) -> Duration {
        Duration::ZERO
    }

    fn look(&mut self) -> Option<Snapshot> {
        self.snapshots.pop_front()
    }

    fn set_focus(&mut self, _focus: Option<TaskKey>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::Roots;
    use crate::collect::sampler::SamplerOptions;

    #[test]
    fn live_keeps_its_beat_after_quick_first_looks_and_an_extra_look_does_not_move_it() {
        let interval = Duration::from_hours(1);
        let options = SamplerOptions { interval, max_cpu_pct: 100.0, eager: false, only: false };
        let mut live = Live::new(Sampler::new(Roots::default(), options, Vec::new()));
        assert_eq!(live.due_in(), Duration::ZERO);
        for _ in 0..3 {
            assert!(live.due_in() < Duration::from_secs(1), "{:?}", live.due_in());
            std::thread::sleep(live.due_in());
            live.look();
        }
        let left = live.due_in();
        assert!(left > interval / 2, "{left:?}");
        live.look();
        assert!(live.due_in() <= left);
    }

    #[test]
    fn a_script_ends() {
        let mut script = Script::new([Snapshot { at: Moment(7), ..Snapshot::default() }]);
        assert_eq!(script.look().map(|s| s.at), Some(Moment(7)));
        assert_eq!(script.look(), None);
    }
}
