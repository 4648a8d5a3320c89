//! A recording that is being made, by `record` or from the live screens: samples in, words about the file out.

use super::record::findings::Findings;
use crate::collect::now;
use crate::engine::{CheckpointDue, Engine};
use crate::model::Frame;
use crate::record::{Bounds, Destination, Header, Link, Note, RecordError, Report, Writer};
use crate::snapshot::{Moment, Snapshot};
use crate::view::num;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A disk that has taken nothing for so many intervals, and seconds, is told.
const SILENT_INTERVALS: f64 = 5.0;
const SILENT_S: f64 = 5.0;
/// Between two looks for a closing file, ms.
const CLOSE_STEP_MS: u32 = 20;

/// Something about the file, for people; its name is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// The file is open; how it goes on, empty for a new one.
    Opened(String),
    /// Something has gone wrong, or well again. Recording goes on.
    Said(String),
    /// Why it can't go on.
    Over(String),
    /// The file is closed.
    Closed,
}

/// Where to record.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    pub path: &'a Path,
    pub bounds: Bounds,
    /// Whether its directory is made where it is missing.
    pub makes_dir: bool,
}

/// The file, and what goes into it.
pub struct Tape {
    path: PathBuf,
    writer: Writer<Link>,
    findings: Findings,
    interval: Duration,
    checkpoint: CheckpointDue,
    samples: u64,
    /// Bytes of the file.
    bytes: u64,
    is_open: bool,
    /// When the disk last had everything.
    synced: Moment,
    /// Whether it was told that the disk does not answer.
    is_silent: bool,
    /// Whether samples are being lost.
    is_losing: bool,
}

impl Tape {
    /// Has `path` opened; `first` is the first sample that will come.
    ///
    /// # Errors
    /// No memory for the compressor.
    pub fn open(mut link: Link, to: File<'_>, interval: Duration, first: &Snapshot) -> Result<Self, RecordError> {
        let File { path, bounds, makes_dir } = to;
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let header = Header { interval_ns, ..Header::of(first) };
        link.open(Destination { path: path.into(), header, bounds, makes_dir });
        Ok(Self {
            path: path.into(),
            writer: Writer::with_base(link)?,
            findings: Findings::default(),
            interval,
            checkpoint: CheckpointDue::default(),
            samples: 0,
            bytes: 0,
            is_open: false,
            synced: now(),
            is_silent: false,
            is_losing: false,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file has been opened.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Bytes of the file, when last heard of.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the disk takes what comes.
    pub fn is_well(&self) -> bool {
        !self.is_silent && !self.is_losing
    }

    /// The processes that write.
    pub fn link(&mut self) -> &mut Link {
        self.writer.sink()
    }

    /// The processes that write, for the next file.
    pub fn into_link(self) -> Link {
        self.writer.into_sink()
    }

    /// Takes a sample that the engine is about to step.
    ///
    /// # Errors
    /// A sample that can't be recorded; one that the disk does not take is lost, and told.
    pub fn take(&mut self, snap: &Snapshot, engine: &Engine) -> Result<(), RecordError> {
        let at_key = self.writer.wants_checkpoint(snap.wall_unix_ns);
        let checkpoint = self.checkpoint.take(snap, at_key).then(|| engine.checkpoint(snap));
        self.writer.push(snap, checkpoint.as_deref())?;
        self.samples += 1;
        Ok(())
    }

    /// Notes which findings came and went with a frame.
    pub fn note_findings(&mut self, frame: &Frame) {
        for note in self.findings.notes(frame) {
            self.note(frame.snap.wall_unix_ns, &note);
        }
    }

    /// Adds a note. One that is lost goes with the samples beside it, which are told.
    pub fn note(&mut self, wall_unix_ns: i64, note: &Note) {
        let _ = self.writer.note(wall_unix_ns, note);
    }

    /// What the writing process has told since the last call.
    pub fn hear(&mut self) -> Vec<Word> {
        let reports = self.writer.sink().reports();
        let mut words: Vec<Word> = reports.into_iter().filter_map(|report| self.heard(report)).collect();
        if self.writer.sink().pid().is_none() {
            words.push(Word::Over("every process that writes was ended".into()));
        }
        let silent_s = now().since(self.synced);
        if !self.is_silent && silent_s > (self.interval.as_secs_f64() * SILENT_INTERVALS).max(SILENT_S) {
            self.is_silent = true;
            let told = format!("the disk has not answered for {}; samples wait in memory", num::span(silent_s));
            words.push(Word::Said(told));
        }
        words
    }

    fn heard(&mut self, report: Report) -> Option<Word> {
        Some(match report {
            Report::Opened { bytes, torn } => {
                self.is_open = true;
                self.synced = now();
                let goes_on = if bytes > 0 { ", goes on after what it holds" } else { "" };
                let cut = if torn > 0 {
                    format!("; {} of a torn frame were cut off", num::prose_bytes(torn))
                } else {
                    String::new()
                };
                Word::Opened(format!("{goes_on}{cut}"))
            }
            Report::Refused { why } if !self.is_open => Word::Over(why),
            Report::Refused { why } | Report::Trouble { why } => {
                self.is_losing = true;
                Word::Said(format!("{why}: samples are lost until that is over"))
            }
            Report::Recovered { lost } => {
                self.is_losing = false;
                Word::Said(format!("records again; {} lost", samples_words(lost.samples)))
            }
            Report::NeedsKey => {
                self.writer.start_over();
                return None;
            }
            Report::Synced { bytes, .. } => {
                self.bytes = bytes;
                self.synced = now();
                if !std::mem::take(&mut self.is_silent) {
                    return None;
                }
                Word::Said("the disk answers again".into())
            }
            Report::NotThinned { why } => Word::Said(format!("old samples could not be thinned: {why}")),
            Report::Closed { bytes } => {
                self.bytes = bytes;
                Word::Closed
            }
            Report::Died => Word::Said("the process that writes was ended".into()),
            Report::Saved { .. } | Report::NotSaved { .. } => return None,
        })
    }

    /// Has the file closed, with what is still true; a word says when it is.
    pub fn end(&mut self, wall_unix_ns: i64) {
        for note in std::mem::take(&mut self.findings).end(wall_unix_ns) {
            self.note(wall_unix_ns, &note);
        }
        self.writer.sink().end(wall_unix_ns);
    }

    /// Waits until the file is closed, so long at most. `Err`: the disk has not answered.
    pub fn wait_for_end(&mut self, wait_ms: u32) -> Result<Vec<Word>, String> {
        let mut words = Vec::new();
        for _ in 0..=wait_ms / CLOSE_STEP_MS {
            words.extend(self.hear());
            if words.contains(&Word::Closed) {
                return Ok(words);
            }
            if words.iter().any(|word| matches!(word, Word::Over(_))) {
                break;
            }
            self.writer.sink().wait(CLOSE_STEP_MS);
        }
        Err(self.unfinished())
    }

    /// What to say when the disk does not answer at the end.
    pub fn unfinished(&mut self) -> String {
        let link = self.writer.sink();
        let (pid, lost) = (link.pid().unwrap_or_default(), link.waiting_bytes());
        let gone = if lost > 0 { format!("; {} are lost", num::prose_bytes(lost as u64)) } else { String::new() };
        format!("the disk does not answer: process {pid} writes what it has when it does{gone}")
    }

    /// What to say when the file is closed.
    pub fn finished(&self) -> String {
        format!("{}, {}", samples_words(self.samples), num::prose_bytes(self.bytes))
    }
}

fn samples_words(n: u64) -> String {
    if n == 1 { "1 sample".into() } else { format!("{} samples", num::grouped(n)) }
}
