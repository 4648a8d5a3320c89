//! Reading small kernel files: one reused buffer, `openat`, and one place that says a vanished task is no error.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// A read that may find nothing: `Ok(None)` when the task, cgroup or file has gone (`ENOENT`, `ESRCH`, `ENODEV`).
///
/// # Errors
/// Every other error, as it came.
pub fn gone_is_none<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT | Errno::SRCH | Errno::NODEV) => Ok(None),
        Err(other) => Err(other),
    }
}

/// The folder in which a process's network namespace can be seen: `PID`, or `PID/task/TID` of a live thread where the
/// leader has exited; then `PID/ns/net` and `PID/net` are not there.
#[must_use]
pub fn netns_dir(proc: &Path, pid: u32) -> PathBuf {
    let process = proc.join(pid.to_string());
    let shown = |dir: &Path| rustix::fs::stat(dir.join("ns/net")).map(|_| ());
    if shown(&process) != Err(Errno::NOENT) {
        return process;
    }
    let threads = std::fs::read_dir(process.join("task")).into_iter().flatten().flatten().take(THREADS_TRIED);
    let live = threads.map(|thread| thread.path()).find(|dir| shown(dir).is_ok());
    live.unwrap_or(process)
}

/// The leader is the first of its threads, and seldom have many more than it ended and not gone.
const THREADS_TRIED: usize = 16;

/// Opens a directory as a base for [`read_at`].
///
/// # Errors
/// As `open(2)`.
pub fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Reads a whole file below `dir` into `buf`, which is emptied first and keeps its capacity.
///
/// # Errors
/// As `openat(2)` and `read(2)`; `EINTR` is retried.
pub fn read_at(dir: impl AsFd, path: impl rustix::path::Arg, buf: &mut Vec<u8>) -> Result<(), Errno> {
    buf.clear();
    let fd = rustix::fs::openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
    read_all(&fd, buf)
}

/// Reads a whole file into `buf`.
///
/// # Errors
/// As `open(2)` and `read(2)`.
pub fn read_path(path: &Path, buf: &mut Vec<u8>) -> Result<(), Errno> {
    buf.clear();
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
    read_all(&fd, buf)
}

fn read_all(fd: &OwnedFd, buf: &mut Vec<u8>) -> Result<(), Errno> {
    if buf.capacity() < 4096 {
        buf.reserve(4096);
    }
    loop {
        if buf.capacity() - buf.len() < 1024 {
            buf.reserve(buf.capacity());
        }
        match rustix::io::read(fd, rustix::buffer::spare_capacity(buf)) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
}
