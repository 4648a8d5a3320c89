//! Pure derivation: a snapshot and the one before become joins, rates and trees, and at last a [`Frame`] to draw.
//!
//! Nothing here reads a clock or a file.

mod before;
mod cgroups;
mod finding;
mod history;
mod log;
mod nests;
mod rates;
mod series;
mod sockets;
mod tasks;
#[cfg(test)]
mod tests;
mod totals;
mod trend;

pub use before::{Before, BlockedThread, Pair, Sampled, Span, per_second};
pub use cgroups::{AT_LIMIT, limit_hits, memory_limit};
pub use finding::{Evidence, EvidenceValue, Finding, Severity, Story, SubjectLabel};
pub use history::History;
pub use log::{LogBook, LogJoin};
pub use nests::Nest;
pub use rates::iface_drops;
pub use series::Series;
pub use sockets::{listener_drops, tally_of};
pub use totals::UDP_DROPS;
pub use trend::Trend;

use crate::snapshot::{LogEvent, Moment, NetnsId, RemoteKey, Snapshot, Subject, TaskKey, Text};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// Everything a screen shows. Immutable; made by the engine, read by panes, commands and tests.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// The raw look.
    pub snap: Arc<Snapshot>,
    /// Joins and rates of that look.
    pub model: Model,
    /// Findings that are true now or were within the window, worst first.
    pub findings: Vec<Finding>,
    /// Stories over `findings`, worst first.
    pub stories: Vec<Story>,
    /// Kernel-log events known so far, oldest first, bounded.
    pub log: Arc<VecDeque<LogEvent>>,
    /// How many of the last events of `log` count as inside the window: those older, and those that were already
    /// in the log at the first look, are history.
    pub log_in_window: usize,
    /// Log events at or after this moment are inside the window; older ones are history.
    pub window_start: Moment,
    /// Short histories for sparklines: of findings' subjects, of the largest rows, and of the subject in focus.
    pub sparks: FxHashMap<(Subject, Metric), Vec<f32>>,
    /// Worst severity of an active finding by subject: what lights a row.
    pub lit: FxHashMap<Subject, Severity>,
}

/// A quantity that has a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Metric {
    /// Resident memory of a task, bytes.
    Rss,
    /// Threads of a task.
    Threads,
    /// Threads in D: of a task, a cgroup or the host.
    Blocked,
    /// CPU of a task or a cgroup, percent of one core; of the host, percent of all CPUs.
    CpuPct,
    /// Memory usage of a cgroup; of the host, all that is not available; bytes.
    Usage,
    /// Bytes of a slab cache; of the host, of all slab.
    SlabBytes,
    /// TCP sockets of a task or the host that are not idle ESTABLISHED or LISTEN.
    Sockets,
    /// Network drops a second of the host.
    Drops,
    /// Load average (1 min) of the host.
    Load,
    /// Dying memory cgroups of the host.
    Dying,
}

/// TCP sockets by state, in the order of [`crate::snapshot::TcpState::ALL`].
pub type StateTally = [u64; 11];

/// What a task is joined with.
#[derive(Clone, Debug, Default)]
pub struct TaskFacts {
    /// Row in `snap.tasks`.
    pub row: usize,
    /// CPU since the sample before, percent of one core; `None` on its first sample.
    pub cpu_pct: Option<f64>,
    /// Major faults a second.
    pub major_faults_per_s: Option<f64>,
    /// TCP sockets by state.
    pub tcp: StateTally,
    /// UDP sockets.
    pub udp: u64,
    /// Rows of its children.
    pub children: Vec<usize>,
    /// Zombies among them.
    pub zombie_children: u32,
    /// Oldest zombie child: when it was first seen as one.
    pub zombie_since: Option<Moment>,
    /// Since when a thread of it has been seen in D without waking; `None` when none is.
    pub blocked_since: Option<Moment>,
    /// Row of its cgroup in `snap.cgroups`.
    pub cgroup_row: Option<usize>,
}

/// What a cgroup is joined with.
#[derive(Clone, Debug, Default)]
pub struct CgroupFacts {
    /// Row of the parent.
    pub parent: Option<usize>,
    /// Rows of the children.
    pub children: Vec<usize>,
    /// Tasks (processes) in it, descendants included.
    pub tasks: u32,
    /// Threads in D, descendants included.
    pub blocked: u32,
    /// Zombies, descendants included.
    pub zombies: u32,
    /// The row that owns the tightest memory limit: itself or an ancestor; `None` when no limit holds.
    pub limit_row: Option<usize>,
    /// The sample before, when it was not in that: it was made since, and its counters count from 0.
    pub new_since: Option<Moment>,
    /// Limit hits a second (`failcnt`, `max`; on v1 those of memory + swap too).
    pub limit_hits_per_s: Option<f64>,
    /// OOM kills in it and its descendants since boot.
    pub oom_kills: u64,
    /// CPU, percent of one core.
    pub cpu_pct: Option<f64>,
    /// Share of its scheduling periods in which it was throttled, percent.
    pub throttled_pct: Option<f64>,
    /// Memory pressure `some` over the last interval, percent.
    pub psi_memory_pct: Option<f64>,
}

/// A remote end over all tasks.
#[derive(Clone, Debug, Default)]
pub struct RemoteFacts {
    /// Sockets by state.
    pub tcp: StateTally,
    /// Tasks that hold them, most sockets first.
    pub tasks: Vec<(TaskKey, u64)>,
}

