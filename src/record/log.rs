//! The order of frames in a file: what hangs on what, where the index and the header's copies stand.

use super::frame::{Frame, FrameKind, Head};
use super::tape::{put_varint, zigzag};
use super::{Header, Reader, RecordError};

/// Keyframes from one index to the next, and frames in one index at most.
const KEYS_AN_INDEX: usize = 16;
const ENTRIES_AN_INDEX: usize = 512;

/// A frame that is no delta, in an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: FrameKind,
    pub(super) wall_unix_ns: i64,
    /// Where it starts.
    pub(super) place: u64,
}

/// Where the next frame goes, and what it has to tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// Bytes so far.
    pub(super) end: u64,
    /// The last keyframe.
    pub(super) key: Option<u64>,
    /// The last index.
    pub(super) index: Option<u64>,
    /// What the next index will hold.
    pub(super) entries: Vec<Entry>,
}

impl Layout {
    /// Adds a frame to `out`.
    fn put(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let hangs_on = match frame.kind {
            FrameKind::Delta | FrameKind::Checkpoint | FrameKind::Note => self.key,
            _ => self.index,
        };
        let back = hangs_on.map_or(0, |place| self.end - place);
        let head = Head::of(frame, back).ok_or(RecordError::Damaged("too long for a frame"))?;
        out.extend(head.bytes());
        out.extend(&frame.body);
        let entry = Entry { kind: frame.kind, wall_unix_ns: frame.wall_unix_ns, place: self.end };
        match frame.kind {
            FrameKind::Index => {
                self.index = Some(self.end);
                self.entries.clear();
            }
            FrameKind::Delta => {}
            kind => {
                if kind == FrameKind::Key {
                    self.key = Some(self.end);
                }
                self.entries.push(entry);
            }
        }
        self.end += head.frame_len();
        Ok(())
    }

    fn index_frame(&self, wall_unix_ns: i64) -> Frame {
        let mut body = Vec::new();
        let mut before = wall_unix_ns;
        put_varint(&mut body, self.entries.len() as u64);
        for entry in self.entries.iter().rev() {
            body.push(entry.kind.letter());
            put_varint(&mut body, self.end - entry.place);
            put_varint(&mut body, zigzag(before.wrapping_sub(entry.wall_unix_ns).cast_unsigned()));
            before = entry.wall_unix_ns;
        }
        Frame { kind: FrameKind::Index, wall_unix_ns, body }
    }
}

/// Turns frames into the bytes of a file.
#[derive(Clone, Debug)]
pub struct Log {
    header: Frame,
    layout: Layout,
    has_copy: bool,
}

impl Log {
    /// A session that starts where `layout` ends; its first bytes are the header.
    fn start(header: &Header, layout: Layout) -> Result<(Self, Vec<u8>), RecordError> {
        let body = serde_json::to_vec(header).map_err(std::io::Error::from)?;
        let header = Frame { kind: FrameKind::Header, wall_unix_ns: header.started_unix_ns, body };
        let mut bytes = Vec::new();
        let mut log = Self { header, layout, has_copy: false };
        log.layout.put(&log.header, &mut bytes)?;
        Ok((log, bytes))
    }

    /// A new file, and its first bytes.
    ///
    /// # Errors
    /// A header that is too long.
    pub fn new(header: &Header) -> Result<(Self, Vec<u8>), RecordError> {
        Self::start(header, Layout::default())
    }

    /// A new session in the file of `reader`: where to cut it off, and the bytes that follow there.
    ///
    /// # Errors
    /// A header that is too long.
    pub fn resume(reader: &Reader, header: &Header) -> Result<(Self, u64, Vec<u8>), RecordError> {
        let layout = reader.layout();
        let end = layout.end;
        let (log, bytes) = Self::start(header, layout)?;
        Ok((log, end, bytes))
    }

    /// The bytes of `frame`, with what stands before and after it. Keep the log from before to take them back.
    ///
    /// # Errors
    /// A body that is too long.
    pub fn append(&mut self, frame: &Frame) -> Result<Vec<u8>, RecordError> {
        let mut out = Vec::with_capacity(frame.body.len() + 64);
        let keys = self.layout.entries.iter().filter(|e| e.kind == FrameKind::Key).count();
        let is_full = frame.kind == FrameKind::Key && keys >= KEYS_AN_INDEX;
        if is_full || self.layout.entries.len() >= ENTRIES_AN_INDEX {
            self.layout.put(&self.layout.index_frame(frame.wall_unix_ns), &mut out)?;
            self.layout.put(&self.header, &mut out)?;
        }
        self.layout.put(frame, &mut out)?;
        if !self.has_copy {
            self.has_copy = true;
            self.layout.put(&self.header, &mut out)?;
        }
        Ok(out)
    }

    /// The bytes that close a session: the index of what has none yet.
    ///
    /// # Errors
    /// None that a file can cause.
    pub fn close(&mut self, wall_unix_ns: i64) -> Result<Vec<u8>, RecordError> {
        let mut out = Vec::new();
        self.layout.put(&self.layout.index_frame(wall_unix_ns), &mut out)?;
        Ok(out)
    }
}
