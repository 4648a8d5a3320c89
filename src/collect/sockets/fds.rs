//! Which sockets a process holds: `/proc/PID/fd` by `readdir` and `readlinkat`.

use crate::collect::io;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::path::Path;

/// How looking at one process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// Its descriptors were seen; so many links were read.
    Seen(usize),
    /// It has gone, or has none: a leader that has exited takes its table with it.
    Gone,
    /// This user may not.
    Denied,
}

/// A socket found in a process: by which thread's table (its leader's, unless that has exited) and at which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) tid: u32,
    pub(super) fd: u32,
    pub(super) inode: u32,
}

/// Looks at processes below one `/proc`.
#[derive(Debug)]
pub(super) struct Fds {
    proc: OwnedFd,
    buf: Vec<MaybeUninit<u8>>,
}

impl Fds {
    pub(super) fn open(proc: &Path) -> Result<Self, Errno> {
        Ok(Self { proc: io::open_dir(proc)?, buf: vec![MaybeUninit::uninit(); 32 * 1024] })
    }

    /// Hands every socket of `pid` to `found`, but for the descriptors that `skip` says are known. Where the leader has
    /// none and there are other `threads`, their table is read: the leader may have exited.
    pub(super) fn scan(
        &mut self,
        pid: u32,
        threads: bool,
        skip: impl Fn(u32) -> bool,
        mut found: impl FnMut(Found),
    ) -> Looked {
        let looked = self.scan_table(&format!("{pid}/fd"), pid, &skip, &mut found);
        if looked != Looked::Gone || !threads {
            return looked;
        }
        for tid in self.threads(pid).unwrap_or_default().into_iter().filter(|&tid| tid != pid) {
            let looked = self.scan_table(&format!("{pid}/task/{tid}/fd"), tid, &skip, &mut found);
            if looked != Looked::Gone {
                return looked; // threads share one table
            }
        }
        looked
    }

    /// The socket at descriptor `fd` of `tid`.
    pub(super) fn socket_at(&self, tid: u32, fd: u32) -> Option<u32> {
        let mut link = [MaybeUninit::uninit(); 64];
        let (target, _) = rustix::fs::readlinkat_raw(&self.proc, format!("{tid}/fd/{fd}"), &mut link).ok()?;
        inode_of(target)
    }

    /// Whether descriptor `fd` of `tid` is still socket `inode`.
    pub(super) fn still(&self, tid: u32, fd: u32, inode: u32) -> bool {
        self.socket_at(tid, fd) == Some(inode)
    }

    fn threads(&mut self, pid: u32) -> Result<Vec<u32>, Errno> {
        let dir = self.open_table(&format!("{pid}/task"))?;
        let mut tids = Vec::new();
        let mut entries = RawDir::new(&dir, &mut self.buf);
        while let Some(entry) = entries.next() {
            tids.extend(number(entry?.file_name()));
        }
        Ok(tids)
    }

    fn open_table(&self, path: &str) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(&self.proc, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    fn scan_table(
        &mut self,
        path: &str,
        tid: u32,
        skip: &impl Fn(u32) -> bool,
        found: &mut impl FnMut(Found),
    ) -> Looked {
        let dir = match self.open_table(path) {
            Ok(dir) => dir,
            Err(e) => return ending(e),
        };
        let (mut read, mut any) = (0, false);
        let mut entries = RawDir::new(dir.as_fd(), &mut self.buf);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) if !any => return ending(e),
                Err(_) => break,
            };
            let Some(fd) = number(entry.file_name()) else { continue };
            any = true;
            if skip(fd) {
                continue;
            }
            read += 1;
            let mut link = [MaybeUninit::uninit(); 64];
            match rustix::fs::readlinkat_raw(&dir, entry.file_name(), &mut link) {
                Ok((target, _)) => inode_of(target).into_iter().for_each(|inode| found(Found { tid, fd, inode })),
                Err(Errno::ACCESS | Errno::PERM) => return Looked::Denied, // a right over the process, not the descriptor
                Err(_) => {}
            }
        }
        if any { Looked::Seen(read) } else { Looked::Gone }
    }
}

fn ending(e: Errno) -> Looked {
    if matches!(e, Errno::ACCESS | Errno::PERM) { Looked::Denied } else { Looked::Gone }
}

fn number(name: &CStr) -> Option<u32> {
    std::str::from_utf8(name.to_bytes()).ok()?.parse().ok()
}

/// `N` of `socket:[N]`.
fn inode_of(link: &[u8]) -> Option<u32> {
    let digits = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
