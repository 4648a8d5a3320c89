//! One socket as the kernel tells it, and the byte parser of `sock_diag` replies.
//!
//! Nothing here trusts a length: a message cut short, or one that is no socket, is left out and costs only itself.

use crate::snapshot::{Proto, TcpState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An IPv6 address, or an IPv4 one in its mapped form, so that `::ffff:1.2.3.4` and `1.2.3.4` are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Addr(u128);

impl Addr {
    /// `::`, which a listener may use for IPv4 too.
    pub(super) const ANY_V6: Self = Self(0);
    /// `0.0.0.0`.
    pub(super) const ANY_V4: Self = Self(0xffff_0000_0000);

    pub(super) fn v4(bytes: [u8; 4]) -> Self {
        Self(u128::from(u32::from_be_bytes(bytes)) | Self::ANY_V4.0)
    }

    pub(super) fn v6(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    pub(super) fn is_v4(self) -> bool {
        self.0 >> 32 == 0xffff
    }

    pub(super) fn is_any(self) -> bool {
        self == Self::ANY_V4 || self == Self::ANY_V6
    }

    pub(super) fn ip(self) -> IpAddr {
        Ipv6Addr::from_bits(self.0).to_canonical()
    }

    pub(super) fn to_bits(self) -> u128 {
        self.0
    }

    pub(super) fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    pub(super) fn with_port(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(), port)
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::v4(Ipv4Addr::octets(&v4)),
            IpAddr::V6(v6) => Self::v6(v6.octets()),
        }
    }
}

/// `SKMEMINFO`, as far as this kernel sends it (3.10 sends no drops).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mem {
    pub(super) rmem_alloc: u32,
    pub(super) rcvbuf: Option<u32>,
    pub(super) wmem_alloc: u32,
    pub(super) sndbuf: Option<u32>,
    pub(super) fwd_alloc: u32,
    pub(super) drops: Option<u32>,
}

/// One socket of one namespace, from `sock_diag` or `/proc/net`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sock {
    /// Index of its namespace in this pass.
    pub(super) netns: u32,
    pub(super) proto: Proto,
    pub(super) state: TcpState,
    pub(super) local: Addr,
    pub(super) local_port: u16,
    pub(super) remote: Addr,
    pub(super) remote_port: u16,
    /// Whether a retransmission timer runs after at least one retry.
    pub(super) retransmitting: bool,
    /// Whether it refuses IPv4 (`INET_DIAG_SKV6ONLY`, listeners only; false where not sent).
    pub(super) v6_only: bool,
    /// Of a listener: length of the accept queue.
    pub(super) rqueue: u32,
    /// Of a listener: backlog.
    pub(super) wqueue: u32,
    /// 0: no file stands for it (not accepted yet, orphaned, `TIME_WAIT`).
    pub(super) inode: u32,
    /// 0 from `/proc/net`.
    pub(super) cookie: u64,
    pub(super) cgroup_id: u64,
    pub(super) mem: Mem,
}

const HEADER: usize = 16;
const INET_DIAG_MSG: usize = 72;
const TIMER_RETRANSMIT: u8 = 1;
const ATTR_SKMEMINFO: u16 = 7;
const ATTR_SKV6ONLY: u16 = 11;
const ATTR_CGROUP_ID: u16 = 21;

/// One netlink message of a received buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) seq: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages of a received buffer; ends at the first header that lies about its length.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let head: &[u8; HEADER] = self.0.first_chunk()?;
        let len = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let payload = self.0.get(HEADER..len)?;
        self.0 = self.0.get(aligned(len)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([head[4], head[5]]),
            seq: u32::from_ne_bytes([head[8], head[9], head[10], head[11]]),
            payload,
        })
    }
}

fn aligned(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// The `i32` that an `NLMSG_ERROR` starts with, and since 4.15 an `NLMSG_DONE` too: 0 or a negative errno.
pub(crate) fn errno_of(payload: &[u8]) -> i32 {
    payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes))
}

/// One socket from an `inet_diag_msg` and its attributes; `None` for what is none, or has a state nobody knows.
pub(super) fn parse(payload: &[u8], proto: Proto) -> Option<Sock> {
    let (m, attrs) = payload.split_first_chunk::<INET_DIAG_MSG>()?;
    let word = |at: usize| -> u32 { m.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes) };
    let addr = |at: usize| -> Option<Addr> {
        let bytes: [u8; 16] = m.get(at..at + 16)?.try_into().ok()?;
        match i32::from(m[0]) {
            libc::AF_INET => Some(Addr::v4(*bytes.first_chunk()?)),
            libc::AF_INET6 => Some(Addr::v6(bytes)),
            _ => None,
        }
    };
    let mut sock = Sock {
        proto,
        state: TcpState::from_kernel(m[1])?,
        retransmitting: m[2] == TIMER_RETRANSMIT && m[3] > 0,
        local_port: u16::from_be_bytes([m[4], m[5]]),
        remote_port: u16::from_be_bytes([m[6], m[7]]),
        local: addr(8)?,
        remote: addr(24)?,
        cookie: u64::from(word(44)) | u64::from(word(48)) << 32,
        rqueue: word(56),
        wqueue: word(60),
        inode: word(68),
        ..Sock::default()
    };
    attributes(attrs, &mut sock);
    Some(sock)
}

fn attributes(attrs: &[u8], sock: &mut Sock) {
    for (kind, body) in Attributes(attrs) {
        match kind {
            ATTR_SKMEMINFO => sock.mem = skmeminfo(body),
            ATTR_SKV6ONLY => sock.v6_only = body.first().is_some_and(|&b| b != 0),
            ATTR_CGROUP_ID => sock.cgroup_id = body.first_chunk().map_or(0, |b| u64::from_ne_bytes(*b)),
            _ => {}
        }
    }
}

/// The attributes of a message, kind and body; ends at the first that lies about its length.
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Those behind an `inet_diag_msg`.
    pub(super) fn of(payload: &'a [u8]) -> Self {
        Self(payload.get(INET_DIAG_MSG..).unwrap_or_default())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let head = self.0.first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let body = self.0.get(4..len)?;
        self.0 = self.0.get(aligned(len)..).unwrap_or_default();
        Some((u16::from_ne_bytes([head[2], head[3]]), body))
    }
}

fn skmeminfo(body: &[u8]) -> Mem {
    let word = |n: usize| body.get(n * 4..n * 4 + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
    Mem {
        rmem_alloc: word(0).unwrap_or(0),
        rcvbuf: word(1),
        wmem_alloc: word(2).unwrap_or(0),
        sndbuf: word(3),
        fwd_alloc: word(4).unwrap_or(0),
        drops: word(8),
    }
}
