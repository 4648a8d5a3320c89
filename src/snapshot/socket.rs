//! Sockets, folded while reading: groups by what they share, listeners, UDP sockets.

use super::{Gap, ListenerKey, NetnsId, SockKey, TaskKey, Text};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Proto {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// TCP state (`include/net/tcp_states.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TcpState {
    /// ESTABLISHED (1).
    #[default]
    Established,
    /// `SYN_SENT` (2).
    SynSent,
    /// `SYN_RECV` (3, and 12 inside the kernel).
    SynRecv,
    /// `FIN_WAIT1` (4).
    FinWait1,
    /// `FIN_WAIT2` (5).
    FinWait2,
    /// `TIME_WAIT` (6).
    TimeWait,
    /// CLOSE (7), and 13 (`BOUND_INACTIVE`, 6.8 and later).
    Close,
    /// `CLOSE_WAIT` (8).
    CloseWait,
    /// `LAST_ACK` (9).
    LastAck,
    /// LISTEN (10).
    Listen,
    /// CLOSING (11).
    Closing,
}

impl TcpState {
    /// Every state, in the kernel's order.
    pub const ALL: [Self; 11] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
    ];

    /// The state of the kernel's number; `None` for a number this version does not know.
    #[must_use]
    pub fn from_kernel(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Established,
            2 => Self::SynSent,
            3 | 12 => Self::SynRecv,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 | 13 => Self::Close,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            _ => return None,
        })
    }

    /// The name in JSON: `established`, `syn_sent`, …
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn_sent",
            Self::SynRecv => "syn_recv",
            Self::FinWait1 => "fin_wait1",
            Self::FinWait2 => "fin_wait2",
            Self::TimeWait => "time_wait",
            Self::Close => "close",
            Self::CloseWait => "close_wait",
            Self::LastAck => "last_ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
        }
    }
}

/// Which end opened the connection, judged by whether the local port is a listener's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// This host connected: the remote address and port are the service.
    #[default]
    Client,
    /// A peer connected to a listener here: the local port is the service, peers' ports are folded.
    Server,
}

/// TCP sockets that share namespace, owner, state and service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SockGroup {
    /// Namespace.
    pub netns: NetnsId,
    /// The process that holds them, or for sockets without one (`TIME_WAIT`, `SYN_RECV`, not yet accepted) the process
    /// of the listener they belong to; `None` when neither can be named.
    pub owner: Option<TaskKey>,
    /// Whether `owner` is by way of the listener, not by a descriptor.
    pub by_listener: bool,
    /// State.
    pub state: TcpState,
    /// Who opened them.
    pub side: Side,
    /// Local port for the server side (the service); for a client the port is ephemeral and folded to `None`.
    pub local_port: Option<u16>,
    /// Far address; `None` where many were folded together.
    pub remote_addr: Option<IpAddr>,
    /// Far port for the client side (the service); `None` for the server side.
    pub remote_port: Option<u16>,
    /// v2 cgroup id (`INET_DIAG_CGROUP_ID`), where the kernel sends it and it is the same for all; else 0.
    pub cgroup_id: u64,
    /// Sockets in the group.
    pub count: u64,
    /// Bytes received and not read (`idiag_rqueue`), summed.
    pub recv_q_bytes: u64,
    /// Bytes sent and not acknowledged (`idiag_wqueue`), summed.
    pub send_q_bytes: u64,
    /// Memory charged for receive and send buffers (`SKMEMINFO` 0 + 2 + 4), bytes, summed.
    pub mem_bytes: u64,
    /// Drops at the sockets (`SKMEMINFO` 8), summed.
    pub drops: u64,
    /// Sockets with a retransmission timer running and at least one retry.
    pub retransmitting: u64,
}

/// A listening TCP socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// Namespace, address, port. Several sockets may share it (`SO_REUSEPORT`); each is a row.
    pub key: ListenerKey,
    /// `idiag_cookie`, or the inode where only `/proc/net` could be read: tells the rows of one key apart.
    #[serde(default)]
    pub cookie: u64,
    /// The process that holds it; the oldest of several that share it.
    pub owner: Option<TaskKey>,
    /// How many processes share it.
    pub shared_by: u32,
    /// Connections waiting for `accept` (`idiag_rqueue`).
    pub queue: u64,
    /// Backlog granted (`idiag_wqueue`); the queue admits one more.
    pub backlog: u64,
    /// Connections and SYNs dropped at this listener (`SKMEMINFO` 8); `None` on kernels that do not send it.
    pub drops: Option<u64>,
    /// `SYN_RECV` sockets that belong to it.
    pub syn_recv: u64,
    /// v2 cgroup id; 0 when not sent.
    pub cgroup_id: u64,
}

/// One UDP socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UdpSocket {
    /// Namespace, local address, cookie.
    pub key: SockKey,
    /// The process that holds it.
    pub owner: Option<TaskKey>,
    /// Far address when connected.
    pub remote_addr: Option<IpAddr>,
    /// Far port when connected.
    pub remote_port: Option<u16>,
    /// Memory of datagrams received and not read (`SKMEMINFO` 0: truesize, not payload), bytes.
    pub recv_q_bytes: u64,
    /// Receive buffer granted (`SKMEMINFO` 1), bytes: twice what was asked, at most 2 × `rmem_max`; `None` from `/proc/net/udp`.
    pub rcvbuf_bytes: Option<u64>,
    /// Send queue, bytes.
    pub send_q_bytes: u64,
    /// Send buffer granted, bytes.
    pub sndbuf_bytes: Option<u64>,
    /// Datagrams dropped at this socket since it was made.
    pub drops: u64,
    /// v2 cgroup id; 0 when not sent.
    pub cgroup_id: u64,
}

/// What a process and a far address say to each other by TCP while a link of their namespace is busy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Talker {
    /// Namespace.
    pub netns: NetnsId,
    /// The process; `None` where it can't be named.
    pub owner: Option<TaskKey>,
    /// Far address.
    pub remote_addr: IpAddr,
    /// Connections that carried something.
    pub count: u64,
    /// Sent and acknowledged (`tcpi_bytes_acked`), bytes a second between two looks.
    pub tx_bytes_per_s: f64,
    /// Received (`tcpi_bytes_received`), bytes a second between two looks.
    pub rx_bytes_per_s: f64,
}

/// The sockets of every namespace that could be entered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sockets {
    /// TCP groups, listeners left out.
    pub groups: Vec<SockGroup>,
    /// TCP listeners.
    pub listeners: Vec<Listener>,
    /// UDP sockets, those with drops or a queue first, at most [`Sockets::UDP_MAX`].
    pub udp: Vec<UdpSocket>,
    /// UDP sockets that did not fit.
    pub udp_more: u64,
    /// The heaviest that talk by TCP, in namespaces with a busy link, the heaviest first: at most [`Sockets::TALKERS_MAX`]
    /// in each. Looked for only there, for `tcp_info` is dear and may hang; empty before Linux 4.1.
    pub talkers: Vec<Talker>,
    /// Namespaces that were read.
    pub netns: Vec<NetnsId>,
    /// How they were read: `sock_diag` or `/proc/net`.
    pub source: Text,
    /// What could not be seen.
    pub gaps: Vec<Gap>,
}

impl Sockets {
    /// Rows of [`Sockets::talkers`] of one namespace at most.
    pub const TALKERS_MAX: usize = 8;
    /// Rows of [`Sockets::udp`] at most.
    pub const UDP_MAX: usize = 1024;
    /// Far addresses kept apart in one (namespace, owner, state, service); the rest is folded into one group without.
    pub const REMOTES_MAX: usize = 64;
}
