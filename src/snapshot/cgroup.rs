//! Control groups: v1, v2 and hybrid, one row a path, whatever hierarchies it stands in.

use super::{CgroupKey, Counters, Gap, Psi, Text};
use serde::{Deserialize, Serialize};

/// Which kinds of hierarchy are mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupLayout {
    /// v1 only.
    V1,
    /// v2 only.
    #[default]
    V2,
    /// v1 controllers beside a v2 tree.
    Hybrid,
}

/// Memory of one cgroup, bytes. `None`: this kernel or hierarchy has no such file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemUse {
    /// `memory.usage_in_bytes` / `memory.current`, page cache included.
    pub usage_bytes: Option<u64>,
    /// `memory.limit_in_bytes` / `memory.max`; `None` = no limit.
    pub limit_bytes: Option<u64>,
    /// `memory.high`; `None` = none.
    pub high_bytes: Option<u64>,
    /// Highest usage seen by the kernel (`max_usage_in_bytes`, `memory.peak`).
    pub peak_bytes: Option<u64>,
    /// Times the limit was hit: v1 `memory.failcnt`, v2 `memory.events.local` `max` (`memory.events` before 5.2).
    pub limit_hits: Option<u64>,
    /// Times `memory.high` throttled (v2 `high`).
    pub high_hits: Option<u64>,
    /// Times an allocation at this limit became an OOM (v2 local `oom`).
    pub ooms: Option<u64>,
    /// Tasks of this cgroup (not of its children) killed by the OOM killer: v1 `memory.oom_control` `oom_kill`,
    /// v2 `memory.events.local` `oom_kill`. Counted where the victim was, not where the limit is. See `counts_subtree`.
    pub oom_kills: Option<u64>,
    /// Times `memory.oom.group` had all tasks of this cgroup killed: v2 local `oom_group_kill` (5.17). The kernel counts
    /// the first victim of each twice in `oom_kill`.
    pub oom_group_kills: Option<u64>,
    /// Whether the counts of hits, OOMs and kills above are of the whole subtree: v2 before 5.2, which has no
    /// `memory.events.local` but only the hierarchical `memory.events`.
    pub counts_subtree: bool,
    /// v1 `memory.oom_control`.
    pub oom: Option<OomState>,
    /// Swap used; v1: `memsw.usage − usage`, at least 0.
    pub swap_bytes: Option<u64>,
    /// Swap limit (v2 `memory.swap.max`); v1: the `memsw` limit, which is memory + swap.
    pub swap_limit_bytes: Option<u64>,
    /// Times the swap limit was hit: v1 `memory.memsw.failcnt`, v2 `memory.swap.events` `max`. A v1 limit on memory +
    /// swap that equals the memory limit is tried first: then `limit_hits` stays at 0 while the cgroup is killed at its
    /// limit, and on 6.18 this counter stays at 0 as well. `oom_kills` and `peak_bytes` still tell.
    pub swap_limit_hits: Option<u64>,
    /// Kernel memory: v1 `memory.kmem.usage_in_bytes`, v2 `memory.stat` `kernel` (or slab + kernel_stack + …).
    pub kmem_bytes: Option<u64>,
    /// Kernel memory limit (v1), `None` = none.
    pub kmem_limit_bytes: Option<u64>,
    /// v1 `memory.kmem.failcnt`.
    pub kmem_hits: Option<u64>,
    /// Anonymous memory of the subtree (`total_rss` / `anon`).
    pub anon_bytes: Option<u64>,
    /// File cache of the subtree (`total_cache` / `file`).
    pub file_bytes: Option<u64>,
    /// File cache that reclaim takes first (`total_inactive_file` / `inactive_file`).
    pub inactive_file_bytes: Option<u64>,
    /// File cache in use (`total_active_file` / `active_file`).
    pub active_file_bytes: Option<u64>,
    /// tmpfs and shared memory (`total_shmem` / `shmem`): file pages that need swap to be reclaimed.
    pub shmem_bytes: Option<u64>,
    /// Slab (v2 `slab`).
    pub slab_bytes: Option<u64>,
}

/// v1 `memory.oom_control`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OomState {
    /// `oom_kill_disable`: at the limit tasks hang instead of being killed.
    pub kill_disabled: bool,
    /// `under_oom`: tasks wait for memory now.
    pub under_oom: bool,
}

