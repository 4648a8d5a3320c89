//! Network counters, interfaces and limits, per namespace.

use super::{Counters, Gap, NetnsId, Text};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One interface (`RTM_GETLINK` `IFLA_STATS64`, or `/proc/net/dev`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Iface {
    /// Name.
    pub name: Text,
    /// Whether the kernel says it is up (`IFF_UP`); true where only `/proc/net/dev` was read, which does not say.
    pub up: bool,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Receive errors.
    pub rx_errors: u64,
    /// Packets dropped on receive by the stack (no memory, no protocol).
    pub rx_dropped: u64,
    /// Packets the NIC's ring had no room for (`rx_missed_errors`); `None` when only `/proc/net/dev` was read.
    pub rx_missed: Option<u64>,
    /// Receive FIFO overruns.
    pub rx_fifo: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Send errors.
    pub tx_errors: u64,
    /// Packets dropped on send.
    pub tx_dropped: u64,
    /// Link speed, Mbit/s (`/sys/class/net/X/speed`, the reader's own namespace only); `None` when the driver does not
    /// know or, as `veth`, makes it up.
    pub speed_mbit: Option<u64>,
}

/// One queueing discipline (`RTM_GETQDISC`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Qdisc {
    /// Interface name.
    pub iface: Text,
    /// Kind, for example `fq_codel`.
    pub kind: Text,
    /// Handle, `major:minor`.
    pub handle: u32,
    /// Whether it is the interface's root (children of a root `mq` are counted in it).
    pub root: bool,
    /// Bytes sent.
    pub bytes: u64,
    /// Packets sent.
    pub packets: u64,
    /// Packets dropped.
    pub drops: u64,
    /// Times the rate limit held a packet back.
    pub overlimits: u64,
    /// Packets given back to the queue.
    pub requeues: u64,
    /// Bytes waiting.
    pub backlog_bytes: u64,
    /// Packets waiting.
    pub queue_packets: u64,
    /// Rate to which it shapes all its traffic, bytes a second (`tbf`, `netem`, `cake`); `None` when it does not. Rates
    /// of `htb` and `hfsc` belong to their classes and are not here.
    pub rate_bytes_per_sec: Option<u64>,
}

/// One CPU's row of `/proc/net/softnet_stat`; of the whole host, not of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SoftnetCpu {
    /// CPU number (column 13), or the row where the kernel does not print it.
    pub cpu: u32,
    /// Packets processed.
    pub processed: u64,
    /// Packets dropped: `netdev_max_backlog` was full.
    pub dropped: u64,
    /// Times the softirq's budget ran out with work left.
    pub time_squeeze: u64,
    /// Flow-limit drops.
    pub flow_limit: u64,
    /// Packets waiting in the backlog (5.10 and later).
    pub backlog: Option<u64>,
}

/// A multicast group that an interface receives (`/proc/net/igmp`, `igmp6`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MulticastGroup {
    /// Interface name.
    pub iface: Text,
    /// The group's address.
    pub addr: IpAddr,
}

/// Counters and limits of one network namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetnsCounters {
    /// Which.
    pub id: NetnsId,
    /// Its name under `/run/netns`, or the container's; `None` when it has none.
    pub name: Option<Text>,
    /// A process in it, the lowest pid.
    pub pid: Option<u32>,
    /// Processes in it.
    pub tasks: u32,
    /// `/proc/net/netstat`, `snmp` and `snmp6`, under the names `nstat` prints (`TcpExtTCPTimeWaitOverflow`).
    pub counters: Counters,
    /// `/proc/net/sockstat` and `sockstat6`: `TCPinuse`, `TCPorphan`, `TCPtw`, `TCPalloc`, `TCPmem` (pages), `UDPinuse`, …
    /// `TCPalloc`, `TCPmem` and `UDPmem` are of the whole host.
    pub sockstat: Counters,
    /// Numeric sysctls that limit it, by their dotted name: `net.ipv4.tcp_max_tw_buckets`. Those with several numbers
    /// have one entry each: `net.ipv4.tcp_mem.2`, `net.ipv4.ip_local_port_range.0`. Of the list
    /// `net.ipv4.ip_local_reserved_ports` the value is how many ports of `ip_local_port_range` it takes away.
    /// Limits of the whole host (`tcp_mem`, `gc_thresh3`, `netdev_max_backlog`) are in the initial namespace only.
    pub sysctls: Counters,
    /// Interfaces.
    pub ifaces: Vec<Iface>,
    /// Queueing disciplines; empty where they could not be asked for.
    pub qdiscs: Vec<Qdisc>,
    /// Multicast groups that programs joined, at most [`NetnsCounters::GROUPS_MAX`]: those of every interface (all hosts,
    /// solicited nodes) are left out. The kernel does not say which socket joined which.
    pub multicast: Vec<MulticastGroup>,
    /// Entries of the connection-tracking table; `None` when the module is not loaded.
    pub conntrack: Option<u64>,
    /// Packets dropped because the table was full (`/proc/net/stat/nf_conntrack` `drop`, all CPUs).
    pub conntrack_drops: Option<u64>,
    /// Entries of the IPv4 neighbour table (`arp_cache`).
    pub neigh4: Option<u64>,
    /// Entries of the IPv6 neighbour table (`ndisc_cache`).
    pub neigh6: Option<u64>,
    /// Times a neighbour table was full (`table_fulls`, both families).
    pub neigh_table_fulls: Option<u64>,
}

impl NetnsCounters {
    /// Rows of [`NetnsCounters::multicast`] at most.
    pub const GROUPS_MAX: usize = 32;
}

/// Network counters of every namespace that could be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Net {
    /// Namespaces, the reader's own first.
    pub netns: Vec<NetnsCounters>,
    /// Softnet counters by CPU.
    pub softnet: Vec<SoftnetCpu>,
    /// What could not be seen.
    pub gaps: Vec<Gap>,
}
