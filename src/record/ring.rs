//! The last minutes of a recording, in memory: whole groups of frames, the oldest given up first.

use super::frame::{Frame, FrameKind};
use super::writer::Sink;
use super::{Header, Log, Note, Reader, RecordError};
use crate::snapshot::Text;
use std::collections::VecDeque;

/// Memory that a frame takes beside its body.
const FRAME_BYTES: usize = size_of::<Frame>();

/// Frames of the last minutes, within a bound of bytes. Its [`super::Writer`] must make keyframes that need no other frame.
#[derive(Debug)]
pub struct Ring {
    span_ns: i64,
    bytes_max: usize,
    /// Each starts with a keyframe.
    groups: VecDeque<Vec<Frame>>,
    bytes: usize,
}

impl Ring {
    /// An empty ring that reaches back `span_ns` at least, where `bytes_max` has room for it.
    #[must_use]
    pub fn new(span_ns: i64, bytes_max: usize) -> Self {
        Self { span_ns, bytes_max, groups: VecDeque::new(), bytes: 0 }
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it holds, oldest first.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.groups.iter().flatten()
    }

    /// What it holds as a recording, with some notes at its end.
    ///
    /// # Errors
    /// An empty ring, or no memory.
    pub fn reader(&self, header: &Header, notes: &[Note]) -> Result<Reader, RecordError> {
        Reader::from_bytes(self.file(header, notes)?)
    }

    /// The bytes of a file with what it holds, and with some notes at its end.
    ///
    /// # Errors
    /// A note that is too long.
    pub fn file(&self, header: &Header, notes: &[Note]) -> Result<Vec<u8>, RecordError> {
        let (mut log, mut bytes) = Log::new(header)?;
        let mut last_unix_ns = 0;
        for frame in self.frames() {
            last_unix_ns = frame.wall_unix_ns;
            bytes.extend(log.append(frame)?);
        }
        for note in notes {
            bytes.extend(log.append(&Frame::note(last_unix_ns, note)?)?);
        }
        bytes.extend(log.close(last_unix_ns)?);
        Ok(bytes)
    }

    fn give_up_oldest(&mut self) {
        let Some(group) = self.groups.pop_front() else { return };
        self.bytes -= group.iter().map(weight).sum::<usize>();
    }
}

fn weight(frame: &Frame) -> usize {
    FRAME_BYTES + frame.body.capacity()
}

impl Sink for Ring {
    fn put(&mut self, mut frame: Frame) -> Result<(), Text> {
        frame.body.shrink_to_fit();
        let now = frame.wall_unix_ns;
        if frame.kind == FrameKind::Key {
            // The group before the one that reaches back far enough is not needed any more.
            let start = now.saturating_sub(self.span_ns);
            let is_old = |group: &Vec<Frame>| group.first().is_some_and(|key| key.wall_unix_ns <= start);
            while self.groups.get(1).is_some_and(is_old) {
                self.give_up_oldest();
            }
            self.groups.push_back(Vec::new());
        }
        let weight = weight(&frame);
        while self.bytes + weight > self.bytes_max && self.groups.len() > 1 {
            self.give_up_oldest();
        }
        if self.bytes + weight > self.bytes_max {
            self.give_up_oldest();
            return Err("the ring has no room for a minute".into());
        }
        // What belongs to no keyframe can't be read.
        let Some(group) = self.groups.back_mut() else { return Ok(()) };
        group.push(frame);
        self.bytes += weight;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Writer;
    use super::*;
    use crate::snapshot::{Host, Moment, Section, Snapshot};

    const SECOND: i64 = 1_000_000_000;

    fn look(secs: i64) -> Snapshot {
        let at = Moment(u64::try_from(secs * SECOND).unwrap());
        let host = Host { name: format!("host at {secs}").into(), ..Host::default() };
        Snapshot { at, wall_unix_ns: secs * SECOND, host: Section::ok(at, host), ..Snapshot::default() }
    }

    fn read(writer: &mut Writer<Ring>) -> Vec<Snapshot> {
        let reader = writer.sink().reader(&Header::default(), &[]).unwrap();
        let mut cursor = reader.start().unwrap();
        std::iter::from_fn(|| cursor.next_snapshot().unwrap()).collect()
    }

    #[test]
    fn it_reaches_back_as_far_as_asked_and_not_much_further() {
        let mut writer = Writer::new(Ring::new(600 * SECOND, 64 << 20)).unwrap();
        for secs in 0..900 {
            writer.push(&look(secs), None).unwrap();
        }
        let kept = read(&mut writer);
        assert_eq!(kept.last(), Some(&look(899)));
        assert!((600..=670).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept, (900 - i64::try_from(kept.len()).unwrap()..900).map(look).collect::<Vec<_>>());
    }

    #[test]
    fn its_bytes_are_bounded_and_what_does_not_fit_is_lost_alone() {
        let mut writer = Writer::new(Ring::new(600 * SECOND, 20_000)).unwrap();
        for secs in 0..900 {
            writer.push(&look(secs), None).unwrap();
            assert!(writer.sink().bytes() <= 20_000);
        }
        let kept = read(&mut writer);
        assert_eq!(kept.last(), Some(&look(899)));
        assert!(kept.len() > 20 && kept.len() < 600, "{}", kept.len());

        let mut tiny = Writer::new(Ring::new(600 * SECOND, 100)).unwrap();
        tiny.push(&look(1), None).unwrap();
        assert!(tiny.lost().is_some_and(|lost| lost.samples == 1));
        assert!(tiny.sink().reader(&Header::default(), &[]).is_ok_and(|r| r.span().is_none()));
    }
}
