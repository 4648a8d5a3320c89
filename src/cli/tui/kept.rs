//! What the live screens keep: the last ten minutes, in memory; and all of it, in a file, while they record.

use super::recorder::Recorder;
use crate::app::Recording;
use crate::cli::record::findings::Findings;
use crate::cli::reel;
use crate::engine::{Engine, EngineOptions};
use crate::model::{Frame, Severity};
use crate::playback::Playback;
use crate::record::{Header, Note, RecordError, Ring, Writer};
use crate::snapshot::{Moment, Snapshot};

/// How far back the ring reaches.
const SPAN_NS: i64 = 600 * 1_000_000_000;
const SPAN_S: f64 = 600.0;
/// Memory for it: a host that needs more has a shorter past.
const BYTES_MAX: usize = 32 << 20;

/// The ring and the notes in it, and the file that `r` records to.
pub struct Kept {
    writer: Writer<Ring>,
    header: Option<Header>,
    findings: Findings,
    alarm: Alarm,
    pub recorder: Recorder,
}

impl Kept {
    /// An empty ring.
    ///
    /// # Errors
    /// No memory for the compressor.
    pub fn new(recorder: Recorder) -> Result<Self, RecordError> {
        let writer = Writer::new(Ring::new(SPAN_NS, BYTES_MAX))?;
        Ok(Self { writer, header: None, findings: Findings::default(), alarm: Alarm::default(), recorder })
    }

    /// Takes a sample that the engine is about to step.
    pub fn take(&mut self, snap: &Snapshot, engine: &Engine) {
        self.header.get_or_insert_with(|| Header::of(snap));
        let checkpoint = self.writer.wants_checkpoint(snap.wall_unix_ns).then(|| engine.checkpoint(snap));
        // A sample that can't be kept is no reason to show nothing.
        let _ = self.writer.push(snap, checkpoint.as_deref());
        self.recorder.take(snap, engine);
    }

    /// Notes which findings came and went with a frame; whether the ring is to be saved for them.
    pub fn note(&mut self, frame: &Frame) -> bool {
        for note in self.findings.notes(frame) {
            let _ = self.writer.note(frame.snap.wall_unix_ns, &note);
        }
        self.recorder.note_findings(frame);
        let is_critical = frame.findings.iter().any(|f| f.active && f.severity == Severity::Critical);
        self.alarm.rings(frame.snap.at, is_critical)
    }

    /// Adds a note.
    pub fn add(&mut self, wall_unix_ns: i64, note: &Note) {
        let _ = self.writer.note(wall_unix_ns, note);
        self.recorder.note(wall_unix_ns, note);
    }

    /// What is kept, as a recording to go back in.
    ///
    /// # Errors
    /// When nothing is kept yet.
    pub fn rewind(&self, options: &EngineOptions) -> Result<(Playback, Recording), RecordError> {
        let header = self.header.as_ref().ok_or(RecordError::Empty)?;
        let reader = self.writer.sink_ref().reader(header, &self.open_findings())?;
        let recording = reel::recording(&reader, true)?.ok_or(RecordError::Empty)?;
        Ok((Playback::new(reader, options.clone())?, recording))
    }

    /// What is kept, as the bytes of a file, and how far it reaches back, s.
    ///
    /// # Errors
    /// When nothing is kept yet.
    pub fn file(&self) -> Result<(Vec<u8>, f64), RecordError> {
        let header = self.header.as_ref().ok_or(RecordError::Empty)?;
        let ring = self.writer.sink_ref();
        let first = ring.frames().next().ok_or(RecordError::Empty)?.wall_unix_ns;
        let span = self.last_unix_ns().saturating_sub(first) as f64 / 1e9;
        Ok((ring.file(header, &self.open_findings())?, span))
    }

    fn last_unix_ns(&self) -> i64 {
        self.writer.sink_ref().frames().last().map_or(0, |f| f.wall_unix_ns)
    }

    /// What is still true at the end of what is kept.
    fn open_findings(&self) -> Vec<Note> {
        self.findings.clone().end(self.last_unix_ns())
    }
}

/// Says when the ring is to be saved: when work begins to fail, and once more when the ring holds what came of that.
#[derive(Clone, Copy, Debug, Default)]
struct Alarm {
    /// When work last failed.
    failed: Option<Moment>,
    /// When what followed is to be saved.
    again: Option<Moment>,
}

impl Alarm {
    fn rings(&mut self, now: Moment, is_critical: bool) -> bool {
        let again = self.again.take_if(|at| *at <= now).is_some();
        let is_new = is_critical && self.failed.is_none_or(|failed| now.since(failed) > SPAN_S);
        if is_critical {
            self.failed = Some(now);
        }
        if is_new {
            self.again = Some(Moment(now.0.saturating_add(SPAN_NS.unsigned_abs())));
        }
        again || is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_rings_at_the_start_of_trouble_and_once_more_after_ten_minutes() {
        let mut alarm = Alarm::default();
        let trouble = |s: u64| (100..110).contains(&s) || (300..2000).contains(&s) || s >= 3000;
        let rung: Vec<u64> = (0..4000).filter(|s| alarm.rings(Moment(s * 1_000_000_000), trouble(*s))).collect();
        assert_eq!(rung, [100, 700, 3000, 3600], "trouble that comes again within ten minutes is the same");
    }
}
