//! The reader process: fork, the loop, and the bytes between it and its parent.
//!
//! After the fork the child allocates nothing and takes no lock, so it is safe wherever the parent stood.

use super::{Ask, Kind, REPLY_MAX, Reader};
use crate::collect::now;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal};
use std::io::Write;

/// `kind << 64 | pid << 32 | tid` as a `u128`.
const REQUEST: usize = 16;
/// `errno (0 = none) << 32 | length` as a `u64`; the bytes follow.
const HEADER: usize = 8;
/// Room asked for in the reply pipe; an ordinary user may have so much.
const PIPE_BYTES: usize = 1 << 20;
/// Requests under way at most, so that a batch is below `PIPE_BUF` (4,096).
const BATCH_MAX: usize = 4096 / REQUEST;

/// Reads one file into `buf` without allocating; how many bytes.
pub(in crate::collect) fn read_one(proc: BorrowedFd<'_>, ask: Ask, buf: &mut [u8; REPLY_MAX]) -> Result<usize, Errno> {
    let mut path = [0_u8; 64];
    let name = match ask.kind {
        Kind::Cmdline => "cmdline",
        Kind::Stack => "stack",
    };
    // The thread's own files: the leader's may be gone while threads live on.
    write!(path.as_mut_slice(), "{}/task/{}/{name}\0", ask.pid, ask.tid).map_err(|_| Errno::NAMETOOLONG)?;
    let path = std::ffi::CStr::from_bytes_until_nul(&path).map_err(|_| Errno::NAMETOOLONG)?;
    let file = rustix::fs::openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut len = 0;
    while let Some(rest) = buf.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match rustix::io::read(&file, rest) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

pub(super) fn encode_request(ask: Ask) -> [u8; REQUEST] {
    ((ask.kind as u128) << 64 | u128::from(ask.pid) << 32 | u128::from(ask.tid)).to_ne_bytes()
}

#[expect(clippy::cast_possible_truncation, reason = "takes the packed words apart")]
fn decode_request(bytes: [u8; REQUEST]) -> Option<Ask> {
    let packed = u128::from_ne_bytes(bytes);
    let kind = [Kind::Cmdline, Kind::Stack].into_iter().find(|kind| *kind as u128 == packed >> 64)?;
    Some(Ask { kind, pid: (packed >> 32) as u32, tid: packed as u32, start_ticks: 0 })
}

fn encode_header(outcome: Result<usize, Errno>) -> [u8; HEADER] {
    let (errno, len) = match outcome {
        Ok(len) => (0, len as u64),
        Err(error) => (u64::from(error.raw_os_error().unsigned_abs()), 0),
    };
    (errno << 32 | len).to_ne_bytes()
}

/// The first reply in `bytes` and its length; `None` while it has not come whole.
pub(super) fn decode_reply(bytes: &[u8]) -> Option<(Result<&[u8], Errno>, usize)> {
    let (&header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let packed = u64::from_ne_bytes(header);
    let len = usize::try_from(packed & u64::from(u32::MAX)).ok()?;
    let body = rest.get(..len)?;
    let errno = i32::try_from(packed >> 32).ok()?;
    let outcome = if errno == 0 { Ok(body) } else { Err(Errno::from_raw_os_error(errno)) };
    Some((outcome, HEADER + len))
}

/// Forks one reader over `proc`.
pub(super) fn fork(proc: &OwnedFd) -> Result<Reader, Errno> {
    let (requests_out, requests_in) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (replies_out, replies_in) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let room = rustix::pipe::fcntl_setpipe_size(&replies_in, PIPE_BYTES)
        .or_else(|_| rustix::pipe::fcntl_getpipe_size(&replies_in))?;
    for parents in [&requests_in, &replies_out] {
        rustix::fs::fcntl_setfl(parents, OFlags::NONBLOCK)?;
    }
    let parent = rustix::process::getpid();
    #[expect(unsafe_code, reason = "fork(2) has no safe wrapper")]
    // SAFETY: the child only makes system calls on its own stack (no allocation, no lock) and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    match pid {
        0 => serve(proc.as_fd(), requests_out.as_fd(), replies_in.as_fd(), parent),
        1.. => Ok(Reader {
            pid: Pid::from_raw(pid).ok_or(Errno::CHILD)?,
            requests: requests_in,
            replies: replies_out,
            batch: (room / (HEADER + REPLY_MAX)).clamp(1, BATCH_MAX),
            under_way: std::collections::VecDeque::new(),
            progress: now(),
            partial: Vec::new(),
        }),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::AGAIN)),
    }
}

fn exit() -> ! {
    #[expect(unsafe_code, reason = "_exit(2) has no safe wrapper; std's exit would run the parent's handlers")]
    // SAFETY: ends this process, nothing else.
    unsafe {
        libc::_exit(0)
    }
}

/// The child's life: answers requests until its parent's end of the pipe closes.
fn serve(proc: BorrowedFd<'_>, requests: BorrowedFd<'_>, replies: BorrowedFd<'_>, parent: Pid) -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    if rustix::process::getppid() != Some(parent) {
        exit();
    }
    detach([proc.as_raw_fd(), requests.as_raw_fd(), replies.as_raw_fd()]);
    let mut buf = [0_u8; REPLY_MAX];
    loop {
        let mut request = [0_u8; REQUEST];
        if fill(requests, &mut request).is_err() {
            exit();
        }
        let outcome = decode_request(request).ok_or(Errno::INVAL).and_then(|ask| read_one(proc, ask, &mut buf));
        let body = outcome.ok().and_then(|len| buf.get(..len)).unwrap_or_default();
        if send(replies, &encode_header(outcome)).and_then(|()| send(replies, body)).is_err() {
            exit();
        }
    }
}

/// Leaves the parent's session, terminal and descriptors; a reader must be neither immune nor hold a pipe open.
fn detach(keep: [i32; 3]) {
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"whytop-reader");
    if let Ok(null) = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    let mut sorted = keep;
    sorted.sort_unstable();
    let mut from = 3;
    for fd in sorted {
        close_range(from, fd - 1);
        from = fd + 1;
    }
    close_range(from, i32::MAX);
    not_immune();
}

/// `oom_score_adj` is inherited: a reader started by something with a negative one takes 0.
fn not_immune() {
    let own = c"/proc/self/oom_score_adj";
    if let Ok(file) = rustix::fs::open(own, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let mut sign = [0_u8; 1];
        if rustix::io::read(&file, &mut sign) == Ok(1) && sign == *b"-" {
            let _ = rustix::io::pwrite(&file, b"0", 0);
        }
    }
}

/// Closes descriptors `from..=to`.
fn close_range(from: i32, to: i32) {
    if from > to {
        return;
    }
    #[expect(unsafe_code, reason = "close_range(2) has no safe wrapper")]
    // SAFETY: closes descriptors of this process that nothing in it uses again: `detach` keeps the three that serve.
    unsafe {
        if libc::syscall(libc::SYS_close_range, from, to, 0) != 0 {
            // Before 5.9. Start-up has opened only a few yet.
            for fd in from..=to.min(1024) {
                libc::close(fd);
            }
        }
    }
}

fn fill(from: BorrowedFd<'_>, buf: &mut [u8]) -> Result<(), Errno> {
    let mut len = 0;
    while let Some(rest) = buf.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match rustix::io::read(from, rest) {
            Ok(0) => return Err(Errno::PIPE),
            Ok(n) => len += n,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn send(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
