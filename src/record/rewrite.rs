//! Keeps a recording within its bounds: a new file without what is too old, with fewer of the samples that are old, takes
//! the old one's place when it is whole. It is made a group of frames at a time, between the samples that come.

use super::cursor::Cursor;
use super::file::{LogFile, remove_aside};
use super::frame::{Frame, FrameKind};
use super::log::Entry;
use super::reader::Reader;
use super::sample::base_id;
use super::wire::{Bounds, Destination};
use super::{RecordError, Writer};
use crate::snapshot::{KernelLog, LogEvent, Section, Snapshot};
use std::path::PathBuf;

/// Of the bytes that are allowed a file may take half, in hundredths: the copy, while it is made, takes the rest.
const FULL: u64 = 50;
/// What stays of a full one.
const KEPT: u64 = 35;

/// A rewriting under way.
pub(super) struct Rewrite {
    path: PathBuf,
    reader: Reader,
    /// The groups of the old file that stay, by their keyframes.
    groups: std::vec::IntoIter<Entry>,
    /// Where the group after the last one given starts; the last sound byte's end at the end.
    next: Option<Entry>,
    /// Up to where the old file has been copied.
    copied: u64,
    /// Samples before this time are thinned.
    fine_from: i64,
    coarse_ns: i64,
    thinner: Option<Thinner>,
    new: LogFile,
    /// The base that the new file has last.
    base: u32,
}

impl Rewrite {
    /// A rewriting where one is due: something is too old, too long, or not yet thin.
    pub(super) fn if_due(file: &LogFile, to: &Destination, now: i64) -> Result<Option<Self>, RecordError> {
        let Bounds { max_bytes, max_age_ns, fine_ns, coarse_ns } = to.bounds;
        let reader = file.reader()?;
        let keys: Vec<Entry> = reader.inner.index.keys().copied().collect();
        let end = reader.inner.index.end;
        let Some(first) = keys.first() else { return Ok(None) };
        let is_full = file.len() > max_bytes / 100 * FULL;
        let slack = |span: i64| (span / 4).min(3600 * 1_000_000_000);
        let is_old = first.wall_unix_ns < now - max_age_ns - slack(max_age_ns);
        let fine_from = now - fine_ns;
        // Thinned parts come first, so the newest of the old says whether there is something to thin.
        let mut groups = keys.iter().zip(keys.iter().skip(1)).rev();
        let newest_old = groups.find(|(_, next)| next.wall_unix_ns < fine_from - slack(fine_ns));
        let is_thick = newest_old.is_some_and(|(key, next)| is_thick(&reader, *key, next.place, coarse_ns));
        if !is_full && !is_old && !is_thick {
            return Ok(None);
        }
        let keep_bytes = if is_full { max_bytes / 100 * KEPT } else { u64::MAX };
        let stays = |key: &Entry| key.wall_unix_ns >= now - max_age_ns && end - key.place <= keep_bytes;
        let staying: Vec<Entry> = keys.iter().skip_while(|key| !stays(key)).copied().collect();
        // Of a recording whose last group alone is too much, that one stays.
        let staying = if staying.is_empty() { keys.last().copied().into_iter().collect() } else { staying };
        let mut groups = staying.into_iter();
        let next = groups.next();
        let new = LogFile::beside(&to.path, reader.header())?;
        let copied = next.map_or(end, |key| key.place);
        let path = to.path.clone();
        Ok(Some(Self { path, reader, groups, next, copied, fine_from, coarse_ns, thinner: None, new, base: 0 }))
    }

    /// Copies or thins one group; whether that was the last. Then also what came since.
    pub(super) fn step(&mut self, file: &LogFile) -> Result<bool, RecordError> {
        let Some(key) = self.next.take() else {
            self.end_thinning()?;
            // What was appended while the groups were copied.
            let reader = file.reader()?;
            let (from, to) = (self.copied, reader.inner.index.end);
            self.reader = reader;
            self.copy(from, to)?;
            return Ok(true);
        };
        self.next = self.groups.next();
        let end = self.next.map_or(self.reader.inner.index.end, |next| next.place);
        let is_old = self.next.is_some_and(|next| next.wall_unix_ns < self.fine_from);
        if is_old && is_thick(&self.reader, key, end, self.coarse_ns) {
            self.thin(key, end)?;
        } else {
            self.end_thinning()?;
            self.copy(key.place, end)?;
        }
        self.copied = end;
        Ok(false)
    }

    /// The new file in the old one's place.
    pub(super) fn finish(mut self) -> Result<LogFile, RecordError> {
        match self.new.take_place_of(&self.path) {
            Ok(()) => Ok(self.new),
            Err(error) => {
                remove_aside(&self.path);
                Err(error.into())
            }
        }
    }

    /// Leaves the old file as it is.
    pub(super) fn give_up(self) {
        remove_aside(&self.path);
    }

    fn copy(&mut self, from: u64, to: u64) -> Result<(), RecordError> {
        let mut places = Vec::new();
        self.reader.inner.source.heads(from, to, |place, _| places.push(place), |_, _| {})?;
        for place in places {
            let Some(frame) = self.reader.inner.source.frame(place)? else { continue };
            match frame.kind {
                FrameKind::Index | FrameKind::Unknown(_) => {}
                FrameKind::Header if is_known_header(&self.reader, &frame) => {}
                FrameKind::Key => {
                    self.copy_base(place, &frame.body)?;
                    self.new.append(&[frame])?;
                }
                _ => self.new.append(&[frame])?,
            }
        }
        Ok(())
    }

