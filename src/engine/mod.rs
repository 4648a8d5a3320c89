//! Snapshot in, frame out: series, rates, rules, stories.
//!
//! ```text
//! Snapshot ─▶ Model::build ─▶ History, LogBook ─▶ Watch (rules) ─▶ Frame
//!                 ▲                                                  │
//!                 └── Before: the last distinct sample ◀─────────────┘
//! ```
//!
//! The engine keeps series per subject under a byte bound, never a window of whole snapshots. It reads no clock: the
//! same snapshots give the same frames.

mod checkpoint;
mod due;
mod sparks;
#[cfg(test)]
mod tests;

pub use checkpoint::CheckpointError;
pub use due::CheckpointDue;

use crate::detect::{Look, RuleConfig, Watch, Window};
use crate::model::{Before, Frame, History, LogBook, Model, Severity};
use crate::snapshot::{Moment, Snapshot, Subject};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// How an engine looks.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How far back findings reach.
    pub window: Window,
    /// The rules' numbers, and which are off.
    pub rules: RuleConfig,
    /// Bytes that all series may take together; above it, what is older than two minutes is given up.
    pub series_bytes_max: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { window: Window::default(), rules: RuleConfig::default(), series_bytes_max: 32 << 20 }
    }
}

/// Turns looks into frames.
#[derive(Clone, Debug)]
pub struct Engine {
    options: EngineOptions,
    watch: Watch,
    before: Before,
    history: History,
    log: LogBook,
    first_look: Option<Moment>,
    last: Option<(Moment, Arc<str>)>,
    steps: u64,
    focus: Option<Subject>,
}

/// Steps between two sweeps of gone subjects and of the byte bound.
const SWEEP_STEPS: u64 = 16;

impl Engine {
    /// An engine that has seen nothing.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        Self {
            watch: Watch::new(options.rules.clone()),
            options,
            before: Before::default(),
            history: History::default(),
            log: LogBook::default(),
            first_look: None,
            last: None,
            steps: 0,
            focus: None,
        }
    }

    /// How it looks.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Asks for the histories of one more subject in the frames to come.
    pub fn set_focus(&mut self, subject: Option<Subject>) {
        self.focus = subject;
    }

    /// Forgets everything it has seen, as before a seek.
    pub fn reset(&mut self) {
        let focus = self.focus.take();
        *self = Self { focus, ..Self::new(self.options.clone()) };
    }

    /// Takes a look and gives what every screen shows of it. A look that goes back in time, or of another boot, starts
    /// anew.
    pub fn step(&mut self, snap: Snapshot) -> Frame {
        self.step_shared(Arc::new(snap))
    }

    /// As [`Engine::step`], for a snapshot that others hold too.
    pub fn step_shared(&mut self, snap: Arc<Snapshot>) -> Frame {
        let boot = snap.host.data().map_or_else(|| "".into(), |h| Arc::clone(&h.boot_id));
        if self.last.as_ref().is_some_and(|(at, id)| snap.at < *at || is_other_boot(id, &boot)) {
            self.reset();
        }
        let first = *self.first_look.get_or_insert(snap.at);
        let mut model = Model::build(&snap, &self.before);
        self.history.record(&snap, &model);
        self.log.take(&snap, &model, &self.before, first);
        let window_start = self.options.window.start(snap.at, first);
        self.log.look_back_to(window_start);
        model.totals.oom_kills_in_window = self.log.recent_of("oom_kill").count() as u64;
        let look = Look {
            snap: &snap,
            model: &model,
            before: &self.before,
            history: &self.history,
            log: &self.log,
            window_start,
            worst_from: self.options.window.worst_from(snap.at, first),
        };
        let (findings, stories) = self.watch.step(&look);
        let sparks = sparks::collect(&self.history, &snap, &model, &findings, self.focus.as_ref());
        self.before.advance(&snap, &model);
        self.last = Some((snap.at, boot));
        self.sweep();
        let mut lit: FxHashMap<Subject, Severity> = FxHashMap::default();
        for f in findings.iter().filter(|f| f.active) {
            let worst = lit.entry(f.subject.clone()).or_insert(f.severity);
            *worst = f.severity.max(*worst);
        }
        let log = Arc::clone(self.log.events());
        Frame { snap, model, findings, stories, log, log_in_window: self.log.in_window(), window_start, sparks, lit }
    }

    /// Bytes of all series.
    #[must_use]
    pub fn series_bytes(&self) -> usize {
        self.history.bytes() + self.watch.bytes()
    }

    fn sweep(&mut self) {
        self.steps += 1;
        if !self.steps.is_multiple_of(SWEEP_STEPS) {
            return;
        }
        self.history.forget_gone();
        if self.series_bytes() > self.options.series_bytes_max {
            self.history.forget_older();
            self.watch.forget_older();
        }
    }
}

fn is_other_boot(old: &str, new: &str) -> bool {
    !old.is_empty() && !new.is_empty() && old != new
}