/// `pids` controller of one cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PidsUse {
    /// `pids.current`: tasks (threads too).
    pub current: u64,
    /// `pids.max`; `None` = none.
    pub limit: Option<u64>,
    /// `pids.events` `max`: refused forks that were counted.
    pub limit_hits: Option<u64>,
}

/// CPU time of one cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuUse {
    /// CPU time used, µs (`cpu.stat` `usage_usec`, v1 `cpuacct.usage` / 1000).
    pub usage_usec: Option<u64>,
    /// Quota, µs of CPU per period; `None` = none.
    pub quota_usec: Option<u64>,
    /// Period, µs.
    pub period_usec: Option<u64>,
    /// `nr_periods`.
    pub periods: Option<u64>,
    /// `nr_throttled`.
    pub throttled_periods: Option<u64>,
    /// Time throttled, µs.
    pub throttled_usec: Option<u64>,
}

/// What a path says, and a runtime's own files know, about a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc`, …; `kubernetes` or empty where only the path is known and it
    /// does not tell.
    pub runtime: Text,
    /// Full id as in the path (64 hex digits, or an LXC name).
    pub id: Text,
    /// Name given by the operator or the orchestrator; `None` when no file said it.
    pub name: Option<Text>,
    /// Image.
    pub image: Option<Text>,
    /// Kubernetes pod name.
    pub pod: Option<Text>,
    /// Kubernetes namespace.
    pub pod_namespace: Option<Text>,
    /// Kubernetes pod uid, dashes as in the API.
    pub pod_uid: Option<Text>,
}

impl Container {
    /// The shortest true name: `namespace/pod/name`, `name`, or the first 12 characters of the id.
    #[must_use]
    pub fn label(&self) -> String {
        let id = || self.id.chars().take(12).collect::<String>();
        let name = self.name.as_deref().map_or_else(id, str::to_owned);
        match (&self.pod_namespace, &self.pod) {
            (Some(ns), Some(pod)) => format!("{ns}/{pod}/{name}"),
            (None, Some(pod)) => format!("{pod}/{name}"),
            _ => name,
        }
    }
}

/// One cgroup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cgroup {
    /// Path and inode.
    pub key: CgroupKey,
    /// The innermost container that the path is, or lies inside (a pod's or a slice's is in none).
    pub container: Option<Container>,
    /// systemd unit (`nginx.service`), when the path ends in one.
    pub unit: Option<Text>,
    /// Kubernetes pod uid, when the path is a pod's own cgroup.
    pub pod_uid: Option<Text>,
    /// Memory controller; `None` when the path is not in its hierarchy.
    pub memory: Option<MemUse>,
    /// Pids controller.
    pub pids: Option<PidsUse>,
    /// CPU controller.
    pub cpu: Option<CpuUse>,
    /// Memory pressure (v2).
    pub psi_memory: Option<Psi>,
    /// CPU pressure (v2).
    pub psi_cpu: Option<Psi>,
    /// I/O pressure (v2).
    pub psi_io: Option<Psi>,
    /// v2 `cgroup.stat` `nr_dying_descendants`.
    pub dying_descendants: Option<u64>,
    /// Frozen: v1 `freezer.state` FROZEN or FREEZING, v2 `cgroup.events` `frozen`.
    pub frozen: Option<bool>,
}

/// A v1 hierarchy or controller as `/proc/cgroups` counts it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hierarchy {
    /// Controller, for example `memory`.
    pub controller: Text,
    /// `num_cgroups`: live and dying together.
    pub cgroups: u64,
    /// Directories found in its tree; `None` when it was not walked.
    pub directories: Option<u64>,
}

/// Every cgroup that can be seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cgroups {
    /// What is mounted.
    pub layout: CgroupLayout,
    /// The cgroups, by path, the root first.
    pub rows: Vec<Cgroup>,
    /// Counts of `/proc/cgroups`.
    pub hierarchies: Vec<Hierarchy>,
    /// Dying memory cgroups: v1 `num_cgroups − directories`, v2 `nr_dying_descendants` of the root; `None` if unknown.
    pub dying: Option<u64>,
    /// Live memory cgroups.
    pub live: Option<u64>,
    /// Where the numbers come from, for example `/proc/cgroups:memory`.
    pub dying_source: Text,
    /// Other counters of the root (`cgroup.stat`).
    pub root_stat: Counters,
    /// What could not be seen.
    pub gaps: Vec<Gap>,
}