    /// The base of a keyframe may stand before what stays.
    fn copy_base(&mut self, place: u64, body: &[u8]) -> Result<(), RecordError> {
        let id = base_id(body)?;
        if id == 0 || id == self.base {
            return Ok(());
        }
        if let Some(base) = self.reader.inner.base(place, body)? {
            let wall_unix_ns = self.reader.header().started_unix_ns;
            let frame = Frame { kind: FrameKind::Base, wall_unix_ns, body: base.pack()? };
            // Its copy too: what came after it may have gone.
            self.new.append(&[frame.clone(), frame])?;
        }
        self.base = id;
        Ok(())
    }

    fn thin(&mut self, key: Entry, end: u64) -> Result<(), RecordError> {
        let coarse_ns = self.coarse_ns;
        let thinner = match &mut self.thinner {
            Some(thinner) => thinner,
            none => none.insert(Thinner::new(coarse_ns)?),
        };
        let mut others = Vec::new();
        let source = &self.reader.inner.source;
        source.heads(
            key.place,
            end,
            |place, head| {
                if matches!(head.kind, FrameKind::Note | FrameKind::Checkpoint) {
                    others.push(place);
                }
            },
            |_, _| {},
        )?;
        let mut others = others.into_iter().peekable();
        let mut cursor = Cursor::new(&self.reader.inner, key.place)?;
        for frame in thinner.start_group()? {
            self.new.append(&[frame])?;
        }
        while let Some((place, snap)) = cursor.next_before(end)? {
            while let Some(other) = others.next_if(|other| *other < place) {
                self.new.append(&source.frame(other)?.into_iter().collect::<Vec<_>>())?;
            }
            for frame in thinner.take(snap)? {
                self.new.append(&[frame])?;
            }
        }
        for other in others {
            self.new.append(&source.frame(other)?.into_iter().collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// What follows is copied: the next base must be told.
    fn end_thinning(&mut self) -> Result<(), RecordError> {
        if let Some(mut thinner) = self.thinner.take() {
            for frame in thinner.flush()? {
                self.new.append(&[frame])?;
            }
            self.base = 0;
        }
        Ok(())
    }
}

/// Whether a group holds more samples than one in `coarse_ns`, with some room.
fn is_thick(reader: &Reader, key: Entry, end: u64, coarse_ns: i64) -> bool {
    let (mut samples, mut last) = (0_i64, key.wall_unix_ns);
    let count = |_, head: &super::frame::Head| {
        if head.kind.is_sample() {
            samples += 1;
            last = head.wall_unix_ns;
        }
    };
    let read = reader.inner.source.heads(key.place, end, count, |_, _| {});
    read.is_ok() && samples > 2 && (last - key.wall_unix_ns) / (samples - 1) < coarse_ns / 2
}

/// Whether a header is a copy of the first one, which the new file starts with.
fn is_known_header(reader: &Reader, frame: &Frame) -> bool {
    serde_json::from_slice::<super::Header>(&frame.body).is_ok_and(|header| header == *reader.header())
}

/// Drops samples, but none of the kernel's words in them.
struct Thinner {
    writer: Writer<Vec<Frame>>,
    coarse_ns: i64,
    last_unix_ns: Option<i64>,
    /// The last sample that was dropped, and the events of all since the last that was kept.
    dropped: Option<Snapshot>,
    events: Vec<LogEvent>,
}

impl Thinner {
    fn new(coarse_ns: i64) -> Result<Self, RecordError> {
        let writer = Writer::with_base(Vec::new())?;
        Ok(Self { writer, coarse_ns, last_unix_ns: None, dropped: None, events: Vec::new() })
    }

    /// Keeps the next sample, and just as it is: the checkpoint beside it leans on it.
    fn start_group(&mut self) -> Result<Vec<Frame>, RecordError> {
        let left = self.flush()?;
        self.last_unix_ns = None;
        Ok(left)
    }

    /// The frames of a sample, if it is kept.
    fn take(&mut self, snap: Snapshot) -> Result<Vec<Frame>, RecordError> {
        let wall = snap.wall_unix_ns;
        // Samples come a little early or late.
        let is_due = self.last_unix_ns.is_none_or(|last| wall - last >= self.coarse_ns - self.coarse_ns / 16);
        if !is_due {
            self.events.extend(snap.klog.data().map(|log| log.events.clone()).unwrap_or_default());
            self.dropped = Some(snap);
            return Ok(Vec::new());
        }
        self.last_unix_ns = Some(wall);
        self.keep(snap)
    }

    fn keep(&mut self, mut snap: Snapshot) -> Result<Vec<Frame>, RecordError> {
        self.dropped = None;
        let mut events = std::mem::take(&mut self.events);
        if !events.is_empty()
            && let Section::Ok { data, .. } | Section::Stale { data, .. } = &mut snap.klog
        {
            events.extend(data.events.iter().cloned());
            *data = std::sync::Arc::new(KernelLog { events, ..KernelLog::clone(data) });
        }
        self.writer.push(&snap, None)?;
        Ok(std::mem::take(self.writer.sink()))
    }

    /// The last sample, where events wait for one.
    fn flush(&mut self) -> Result<Vec<Frame>, RecordError> {
        match self.dropped.take() {
            Some(snap) if !self.events.is_empty() => {
                let events = snap.klog.data().map_or(0, |log| log.events.len());
                // Its own events are among those that wait.
                self.events.truncate(self.events.len() - events);
                self.keep(snap)
            }
            _ => Ok(Vec::new()),
        }
    }
}
