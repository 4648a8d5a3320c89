//! What the screens write to files, and who does it.

use super::recorder::Recorder;
use super::saves::Saves;
use crate::cli::setup::Settings;
use crate::record::Helper;
use std::time::Duration;

/// Processes that write for `r`: one that does, and one for when it dies.
const RECORDERS: usize = 2;
/// Processes that write all else: one that waits for a dead disk leaves one that does not.
const SAVERS: usize = 2;

/// How the ring saves itself: so many files of so many bytes in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoSave {
    pub files: usize,
    pub bytes: u64,
}

/// All that writes.
pub struct Files {
    pub recorder: Recorder,
    pub saves: Saves,
    /// `None`: nothing is saved unasked.
    pub auto: Option<AutoSave>,
}

impl Files {
    /// Processes that write, or none: on a host that can't fork there is all the more to see. Call it before any thread
    /// exists, and before what they must not hold is open.
    pub fn fork() -> Vec<Helper> {
        crate::startup::fork_writers(RECORDERS + SAVERS).unwrap_or_default()
    }

    /// Files where the settings want them, written by these processes.
    pub fn new(settings: &Settings, mut recorders: Vec<Helper>) -> Self {
        let savers = recorders.split_off(recorders.len().min(RECORDERS));
        let places = &settings.places;
        Self {
            recorder: Recorder::new(places.recording(), settings.interval, recorders),
            saves: Saves::new(places.dir.clone(), savers),
            auto: places.auto,
        }
    }

    /// No files.
    pub fn none() -> Self {
        let recorder = Recorder::new(None, Duration::ZERO, Vec::new());
        Self { recorder, saves: Saves::new(None, Vec::new()), auto: None }
    }
}
