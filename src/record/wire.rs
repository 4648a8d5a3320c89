//! What goes between the process that samples and the one that writes.
//!
//! ```text
//! to the writing process:    letter, length u32, content    O how and where, F frame (kind, wall i64, body), E end,
//!                                                           S files (length u32 and JSON of what, then their bytes)
//! back:                      one JSON value a line
//! ```

use super::frame::{Frame, FrameKind};
use super::save::{Keep, Save};
use super::{Header, Lost};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const HEAD: usize = 5;

/// Where to write, and within which bounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Destination {
    /// The file.
    pub path: PathBuf,
    /// What its session starts with.
    pub header: Header,
    /// The bounds.
    pub bounds: Bounds,
    /// Whether its directory is made, for its owner only, when it is not there at the start.
    pub makes_dir: bool,
}

/// What a recording may grow to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Bytes on the disk at most, with the copy that stands beside it while it is thinned.
    pub max_bytes: u64,
    /// How far it reaches back at most, ns.
    pub max_age_ns: i64,
    /// How far every sample is kept, ns; what is older is thinned to one in `coarse_ns`.
    pub fine_ns: i64,
    /// From one sample to the next in what is thinned, ns.
    pub coarse_ns: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        let second = 1_000_000_000;
        Self { max_bytes: 1 << 30, max_age_ns: 86_400 * second, fine_ns: 4 * 3600 * second, coarse_ns: 10 * second }
    }
}

/// To the writing process.
#[derive(Debug)]
pub(super) enum Order {
    Open(Destination),
    Frame(Frame),
    End(i64),
    Save(Save),
}

/// A [`Save`] without its bytes.
#[derive(Serialize, Deserialize)]
struct SaveHead {
    dir: PathBuf,
    stem: String,
    /// Extension and length of each file.
    parts: Vec<(String, usize)>,
    keep: Option<Keep>,
}

fn save_bytes(save: &Save) -> Vec<u8> {
    let parts = save.parts.iter().map(|(extension, content)| (extension.clone(), content.len())).collect();
    let head = SaveHead { dir: save.dir.clone(), stem: save.stem.clone(), parts, keep: save.keep.clone() };
    let head = serde_json::to_vec(&head).unwrap_or_default();
    let len = u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = [len.as_slice(), &head].concat();
    bytes.extend(save.parts.iter().flat_map(|(_, content)| content));
    bytes
}

fn save_of(bytes: &[u8]) -> Option<Save> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (head, mut rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let SaveHead { dir, stem, parts, keep } = serde_json::from_slice(head).ok()?;
    let mut taken = Vec::new();
    for (extension, len) in parts {
        let (content, after) = rest.split_at_checked(len)?;
        taken.push((extension, content.to_vec()));
        rest = after;
    }
    Some(Save { dir, stem, parts: taken, keep })
}

/// From the writing process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// The file is open and locked.
    Opened {
        /// Bytes that it goes on after.
        bytes: u64,
        /// Bytes of a torn frame that were cut off.
        torn: u64,
    },
    /// It can't be opened.
    Refused {
        /// Why, in words.
        why: String,
    },
    /// Something is wrong; samples are lost until [`Report::Recovered`].
    Trouble {
        /// What, in words.
        why: String,
    },
    /// Samples are written again.
    Recovered {
        /// What is missing.
        lost: Lost,
    },
    /// The next sample must be a keyframe with its base.
    NeedsKey,
    /// Everything up to a time is on the disk.
    Synced {
        /// The time of the last frame.
        wall_unix_ns: i64,
        /// Bytes of the file.
        bytes: u64,
    },
    /// Old samples could not be thinned or dropped; recording goes on.
    NotThinned {
        /// Why, in words.
        why: String,
    },
    /// The session is closed, and the file with it.
    Closed {
        /// Bytes of the file.
        bytes: u64,
    },
    /// Files were written whole and are on the disk.
    Saved {
        /// Where they are.
        paths: Vec<PathBuf>,
        /// Their bytes.
        bytes: u64,
        /// Older files that made room.
        removed: usize,
    },
    /// Files could not be written; nothing is left of them.
    NotSaved {
        /// Where they should have been.
        dir: PathBuf,
        /// Why, in words.
        why: String,
    },
    /// The writing process is gone; made by the other side.
    Died,
}

impl Order {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let (letter, content) = match self {
            Self::Open(to) => (b'O', serde_json::to_vec(to).unwrap_or_default()),
            Self::End(wall) => (b'E', wall.to_le_bytes().to_vec()),
            Self::Save(save) => (b'S', save_bytes(save)),
            Self::Frame(frame) => {
                let head = [&[frame.kind.letter()], frame.wall_unix_ns.to_le_bytes().as_slice()].concat();
                (b'F', [head.as_slice(), &frame.body].concat())
            }
        };
        let len = u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes();
        [&[letter], len.as_slice(), &content].concat()
    }

    /// Takes the first order off `bytes`; `None` while it has not come whole.
    pub(super) fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let [letter, len @ ..] = *head;
        let len = u32::from_le_bytes(len) as usize;
        let content = rest.get(..len)?;
        let order = match letter {
            b'O' => serde_json::from_slice(content).ok().map(Self::Open),
            b'E' => content.first_chunk().map(|wall| Self::End(i64::from_le_bytes(*wall))),
            b'S' => save_of(content).map(Self::Save),
            _ => content.split_first().and_then(|(kind, rest)| {
                let (wall, body) = rest.split_first_chunk::<8>()?;
                let (kind, wall_unix_ns) = (FrameKind::from_letter(*kind), i64::from_le_bytes(*wall));
                Some(Self::Frame(Frame { kind, wall_unix_ns, body: body.to_vec() }))
            }),
        };
        bytes.drain(..HEAD + len);
        // Both sides are one program: what can't be read was never sent.
        order.or(Some(Self::End(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_through_a_pipe_in_pieces() {
        let frame = Frame { kind: FrameKind::Key, wall_unix_ns: -5, body: vec![1, 2, 3] };
        let to = Destination { path: "/x/y".into(), ..Destination::default() };
        let parts = vec![("svg".into(), b"<svg/>".to_vec()), ("txt".into(), Vec::new()), ("z".into(), vec![0, 255])];
        let keep = Some(Keep { begins: "a".into(), ends: "b".into(), files: 3, bytes: 9 });
        let save = Save { dir: "/d".into(), stem: "s".into(), parts, keep };
        let sent = [Order::Open(to.clone()), Order::Frame(frame.clone()), Order::Save(save.clone()), Order::End(7)];
        let bytes: Vec<u8> = sent.iter().flat_map(Order::bytes).collect();
        let mut come = Vec::new();
        let mut got = Vec::new();
        for byte in bytes {
            come.push(byte);
            got.extend(Order::take(&mut come));
        }
        let [Order::Open(a), Order::Frame(b), Order::Save(c), Order::End(7)] = &got[..] else { panic!("{got:?}") };
        assert_eq!((a, b, c), (&to, &frame, &save));
        assert!(come.is_empty());
    }
}
