//! Reads samples one after the other, and passes over what is damaged.

use super::RecordError;
use super::frame::FrameKind;
use super::reader::{Gap, Inner};
use super::sample::SampleDecoder;
use crate::snapshot::Snapshot;
use std::sync::Arc;

/// A place in a recording.
pub struct Cursor {
    inner: Arc<Inner>,
    decoder: SampleDecoder,
    /// Where the next frame starts.
    place: u64,
    /// The last sample that was taken in.
    last_unix_ns: Option<i64>,
    /// Whether that has not been given out yet.
    is_pending: bool,
    /// Where that sample's frame starts.
    at_place: u64,
    /// Bytes passed over since then.
    passed: u64,
    gaps: Vec<Gap>,
}

/// What stood at the place of a cursor.
enum Step {
    Sample,
    Other,
    End,
}

impl Cursor {
    pub(super) fn new(inner: &Arc<Inner>, place: u64) -> Result<Self, RecordError> {
        Ok(Self {
            inner: Arc::clone(inner),
            decoder: SampleDecoder::new()?,
            place,
            last_unix_ns: None,
            is_pending: false,
            at_place: place,
            passed: 0,
            gaps: Vec::new(),
        })
    }

    /// The next sample that can be read; `None` at the end.
    ///
    /// # Errors
    /// From reading the file. What is damaged is no error: it is passed over and told by [`Self::gaps`].
    pub fn next_snapshot(&mut self) -> Result<Option<Snapshot>, RecordError> {
        if !self.advance()? {
            return Ok(None);
        }
        self.is_pending = false;
        Ok(Some(self.decoder.snapshot()))
    }

    /// Passes over the next sample without putting its snapshot together; its time, or `None` at the end.
    ///
    /// # Errors
    /// As [`Self::next_snapshot`].
    pub fn skip_snapshot(&mut self) -> Result<Option<i64>, RecordError> {
        let found = self.advance()?;
        self.is_pending = false;
        Ok(self.last_unix_ns.filter(|_| found))
    }

    /// The next sample whose frame starts before `end`, and where it does.
    pub(super) fn next_before(&mut self, end: u64) -> Result<Option<(u64, Snapshot)>, RecordError> {
        while self.place < end {
            if let Step::Sample = self.step()? {
                self.is_pending = false;
                return Ok(Some((self.at_place, self.decoder.snapshot())));
            }
        }
        Ok(None)
    }

    /// Time of the next sample, without reading it; `None` at the end.
    ///
    /// # Errors
    /// From reading the file.
    pub fn next_time(&self) -> Result<Option<i64>, RecordError> {
        if self.is_pending {
            return Ok(self.last_unix_ns);
        }
        let mut place = self.place;
        while place < self.inner.index.end {
            let head = match self.inner.source.head(place)? {
                Some(head) => head,
                None => match self.inner.source.next_head(place + 1, self.inner.index.end)? {
                    Some((next, head)) => {
                        place = next;
                        head
                    }
                    None => return Ok(None),
                },
            };
            if head.kind.is_sample() {
                return Ok(Some(head.wall_unix_ns));
            }
            place += head.frame_len();
        }
        Ok(None)
    }

    /// What could not be read so far.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Takes in samples until the next one would be later than `wall_unix_ns`.
    pub(super) fn run_up_to(&mut self, wall_unix_ns: i64) -> Result<(), RecordError> {
        loop {
            let next = if self.is_pending { self.peek()? } else { self.next_time()? };
            match next {
                Some(time) if time <= wall_unix_ns => {
                    self.is_pending = false;
                    if !self.advance()? {
                        return Ok(());
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// The time of the sample after the pending one.
    fn peek(&mut self) -> Result<Option<i64>, RecordError> {
        self.is_pending = false;
        let time = self.next_time();
        self.is_pending = true;
        time
    }

    /// Takes in the next sample, unless one is pending; whether there is one.
    fn advance(&mut self) -> Result<bool, RecordError> {
        while !self.is_pending {
            if matches!(self.step()?, Step::End) {
                self.end_gap(None);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes in one frame.
    fn step(&mut self) -> Result<Step, RecordError> {
        let source = &self.inner.source;
        let end = self.inner.index.end;
        if self.place >= end {
            return Ok(Step::End);
        }
        let Some(head) = source.head(self.place)? else {
            let next = source.next_head(self.place + 1, end)?.map_or(end, |(next, _)| next);
            self.passed += next - self.place;
            self.place = next;
            self.decoder.forget();
            return Ok(Step::Other);
        };
        let place = self.place;
        self.place += head.frame_len();
        if !head.kind.is_sample() {
            return Ok(Step::Other);
        }
        let taken = match source.body(place, &head)? {
            Some(body) if head.kind == FrameKind::Key => {
                let base = self.inner.base(place, &body)?;
                self.decoder.take_key(&body, base.as_deref())
            }
            Some(body) => self.decoder.take_delta(&body),
            None => Err(RecordError::Damaged("its checksum is wrong")),
        };
        if taken.is_err() {
            self.decoder.forget();
            self.passed += head.frame_len();
            return Ok(Step::Other);
        }
        self.end_gap(Some(head.wall_unix_ns));
        self.last_unix_ns = Some(head.wall_unix_ns);
        self.at_place = place;
        self.is_pending = true;
        Ok(Step::Sample)
    }

    fn end_gap(&mut self, to_unix_ns: Option<i64>) {
        let bytes = std::mem::take(&mut self.passed);
        if bytes > 0 {
            self.gaps.push(Gap { from_unix_ns: self.last_unix_ns, to_unix_ns, bytes });
        }
    }
}
