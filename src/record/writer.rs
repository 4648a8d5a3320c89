//! Snapshots in, frames out.

use super::frame::{Frame, FrameKind};
use super::sample::SampleEncoder;
use super::{Lost, Note, RecordError};
use crate::snapshot::{Snapshot, Text};

/// From one keyframe to the next, at most: what a damaged frame may cost.
pub const KEY_SPAN_NS: i64 = 60_000_000_000;

/// Takes frames, in their order.
pub trait Sink {
    /// Takes a frame, or refuses it without waiting: then it is lost, and the next sample must be a keyframe.
    ///
    /// # Errors
    /// Why it can't be taken, in words.
    fn put(&mut self, frame: Frame) -> Result<(), Text>;
}

impl Sink for Vec<Frame> {
    fn put(&mut self, frame: Frame) -> Result<(), Text> {
        self.push(frame);
        Ok(())
    }
}

/// Makes the frames of a recording.
pub struct Writer<S> {
    sink: S,
    encoder: SampleEncoder,
    /// When the last keyframe was taken.
    key_unix_ns: Option<i64>,
    lost: Option<Lost>,
}

impl<S: Sink> Writer<S> {
    /// A writer whose keyframes need no other frame: any of them may be the first that is kept.
    ///
    /// # Errors
    /// No memory for the compressor.
    pub fn new(sink: S) -> Result<Self, RecordError> {
        Ok(Self { sink, encoder: SampleEncoder::new(false)?, key_unix_ns: None, lost: None })
    }

    /// A writer for a file: its keyframes lean on a base, which makes them a quarter as long.
    ///
    /// # Errors
    /// No memory for the compressor.
    pub fn with_base(sink: S) -> Result<Self, RecordError> {
        Ok(Self { encoder: SampleEncoder::new(true)?, ..Self::new(sink)? })
    }

    /// Makes the next sample a keyframe that needs nothing before it: the sink lost what it had taken.
    pub fn start_over(&mut self) {
        self.encoder.forget_base();
        self.key_unix_ns = None;
    }

    /// Whether a sample taken at `wall_unix_ns` would be a keyframe: then a checkpoint is welcome.
    #[must_use]
    pub fn wants_checkpoint(&self, wall_unix_ns: i64) -> bool {
        // A clock that was set back starts a new span too.
        self.key_unix_ns.is_none_or(|key| !(0..KEY_SPAN_NS).contains(&(wall_unix_ns.saturating_sub(key))))
    }

    /// Records a snapshot, and beside it the checkpoint of an engine that is about to step it.
    ///
    /// # Errors
    /// A snapshot that can't be recorded. One that the sink does not take is lost, which a note will say.
    pub fn push(&mut self, snap: &Snapshot, checkpoint: Option<&[u8]>) -> Result<(), RecordError> {
        let wall_unix_ns = snap.wall_unix_ns;
        let is_key = self.wants_checkpoint(wall_unix_ns);
        let body = self.encoder.encode(snap, is_key)?;
        let kind = if is_key { FrameKind::Key } else { FrameKind::Delta };
        let put = self.put_base(wall_unix_ns, is_key)?.and_then(|()| self.put(Frame { kind, wall_unix_ns, body }));
        if let Err(why) = put {
            self.lose(wall_unix_ns, why);
            return Ok(());
        }
        if is_key {
            self.key_unix_ns = Some(wall_unix_ns);
        }
        if let Some(lost) = self.lost.take()
            && self.note(wall_unix_ns, &Note::Lost(lost.clone())).is_err()
        {
            self.lost = Some(lost);
        }
        if let Some(body) = checkpoint {
            // Without it a seek replays more; nothing is lost.
            let _ = self.put(Frame { kind: FrameKind::Checkpoint, wall_unix_ns, body: body.to_vec() });
        }
        Ok(())
    }

    /// Records a note.
    ///
    /// # Errors
    /// A sink that does not take it.
    pub fn note(&mut self, wall_unix_ns: i64, note: &Note) -> Result<(), RecordError> {
        let put = self.put(Frame::note(wall_unix_ns, note)?);
        put.map_err(|why| RecordError::Value(why.to_string()))
    }

    /// What has been lost and no note says yet.
    #[must_use]
    pub fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    /// The sink.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// The sink, to look at.
    #[must_use]
    pub fn sink_ref(&self) -> &S {
        &self.sink
    }

    /// The sink, at the end.
    #[must_use]
    pub fn into_sink(self) -> S {
        self.sink
    }

    /// The base stands before the first keyframe that leans on it, and once more before the second.
    fn put_base(&mut self, wall_unix_ns: i64, is_key: bool) -> Result<Result<(), Text>, RecordError> {
        match self.encoder.base() {
            Some((base, 1 | 2)) if is_key => {
                let body = base.pack()?;
                Ok(self.put(Frame { kind: FrameKind::Base, wall_unix_ns, body }))
            }
            _ => Ok(Ok(())),
        }
    }

    fn put(&mut self, frame: Frame) -> Result<(), Text> {
        self.sink.put(frame)
    }

    fn lose(&mut self, wall_unix_ns: i64, why: Text) {
        self.start_over();
        let lost = self.lost.get_or_insert_with(|| Lost { from_unix_ns: wall_unix_ns, ..Lost::default() });
        lost.to_unix_ns = wall_unix_ns;
        lost.samples += 1;
        lost.why = why;
    }
}
