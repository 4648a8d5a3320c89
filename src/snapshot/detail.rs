//! What a drill-down asked for: reads too dear for every task in every sample.

use super::{Counters, Moment, TaskKey, Text, Thread, Wait};
use serde::{Deserialize, Serialize};

/// The four signal sets of `/proc/PID/status`, bit n−1 = signal n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SignalSets {
    /// Pending for the leader's thread (`SigPnd`).
    pub pending: u64,
    /// Pending for the process (`ShdPnd`).
    pub shared_pending: u64,
    /// Blocked (`SigBlk`).
    pub blocked: u64,
    /// Ignored (`SigIgn`).
    pub ignored: u64,
    /// Caught (`SigCgt`).
    pub caught: u64,
}

/// Descriptors by what they point to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FdSummary {
    /// Descriptors in all.
    pub total: u64,
    /// Sockets.
    pub sockets: u64,
    /// Pipes.
    pub pipes: u64,
    /// `anon_inode:*`.
    pub anon: u64,
    /// Files and devices.
    pub files: u64,
    /// The file paths that are open, most often first, with how many descriptors each: at most 32, of a deep read 512.
    pub paths: Vec<(Text, u64)>,
    /// Whether the listing stopped at a bound.
    pub cut: bool,
}

/// One task in full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskDetail {
    /// Which.
    pub key: TaskKey,
    /// Name of its real user (`/etc/passwd` of this host); `None` when it has none or it was not read.
    pub user: Option<Text>,
    /// `/proc/PID/cgroup`, one line a hierarchy: controllers and path.
    pub cgroups: Vec<(Text, Text)>,
    /// Signals; `None` when unreadable.
    pub signals: Option<SignalSets>,
    /// `/proc/PID/status` sizes (`VmPeak`, `RssAnon`, `VmSwap`, …), bytes.
    pub memory: Counters,
    /// `oom_score`.
    pub oom_score: Option<i64>,
    /// `oom_score_adj`.
    pub oom_score_adj: Option<i64>,
    /// Limits (`/proc/PID/limits`): name, soft limit; `None` = unlimited.
    pub limits: Vec<(Text, Option<u64>)>,
    /// Descriptors; `None` when denied.
    pub fds: Option<FdSummary>,
    /// Threads, those in D first, at most 256.
    pub threads: Vec<Thread>,
    /// What its threads in D, and those that wait for a server, wait for; most threads first.
    pub waits: Vec<Wait>,
    /// Namespaces: kind and inode.
    pub namespaces: Vec<(Text, u64)>,
    /// What was denied, and what would show it.
    pub gaps: Vec<super::Gap>,
}

/// A drill-down's answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// When it was read.
    pub at: Moment,
    /// The task; `None` when it had gone.
    pub task: Option<TaskDetail>,
}

/// A read for a drill-down that is too dear to be made unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeepKind {
    /// `/proc/PID/smaps_rollup` (4.14): takes the memory lock of the process, and time with its size.
    Memory,
    /// Every descriptor: makes an inode and a dentry in the kernel for each.
    Files,
}

/// A deep read: what was asked for, and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deep {
    /// Of which task.
    pub task: TaskKey,
    /// What of it.
    pub kind: DeepKind,
    /// What came of it.
    pub state: DeepState,
}

/// How far a deep read is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeepState {
    /// Under way: how many of how many (0 = not known), for how long, ns.
    Reading {
        /// Done.
        done: u64,
        /// Of.
        total: u64,
        /// Nanoseconds so far.
        for_ns: u64,
    },
    /// `smaps_rollup`: name (`Rss`, `Pss`, `Private_Dirty`, …) and bytes.
    Memory(Counters),
    /// All descriptors.
    Files(FdSummary),
    /// Not read, and why.
    Failed(Text),
}
