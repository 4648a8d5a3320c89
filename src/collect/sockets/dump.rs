//! Asking `sock_diag`: one dump per address family and protocol.

use super::wire::{self, Messages, Sock};
use crate::snapshot::Proto;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkHeader, NetlinkMessage};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DIAG_BY_FAMILY};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, sockopt};
use std::time::Duration;

/// A receive buffer that no reply overflows: the kernel fills at most 32 KiB a message.
pub(super) const BUFFER: usize = 64 * 1024;

/// What one dump asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// TCP listeners.
    Listeners,
    /// Every other TCP socket. `BOUND_INACTIVE` (6.8 and later) is left out: walking the bind table costs as much as
    /// the dump, `/proc/net/tcp` never has it, and no connection is behind it.
    Connections,
    /// UDP sockets.
    Udp,
}

impl Ask {
    pub(super) fn proto(self) -> Proto {
        if self == Self::Udp { Proto::Udp } else { Proto::Tcp }
    }

    fn states(self) -> StateFlags {
        // Bit 12 is NEW_SYN_RECV, which the crate has no name for: kernels differ in which of 3 and 12 they look at.
        let all = StateFlags::from_bits_retain(0x1fff);
        match self {
            Self::Listeners => StateFlags::LISTEN,
            Self::Connections => all.difference(StateFlags::LISTEN),
            Self::Udp => all,
        }
    }
}

/// Why a dump gave nothing, or not everything.
#[derive(Debug, thiserror::Error)]
pub(super) enum DumpError {
    /// The kernel has no `sock_diag` handler for this protocol (module not loaded).
    #[error("sock_diag has no handler")]
    Unavailable,
    /// It broke off: sockets after this point are missing, and the netlink socket is of no use any more.
    #[error("the dump broke off: {0}")]
    Broken(#[from] Errno),
}

/// A `sock_diag` socket of the calling thread's network namespace.
pub(super) fn open() -> Result<Socket, Errno> {
    let socket = Socket::new(NETLINK_SOCK_DIAG).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_secs(2)))?;
    Ok(socket)
}

fn request(family: u8, ask: Ask, seq: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = seq;
    let inner = SockDiagMessage::InetRequest(InetRequest {
        family,
        protocol: if ask == Ask::Udp { IPPROTO_UDP } else { IPPROTO_TCP },
        // Not INFO (`tcp_info`): the kernel takes each socket's lock for it, and waits in D for a task that hangs in
        // `send` with that lock (seen on 6.18: `__lock_sock`). Nothing here takes a lock that a task can hold on to.
        extensions: ExtensionFlags::SKMEMINFO,
        states: ask.states(),
        socket_id: SocketId::new_v4(),
    });
    let mut message = NetlinkMessage::new(header, inner.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Dumps one kind of socket in both address families, and hands each to `each`.
pub(super) fn dump(
    socket: &Socket,
    ask: Ask,
    seq: &mut u32,
    buf: &mut [u8],
    mut each: impl FnMut(Sock),
) -> Result<(), DumpError> {
    for family in [AF_INET, AF_INET6] {
        *seq = seq.wrapping_add(1);
        rustix::net::send(socket, &request(family, ask, *seq), SendFlags::empty())?;
        receive(socket, ask, *seq, buf, &mut each)?;
    }
    Ok(())
}

fn receive(socket: &Socket, ask: Ask, seq: u32, buf: &mut [u8], each: &mut impl FnMut(Sock)) -> Result<(), DumpError> {
    loop {
        let len = match rustix::net::recv(socket, &mut *buf, RecvFlags::empty()) {
            Ok((0, _)) => return Err(Errno::IO.into()),
            Ok((len, _)) => len,
            Err(Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        };
        for message in Messages(buf.get(..len).unwrap_or_default()).filter(|m| m.seq == seq) {
            match message.kind {
                SOCK_DIAG_BY_FAMILY => wire::parse(message.payload, ask.proto()).into_iter().for_each(&mut *each),
                NLMSG_DONE | NLMSG_ERROR => return end(wire::errno_of(message.payload)),
                _ => {}
            }
        }
    }
}

/// How a dump ended. A missing handler says so in either message; `NLMSG_DONE` of old kernels carries a length instead.
fn end(errno: i32) -> Result<(), DumpError> {
    match errno {
        0.. => Ok(()),
        e if -e == Errno::NOENT.raw_os_error() => Err(DumpError::Unavailable),
        e => Err(Errno::from_raw_os_error(e.saturating_neg()).into()),
    }
}
