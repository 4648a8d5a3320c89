//! A process held so that nothing sent to it can reach another: by a pidfd, and by its start time before there were any.
//!
//! A pidfd names one process for ever. Between opening it by number and knowing whom it names lies a gap: the start time
//! is read after the opening, and then the pidfd is asked whether its process still has a number. If it has, nobody else
//! can have had that number in between, and so what was read was of this process.

use super::sys;
use crate::collect::io::{gone_is_none, read_at};
use crate::collect::tasks::{stat, status};
use crate::snapshot::{Signal, TaskKey};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// `PID_FS_MAGIC`: since 6.9 pidfds have a file system, and each process an inode of its own in it.
const PID_FS_MAGIC: u64 = 0x5049_4446;

/// What makes sure that a signal reaches the process that was selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// A pidfd where the kernel has them (5.3), else the start time.
    #[default]
    Best,
    /// The start time, right before and after the sending: what is done before 5.3.
    StartTime,
}

/// Why a process can't be pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// There is no such process any more.
    #[error("it has gone")]
    Gone,
    /// The pid is another process's by now.
    #[error("its pid is another process's by now (start time {start_ticks})")]
    Reused {
        /// The start time of the process that has the pid.
        start_ticks: u64,
    },
    /// The number is a thread's.
    #[error("it is a thread of process {pid}")]
    Thread {
        /// Its process.
        pid: u32,
    },
    /// Descriptors are short, or `/proc` can't be read.
    #[error("it can't be held: {0}")]
    Failed(Errno),
}

/// Why a signal was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The process is gone and reaped; nothing was sent to anybody.
    #[error("it has gone")]
    Gone,
    /// The kernel refuses.
    #[error("not permitted")]
    Denied,
    /// Without pidfd: the pid changed hands while the signal was sent.
    #[error("its pid changed hands during the sending")]
    Doubt,
    /// Anything else.
    #[error("{0}")]
    Failed(Errno),
}

/// A process, held.
#[derive(Debug)]
pub struct Pin {
    key: TaskKey,
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    Pidfd {
        fd: OwnedFd,
        inode: Option<u64>,
    },
    /// The tree to read start times from.
    StartTime {
        proc: OwnedFd,
    },
}

impl Pin {
    /// Holds the process `key`; `proc` is the root of `/proc`.
    ///
    /// # Errors
    /// When that process is not there any more.
    pub fn take(proc: BorrowedFd<'_>, key: TaskKey, how: Identity) -> Result<Self, PinError> {
        let pin = Self::of_pid(proc, key.pid, how)?;
        if pin.key == key { Ok(pin) } else { Err(PinError::Reused { start_ticks: pin.key.start_ticks }) }
    }

