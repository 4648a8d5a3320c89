//! Bytes of a recording, wherever they are, and the frames in them.

use super::frame::{Frame, FrameKind, HEAD, Head, SYNC};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that are looked through at once for the start of a frame.
const WINDOW: u64 = 64 << 10;

/// The bytes.
#[derive(Debug)]
pub(super) enum Source {
    File(File, u64),
    Memory(Vec<u8>),
}

impl Source {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::File(_, len) => *len,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Fills `buf` from `place`; whether there were as many bytes.
    fn read(&self, place: u64, buf: &mut [u8]) -> io::Result<bool> {
        match self {
            Self::File(file, _) => match file.read_exact_at(buf, place) {
                Ok(()) => Ok(true),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
                Err(e) => Err(e),
            },
            Self::Memory(bytes) => {
                let start = usize::try_from(place).unwrap_or(usize::MAX);
                let part = start.checked_add(buf.len()).and_then(|end| bytes.get(start..end));
                if let Some(part) = part {
                    buf.copy_from_slice(part);
                }
                Ok(part.is_some())
            }
        }
    }

    /// The head at `place`, of a frame that lies whole in the bytes.
    pub(super) fn head(&self, place: u64) -> io::Result<Option<Head>> {
        let mut bytes = [0; HEAD];
        if !self.read(place, &mut bytes)? {
            return Ok(None);
        }
        let fits = |head: &Head| place.checked_add(head.frame_len()).is_some_and(|end| end <= self.len());
        Ok(Head::parse(&bytes).filter(fits))
    }

    /// The body of the frame at `place`; `None` when it is damaged.
    pub(super) fn body(&self, place: u64, head: &Head) -> io::Result<Option<Vec<u8>>> {
        // The head's length was held against the file's: no more is taken than is there.
        let mut body = vec![0; head.len as usize];
        let read = self.read(place + HEAD as u64, &mut body)?;
        Ok((read && head.fits(&body)).then_some(body))
    }

    /// The frame at `place`.
    pub(super) fn frame(&self, place: u64) -> io::Result<Option<Frame>> {
        let Some(head) = self.head(place)? else { return Ok(None) };
        let body = self.body(place, &head)?;
        Ok(body.map(|body| Frame { kind: head.kind, wall_unix_ns: head.wall_unix_ns, body }))
    }

    /// The first frame's head that starts in `from..to`.
    pub(super) fn next_head(&self, from: u64, to: u64) -> io::Result<Option<(u64, Head)>> {
        let mut start = from;
        while start < to {
            for place in self.syncs(start, to.min(start + WINDOW))? {
                if let Some(head) = self.head(place)? {
                    return Ok(Some((place, head)));
                }
            }
            start += WINDOW;
        }
        Ok(None)
    }

    /// The last frame that is whole and sound.
    pub(super) fn last_frame(&self) -> io::Result<Option<(u64, Head)>> {
        let mut end = self.len();
        while end > 0 {
            let start = end.saturating_sub(WINDOW);
            for place in self.syncs(start, end)?.into_iter().rev() {
                if let Some(head) = self.head(place)?
                    && self.body(place, &head)?.is_some()
                {
                    return Ok(Some((place, head)));
                }
            }
            end = start;
        }
        Ok(None)
    }

    /// Where the bytes that start a frame stand, in `from..to`.
    fn syncs(&self, from: u64, to: u64) -> io::Result<Vec<u64>> {
        let end = (to + SYNC.len() as u64 - 1).min(self.len());
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(from)).unwrap_or_default()];
        if !self.read(from, &mut bytes)? {
            return Ok(Vec::new());
        }
        Ok(memchr::memmem::find_iter(&bytes, &SYNC).map(|at| from + at as u64).collect())
    }

    /// Calls `each` for every head in `from..to`, and `lost` for bytes between them that are no frame.
    pub(super) fn heads(
        &self,
        from: u64,
        to: u64,
        mut each: impl FnMut(u64, &Head),
        mut lost: impl FnMut(u64, u64),
    ) -> io::Result<()> {
        let mut place = from;
        while place < to {
            if let Some(head) = self.head(place)? {
                each(place, &head);
                place += head.frame_len();
                continue;
            }
            let next = self.next_head(place + 1, to)?.map_or(to, |(next, _)| next);
            lost(place, next);
            place = next;
        }
        Ok(())
    }
}

/// Whether a frame of this kind belongs in an index.
pub(super) fn is_indexed(kind: FrameKind) -> bool {
    !matches!(kind, FrameKind::Delta | FrameKind::Index | FrameKind::Unknown(_))
}
