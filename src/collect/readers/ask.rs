//! What readers are asked for, and how it travels to them.

use crate::snapshot::NetnsId;
use std::fmt::Debug;
use std::hash::Hash;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// A request that a pool of readers takes.
pub trait Request: Clone {
    /// What is left alone after a request for it got stuck.
    type Place: Clone + Debug + Eq + Hash;
    /// A reader that gives no byte for so long, and isn't waiting for a CPU, is stuck.
    const PATIENCE_NS: u64;
    /// Where the request could get stuck again.
    fn place(&self) -> Self::Place;
    /// With fewer live readers than this the request is refused.
    fn readers_needed(&self) -> usize {
        1
    }
    /// What a reader has to do.
    fn wanted(&self) -> Wanted<'_>;
}

/// What to read of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/proc/PID/task/TID/cmdline`.
    Cmdline,
    /// `/proc/PID/task/TID/stack`: it is read of tasks in D, so it may use up spares only while one is left.
    Stack,
}

/// Asks for the first 4,096 bytes of a task's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which file.
    pub kind: Kind,
    /// Process.
    pub pid: u32,
    /// Thread; the leader's is the pid.
    pub tid: u32,
    /// Start of the process, given back with the answer: by then the pid may be another's.
    pub start_ticks: u64,
}

impl Request for Ask {
    type Place = u32;
    /// These files are in memory, whatever the disks do.
    const PATIENCE_NS: u64 = 200_000_000;

    fn place(&self) -> u32 {
        self.pid
    }

    fn readers_needed(&self) -> usize {
        match self.kind {
            Kind::Cmdline => 1,
            Kind::Stack => 2,
        }
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted::Task(self.kind, self.pid, self.tid)
    }
}

/// Asks for a file or a directory anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileAsk {
    /// A directory above the file, or the file: all of it is left alone when the file got stuck.
    pub place: Arc<Path>,
    /// The file or directory.
    pub path: Arc<Path>,
    /// Most bytes of a regular file; `EFBIG` for one with more, `EINVAL` for what is none. `None`: the names in a
    /// directory, each ended by a NUL, as many as fit in 4,095 bytes.
    pub max: Option<u32>,
}

impl Request for FileAsk {
    type Place = Arc<Path>;
    /// A busy disk may well take a second.
    const PATIENCE_NS: u64 = 5_000_000_000;

    fn place(&self) -> Arc<Path> {
        Arc::clone(&self.place)
    }

    fn wanted(&self) -> Wanted<'_> {
        let path = self.path.as_os_str().as_bytes();
        self.max.map_or(Wanted::Names(path), |max| Wanted::File(path, max))
    }
}

/// Asks what the TCP connections of a network namespace have carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficAsk {
    /// The namespace.
    pub netns: NetnsId,
    /// A file that stands for it.
    pub door: Arc<Path>,
}

impl Request for TrafficAsk {
    type Place = NetnsId;
    /// A hundred thousand connections take a second.
    const PATIENCE_NS: u64 = 5_000_000_000;

    fn place(&self) -> NetnsId {
        self.netns
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted::Traffic(self.door.as_os_str().as_bytes())
    }
}

/// The work of a reader: borrowed, so that it takes no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// The beginning of this file of this pid and tid.
    Task(Kind, u32, u32),
    /// A regular file of so many bytes at most.
    File(&'a [u8], u32),
    /// The names in a directory.
    Names(&'a [u8]),
    /// What TCP carried in the namespace that this file stands for.
    Traffic(&'a [u8]),
}

/// `kind << 64 | pid or most bytes << 32 | tid or length of the path` as a `u128`; the path follows.
pub(super) const HEAD: usize = 16;

impl<'a> Wanted<'a> {
    pub(super) fn path(self) -> &'a [u8] {
        match self {
            Self::Task(..) => &[],
            Self::File(path, _) | Self::Names(path) | Self::Traffic(path) => path,
        }
    }

    /// Appends the message to `out`.
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let path = self.path();
        let len = path.len() as u128;
        let (kind, first, second) = match self {
            Self::Task(Kind::Cmdline, pid, tid) => (0, pid, u128::from(tid)),
            Self::Task(Kind::Stack, pid, tid) => (1, pid, u128::from(tid)),
            Self::File(_, max) => (2, max, len),
            Self::Names(_) => (3, 0, len),
            Self::Traffic(_) => (4, 0, len),
        };
        out.extend((kind << 64 | u128::from(first) << 32 | second).to_ne_bytes());
        out.extend(path);
    }

    /// The bytes of path that follow `head`.
    #[expect(clippy::cast_possible_truncation, reason = "takes the packed word apart")]
    pub(super) fn path_len(head: [u8; HEAD]) -> usize {
        let packed = u128::from_ne_bytes(head);
        if packed >> 64 < 2 { 0 } else { packed as u32 as usize }
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes the packed words apart")]
    pub(super) fn decode(head: [u8; HEAD], path: &'a [u8]) -> Option<Self> {
        let packed = u128::from_ne_bytes(head);
        let (first, second) = ((packed >> 32) as u32, packed as u32);
        match packed >> 64 {
            0 => Some(Self::Task(Kind::Cmdline, first, second)),
            1 => Some(Self::Task(Kind::Stack, first, second)),
            2 => Some(Self::File(path, first)),
            3 => Some(Self::Names(path)),
            4 => Some(Self::Traffic(path)),
            _ => None,
        }
    }
}
