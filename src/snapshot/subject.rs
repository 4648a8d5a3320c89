//! What a finding, a row or a drill-down is about.

use super::{CgroupKey, ListenerKey, NetnsId, RemoteKey, SockKey, TaskKey, Text};
use serde::{Deserialize, Serialize};

/// The thing a finding names and a row shows: a finding lights every row with its subject, in every pane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// The machine.
    Host,
    /// A network namespace.
    Netns(NetnsId),
    /// A process.
    Task(TaskKey),
    /// One socket.
    Socket(SockKey),
    /// A listening TCP socket.
    Listener(ListenerKey),
    /// A far end.
    Remote(RemoteKey),
    /// A control group.
    Cgroup(CgroupKey),
    /// A kernel object cache, by name.
    Slab(Text),
    /// A network interface of a namespace, by name.
    Iface(NetnsId, Text),
    /// A CPU, by number.
    Cpu(u32),
    /// A wait channel: the kernel function tasks sleep in.
    Wchan(Text),
    /// A block device or mount, by name.
    Device(Text),
}

impl Subject {
    /// The word of the JSON contract for this kind of subject.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Netns(_) => "netns",
            Self::Task(_) => "task",
            Self::Socket(_) => "socket",
            Self::Listener(_) => "listener",
            Self::Remote(_) => "remote",
            Self::Cgroup(_) => "cgroup",
            Self::Slab(_) => "slab",
            Self::Iface(..) => "iface",
            Self::Cpu(_) => "cpu",
            Self::Wchan(_) => "wchan",
            Self::Device(_) => "device",
        }
    }
}
