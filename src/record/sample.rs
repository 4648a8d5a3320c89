//! Snapshots as the bodies of frames, and back. `docs/recording.md` has the bytes.
//!
//! A keyframe starts a stream of zstd and is told as a difference from nothing; the frames after it continue both. So
//! a keyframe needs nothing before it, and a delta needs all frames since its keyframe.

use super::delta::{Differ, Rows, Undiffer};
use super::shape::{Columns, Kind, NodeId, ROOT, Shape, Strings};
use super::shred::Shredder;
use super::tape::{Bytes, Tape, TapeReader, put_varint};
use super::{RecordError, gather, parts};
use crate::snapshot::{Snapshot, Text};
use zstd::stream::raw::{Decoder, Encoder, InBuffer, Operation, OutBuffer};

/// Where size stops falling for what it costs; see `docs/recording.md`.
const LEVEL: i32 = 3;
/// A frame's body at most, unpacked.
const RAW_MAX: usize = 64 << 20;
/// Nodes of a shape at most, and how deep it may be: a snapshot has some 500 and 12.
const NODES_MAX: usize = 1 << 16;
const DEPTH_MAX: u8 = 48;
const OUT_STEP: usize = 64 << 10;

/// Makes the bodies of keyframes and deltas.
pub(super) struct SampleEncoder {
    shape: Shape,
    old: Columns,
    new: Columns,
    old_keys: Columns,
    new_keys: Columns,
    strings: Strings,
    /// Nodes that the group's frames have told.
    told: usize,
    before: Option<Snapshot>,
    tape: Tape,
    raw: Vec<u8>,
    zstd: Encoder<'static>,
}

impl SampleEncoder {
    pub(super) fn new() -> Result<Self, RecordError> {
        Ok(Self {
            shape: Shape::default(),
            old: Columns::default(),
            new: Columns::default(),
            old_keys: Columns::default(),
            new_keys: Columns::default(),
            strings: Strings::default(),
            told: 1,
            before: None,
            tape: Tape::default(),
            raw: Vec::new(),
            zstd: Encoder::new(LEVEL)?,
        })
    }

    /// The body for `snap`; a keyframe when asked for, or when nothing stands before it.
    pub(super) fn encode(&mut self, snap: &Snapshot, as_key: bool) -> Result<Vec<u8>, RecordError> {
        if as_key || self.before.is_none() {
            self.start_over()?;
        }
        let is_first = self.before.is_none();
        self.new.clear();
        self.new_keys.clear();
        let mut shredder = Shredder::new(&mut self.shape, &mut self.new, &mut self.new_keys, &mut self.strings);
        // Taken, so that an error here makes the next frame a keyframe.
        let mask = parts::shred(snap, self.before.take().as_ref(), &mut shredder)?;
        self.write_names();
        put_varint(&mut self.raw, mask);
        let rows = Rows { old: &self.old_keys, new: &self.new_keys, tape: &mut self.tape };
        let mut differ = Differ { shape: &self.shape, old: &self.old, new: &self.new, rows };
        let changed: Vec<NodeId> = masked(&self.shape, mask).collect();
        for part in &changed {
            differ.part(*part, is_first)?;
        }
        self.tape.write(&mut self.raw);
        for part in changed {
            renew(&self.shape, part, &mut |id| {
                self.old.renew(id, &mut self.new);
                self.old_keys.renew(id, &mut self.new_keys);
            });
        }
        self.before = Some(snap.clone());
        self.pack()
    }

    fn start_over(&mut self) -> Result<(), RecordError> {
        self.old.clear();
        self.old_keys.clear();
        self.strings.clear();
        self.told = 1;
        self.before = None;
        self.tape = Tape::default();
        self.raw.clear();
        self.zstd.reinit()?;
        Ok(())
    }

    /// The strings and nodes that are new since the last frame.
    fn write_names(&mut self) {
        let strings = self.strings.take_new();
        put_varint(&mut self.raw, strings.len() as u64);
        for text in strings {
            put_varint(&mut self.raw, text.len() as u64);
            self.raw.extend(text.as_bytes());
        }
        let nodes = self.shape.since(self.told);
        put_varint(&mut self.raw, nodes.len() as u64);
        for node in nodes {
            self.raw.push(node.kind as u8);
            put_varint(&mut self.raw, node.parent.into());
            put_varint(&mut self.raw, node.label.len() as u64);
            self.raw.extend(node.label.as_bytes());
        }
        self.told = self.shape.len();
    }

    /// Packs the raw body, so that it can be unpacked without what follows.
    fn pack(&mut self) -> Result<Vec<u8>, RecordError> {
        let mut body = Vec::with_capacity(self.raw.len() / 4 + 64);
        put_varint(&mut body, self.raw.len() as u64);
        let mut input = InBuffer::around(&self.raw);
        while input.pos() < self.raw.len() {
            write_some(&mut body, |out| self.zstd.run(&mut input, out))?;
        }
        while write_some(&mut body, |out| self.zstd.flush(out))? > 0 {}
        self.raw.clear();
        Ok(body)
    }
}

