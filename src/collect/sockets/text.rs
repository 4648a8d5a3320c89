//! `/proc/PID/net/{tcp,tcp6,udp,udp6}`: the way that is left without `sock_diag` or without the right to enter a
//! namespace. No cookie, no buffer sizes, no cgroup; drops only for UDP.

use super::wire::{Addr, Mem, Sock};
use crate::snapshot::{Proto, TcpState};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::path::Path;

/// Reads one table through `buf`, and hands each socket to `each`.
pub(super) fn read(path: &Path, proto: Proto, buf: &mut [u8], mut each: impl FnMut(Sock)) -> Result<(), Errno> {
    let fd: OwnedFd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut held = 0;
    loop {
        let free = buf.get_mut(held..).unwrap_or_default();
        let got = match rustix::io::read(&fd, &mut *free) {
            Ok(got) => got,
            Err(Errno::INTR) => continue,
            Err(e) => return Err(e),
        };
        if got == 0 {
            return Ok(());
        }
        held = lines(buf, held + got, proto, &mut each);
    }
}

/// Parses the whole lines of `buf[..len]`; moves the started one to the front, and says how long it is.
fn lines(buf: &mut [u8], len: usize, proto: Proto, each: &mut impl FnMut(Sock)) -> usize {
    let filled = buf.get(..len).unwrap_or_default();
    let whole = memchr::memrchr(b'\n', filled).map_or(0, |at| at + 1);
    for line in filled.get(..whole).unwrap_or_default().split(|&b| b == b'\n') {
        parse_line(line, proto).into_iter().for_each(&mut *each);
    }
    if whole == 0 && len >= buf.len() {
        return 0; // a line longer than the buffer is none of ours
    }
    buf.copy_within(whole..len, 0);
    len - whole
}

/// One line; `None` for the heading and for anything else that is no socket.
pub(super) fn parse_line(line: &[u8], proto: Proto) -> Option<Sock> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|f| !f.is_empty()).skip(1);
    let (local, local_port) = endpoint(fields.next()?)?;
    let (remote, remote_port) = endpoint(fields.next()?)?;
    let state = TcpState::from_kernel(u8::try_from(hex(fields.next()?)?).ok()?)?;
    let (wqueue, rqueue) = pair(fields.next()?)?;
    let (timer, _) = pair(fields.next()?)?;
    let retrans = hex(fields.next()?)?;
    let inode = decimal(fields.nth(2)?)?;
    let drops = if proto == Proto::Udp { fields.nth(2).and_then(decimal) } else { None };
    Some(Sock {
        proto,
        state,
        local,
        local_port,
        remote,
        remote_port,
        retransmitting: timer == 1 && retrans > 0,
        rqueue,
        wqueue,
        inode,
        mem: Mem { rmem_alloc: rqueue, drops, ..Mem::default() },
        ..Sock::default()
    })
}

/// `ADDRESS:PORT`. The address is printed as machine words, so their bytes are in the host's order; the port is not.
fn endpoint(field: &[u8]) -> Option<(Addr, u16)> {
    let colon = memchr::memchr(b':', field)?;
    let port = u16::try_from(hex(field.get(colon + 1..)?)?).ok()?;
    let digits = field.get(..colon)?;
    let mut bytes = [0; 16];
    for (word, text) in bytes.chunks_exact_mut(4).zip(digits.chunks(8)) {
        word.copy_from_slice(&hex(text)?.to_ne_bytes());
    }
    match digits.len() {
        8 => Some((Addr::v4(*bytes.first_chunk()?), port)),
        32 => Some((Addr::v6(bytes), port)),
        _ => None,
    }
}

fn pair(field: &[u8]) -> Option<(u32, u32)> {
    let colon = memchr::memchr(b':', field)?;
    Some((hex(field.get(..colon)?)?, hex(field.get(colon + 1..)?)?))
}

fn hex(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    digits.iter().try_fold(0u32, |sum, &d| Some(sum << 4 | char::from(d).to_digit(16)?))
}

fn decimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |sum, &d| sum.checked_mul(10)?.checked_add(char::from(d).to_digit(10)?))
}
