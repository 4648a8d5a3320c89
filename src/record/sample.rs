//! Snapshots as the bodies of frames, and back. `docs/recording.md` has the bytes.
//!
//! A keyframe starts a stream of zstd and is told as a difference from nothing; the frames after it continue both. So
//! a keyframe needs nothing before it but the base that its stream may lean on, a keyframe's content that stands in the
//! file twice; and a delta needs all frames since its keyframe.

use super::delta::{Differ, Rows, Undiffer, Walk as _};
use super::shape::{Columns, Kind, NodeId, ROOT, Shape, Strings};
use super::shred::Shredder;
use super::tape::{Bytes, Tape, TapeReader, put_varint};
use super::{RecordError, gather, parts};
use crate::snapshot::{Snapshot, Text};
use zstd::stream::raw::{DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};

/// Where size stops falling for what it costs; see `docs/recording.md`.
const LEVEL: i32 = 3;
/// A frame's body at most, unpacked.
const RAW_MAX: usize = 64 << 20;
/// Nodes of a shape at most, and how deep it may be: a snapshot has some 500 and 12.
const NODES_MAX: usize = 1 << 16;
const DEPTH_MAX: u8 = 48;
const OUT_STEP: usize = 64 << 10;
/// What a stream may reach back over, as a power of two; level 3 makes 21.
const WINDOW_LOG_MAX: u32 = 23;
/// Keyframes that lean on one base.
const BASE_KEYS: u32 = 60;

/// Content that keyframes lean on. What hardly changes, names above all, is then said once an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// Checksum of the content; never 0.
    pub(super) id: u32,
    pub(super) content: Vec<u8>,
}

impl Base {
    fn of(raw: &[u8]) -> Self {
        // zstd takes content that starts like one of its own dictionaries for such a one.
        let content = [&[0], raw].concat();
        Self { id: crc32fast::hash(&content).max(1), content }
    }

    /// As the body of a frame.
    pub(super) fn pack(&self) -> Result<Vec<u8>, RecordError> {
        let mut body = Vec::new();
        put_varint(&mut body, self.content.len() as u64);
        body.extend(zstd::bulk::compress(&self.content, LEVEL)?);
        Ok(body)
    }

    /// From the body of a frame.
    pub(super) fn unpack(body: &[u8]) -> Result<Self, RecordError> {
        let mut bytes = Bytes(body);
        let len = raw_len(&mut bytes)?;
        let content = zstd::bulk::decompress(bytes.0, len)?;
        Ok(Self { id: crc32fast::hash(&content).max(1), content })
    }
}

/// The length of what is unpacked, where it is not too much.
fn raw_len(bytes: &mut Bytes<'_>) -> Result<usize, RecordError> {
    let len = usize::try_from(bytes.varint()?).ok().filter(|len| *len <= RAW_MAX);
    len.ok_or(RecordError::Damaged("it unpacks to too much"))
}

/// The number of the base that a keyframe's body leans on; 0 for none.
pub(super) fn base_id(body: &[u8]) -> Result<u32, RecordError> {
    u32::try_from(Bytes(body).varint()?).map_err(|_| RecordError::Damaged("no such base"))
}

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
    /// Whether keyframes may lean on a base.
    leans: bool,
    base: Option<Base>,
    /// Keyframes since the base.
    base_keys: u32,
}

impl SampleEncoder {
    pub(super) fn new(leans: bool) -> Result<Self, RecordError> {
        Ok(Self {
            leans,
            base: None,
            base_keys: 0,
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
        if as_key {
            self.before = None;
        }
        let is_first = self.before.is_none();
        if is_first {
            self.start_over();
        }
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
        if is_first {
            self.start_stream()?;
        }
        let body = self.pack(is_first)?;
        self.before = Some(snap.clone());
        Ok(body)
    }

    /// The base, and how many keyframes have leaned on it.
    pub(super) fn base(&self) -> Option<(&Base, u32)> {
        self.base.as_ref().map(|base| (base, self.base_keys))
    }

    /// Makes a new base with the next sample, a keyframe.
    pub(super) fn forget_base(&mut self) {
        self.base = None;
        self.before = None;
    }

    /// Starts the stream of a keyframe whose content is in `raw`.
    fn start_stream(&mut self) -> Result<(), RecordError> {
        if self.leans && (self.base.is_none() || self.base_keys >= BASE_KEYS) {
            self.base = Some(Base::of(&self.raw));
            self.base_keys = 0;
        }
        self.base_keys += 1;
        match &self.base {
            Some(base) => self.zstd = Encoder::with_dictionary(LEVEL, &base.content)?,
            None => self.zstd.reinit()?,
        }
        Ok(())
    }

    fn start_over(&mut self) {
        self.old.clear();
        self.old_keys.clear();
        self.strings.clear();
        self.told = 1;
        self.tape = Tape::default();
        self.raw.clear();
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
    fn pack(&mut self, is_key: bool) -> Result<Vec<u8>, RecordError> {
        let mut body = Vec::with_capacity(self.raw.len() / 4 + 64);
        if is_key {
            put_varint(&mut body, self.base.as_ref().map_or(0, |base| base.id).into());
        }
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

    /// Takes in the body of a keyframe, with the base that it leans on.
    pub(super) fn take_key(&mut self, body: &[u8], base: Option<&Base>) -> Result<(), RecordError> {
        self.is_whole = false;
        let mut bytes = Bytes(body);
        let wanted = bytes.varint()?;
        self.zstd = match base {
            Some(base) if u64::from(base.id) == wanted => Decoder::with_dictionary(&base.content)?,
            _ if wanted == 0 => Decoder::new()?,
            _ => return Err(RecordError::Damaged("what it leans on is missing")),
        };
        self.zstd.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        self.take(bytes.0, true)
    }

    /// Takes in the body of a delta. After an error only a keyframe can be taken.
    pub(super) fn take_delta(&mut self, body: &[u8]) -> Result<(), RecordError> {
        self.take(body, false)
    }

    fn take(&mut self, body: &[u8], is_key: bool) -> Result<(), RecordError> {
        if is_key {
            self.shape = Shape::default();
            self.depths = vec![0];
            self.old.clear();
            self.strings.clear();
            self.stale = 0;
            self.last = Snapshot::default();
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
        let len = raw_len(&mut bytes)?;
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
