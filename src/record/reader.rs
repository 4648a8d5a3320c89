//! Opens a recording and gives back its snapshots from any time on.

use super::cursor::Cursor;
use super::frame::FrameKind;
use super::index::Index;
use super::log::Layout;
use super::note::FORMAT;
use super::sample::{Base, base_id};
use super::source::Source;
use super::{Header, Note, RecordError};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that can't be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Last sample before, nanoseconds since 1970-01-01 UTC; `None` at the start.
    pub from_unix_ns: Option<i64>,
    /// First sample after; `None` at the end.
    pub to_unix_ns: Option<i64>,
    /// How many bytes could not be read or were passed over.
    pub bytes: u64,
}

/// What an engine knew before it took a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The time of the sample that comes next for it, nanoseconds since 1970-01-01 UTC.
    pub wall_unix_ns: i64,
    /// As the engine gave it.
    pub bytes: Vec<u8>,
}

/// An open recording. Clones share it; it can be read by several threads.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) source: Source,
    pub(super) index: Index,
    header: Header,
    header_is_copy: bool,
    /// The base that was needed last.
    base: Mutex<Option<Arc<Base>>>,
}

impl Inner {
    /// The base that the keyframe at `place` leans on; `None` when it needs none or it can't be read.
    pub(super) fn base(&self, place: u64, body: &[u8]) -> Result<Option<Arc<Base>>, RecordError> {
        let Ok(id) = base_id(body) else { return Ok(None) };
        if id == 0 {
            return Ok(None);
        }
        let mut kept = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(base) = kept.as_ref().filter(|base| base.id == id) {
            return Ok(Some(Arc::clone(base)));
        }
        let bases = || self.index.entries.iter().filter(|e| e.kind == FrameKind::Base);
        // It stands before; where that one is damaged its copy stands a keyframe later.
        let before = bases().rev().filter(|e| e.place < place).take(2);
        let after = bases().filter(|e| e.place > place).take(2);
        for entry in before.chain(after) {
            let frame = self.source.frame(entry.place)?;
            if let Some(base) = frame.and_then(|f| Base::unpack(&f.body).ok()).filter(|base| base.id == id) {
                return Ok(Some(Arc::clone(kept.insert(Arc::new(base)))));
            }
        }
        Ok(None)
    }
}