/// Rates of one interface.
#[derive(Clone, Copy, Debug, Default)]
pub struct IfaceRates {
    /// Bytes received a second.
    pub rx_bytes_per_s: f64,
    /// Bytes sent a second.
    pub tx_bytes_per_s: f64,
    /// Packets received a second.
    pub rx_packets_per_s: f64,
    /// Packets sent a second.
    pub tx_packets_per_s: f64,
    /// Drops and misses a second, both ways.
    pub drops_per_s: f64,
}

/// Host-wide sums that the header shows.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// CPU busy, percent of all CPUs.
    pub cpu_busy_pct: Option<f64>,
    /// Threads by state over all tasks.
    pub threads: crate::snapshot::StateCounts,
    /// Processes.
    pub tasks: u32,
    /// Zombies that wait for a parent.
    pub zombies: u32,
    /// TCP sockets by state over all namespaces.
    pub tcp: StateTally,
    /// UDP receive and send drops a second, all namespaces.
    pub udp_drops_per_s: Option<f64>,
    /// Interface drops a second, all namespaces.
    pub nic_drops_per_s: Option<f64>,
    /// Cgroups with a memory limit.
    pub limited_cgroups: u32,
    /// Of those, at their limit or hitting it since the sample before.
    pub at_limit: u32,
    /// OOM kills since boot (`vmstat` `oom_kill`).
    pub oom_kills: Option<u64>,
    /// OOM kills inside the window.
    pub oom_kills_in_window: u64,
    /// Memory pressure `some`, percent of the last interval.
    pub psi_memory_pct: Option<f64>,
    /// I/O pressure `some`.
    pub psi_io_pct: Option<f64>,
    /// CPU pressure `some`.
    pub psi_cpu_pct: Option<f64>,
    /// whytop's own CPU, percent of one core.
    pub own_cpu_pct: Option<f64>,
}

/// Joins and rates of one look.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// By task.
    pub tasks: FxHashMap<TaskKey, TaskFacts>,
    /// Pid to identity, for joins from lines that only name a pid.
    pub by_pid: FxHashMap<u32, TaskKey>,
    /// By row of `snap.cgroups`.
    pub cgroups: Vec<CgroupFacts>,
    /// Cgroup path to its row.
    pub cgroup_by_path: FxHashMap<Text, usize>,
    /// Cgroups below which others come and go, by path.
    pub nests: FxHashMap<Text, Nest>,
    /// By remote end (client side: address and port).
    pub remotes: FxHashMap<RemoteKey, RemoteFacts>,
    /// TCP sockets by state, by namespace.
    pub tcp_by_netns: FxHashMap<NetnsId, StateTally>,
    /// TCP sockets by state for which neither an owner nor a listener is known, by namespace.
    pub tcp_unowned: FxHashMap<NetnsId, StateTally>,
    /// Rates a second of `snap.net` counters by namespace, under the counters' own names; only those that moved.
    pub net_rates: FxHashMap<NetnsId, FxHashMap<Text, f64>>,
    /// Losses a second that no counter of a namespace tells, over all interfaces, CPUs and namespaces: `rx_errors`,
    /// `rx_missed_errors` (FIFO overruns too), `rx_dropped`, `tx_dropped` (errors too), `softnet_stat dropped`,
    /// `softnet_stat time_squeeze`, `qdisc drops` (of roots), `nf_conntrack drop`, `table_fulls`. Only those that moved.
    pub drop_rates: FxHashMap<&'static str, f64>,
    /// Rates of interfaces.
    pub iface_rates: FxHashMap<(NetnsId, Text), IfaceRates>,
    /// Drops a second of UDP sockets and listeners, by subject; only those that moved.
    pub socket_drops_per_s: FxHashMap<Subject, f64>,
    /// Rates a second of `vmstat`, only those that moved.
    pub vmstat_rates: FxHashMap<Text, f64>,
    /// Growth of slab caches, bytes a second, by name.
    pub slab_bytes_per_s: FxHashMap<Text, f64>,
    /// Threads in D by process and thread id, and since when each has not woken.
    pub blocked_threads: FxHashMap<(TaskKey, u32), BlockedThread>,
    /// Zombies, and when each was first seen as one.
    pub zombies_since: FxHashMap<TaskKey, Moment>,
    /// Sums.
    pub totals: Totals,
}

impl Model {
    /// Joins and rates of `now`, held against the samples before. Pure: the same arguments give the same model.
    #[must_use]
    pub fn build(now: &Snapshot, before: &Before) -> Self {
        let mut m = Self::default();
        cgroups::index(&mut m, now);
        tasks::join(&mut m, now, before);
        cgroups::join(&mut m, now, before);
        nests::watch(&mut m, now, before);
        sockets::join(&mut m, now, before);
        rates::derive(&mut m, now, before);
        totals::sum(&mut m, now, before);
        m
    }
}

impl Frame {
    /// The worst active finding's severity for a subject.
    #[must_use]
    pub fn severity_of(&self, subject: &Subject) -> Option<Severity> {
        self.lit.get(subject).copied()
    }

    /// The history of a subject's metric, when the engine keeps it.
    #[must_use]
    pub fn spark(&self, subject: &Subject, metric: Metric) -> Option<&[f32]> {
        self.sparks.get(&(subject.clone(), metric)).map(Vec::as_slice)
    }

    /// A task's row in the snapshot.
    #[must_use]
    pub fn task(&self, key: TaskKey) -> Option<&crate::snapshot::Task> {
        let row = self.model.tasks.get(&key)?.row;
        self.snap.tasks.data()?.rows.get(row)
    }

    /// A cgroup's row in the snapshot, by path.
    #[must_use]
    pub fn cgroup(&self, path: &str) -> Option<&crate::snapshot::Cgroup> {
        let row = *self.model.cgroup_by_path.get(path)?;
        self.snap.cgroups.data()?.rows.get(row)
    }
}
