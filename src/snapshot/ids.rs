//! Identities that survive reuse: a pid with its start time, a cgroup with its inode, a socket with its cookie.

use super::{Proto, Text};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// A process: its pid is reused, its pid and start time together are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskKey {
    /// Process id (thread-group id) in the namespace of the `/proc` that was read.
    pub pid: u32,
    /// `/proc/PID/stat` field 22: clock ticks from boot to the start of the process.
    pub start_ticks: u64,
}

/// A network namespace: the inode of `/proc/PID/ns/net`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NetnsId(pub u64);

/// A cgroup: its path below the hierarchy's root and the inode of its directory, which tells a re-created one apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct CgroupKey {
    /// Path below the root of its hierarchy, `/` for the root itself.
    pub path: Text,
    /// `st_ino` of the directory (on v2 the cgroup id); 0 when it could not be read.
    pub inode: u64,
}

/// A listening TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ListenerKey {
    /// Where it listens.
    pub netns: NetnsId,
    /// Local address and port.
    pub local: SocketAddr,
}

/// A far end, as seen from one network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RemoteKey {
    /// The near namespace.
    pub netns: NetnsId,
    /// Far address.
    pub addr: IpAddr,
    /// Far port; `None` where clients' ephemeral ports are folded together.
    pub port: Option<u16>,
}

/// One socket: the kernel's cookie is unique for its life; 0 where only `/proc/net` could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SockKey {
    /// Its namespace.
    pub netns: NetnsId,
    /// TCP or UDP.
    pub proto: Proto,
    /// Local address and port.
    pub local: SocketAddr,
    /// `idiag_cookie`, or the inode where there is no cookie.
    pub cookie: u64,
}