impl Reader {
    /// Opens a file. One that is being written is read up to where it is now.
    ///
    /// # Errors
    /// A file that can't be read, is empty, is no recording, or was written by a newer format.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        Self::of(File::open(path)?)
    }

    /// The same, of an open file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of(file: File) -> Result<Self, RecordError> {
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(RecordError::Io(std::io::ErrorKind::IsADirectory.into()));
        }
        Self::new(Source::File(file, meta.len()))
    }

    /// A recording in memory.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, RecordError> {
        Self::new(Source::Memory(bytes))
    }

    fn new(source: Source) -> Result<Self, RecordError> {
        if source.len() == 0 {
            return Err(RecordError::Empty);
        }
        let index = Index::of(&source)?.ok_or(RecordError::NotARecording)?;
        let mut header = None;
        for entry in index.entries.iter().filter(|e| e.kind == FrameKind::Header) {
            if let Some(found) = read_header(&source, entry.place)? {
                header = Some((found, entry.place > 0));
                break;
            }
        }
        let (header, header_is_copy) = header.unwrap_or((Header::default(), true));
        if header.format > FORMAT {
            return Err(RecordError::Newer);
        }
        Ok(Self { inner: Arc::new(Inner { source, index, header, header_is_copy, base: Mutex::default() }) })
    }

    /// Who recorded, in the file's first session.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.inner.header
    }

    /// Whether the header at the start could not be read, and a copy of it stands in.
    #[must_use]
    pub fn header_is_copy(&self) -> bool {
        self.inner.header_is_copy
    }

    /// Times of the first and the last sample, nanoseconds since 1970-01-01 UTC; `None` without one.
    #[must_use]
    pub fn span(&self) -> Option<(i64, i64)> {
        let first = self.inner.index.keys().next()?.wall_unix_ns;
        Some((first, self.inner.index.last_unix_ns.unwrap_or(first)))
    }

    /// Times of the keyframes, in the order of the file: at least one a minute while it was recorded.
    #[must_use]
    pub fn key_times(&self) -> impl DoubleEndedIterator<Item = i64> {
        self.inner.index.keys().map(|key| key.wall_unix_ns)
    }

    /// Bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.inner.source.len()
    }

    /// Bytes after the last sound frame: a frame that was not written to its end.
    #[must_use]
    pub fn torn_tail(&self) -> u64 {
        self.bytes() - self.inner.index.end
    }

    /// Whether the recorder closed it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.index.is_closed && self.torn_tail() == 0
    }

    /// All samples, from the first on.
    ///
    /// # Errors
    /// No memory to unpack.
    pub fn start(&self) -> Result<Cursor, RecordError> {
        Cursor::new(&self.inner, 0)
    }

    /// Samples from the last one at or before `wall_unix_ns` on; from the first one when that is later.
    ///
    /// # Errors
    /// From reading the file.
    pub fn at(&self, wall_unix_ns: i64) -> Result<Cursor, RecordError> {
        let key = self.inner.index.last_before(FrameKind::Key, wall_unix_ns).map_or(0, |key| key.place);
        let mut cursor = Cursor::new(&self.inner, key)?;
        cursor.run_up_to(wall_unix_ns)?;
        Ok(cursor)
    }

    /// The last checkpoint at or before `wall_unix_ns`.
    ///
    /// # Errors
    /// From reading the file.
    pub fn checkpoint_before(&self, wall_unix_ns: i64) -> Result<Option<Checkpoint>, RecordError> {
        let mut until = wall_unix_ns;
        while let Some(entry) = self.inner.index.last_before(FrameKind::Checkpoint, until) {
            let head = self.inner.source.head(entry.place)?.filter(|head| head.kind == FrameKind::Checkpoint);
            let body = head.map_or(Ok(None), |head| self.inner.source.body(entry.place, &head))?;
            if let Some(bytes) = body {
                return Ok(Some(Checkpoint { wall_unix_ns: entry.wall_unix_ns, bytes }));
            }
            until = entry.wall_unix_ns - 1;
        }
        Ok(None)
    }

    /// Every note, in the order of the file; of the notes of one action the last, where the first stands. Damaged ones
    /// are left out.
    ///
    /// # Errors
    /// From reading the file.
    pub fn notes(&self) -> Result<Vec<Note>, RecordError> {
        let mut notes: Vec<Note> = Vec::new();
        for entry in self.inner.index.entries.iter().filter(|e| e.kind == FrameKind::Note) {
            let frame = self.inner.source.frame(entry.place)?;
            // A kind of note that a newer version wrote is passed over.
            let Some(note) = frame.and_then(|frame| serde_json::from_slice(&frame.body).ok()) else { continue };
            let earlier =
                |old: &&mut Note| matches!((old, &note), (Note::Action(old), Note::Action(new)) if old.is_same(new));
            match notes.iter_mut().rev().find(earlier) {
                Some(old) => *old = note,
                None => notes.push(note),
            }
        }
        Ok(notes)
    }

    /// The process that recorded last; 0 when unknown.
    pub(super) fn recorder_pid(&self) -> u32 {
        let headers = self.inner.index.entries.iter().rev().filter(|e| e.kind == FrameKind::Header);
        headers
            .filter_map(|e| read_header(&self.inner.source, e.place).ok().flatten())
            .map(|h| h.pid)
            .next()
            .unwrap_or(0)
    }

    /// Where a writer continues.
    pub(super) fn layout(&self) -> Layout {
        self.inner.index.layout.clone()
    }
}

fn read_header(source: &Source, place: u64) -> Result<Option<Header>, RecordError> {
    let frame = source.frame(place)?.filter(|frame| frame.kind == FrameKind::Header);
    Ok(frame.and_then(|frame| serde_json::from_slice(&frame.body).ok()))
}
