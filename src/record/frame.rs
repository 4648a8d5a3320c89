//! Frames: what stands in a recording one after the other. `docs/recording.md` has the bytes.

use super::{Note, RecordError};
use crc32fast::hash;

/// Bytes before every frame's body.
pub(super) const HEAD: usize = 28;
/// A frame starts with these, so that the next one is found after damage.
pub(super) const SYNC: [u8; 3] = [0xF5, b'w', b't'];
/// A body at most.
pub(super) const BODY_MAX: usize = 64 << 20;

/// What a frame holds; as the letter in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameKind {
    /// `H`: who recorded. The first frame of a file, of every session, and copies of it.
    Header,
    /// `K`: a sample that needs no other.
    Key,
    /// `B`: what keyframes after it lean on; it comes twice.
    Base,
    /// `D`: a sample as the difference from the one before.
    Delta,
    /// `C`: what the engine knew after the sample before it.
    Checkpoint,
    /// `N`: a mark, an action, a finding, a loss.
    Note,
    /// `I`: where the frames are that are no deltas.
    Index,
    /// A letter of a later version.
    Unknown(u8),
}

impl FrameKind {
    pub(super) fn letter(self) -> u8 {
        match self {
            Self::Header => b'H',
            Self::Key => b'K',
            Self::Base => b'B',
            Self::Delta => b'D',
            Self::Checkpoint => b'C',
            Self::Note => b'N',
            Self::Index => b'I',
            Self::Unknown(letter) => letter,
        }
    }

    pub(super) fn from_letter(letter: u8) -> Self {
        match letter {
            b'H' => Self::Header,
            b'K' => Self::Key,
            b'B' => Self::Base,
            b'D' => Self::Delta,
            b'C' => Self::Checkpoint,
            b'N' => Self::Note,
            b'I' => Self::Index,
            other => Self::Unknown(other),
        }
    }

    /// Whether it is a sample.
    #[must_use]
    pub fn is_sample(self) -> bool {
        matches!(self, Self::Key | Self::Delta)
    }
}

/// A frame on its way into a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it holds.
    pub kind: FrameKind,
    /// When it was made: nanoseconds since 1970-01-01 UTC. Of a sample the sample's own time.
    pub wall_unix_ns: i64,
    /// Its content.
    pub body: Vec<u8>,
}

impl Frame {
    /// A note as a frame.
    ///
    /// # Errors
    /// None that a note can cause.
    pub fn note(wall_unix_ns: i64, note: &Note) -> Result<Self, RecordError> {
        let body = serde_json::to_vec(note).map_err(std::io::Error::from)?;
        Ok(Self { kind: FrameKind::Note, wall_unix_ns, body })
    }
}

/// What stands before a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: FrameKind,
    pub(super) wall_unix_ns: i64,
    pub(super) len: u32,
    /// How far back the frame starts that this one hangs on: of deltas, checkpoints and notes the keyframe, of the
    /// others the index before; 0 for none.
    pub(super) back: u32,
    body_crc: u32,
}

impl Head {
    /// The head of `frame`; `None` when the body is too long.
    pub(super) fn of(frame: &Frame, back: u64) -> Option<Self> {
        let len = u32::try_from(frame.body.len()).ok().filter(|len| *len as usize <= BODY_MAX)?;
        // Too far back to say is none: the reader then looks through the heads.
        let back = u32::try_from(back).unwrap_or(0);
        Some(Self { kind: frame.kind, wall_unix_ns: frame.wall_unix_ns, len, back, body_crc: hash(&frame.body) })
    }

    /// Bytes of the whole frame.
    pub(super) fn frame_len(&self) -> u64 {
        HEAD as u64 + u64::from(self.len)
    }

    pub(super) fn fits(&self, body: &[u8]) -> bool {
        body.len() == self.len as usize && hash(body) == self.body_crc
    }

    pub(super) fn bytes(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        let kind = [self.kind.letter()];
        let fields: [&[u8]; 6] = [
            &SYNC,
            &kind,
            &self.len.to_le_bytes(),
            &self.wall_unix_ns.to_le_bytes(),
            &self.back.to_le_bytes(),
            &self.body_crc.to_le_bytes(),
        ];
        let known = fields.concat();
        let crc = hash(&known).to_le_bytes();
        for (to, from) in bytes.iter_mut().zip(known.iter().chain(&crc)) {
            *to = *from;
        }
        bytes
    }

    /// The head in `bytes`; `None` when they are none, or damaged.
    pub(super) fn parse(bytes: &[u8; HEAD]) -> Option<Self> {
        let (known, crc) = bytes.split_last_chunk::<4>()?;
        let (sync, rest) = known.split_first_chunk::<3>()?;
        if *sync != SYNC || hash(known) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (kind, rest) = rest.split_first()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (wall, rest) = rest.split_first_chunk::<8>()?;
        let (back, body_crc) = rest.split_first_chunk::<4>()?;
        let len = u32::from_le_bytes(*len);
        (len as usize <= BODY_MAX).then_some(Self {
            kind: FrameKind::from_letter(*kind),
            wall_unix_ns: i64::from_le_bytes(*wall),
            len,
            back: u32::from_le_bytes(*back),
            body_crc: u32::from_le_bytes(*body_crc.first_chunk::<4>()?),
        })
    }
}
