//! What TCP connections have carried: `tcp_info` of one namespace, read by a reader process.
//!
//! The kernel takes each socket's lock to tell it, and waits in D for a task that hangs in `send` with that lock (seen on
//! 6.18: `__lock_sock`). A process that can be killed and forgotten may wait there; nobody else asks. It allocates nothing.
//!
//! ```text
//! reply: begun (u64, ns) │ row … │ done (u64, ns)       row: inode u32, far address u128, acked u64, received u64
//! ```

use super::wire::{self, Addr, Attributes, Messages};
use crate::collect::now;
use crate::snapshot::{Moment, Proto};
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use netlink_packet_sock_diag::constants::{IPPROTO_TCP, SOCK_DIAG_BY_FAMILY};
use netlink_packet_sock_diag::inet::{ExtensionFlags, StateFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::net::IpAddr;

/// Connections that neither sent nor received for so long, ms, are not told of.
const SILENT_MS: u32 = 10_000;
const INET_DIAG_INFO: u16 = 2;
/// `nlmsghdr` and `inet_diag_req_v2`.
const REQUEST: usize = 16 + 56;
/// The kernel fills no message beyond what the last one had room for.
const BUFFER: usize = 16 * 1024;
const ROW: usize = 36;
const STAMP: usize = 8;

/// What a connection has carried since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) inode: u32,
    pub(super) remote: IpAddr,
    /// `tcpi_bytes_acked`: sent and acknowledged.
    pub(super) acked: u64,
    /// `tcpi_bytes_received`.
    pub(super) received: u64,
}

/// One reading of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) begun: Moment,
    pub(super) done: Moment,
    pub(super) rows: Vec<Carried>,
}

/// In a reader: dumps the connections of the namespace that `door` stands for, into `sink`.
///
/// # Errors
/// When the namespace can't be entered, or the kernel does not tell.
pub(in crate::collect) fn dump(door: &OwnedFd, sink: &mut impl FnMut(&[u8]) -> Result<(), Errno>) -> Result<(), Errno> {
    let socket = inside(door)?;
    sink(&now().0.to_ne_bytes())?;
    let mut buf = [0_u8; BUFFER];
    for (seq, family) in (1_u32..).zip([AddressFamily::INET, AddressFamily::INET6]) {
        rustix::net::send(&socket, &request(family, seq), SendFlags::empty())?;
        receive(&socket, seq, &mut buf, sink)?;
    }
    sink(&now().0.to_ne_bytes())
}

/// A `sock_diag` socket inside a namespace. Whoever stayed there would keep it from ending.
fn inside(door: &OwnedFd) -> Result<OwnedFd, Errno> {
    let open = || {
        let protocol = Some(netlink::SOCK_DIAG);
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, protocol)
    };
    let home = rustix::fs::open(c"/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let place = |file: &OwnedFd| rustix::fs::fstat(file).map(|stat| (stat.st_dev, stat.st_ino));
    // Also for those who may not enter any.
    if place(&home)? == place(door)? {
        return open();
    }
    let network = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(door.as_fd(), network)?;
    let socket = open();
    move_into_link_name_space(home.as_fd(), network)?;
    socket
}