/// Lets `write` add to `body`; gives what it says.
fn write_some(
    body: &mut Vec<u8>,
    write: impl FnOnce(&mut OutBuffer<'_, Vec<u8>>) -> std::io::Result<usize>,
) -> Result<usize, RecordError> {
    let start = body.len();
    body.reserve(OUT_STEP);
    Ok(write(&mut OutBuffer::around_pos(body, start))?)
}

/// The parts of a mask.
fn masked(shape: &Shape, mask: u64) -> impl Iterator<Item = NodeId> {
    let is_set = move |(place, _): &(usize, &NodeId)| *place < 64 && mask >> place & 1 == 1;
    shape.children(ROOT).iter().enumerate().filter(is_set).map(|(_, id)| *id)
}

/// Calls `each` for a node and all below it.
fn renew(shape: &Shape, id: NodeId, each: &mut impl FnMut(NodeId)) {
    each(id);
    for child in shape.children(id) {
        renew(shape, *child, each);
    }
}

/// Reads the bodies of a group of frames, its keyframe first.
pub(super) struct SampleDecoder {
    shape: Shape,
    depths: Vec<u8>,
    old: Columns,
    new: Columns,
    strings: Vec<Text>,
    /// Parts that were read since the last snapshot was put together.
    stale: u64,
    last: Snapshot,
    raw: Vec<u8>,
    zstd: Decoder<'static>,
    is_whole: bool,
}

impl SampleDecoder {
    pub(super) fn new() -> Result<Self, RecordError> {
        Ok(Self {
            shape: Shape::default(),
            depths: vec![0],
            old: Columns::default(),
            new: Columns::default(),
            strings: Vec::new(),
            stale: 0,
            last: Snapshot::default(),
            raw: Vec::new(),
            zstd: Decoder::new()?,
            is_whole: false,
        })
    }

    /// Takes in a body. After an error only a keyframe can be taken.
    pub(super) fn take(&mut self, body: &[u8], is_key: bool) -> Result<(), RecordError> {
        if is_key {
            self.shape = Shape::default();
            self.depths = vec![0];
            self.old.clear();
            self.strings.clear();
            self.stale = 0;
            self.last = Snapshot::default();
            self.zstd.reinit()?;
        } else if !self.is_whole {
            return Err(RecordError::NoKeyframe);
        }
        self.is_whole = false;
        self.unpack(body)?;
        let raw = std::mem::take(&mut self.raw);
        let read = self.read(&raw, is_key);
        self.raw = raw;
        read?;
        self.is_whole = true;
        Ok(())
    }

    /// Takes no delta until the next keyframe.
    pub(super) fn forget(&mut self) {
        self.is_whole = false;
    }

    fn unpack(&mut self, body: &[u8]) -> Result<(), RecordError> {
        let mut bytes = Bytes(body);
        let len = usize::try_from(bytes.varint()?).ok().filter(|len| *len <= RAW_MAX);
        let len = len.ok_or(RecordError::Damaged("it unpacks to too much"))?;
        self.raw.clear();
        let mut input = InBuffer::around(bytes.0);
        loop {
            let before = (self.raw.len(), input.pos());
            write_some(&mut self.raw, |out| self.zstd.run(&mut input, out))?;
            if self.raw.len() > len {
                return Err(RecordError::Damaged("it unpacks to more than it says"));
            }
            if (self.raw.len(), input.pos()) == before {
                break;
            }
        }
        if self.raw.len() == len { Ok(()) } else { Err(RecordError::Damaged("it unpacks to less than it says")) }
    }

    fn read(&mut self, raw: &[u8], is_key: bool) -> Result<(), RecordError> {
        let mut bytes = Bytes(raw);
        for _ in 0..bytes.count()? {
            self.strings.push(bytes.text()?.into());
        }
        for _ in 0..bytes.count()? {
            self.read_node(&mut bytes)?;
        }
        let mask = bytes.varint()?;
        let tape = TapeReader::new(&mut bytes)?;
        self.new.clear();
        let changed: Vec<NodeId> = masked(&self.shape, mask).collect();
        let mut undiffer = Undiffer::new(&self.shape, &self.old, &mut self.new, tape);
        for part in &changed {
            undiffer.part(*part, is_key)?;
        }
        for part in changed {
            renew(&self.shape, part, &mut |id| self.old.renew(id, &mut self.new));
        }
        self.stale |= mask;
        Ok(())
    }

    fn read_node(&mut self, bytes: &mut Bytes<'_>) -> Result<(), RecordError> {
        const WRONG: RecordError = RecordError::Damaged("its schema makes no sense");
        let kind = Kind::from_byte(bytes.byte()?).ok_or(RecordError::Newer)?;
        let parent = NodeId::try_from(bytes.varint()?).map_err(|_| WRONG)?;
        let label = bytes.text()?;
        let depth = self.depths.get(parent as usize).ok_or(WRONG)? + 1;
        if depth > DEPTH_MAX || self.shape.len() >= NODES_MAX {
            return Err(WRONG);
        }
        self.shape.add(parent, kind, label).ok_or(WRONG)?;
        self.depths.push(depth);
        Ok(())
    }

    /// The snapshot of the last body. Parts that no body has told since share their data with the one before.
    pub(super) fn snapshot(&mut self) -> Snapshot {
        let mut gatherer = gather::Gatherer::new(&self.shape, &self.old, &self.strings);
        for id in masked(&self.shape, self.stale) {
            let name = self.shape.node(id).map_or("", |node| &*node.label);
            parts::gather(&mut self.last, name, id, &mut gatherer);
        }
        self.stale = 0;
        self.last.clone()
    }
}
