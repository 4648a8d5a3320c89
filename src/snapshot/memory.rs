//! Memory of the host, its table limits, pressure, and the kernel's object caches.

use super::{Counters, Gap, Text};
use serde::{Deserialize, Serialize};

/// Limits of the host's tables and what is used of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Open files (`fs.file-nr` field 1).
    pub files: Option<u64>,
    /// `fs.file-max`.
    pub files_max: Option<u64>,
    /// `fs.nr_open`.
    pub nr_open: Option<u64>,
    /// `kernel.pid_max`.
    pub pid_max: Option<u64>,
    /// `kernel.threads-max`.
    pub threads_max: Option<u64>,
    /// Other sysctls by dotted name (`vm.overcommit_memory`, `vm.max_map_count`, `kernel.hung_task_timeout_secs`, …).
    pub sysctls: Counters,
}

/// Memory of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// `/proc/meminfo` under its own names, in bytes (`HugePages_*` are counts).
    pub meminfo: Counters,
    /// `/proc/vmstat` under its own names.
    pub vmstat: Counters,
    /// Table limits.
    pub limits: Limits,
    /// Swap devices: name, size, used (bytes).
    pub swaps: Vec<(Text, u64, u64)>,
}

/// One line pair of a PSI file: time stalled since boot, and the kernel's own 10 s average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Psi {
    /// `some total`, µs.
    pub some_usec: u64,
    /// `full total`, µs; `None` where the kernel prints no such line.
    pub full_usec: Option<u64>,
    /// `some avg10`, percent.
    pub some_avg10: f64,
    /// `full avg10`, percent.
    pub full_avg10: Option<f64>,
}

/// Pressure stall information of the host (`/proc/pressure`, 4.20 and later).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pressure {
    /// CPU.
    pub cpu: Option<Psi>,
    /// Memory.
    pub memory: Option<Psi>,
    /// I/O.
    pub io: Option<Psi>,
}

/// One kernel object cache (`/proc/slabinfo`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slab {
    /// Name; a merged cache has the name of one of its users, the others are in `aliases`.
    pub name: Text,
    /// Other names of the same cache (`/sys/kernel/slab`), sorted.
    pub aliases: Vec<Text>,
    /// Objects in use (`active_objs`; on SLUB close to `num_objs`).
    pub active_objs: u64,
    /// Objects in all.
    pub num_objs: u64,
    /// Bytes an object.
    pub obj_bytes: u64,
    /// Bytes in all: slabs × pages per slab × page size.
    pub bytes: u64,
    /// Whether the kernel counts it as reclaimable (`SLAB_RECLAIM_ACCOUNT`); `None` when unknown.
    pub reclaimable: Option<bool>,
    /// Copies of it for single memory cgroups (`name(ID:cgroup)`, 3.8 to 5.8) that are counted in this row.
    pub per_cgroup: u32,
}

/// All object caches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slabs {
    /// The caches, largest first.
    pub rows: Vec<Slab>,
    /// What could not be seen.
    pub gaps: Vec<Gap>,
}