fn request(family: AddressFamily, seq: u32) -> [u8; REQUEST] {
    // Those in which bytes flow.
    let open = StateFlags::ESTABLISHED | StateFlags::CLOSE_WAIT | StateFlags::LAST_ACK | StateFlags::CLOSING;
    let states = open | StateFlags::FIN_WAIT1 | StateFlags::FIN_WAIT2;
    let mut bytes = [0; REQUEST];
    let mut put = |at: usize, part: &[u8]| {
        if let Some(place) = bytes.get_mut(at..at + part.len()) {
            place.copy_from_slice(part);
        }
    };
    #[expect(clippy::cast_possible_truncation, reason = "72 bytes, and a family below 256")]
    let (len, family) = (REQUEST as u32, family.as_raw() as u8);
    put(0, &len.to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    put(8, &seq.to_ne_bytes());
    put(16, &[family, IPPROTO_TCP, ExtensionFlags::INFO.bits()]);
    put(20, &states.bits().to_ne_bytes());
    bytes
}

fn receive(
    socket: &OwnedFd,
    seq: u32,
    buf: &mut [u8],
    sink: &mut impl FnMut(&[u8]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    loop {
        let len = match rustix::net::recv(socket, &mut *buf, RecvFlags::empty()) {
            Ok((0, _)) => return Err(Errno::IO),
            Ok((len, _)) => len,
            Err(Errno::INTR) => continue,
            Err(e) => return Err(e),
        };
        for message in Messages(buf.get(..len).unwrap_or_default()).filter(|m| m.seq == seq) {
            match message.kind {
                SOCK_DIAG_BY_FAMILY => {
                    if let Some(row) = row(message.payload) {
                        sink(&row)?;
                    }
                }
                NLMSG_ERROR => return Err(Errno::from_raw_os_error(wire::errno_of(message.payload).saturating_neg())),
                NLMSG_DONE => return Ok(()),
                _ => {}
            }
        }
    }
}

/// The row of a socket; `None` for one that stands for no file, is silent, or talks to its own address.
fn row(payload: &[u8]) -> Option<[u8; ROW]> {
    let sock = wire::parse(payload, Proto::Tcp)?;
    let info = Attributes::of(payload).find(|(kind, _)| *kind == INET_DIAG_INFO)?.1;
    let word = |at: usize| info.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
    let long = |at: usize| info.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_ne_bytes);
    // `struct tcp_info`: last_data_sent 44, last_data_recv 52; bytes_acked 120 and bytes_received 128 since 4.1.
    let silent_ms = word(44)?.min(word(52)?);
    if sock.inode == 0 || silent_ms > SILENT_MS || sock.local == sock.remote {
        return None;
    }
    let mut row = [0; ROW];
    let (head, rest) = row.split_first_chunk_mut::<4>()?;
    let (far, rest) = rest.split_first_chunk_mut::<16>()?;
    let (acked, received) = rest.split_first_chunk_mut::<8>()?;
    *head = sock.inode.to_ne_bytes();
    *far = sock.remote.to_bits().to_ne_bytes();
    *acked = long(120)?.to_ne_bytes();
    *received.first_chunk_mut()? = long(128)?.to_ne_bytes();
    Some(row)
}

/// What a reader replied; `None` for a reply that was cut.
pub(super) fn parse(reply: &[u8]) -> Option<Reading> {
    let (begun, rest) = reply.split_first_chunk::<STAMP>()?;
    let (rows, done) = rest.split_last_chunk::<STAMP>()?;
    let rows = rows.chunks_exact(ROW).map(|row| {
        let (inode, rest) = row.split_first_chunk()?;
        let (far, rest) = rest.split_first_chunk()?;
        let (acked, rest) = rest.split_first_chunk()?;
        Some(Carried {
            inode: u32::from_ne_bytes(*inode),
            remote: Addr::from_bits(u128::from_ne_bytes(*far)).ip(),
            acked: u64::from_ne_bytes(*acked),
            received: u64::from_ne_bytes(*rest.first_chunk()?),
        })
    });
    let moment = |bytes: &[u8; STAMP]| Moment(u64::from_ne_bytes(*bytes));
    Some(Reading { begun: moment(begun), done: moment(done), rows: rows.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    fn reading() -> Reading {
        let mut reply = Vec::new();
        dump(&super::super::namespaces::open_namespace(Path::new("/proc/thread-self/ns/net")).unwrap(), &mut |part| {
            reply.extend(part);
            Ok(())
        })
        .unwrap();
        parse(&reply).unwrap()
    }

    #[test]
    fn the_kernel_tells_what_a_connection_carried() {
        let listener = TcpListener::bind("127.0.0.2:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let inode = |s: &TcpStream| {
            u32::try_from(std::fs::metadata(format!("/proc/self/fd/{}", s.as_raw_fd())).unwrap().ino()).unwrap()
        };
        near.write_all(&[1; 5000]).unwrap();
        far.read_exact(&mut [0; 5000]).unwrap();
        far.write_all(&[1; 300]).unwrap();
        near.read_exact(&mut [0; 300]).unwrap();
        // The last acknowledgement may be on its way.
        let carried = || {
            let read = reading();
            assert!(read.begun <= read.done);
            let row = |s: &TcpStream| *read.rows.iter().find(|r| r.inode == inode(s)).unwrap();
            (row(&near), row(&far))
        };
        let (mut here, mut there) = carried();
        let asked = now();
        while there.acked < 300 && now().since(asked) < 10.0 {
            (here, there) = carried();
        }
        // The kernel counts the SYN as a byte acknowledged of the side that sent it.
        assert!((5000..=5001).contains(&here.acked) && here.received == 300, "{here:?}");
        assert!((300..=301).contains(&there.acked) && there.received == 5000, "{there:?}");
        assert_eq!(here.remote, listener.local_addr().unwrap().ip());
    }

    proptest! {
        #[test]
        fn never_panics(noise: Vec<u8>) {
            let _ = (row(&noise), parse(&noise));
        }
    }
}
