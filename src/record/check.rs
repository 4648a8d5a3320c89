//! Goes through a whole recording and says what is there and what is not.

use super::frame::{FrameKind, Head};
use super::reader::Inner;
use super::{Gap, Reader, RecordError};

/// What a recording holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Samples that can be read.
    pub samples: u64,
    /// Bytes of their frames, and of what they lean on.
    pub sample_bytes: u64,
    /// Samples whose frame is whole but hangs on one that is not.
    pub orphans: u64,
    /// Where bytes are damaged.
    pub gaps: Vec<Gap>,
    /// Times between two samples that are further apart than asked: from, to.
    pub pauses: Vec<(i64, i64)>,
}

/// Two samples that are further apart than so many intervals, and ns, have a gap between them. Thinned ones are not.
const PAUSE_INTERVALS: u64 = 3;
const PAUSE_NS: i64 = 20_000_000_000;

impl Reader {
    /// Two samples that are further apart have a gap between them, ns.
    #[must_use]
    pub fn pause_ns(&self) -> i64 {
        let intervals = self.header().interval_ns.saturating_mul(PAUSE_INTERVALS);
        i64::try_from(intervals).unwrap_or(i64::MAX).max(PAUSE_NS)
    }

    /// Times of samples with a gap between them: from, to. Reads the head of every frame and no more.
    ///
    /// # Errors
    /// From reading the file.
    pub fn pauses(&self) -> Result<Vec<(i64, i64)>, RecordError> {
        let (mut pauses, mut last) = (Vec::new(), None);
        let Inner { source, index, .. } = &*self.inner;
        let pause_ns = self.pause_ns();
        let see = |_, head: &Head| {
            if head.kind.is_sample() {
                let before = last.replace(head.wall_unix_ns);
                pauses.extend(
                    before.filter(|b| head.wall_unix_ns.saturating_sub(*b) > pause_ns).map(|b| (b, head.wall_unix_ns)),
                );
            }
        };
        source.heads(0, index.end, see, |_, _| {})?;
        Ok(pauses)
    }

    /// Reads every frame.
    ///
    /// # Errors
    /// From reading the file.
    pub fn check(&self) -> Result<Check, RecordError> {
        let mut walk =
            Walk { pause_ns: self.pause_ns(), check: Check::default(), last: None, gap_bytes: 0, is_broken: true };
        let Inner { source, index, .. } = &*self.inner;
        let mut place = 0;
        while place < index.end {
            let Some(head) = source.head(place)? else {
                let next = source.next_head(place + 1, index.end)?.map_or(index.end, |(next, _)| next);
                walk.damage(next - place);
                place = next;
                continue;
            };
            let is_sound = source.body(place, &head)?.is_some();
            walk.frame(&head, is_sound);
            place += head.frame_len();
        }
        walk.end_gap(None);
        Ok(walk.check)
    }
}

struct Walk {
    pause_ns: i64,
    check: Check,
    last: Option<i64>,
    gap_bytes: u64,
    /// Whether a delta would have nothing to hang on.
    is_broken: bool,
}

impl Walk {
    fn damage(&mut self, bytes: u64) {
        self.gap_bytes += bytes;
        self.is_broken = true;
    }

    fn frame(&mut self, head: &Head, is_sound: bool) {
        let bytes = head.frame_len();
        match head.kind {
            FrameKind::Key | FrameKind::Delta if !is_sound => self.damage(bytes),
            FrameKind::Delta if self.is_broken => {
                self.check.orphans += 1;
                self.gap_bytes += bytes;
            }
            FrameKind::Key | FrameKind::Delta => {
                self.is_broken = false;
                self.sample(head.wall_unix_ns);
                self.check.samples += 1;
                self.check.sample_bytes += bytes;
            }
            FrameKind::Base => self.check.sample_bytes += bytes,
            _ => {}
        }
    }

    fn sample(&mut self, at: i64) {
        if self.gap_bytes > 0 {
            self.end_gap(Some(at));
        } else if let Some(last) = self.last
            && at.saturating_sub(last) > self.pause_ns
        {
            self.check.pauses.push((last, at));
        }
        self.last = Some(at);
    }

    fn end_gap(&mut self, to_unix_ns: Option<i64>) {
        let bytes = std::mem::take(&mut self.gap_bytes);
        if bytes > 0 {
            self.check.gaps.push(Gap { from_unix_ns: self.last, to_unix_ns, bytes });
        }
    }
}
