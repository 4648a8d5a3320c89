//! A recording, played: at its own pace or faster, held, or gone through to any time.

use super::Source;
use crate::collect::now;
use crate::record::{Checkpoint, Cursor, Reader, RecordError};
use crate::snapshot::{Moment, Snapshot, TaskKey};
use std::time::Duration;

/// A span without samples is passed over in so long at most.
const LONGEST_WAIT_NS: i64 = 2_000_000_000;
/// How long a held recording waits: until someone wants something.
const HELD: Duration = Duration::from_hours(1);
/// How far before a time one starts where no checkpoint helps: as far as the slowest rule looks back.
const WARM_UP_NS: i64 = 11 * 60 * 1_000_000_000;

/// Plays a recording. It starts held, before the first sample.
pub struct Player {
    reader: Reader,
    cursor: Cursor,
    /// Times of the sample that was given last and of the one that follows.
    at: Option<i64>,
    next: Option<i64>,
    /// How many times as fast as it happened; `None` while held.
    speed: Option<f64>,
    due: Moment,
}

impl Player {
    /// A player of a recording.
    ///
    /// # Errors
    /// From reading it.
    pub fn new(reader: Reader) -> Result<Self, RecordError> {
        let cursor = reader.start()?;
        let next = cursor.next_time()?;
        Ok(Self { reader, cursor, at: None, next, speed: None, due: Moment::default() })
    }

    /// The recording.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Time of the sample that was given last, nanoseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn at(&self) -> Option<i64> {
        self.at
    }

    /// Time of the sample that follows; `None` at the end.
    #[must_use]
    pub fn next_at(&self) -> Option<i64> {
        self.next
    }

    /// Whether it plays.
    #[must_use]
    pub fn is_playing(&self) -> bool {
        self.speed.is_some()
    }

    /// Plays on, `speed` times as fast as it happened; `None` holds.
    pub fn play(&mut self, speed: Option<f64>) {
        self.speed = speed.filter(|s| s.is_finite() && *s > 0.0);
        self.schedule();
    }

    /// Goes to where an engine must start that is to show the time `to`: before a checkpoint's sample, which comes back
    /// with it, or where that can't help, so far before that no rule looks back further.
    ///
    /// # Errors
    /// From reading the recording.
    pub fn seek(&mut self, to: i64, use_checkpoints: bool) -> Result<Option<Checkpoint>, RecordError> {
        let checkpoint = if use_checkpoints { self.reader.checkpoint_before(to)? } else { None };
        let start = checkpoint.as_ref().map_or(to.saturating_sub(WARM_UP_NS), |c| c.wall_unix_ns);
        self.cursor = self.reader.at(start)?;
        self.at = None;
        self.next = self.cursor.next_time()?;
        self.schedule();
        Ok(checkpoint)
    }

    /// The next sample; `None` at the end.
    ///
    /// # Errors
    /// From reading the recording; what is damaged is passed over.
    pub fn next_sample(&mut self) -> Result<Option<Snapshot>, RecordError> {
        let snap = self.cursor.next_snapshot()?;
        self.at = snap.as_ref().map(|s| s.wall_unix_ns).or(self.at);
        self.next = self.cursor.next_time()?;
        self.schedule();
        Ok(snap)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 4 s of ns, not negative")]
    fn schedule(&mut self) {
        let Some(speed) = self.speed else { return };
        let ahead = self.next.zip(self.at).map_or(0, |(next, at)| next.saturating_sub(at).clamp(0, LONGEST_WAIT_NS));
        self.due = Moment(now().0.saturating_add((ahead as f64 / speed) as u64));
    }
}

impl Source for Player {
    fn due_in(&self) -> Duration {
        if self.speed.is_none() || self.next.is_none() {
            return HELD;
        }
        Duration::from_nanos(self.due.0.saturating_sub(now().0))
    }

    fn look(&mut self) -> Option<Snapshot> {
        self.next_sample().ok().flatten()
    }

    /// A recording has no more to tell of a task than it holds.
    fn set_focus(&mut self, _focus: Option<TaskKey>) {}
}
