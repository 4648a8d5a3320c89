//! The reader process: fork, the loop, and the bytes between it and its parent.
//!
//! After the fork the child allocates nothing and takes no lock, so it is safe wherever the parent stood.

use super::Reader;
use super::ask::{HEAD, Kind, Request, Wanted};
use crate::collect::{now, sockets};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal};
use std::ffi::CStr;
use std::io::Write;
use std::mem::MaybeUninit;

/// `errno (0 = none) << 32 | length` as a `u64`; the bytes follow.
const HEADER: usize = 8;
/// Most bytes of a frame: a shorter one, or one with an errno, ends the reply.
pub(super) const FRAME: usize = 4096;
/// A path with its NUL.
pub(super) const PATH_MAX: usize = 1024;
/// Room asked for in the reply pipe; an ordinary user may have so much.
const PIPE_BYTES: usize = 1 << 20;
/// Requests under way at most.
const BATCH_MAX: usize = 256;

/// Does the work without allocating and hands every frame of the reply to `sink`; the error is `sink`'s.
pub(super) fn read(
    proc: BorrowedFd<'_>,
    wanted: Wanted<'_>,
    buf: &mut [u8; FRAME],
    sink: &mut impl FnMut(Result<&[u8], Errno>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut left = match wanted {
        Wanted::Task(..) => FRAME,
        Wanted::File(_, max) => max as usize,
        Wanted::Names(_) => {
            let listed = open(proc, wanted).and_then(|dir| names(&dir, buf));
            return sink(listed.map(|len| buf.get(..len).unwrap_or_default()));
        }
        Wanted::Traffic(_) => {
            let mut len = 0;
            let dumped = open(proc, wanted).and_then(|door| traffic(&door, buf, &mut len, sink));
            return sink(dumped.map(|()| buf.get(..len).unwrap_or_default()));
        }
    };
    let file = match open(proc, wanted) {
        Ok(file) => file,
        Err(error) => return sink(Err(error)),
    };
    loop {
        let wanted = left.min(FRAME);
        let part = buf.get_mut(..wanted).unwrap_or_default();
        match read_into(&file, part) {
            Ok(len) => {
                left -= len;
                sink(Ok(buf.get(..len).unwrap_or_default()))?;
                if len < FRAME {
                    return Ok(());
                }
            }
            Err(error) => return sink(Err(error)),
        }
    }
}

/// Hands a dump over in whole frames; `len` bytes are left in `buf`.
fn traffic(
    door: &OwnedFd,
    buf: &mut [u8; FRAME],
    len: &mut usize,
    sink: &mut impl FnMut(Result<&[u8], Errno>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    sockets::dump_traffic(door, &mut |part| {
        for &byte in part {
            if let Some(place) = buf.get_mut(*len) {
                *place = byte;
            }
            *len += 1;
            if *len == FRAME {
                *len = 0;
                sink(Ok(buf))?;
            }
        }
        Ok(())
    })
}

fn open(proc: BorrowedFd<'_>, wanted: Wanted<'_>) -> Result<OwnedFd, Errno> {
    let mut path = [0_u8; PATH_MAX];
    let mut rest = path.as_mut_slice();
    let named = match wanted {
        // The thread's own files: the leader's may be gone while threads live on.
        Wanted::Task(Kind::Cmdline, pid, tid) => write!(rest, "{pid}/task/{tid}/cmdline\0"),
        Wanted::Task(Kind::Stack, pid, tid) => write!(rest, "{pid}/task/{tid}/stack\0"),
        Wanted::File(path, _) | Wanted::Names(path) | Wanted::Traffic(path) => {
            rest.write_all(path).and_then(|()| rest.write_all(b"\0"))
        }
    };
    named.map_err(|_| Errno::NAMETOOLONG)?;
    let path = CStr::from_bytes_until_nul(&path).map_err(|_| Errno::NAMETOOLONG)?;
    // A FIFO or a device must not be waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match wanted {
        Wanted::Task(..) => rustix::fs::openat(proc, path, flags, Mode::empty()),
        Wanted::Names(_) => rustix::fs::openat(CWD, path, flags | OFlags::DIRECTORY, Mode::empty()),
        Wanted::Traffic(_) => rustix::fs::openat(CWD, path, flags, Mode::empty()),
        Wanted::File(_, max) => {
            let file = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
            let stat = rustix::fs::fstat(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(Errno::INVAL);
            }
            if stat.st_size > i64::from(max) { Err(Errno::FBIG) } else { Ok(file) }
        }
    }
}

/// The names in `dir`, each with its NUL, as many as make less than a whole frame.
fn names(dir: &OwnedFd, buf: &mut [u8; FRAME]) -> Result<usize, Errno> {
    let mut entries = [MaybeUninit::uninit(); FRAME];
    let mut list = RawDir::new(dir, &mut entries);
    let mut len = 0;
    while let Some(entry) = list.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes_with_nul();
        if matches!(name, b".\0" | b"..\0") {
            continue;
        }
        let end = len + name.len();
        let Some(room) = buf.get_mut(len..end).filter(|_| end < FRAME) else { break };
        room.copy_from_slice(name);
        len = end;
    }
    Ok(len)
}

