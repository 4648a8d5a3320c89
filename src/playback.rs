//! A recording in frames: a player with an engine behind it, at any time of the recording.
//!
//! The frame of a time is the same however one gets there: played up to it, or sought from a checkpoint.

use crate::engine::{Engine, EngineOptions};
use crate::model::Frame;
use crate::record::{Reader, RecordError};
use crate::snapshot::{Snapshot, Subject};
use crate::source::{Player, Source};
use std::sync::Arc;
use std::time::Duration;

/// A recording being shown.
pub struct Playback {
    player: Player,
    engine: Engine,
    frame: Arc<Frame>,
}

impl Playback {
    /// A recording, held before its first sample.
    ///
    /// # Errors
    /// From reading it.
    pub fn new(reader: Reader, options: EngineOptions) -> Result<Self, RecordError> {
        Ok(Self { player: Player::new(reader)?, engine: Engine::new(options), frame: Arc::default() })
    }

    /// The recording.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        self.player.reader()
    }

    /// What is shown.
    #[must_use]
    pub fn frame(&self) -> &Arc<Frame> {
        &self.frame
    }

    /// Plays on, `speed` times as fast as it happened; `None` holds.
    pub fn play(&mut self, speed: Option<f64>) {
        self.player.play(speed);
    }

    /// How long until the next sample is due.
    #[must_use]
    pub fn due_in(&self) -> Duration {
        self.player.due_in()
    }

    /// Whether it plays.
    #[must_use]
    pub fn is_playing(&self) -> bool {
        self.player.is_playing()
    }

    /// Time of the sample that is shown, nanoseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn at(&self) -> Option<i64> {
        self.player.at()
    }

    /// The span without samples that begins at the sample that is shown, if there is one.
    #[must_use]
    pub fn gap_ahead(&self) -> Option<(i64, i64)> {
        let (at, next) = self.player.at().zip(self.player.next_at())?;
        (next.saturating_sub(at) > self.reader().pause_ns()).then_some((at, next))
    }

    /// Whether there is no sample after the one that is shown.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.player.next_at().is_none()
    }

    /// Asks for the histories of one more subject, in the frame that is shown too.
    ///
    /// # Errors
    /// From reading the recording.
    pub fn set_focus(&mut self, subject: Option<Subject>) -> Result<&Arc<Frame>, RecordError> {
        let again = subject.is_some();
        self.engine.set_focus(subject);
        if let Some(at) = self.player.at().filter(|_| again) {
            self.restart(at)?;
            self.run_to(at)?;
        }
        Ok(&self.frame)
    }

    /// The next sample's frame; `None` at the end.
    ///
    /// # Errors
    /// From reading the recording.
    pub fn advance(&mut self) -> Result<Option<&Arc<Frame>>, RecordError> {
        let Some(snap) = self.player.next_sample()? else { return Ok(None) };
        self.take(snap);
        Ok(Some(&self.frame))
    }

    /// The frame of the last sample at or before `to`; of the first one when that is later.
    ///
    /// # Errors
    /// From reading the recording.
    pub fn seek(&mut self, to: i64) -> Result<&Arc<Frame>, RecordError> {
        if !self.is_on_the_way(to)? {
            self.restart(to)?;
        }
        self.run_to(to)?;
        Ok(&self.frame)
    }

    /// Plays up to the last sample at or before `to`, one at least.
    fn run_to(&mut self, to: i64) -> Result<(), RecordError> {
        while self.player.next_at().is_some_and(|next| next <= to || self.player.at().is_none()) {
            let Some(snap) = self.player.next_sample()? else { break };
            self.take(snap);
        }
        Ok(())
    }

    /// The frame so many samples on, or back; the first or last one where there are not so many.
    ///
    /// # Errors
    /// From reading the recording.
    pub fn step(&mut self, samples: i64) -> Result<&Arc<Frame>, RecordError> {
        for _ in 0..samples.max(0) {
            if self.advance()?.is_none() {
                break;
            }
        }
        for _ in samples..0 {
            let Some(at) = self.player.at() else { break };
            self.seek(at.saturating_sub(1))?;
        }
        Ok(&self.frame)
    }

    /// Whether playing on from here leads to `to`, with no checkpoint nearer.
    fn is_on_the_way(&self, to: i64) -> Result<bool, RecordError> {
        let Some(at) = self.player.at().filter(|at| *at <= to) else { return Ok(false) };
        let nearer = self.reader().checkpoint_before(to)?.is_some_and(|c| c.wall_unix_ns > at);
        Ok(!nearer)
    }

    /// Goes before `to`, as near as a checkpoint allows, with an engine that knows what came before.
    fn restart(&mut self, to: i64) -> Result<(), RecordError> {
        self.engine.reset();
        let Some(checkpoint) = self.player.seek(to, true)? else { return Ok(()) };
        let Some(snap) = self.player.next_sample()? else { return Ok(()) };
        if self.engine.restore(&checkpoint.bytes, &snap).is_ok() {
            self.take(snap);
        } else {
            self.player.seek(to, false)?;
        }
        Ok(())
    }

    fn take(&mut self, snap: Snapshot) {
        self.frame = Arc::new(self.engine.step(snap));
    }
}
