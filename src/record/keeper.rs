//! Keeps a file up to date whatever becomes of it: full disks, removed directories, bounds. Runs in the writing process.

use super::file::{LogFile, remove_aside};
use super::frame::{Frame, FrameKind};
use super::rewrite::Rewrite;
use super::save::make_dir;
use super::wire::{Destination, Report};
use super::{Lost, Note, RecordError};

/// After a rewriting that failed, the next is tried so much later.
const REWRITE_PAUSE_NS: i64 = 60_000_000_000;

/// What the writing process does with its orders.
#[derive(Default)]
pub(super) struct Keeper {
    to: Option<Destination>,
    file: Option<LogFile>,
    /// A base, until the keyframe that leans on it comes: both are written or none.
    base: Option<Frame>,
    /// Whether frames in the file are missing, so that no delta can follow.
    is_broken: bool,
    lost: Lost,
    /// The trouble that was told last.
    told: Option<String>,
    is_dirty: bool,
    last_unix_ns: i64,
    rewrite: Option<Rewrite>,
    /// No rewriting before this time.
    rewrite_after: i64,
}

impl Keeper {
    /// Opens the file.
    pub(super) fn open(&mut self, to: Destination) -> Report {
        if let Some(dir) = to.path.parent().filter(|_| to.makes_dir) {
            // Where that fails, opening says why.
            let _ = make_dir(dir);
        }
        let opened = LogFile::open(&to.path, &to.header);
        let report = match opened {
            Ok(file) => {
                remove_aside(&to.path);
                let report = Report::Opened { bytes: file.held, torn: file.torn };
                self.file = Some(file);
                report
            }
            Err(error) => Report::Refused { why: error.to_string() },
        };
        self.to = Some(to);
        report
    }

    /// Takes a frame.
    pub(super) fn take(&mut self, frame: Frame, tell: &mut impl FnMut(Report)) {
        self.last_unix_ns = frame.wall_unix_ns;
        if frame.kind == FrameKind::Base {
            self.base = Some(frame);
            return;
        }
        if let Err(error) = self.stand(tell) {
            return self.fail(&frame, &error, tell);
        }
        let leans_on_the_file = frame.kind != FrameKind::Note && !(frame.kind == FrameKind::Key && self.base.is_some());
        if self.is_broken && leans_on_the_file {
            return self.lose(&frame);
        }
        let is_key = frame.kind == FrameKind::Key;
        let mut frames: Vec<Frame> = if is_key { self.base.take().into_iter().collect() } else { Vec::new() };
        let was_broken = self.is_broken && is_key;
        frames.push(frame);
        if was_broken {
            frames.extend(self.lost_note());
        }
        let Some(file) = &mut self.file else { return };
        match file.append(&frames) {
            Ok(()) => {
                self.is_dirty = true;
                if was_broken {
                    self.recover(tell);
                }
            }
            Err(error) => {
                if let Some(frame) = frames.iter().find(|f| f.kind != FrameKind::Base) {
                    self.fail(frame, &error, tell);
                }
            }
        }
    }

    /// Makes sure that there is a file, and that it is where it should be.
    fn stand(&mut self, tell: &mut impl FnMut(Report)) -> Result<(), RecordError> {
        if self.file.as_ref().is_some_and(|file| !file.is_in_place()) {
            self.file = None;
            self.rewrite = None;
            self.is_broken = true;
            let why = "the file was removed or replaced".to_owned();
            tell(Report::Trouble { why: why.clone() });
            self.told = Some(why);
        }
        if self.file.is_none() {
            let to = self.to.as_ref().ok_or(RecordError::Empty)?;
            self.file = Some(LogFile::open(&to.path, &to.header)?);
            self.is_broken = true;
            tell(Report::NeedsKey);
        }
        Ok(())
    }

    fn fail(&mut self, frame: &Frame, error: &RecordError, tell: &mut impl FnMut(Report)) {
        self.is_broken = true;
        self.lose(frame);
        let why = error.to_string();
        if self.told.as_ref() != Some(&why) {
            tell(Report::Trouble { why: why.clone() });
            self.told = Some(why);
        }
        tell(Report::NeedsKey);
    }

    fn lose(&mut self, frame: &Frame) {
        if !frame.kind.is_sample() {
            return;
        }
        if self.lost.samples == 0 {
            self.lost.from_unix_ns = frame.wall_unix_ns;
        }
        self.lost.samples += 1;
        self.lost.to_unix_ns = frame.wall_unix_ns;
    }

    /// What the recording says about what it lacks.
    fn lost_note(&mut self) -> Option<Frame> {
        if self.lost.samples == 0 {
            return None;
        }
        self.lost.why = self.told.as_deref().unwrap_or_default().into();
        let body = serde_json::to_vec(&Note::Lost(self.lost.clone())).ok()?;
        Some(Frame { kind: FrameKind::Note, wall_unix_ns: self.last_unix_ns, body })
    }

    fn recover(&mut self, tell: &mut impl FnMut(Report)) {
        self.is_broken = false;
        let lost = std::mem::take(&mut self.lost);
        if self.told.take().is_some() {
            tell(Report::Recovered { lost });
        }
    }

    /// Brings everything to the disk.
    pub(super) fn sync(&mut self, tell: &mut impl FnMut(Report)) {
        let Some(file) = self.file.as_ref().filter(|_| self.is_dirty) else { return };
        match file.sync() {
            Ok(()) => {
                self.is_dirty = false;
                tell(Report::Synced { wall_unix_ns: self.last_unix_ns, bytes: file.len() });
            }
            Err(error) => {
                // What the kernel could not write it forgets: only what comes new can be trusted.
                self.is_broken = true;
                let why = error.to_string();
                if self.told.as_ref() != Some(&why) {
                    tell(Report::Trouble { why: why.clone() });
                    self.told = Some(why);
                }
                tell(Report::NeedsKey);
            }
        }
    }

    /// Closes the file; how long it is.
    pub(super) fn close(&mut self, wall_unix_ns: i64) -> u64 {
        if let Some(rewrite) = self.rewrite.take() {
            rewrite.give_up();
        }
        let Some(mut file) = self.file.take() else { return 0 };
        // Without the index at its end it opens as well.
        let _ = file.close(wall_unix_ns);
        file.len()
    }

    /// Whether old samples are to be thinned or dropped now.
    pub(super) fn has_work(&mut self) -> bool {
        if self.rewrite.is_some() {
            return true;
        }
        let (Some(file), Some(to)) = (&self.file, &self.to) else { return false };
        if self.last_unix_ns < self.rewrite_after || self.is_broken {
            return false;
        }
        // Looking costs an opening; a minute is soon enough.
        self.rewrite_after = self.last_unix_ns + REWRITE_PAUSE_NS;
        self.rewrite = Rewrite::if_due(file, to, self.last_unix_ns).ok().flatten();
        self.rewrite.is_some()
    }

    /// Does a little of the work.
    pub(super) fn work(&mut self, tell: &mut impl FnMut(Report)) {
        let (Some(mut rewrite), Some(file)) = (self.rewrite.take(), &self.file) else { return };
        match rewrite.step(file) {
            Ok(false) => self.rewrite = Some(rewrite),
            Ok(true) => match rewrite.finish() {
                Ok(file) => {
                    self.file = Some(file);
                    self.is_dirty = true;
                    self.sync(tell);
                }
                Err(error) => tell(Report::NotThinned { why: error.to_string() }),
            },
            Err(error) => {
                rewrite.give_up();
                tell(Report::NotThinned { why: error.to_string() });
            }
        }
    }
}