/// Does the work here and now: it may hang.
pub(in crate::collect) fn read_here(proc: BorrowedFd<'_>, request: &impl Request) -> Result<Vec<u8>, Errno> {
    let mut whole = Ok(Vec::new());
    let mut keep = |part: Result<&[u8], Errno>| {
        match (&mut whole, part) {
            (Ok(bytes), Ok(part)) => bytes.extend(part),
            (_, Err(error)) => whole = Err(error),
            (Err(_), Ok(_)) => {}
        }
        Ok(())
    };
    read(proc, request.wanted(), &mut [0; FRAME], &mut keep)?;
    whole
}

fn encode_header(outcome: Result<usize, Errno>) -> [u8; HEADER] {
    let (errno, len) = match outcome {
        Ok(len) => (0, len as u64),
        Err(error) => (u64::from(error.raw_os_error().unsigned_abs()), 0),
    };
    (errno << 32 | len).to_ne_bytes()
}

/// The first frame in `bytes` and its length; `None` while it has not come whole.
pub(super) fn decode_frame(bytes: &[u8]) -> Option<(Result<&[u8], Errno>, usize)> {
    let (&header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let packed = u64::from_ne_bytes(header);
    let len = usize::try_from(packed & u64::from(u32::MAX)).ok()?;
    let body = rest.get(..len)?;
    let errno = i32::try_from(packed >> 32).ok()?;
    let outcome = if errno == 0 { Ok(body) } else { Err(Errno::from_raw_os_error(errno)) };
    Some((outcome, HEADER + len))
}

/// Forks one reader over `proc`.
pub(super) fn fork<R>(proc: &OwnedFd) -> Result<Reader<R>, Errno> {
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
            batch: (room / (HEADER + FRAME)).clamp(1, BATCH_MAX),
            under_way: std::collections::VecDeque::new(),
            progress: now(),
            partial: Vec::new(),
            body: Vec::new(),
        }),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::AGAIN)),
    }
}

/// Ends this process and nothing else: for forked ones.
pub fn exit() -> ! {
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
    detach(c"whytop-reader", [proc.as_raw_fd(), requests.as_raw_fd(), replies.as_raw_fd()]);
    let mut buf = [0_u8; FRAME];
    let mut path = [0_u8; PATH_MAX];
    let mut reply = |part: Result<&[u8], Errno>| {
        send(replies, &encode_header(part.map(<[u8]>::len)))?;
        send(replies, part.unwrap_or_default())
    };
    while receive(requests, &mut path).and_then(|wanted| read(proc, wanted, &mut buf, &mut reply)).is_ok() {}
    exit();
}

fn receive<'a>(requests: BorrowedFd<'_>, path: &'a mut [u8; PATH_MAX]) -> Result<Wanted<'a>, Errno> {
    let mut head = [0_u8; HEAD];
    fill(requests, &mut head)?;
    let path = path.get_mut(..Wanted::path_len(head)).ok_or(Errno::NAMETOOLONG)?;
    fill(requests, path)?;
    Wanted::decode(head, path).ok_or(Errno::INVAL)
}

/// Leaves the parent's session, terminal and descriptors; a forked process must be neither immune nor hold a pipe open.
pub fn detach<const KEPT: usize>(name: &CStr, keep: [i32; KEPT]) {
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(name);
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
    if read_into(from, buf)? == buf.len() { Ok(()) } else { Err(Errno::PIPE) }
}

/// Reads until `buf` is full or the end is there; how many bytes.
fn read_into(from: impl AsFd, buf: &mut [u8]) -> Result<usize, Errno> {
    let mut len = 0;
    while let Some(rest) = buf.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match rustix::io::read(&from, rest) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
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
