//! What a recording holds, without reading it all: the chain of indices from its end, and the heads after the last one.

use super::RecordError;
use super::frame::{FrameKind, Head};
use super::log::{Entry, Layout};
use super::source::{Source, is_indexed};
use super::tape::{Bytes, unzigzag};
use std::io;

/// What was found on opening.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The frames that are no deltas, in their order.
    pub(super) entries: Vec<Entry>,
    /// Where the last sound frame ends.
    pub(super) end: u64,
    /// The last sample's time.
    pub(super) last_unix_ns: Option<i64>,
    /// Whether it was closed: the last frame is an index.
    pub(super) is_closed: bool,
    /// What a writer continues from.
    pub(super) layout: Layout,
}

impl Index {
    /// Finds the frames; `None` where there is no sound one.
    pub(super) fn of(source: &Source) -> Result<Option<Self>, RecordError> {
        let Some((place, head)) = source.last_frame()? else { return Ok(None) };
        let end = place + head.frame_len();
        let last = last_index(source, place, &head)?;
        let mut index = Self { end, is_closed: head.kind == FrameKind::Index, ..Self::default() };
        let mut newest_first = Vec::new();
        let covered_from = match last {
            Some(at) => chain(source, at, &mut newest_first)?,
            None => end,
        };
        let mut entries = Vec::new();
        if covered_from > 0 {
            source.heads(0, covered_from, |place, head| keep(&mut entries, place, head), |_, _| {})?;
        }
        entries.extend(newest_first.into_iter().rev());
        let indexed = entries.len();
        if let Some((at, len)) = last.zip(last.map_or(Ok(None), |at| source.head(at))?.map(|h| h.frame_len())) {
            source.heads(at + len, end, |place, head| keep(&mut entries, place, head), |_, _| {})?;
        }
        index.layout = Layout {
            end,
            key: entries.iter().rev().find(|e| e.kind == FrameKind::Key).map(|e| e.place),
            index: last,
            entries: entries.get(if last.is_some() { indexed } else { 0 }..).unwrap_or_default().to_vec(),
        };
        index.entries = entries;
        index.last_unix_ns = index.last_sample(source)?;
        Ok(Some(index))
    }

    fn last_sample(&self, source: &Source) -> io::Result<Option<i64>> {
        let Some(key) = self.layout.key else { return Ok(None) };
        let mut last = None;
        let mut keep = |_, head: &Head| {
            if head.kind.is_sample() {
                last = Some(head.wall_unix_ns);
            }
        };
        source.heads(key, self.end, &mut keep, |_, _| {})?;
        Ok(last)
    }

    /// Times of the keyframes, and where they are.
    pub(super) fn keys(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().filter(|e| e.kind == FrameKind::Key)
    }

    /// The last entry of a kind at or before `wall_unix_ns`. A clock that was set back gives two such times; the later
    /// in the file counts.
    pub(super) fn last_before(&self, kind: FrameKind, wall_unix_ns: i64) -> Option<&Entry> {
        self.entries.iter().rev().find(|e| e.kind == kind && e.wall_unix_ns <= wall_unix_ns)
    }
}

fn keep(entries: &mut Vec<Entry>, place: u64, head: &Head) {
    if is_indexed(head.kind) {
        entries.push(Entry { kind: head.kind, wall_unix_ns: head.wall_unix_ns, place });
    }
}

/// The last index, found from the last frame by what hangs on what.
fn last_index(source: &Source, place: u64, head: &Head) -> io::Result<Option<u64>> {
    let behind = |place: u64, head: &Head| (head.back > 0).then(|| place.checked_sub(u64::from(head.back))).flatten();
    match head.kind {
        FrameKind::Index => Ok(Some(place)),
        FrameKind::Delta | FrameKind::Checkpoint | FrameKind::Note => {
            let Some(key) = behind(place, head) else { return Ok(None) };
            let found = source.head(key)?.filter(|h| h.kind == FrameKind::Key);
            Ok(found.and_then(|h| behind(key, &h)))
        }
        _ => Ok(behind(place, head)),
    }
}

/// Follows the chain of indices from `at`; gives from where on all frames are known.
fn chain(source: &Source, at: u64, newest_first: &mut Vec<Entry>) -> Result<u64, RecordError> {
    let mut at = at;
    let mut covered_from = at;
    loop {
        let Some(frame) = source.frame(at)?.filter(|f| f.kind == FrameKind::Index) else { return Ok(covered_from) };
        let known = newest_first.len();
        if read_entries(&frame.body, at, frame.wall_unix_ns, newest_first).is_err() {
            newest_first.truncate(known);
            return Ok(covered_from);
        }
        covered_from = newest_first.last().map_or(at, |e| e.place.min(at));
        let back = source.head(at)?.map_or(0, |h| u64::from(h.back));
        match at.checked_sub(back) {
            Some(next) if back > 0 => at = next,
            // The first index: it knows all from the start on, unless what is before it was lost.
            _ => return Ok(covered_from),
        }
    }
}

fn read_entries(body: &[u8], at: u64, wall_unix_ns: i64, into: &mut Vec<Entry>) -> Result<(), RecordError> {
    let mut bytes = Bytes(body);
    let mut wall = wall_unix_ns;
    let mut last = at;
    for _ in 0..bytes.count()? {
        let kind = FrameKind::from_letter(bytes.byte()?);
        let place = at.checked_sub(bytes.varint()?).filter(|place| *place < last);
        let place = place.ok_or(RecordError::Damaged("an index points nowhere"))?;
        wall = wall.wrapping_sub(unzigzag(bytes.varint()?).cast_signed());
        if is_indexed(kind) {
            into.push(Entry { kind, wall_unix_ns: wall, place });
        }
        last = place;
    }
    Ok(())
}