    /// Holds whichever process has the number `pid` now.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_pid(proc: BorrowedFd<'_>, pid: u32, how: Identity) -> Result<Self, PinError> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(PinError::Gone)?;
        let opened = match how {
            Identity::Best => pidfd_open(raw, PidfdFlags::empty()),
            Identity::StartTime => Err(Errno::NOSYS),
        };
        let handle = match opened {
            Ok(fd) => {
                let inode = inode(&fd);
                Handle::Pidfd { fd, inode }
            }
            Err(Errno::SRCH) => return Err(PinError::Gone),
            // Of a thread: EINVAL, since 6.16 ENOENT.
            Err(Errno::INVAL | Errno::NOENT) => return Err(thread_or_gone(proc, pid)),
            // Not in this kernel, or hidden by a filter that does not know it.
            Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => {
                Handle::StartTime { proc: proc.try_clone_to_owned().map_err(|e| failed(&e))? }
            }
            Err(error) => return Err(PinError::Failed(error)),
        };
        let start_ticks = match start_ticks(proc, pid) {
            Ok(Some(start)) => start,
            Ok(None) => return Err(PinError::Gone),
            Err(error) => return Err(PinError::Failed(error)),
        };
        if matches!(handle, Handle::StartTime { .. }) && thread_group(proc, pid).is_some_and(|group| group != pid) {
            return Err(thread_or_gone(proc, pid));
        }
        let pin = Self { key: TaskKey { pid, start_ticks }, handle };
        if pin.is_reaped() { Err(PinError::Gone) } else { Ok(pin) }
    }

    /// Who is held.
    #[must_use]
    pub fn key(&self) -> TaskKey {
        self.key
    }

    /// The inode of its pidfd: unique for as long as the machine runs; `None` before 6.9.
    #[must_use]
    pub fn inode(&self) -> Option<u64> {
        match &self.handle {
            Handle::Pidfd { inode, .. } => *inode,
            Handle::StartTime { .. } => None,
        }
    }

    /// Whether it is held by a pidfd.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        matches!(self.handle, Handle::Pidfd { .. })
    }

    /// Sends `signal` to this process, to no other.
    ///
    /// # Errors
    /// When it has gone (then nobody got anything), or the kernel refuses.
    pub fn send(&self, signal: Signal) -> Result<(), SendError> {
        match &self.handle {
            Handle::Pidfd { fd, .. } => sys::pidfd_send_signal(fd.as_fd(), signal.0).map_err(refused),
            Handle::StartTime { proc } => {
                if start_ticks(proc.as_fd(), self.key.pid) != Ok(Some(self.key.start_ticks)) {
                    return Err(SendError::Gone);
                }
                sys::kill(self.key.pid, signal.0).map_err(refused)?;
                match start_ticks(proc.as_fd(), self.key.pid) {
                    Ok(Some(start)) if start != self.key.start_ticks => Err(SendError::Doubt),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Whether a signal could be sent: asks the kernel, sends nothing.
    ///
    /// # Errors
    /// As [`Pin::send`].
    pub fn probe(&self) -> Result<(), SendError> {
        match &self.handle {
            Handle::Pidfd { fd, .. } => sys::pidfd_send_signal(fd.as_fd(), 0).map_err(refused),
            Handle::StartTime { proc } => match start_ticks(proc.as_fd(), self.key.pid) {
                Ok(Some(start)) if start == self.key.start_ticks => sys::kill(self.key.pid, 0).map_err(refused),
                _ => Err(SendError::Gone),
            },
        }
    }

    /// Whether it is dead and its parent has taken it: its pid is free.
    #[must_use]
    pub fn is_reaped(&self) -> bool {
        self.probe() == Err(SendError::Gone)
    }

    /// Whether it is dead, reaped or not. Without pidfd only a reaped process is known to be.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        let Handle::Pidfd { fd, .. } = &self.handle else { return self.is_reaped() };
        let mut fds = [PollFd::new(fd, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(n) if n > 0)
    }

    /// The pidfd, to wait for the end with.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.handle {
            Handle::Pidfd { fd, .. } => Some(fd.as_fd()),
            Handle::StartTime { .. } => None,
        }
    }
}

fn refused(error: Errno) -> SendError {
    match error {
        Errno::SRCH => SendError::Gone,
        Errno::PERM | Errno::ACCESS => SendError::Denied,
        other => SendError::Failed(other),
    }
}

fn failed(error: &std::io::Error) -> PinError {
    PinError::Failed(Errno::from_io_error(error).unwrap_or(Errno::IO))
}

fn inode(fd: &OwnedFd) -> Option<u64> {
    let fs = rustix::fs::fstatfs(fd).ok()?;
    if u64::try_from(fs.f_type).ok()? != PID_FS_MAGIC {
        return None;
    }
    rustix::fs::fstat(fd).ok().map(|stat| stat.st_ino)
}

/// Field 22 of `PID/stat`; `None` when there is no such process.
fn start_ticks(proc: BorrowedFd<'_>, pid: u32) -> Result<Option<u64>, Errno> {
    let mut text = Vec::new();
    let read = gone_is_none(read_at(proc, format!("{pid}/stat"), &mut text))?;
    Ok(read.and_then(|()| stat::parse(&text)).map(|stat| stat.start))
}

fn thread_group(proc: BorrowedFd<'_>, tid: u32) -> Option<u32> {
    let mut text = Vec::new();
    read_at(proc, format!("{tid}/status"), &mut text).ok()?;
    let group = status::pairs(&text).find(|(key, _)| *key == b"Tgid").and_then(|(_, value)| status::number(value));
    group.and_then(|n| u32::try_from(n).ok())
}

fn thread_or_gone(proc: BorrowedFd<'_>, tid: u32) -> PinError {
    match thread_group(proc, tid) {
        Some(pid) if pid != tid => PinError::Thread { pid },
        _ => PinError::Gone,
    }
}
