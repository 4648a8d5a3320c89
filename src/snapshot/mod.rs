//! One look at the host as plain data: raw kernel counters, nothing derived over time.
//!
//! A [`Snapshot`] is the only seam of the program. Collectors, recordings and test scripts make them; everything to
//! the right (model, rules, panes) reads them and nothing else. Every field has a default when deserialised, so old
//! recordings open in newer versions.
//!
//! ```text
//! Snapshot ── host      who this is               Section<Host>
//!          ├─ cpu       CPU time, load average    Section<Cpu>
//!          ├─ tasks     processes, awake threads  Section<Tasks>
//!          ├─ sockets   folded TCP and UDP        Section<Sockets>
//!          ├─ net       counters per namespace    Section<Net>
//!          ├─ cgroups   usage, limits, events     Section<Cgroups>
//!          ├─ memory    meminfo, vmstat, limits   Section<Memory>
//!          ├─ pressure  PSI of the host           Section<Pressure>
//!          ├─ slab      kernel object caches      Section<Slabs>
//!          ├─ klog      new kernel-log events     Section<KernelLog>
//!          ├─ detail    what a drill-down asked   Option<Detail>
//!          └─ own       what looking cost         Own
//! ```

mod action;
mod cgroup;
mod counters;
mod detail;
mod host;
mod ids;
mod klog;
mod memory;
mod net;
mod own;
mod section;
mod signal;
mod socket;
mod subject;
mod task;
mod wait;

pub use action::{
    Action, ActionRecord, Actor, CgroupTarget, Decision, Effect, Holds, Outcome, OutcomeKind, Plan, Proposal,
    SocketSelection, SocketTarget, Target, TaskTarget,
};
pub use cgroup::{Cgroup, CgroupLayout, Cgroups, Container, CpuUse, Hierarchy, MemUse, OomState, PidsUse};
pub use counters::{Counters, Names};
pub use detail::{Deep, DeepKind, DeepState, Detail, FdSummary, SignalSets, TaskDetail};
pub use host::{Cpu, CpuTimes, Host};
pub use ids::{CgroupKey, ListenerKey, NetnsId, RemoteKey, SockKey, TaskKey};
pub use klog::{KernelLog, LogEvent, LogValue};
pub use memory::{Limits, Memory, Pressure, Psi, Slab, Slabs};
pub use net::{Iface, MulticastGroup, Net, NetnsCounters, Qdisc, SoftnetCpu};
pub use own::{LaneCost, Own};
pub use section::{Gap, Need, Section};
pub use signal::{DefaultAction, Signal};
pub use socket::{Listener, Proto, Side, SockGroup, Sockets, Talker, TcpState, UdpSocket};
pub use subject::Subject;
pub use task::{StateCounts, Task, TaskState, Tasks, Thread};
pub use wait::{Wait, WaitFor};

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Text from the kernel, shared between samples. Hostile: it may hold escapes; only the view makes it printable.
pub type Text = Arc<str>;

/// A point in time: nanoseconds of `CLOCK_BOOTTIME` (since boot, suspend included).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment(pub u64);

impl Moment {
    /// Seconds from `earlier` to this moment; 0 when `earlier` is later.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "spans are far below 2^52 ns per step that matters")]
    pub fn since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1e9
    }
}

/// One look at the host. See the module's picture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// When the look was taken, since boot.
    pub at: Moment,
    /// The same moment on the wall clock, nanoseconds since 1970-01-01 UTC.
    pub wall_unix_ns: i64,
    /// Who this host is.
    pub host: Section<Host>,
    /// CPU time and load average.
    pub cpu: Section<Cpu>,
    /// Processes and the threads that are not asleep.
    pub tasks: Section<Tasks>,
    /// TCP and UDP sockets of every reachable network namespace, folded into groups.
    pub sockets: Section<Sockets>,
    /// Network counters, interfaces and limits per namespace.
    pub net: Section<Net>,
    /// Control groups, v1 and v2.
    pub cgroups: Section<Cgroups>,
    /// Memory of the host and its table limits.
    pub memory: Section<Memory>,
    /// Pressure stall information of the host.
    pub pressure: Section<Pressure>,
    /// Kernel object caches.
    pub slab: Section<Slabs>,
    /// Kernel-log events that are new since the snapshot before (the first one carries the whole ring).
    pub klog: Section<KernelLog>,
    /// What a drill-down asked for.
    pub detail: Option<Detail>,
    /// What looking cost.
    pub own: Own,
}

impl Snapshot {
    /// Every section's name with the word for its state, in the order of the screens.
    #[must_use]
    pub fn section_states(&self) -> [(&'static str, &'static str); 10] {
        [
            ("host", self.host.word()),
            ("cpu", self.cpu.word()),
            ("tasks", self.tasks.word()),
            ("sockets", self.sockets.word()),
            ("net", self.net.word()),
            ("cgroups", self.cgroups.word()),
            ("memory", self.memory.word()),
            ("pressure", self.pressure.word()),
            ("slab", self.slab.word()),
            ("klog", self.klog.word()),
        ]
    }

    /// Takes the command lines of processes out: they hold passwords more often than one would like.
    pub fn redact(&mut self) {
        if let Section::Ok { data, .. } | Section::Stale { data, .. } = &mut self.tasks {
            for task in &mut Arc::make_mut(data).rows {
                task.cmdline = task.cmdline.as_ref().map(|_| "[redacted]".into());
            }
        }
    }

    /// The wall clock, nanoseconds since 1970, at the moment `at` of this host's boot clock.
    #[must_use]
    pub fn wall_of(&self, at: Moment) -> i64 {
        let span = i128::from(at.0) - i128::from(self.at.0);
        i64::try_from(i128::from(self.wall_unix_ns) + span).unwrap_or(self.wall_unix_ns)
    }
}
