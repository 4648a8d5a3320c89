//! What the live screens keep: the last ten minutes, in memory.

use crate::app::Recording;
use crate::cli::record::findings::Findings;
use crate::cli::reel;
use crate::engine::{Engine, EngineOptions};
use crate::model::Frame;
use crate::playback::Playback;
use crate::record::{Header, Note, RecordError, Ring, Writer};
use crate::snapshot::Snapshot;

/// How far back the ring reaches.
const SPAN_NS: i64 = 600 * 1_000_000_000;
/// Memory for it: a host that needs more has a shorter past.
const BYTES_MAX: usize = 32 << 20;

/// The ring and the notes in it.
pub struct Kept {
    writer: Writer<Ring>,
    header: Option<Header>,
    findings: Findings,
}

impl Kept {
    /// An empty ring.
    ///
    /// # Errors
    /// No memory for the compressor.
    pub fn new() -> Result<Self, RecordError> {
        let writer = Writer::new(Ring::new(SPAN_NS, BYTES_MAX))?;
        Ok(Self { writer, header: None, findings: Findings::default() })
    }

    /// Takes a sample that the engine is about to step.
    pub fn take(&mut self, snap: &Snapshot, engine: &Engine) {
        self.header.get_or_insert_with(|| Header::of(snap));
        let checkpoint = self.writer.wants_checkpoint(snap.wall_unix_ns).then(|| engine.checkpoint(snap));
        // A sample that can't be kept is no reason to show nothing.
        let _ = self.writer.push(snap, checkpoint.as_deref());
    }

    /// Notes which findings came and went with a frame.
    pub fn note(&mut self, frame: &Frame) {
        for note in self.findings.notes(frame) {
            self.add(frame.snap.wall_unix_ns, &note);
        }
    }

    /// Adds a note.
    pub fn add(&mut self, wall_unix_ns: i64, note: &Note) {
        let _ = self.writer.note(wall_unix_ns, note);
    }

    /// What is kept, as a recording to go back in.
    ///
    /// # Errors
    /// When nothing is kept yet.
    pub fn rewind(&self, options: &EngineOptions) -> Result<(Playback, Recording), RecordError> {
        let header = self.header.as_ref().ok_or(RecordError::Empty)?;
        let ring = self.writer.sink_ref();
        let last = ring.frames().last().map_or(0, |f| f.wall_unix_ns);
        let reader = ring.reader(header, &self.findings.clone().end(last))?;
        let recording = reel::recording(&reader, true)?.ok_or(RecordError::Empty)?;
        Ok((Playback::new(reader, options.clone())?, recording))
    }
}
