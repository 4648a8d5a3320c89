//! Who the host is, and its CPU time.

use super::Text;
use serde::{Deserialize, Serialize};

/// Facts that do not change while the host is up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// Host name (`uname -n`).
    pub name: Text,
    /// Kernel release (`uname -r`).
    pub kernel: Text,
    /// Distribution and its version, from `os-release`; empty when unknown.
    pub os: Text,
    /// `/proc/sys/kernel/random/boot_id`: tells one boot from the next.
    pub boot_id: Text,
    /// `/proc/cmdline`: what the kernel was booted with (`psi=1`, `cgroup.memory=nokmem`, …).
    pub boot_cmdline: Text,
    /// CPUs online.
    pub cpus: u32,
    /// Bytes a page.
    pub page_bytes: u64,
    /// Clock ticks a second of `/proc/PID/stat` (`USER_HZ`).
    pub ticks_per_sec: u64,
    /// `MemTotal`, bytes.
    pub mem_total_bytes: u64,
    /// The namespace that whytop itself runs in: the host's own, as far as it can tell.
    pub netns: super::NetnsId,
    /// Effective user id of the reader.
    pub euid: u32,
    /// Whether `/proc` is another machine's or another pid namespace's (`--proc`): then nothing may be acted on.
    pub foreign_proc: bool,
}

/// Ticks spent since boot, of one CPU or of all (`/proc/stat`, unit `USER_HZ`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuTimes {
    /// User code.
    pub user: u64,
    /// Niced user code.
    pub nice: u64,
    /// Kernel code.
    pub system: u64,
    /// Idle.
    pub idle: u64,
    /// Idle with I/O outstanding.
    pub iowait: u64,
    /// Hard interrupts.
    pub irq: u64,
    /// Soft interrupts.
    pub softirq: u64,
    /// Stolen by the hypervisor.
    pub steal: u64,
}

/// CPU time and load of the host (`/proc/stat`, `/proc/loadavg`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpu {
    /// All CPUs together.
    pub total: CpuTimes,
    /// Each online CPU, by its number.
    pub each: Vec<(u32, CpuTimes)>,
    /// Load average over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Runnable entities now (`/proc/loadavg` field 4, before the slash).
    pub runnable: u64,
    /// Entities in all (after the slash).
    pub entities: u64,
    /// Forks since boot (`processes`).
    pub forks: u64,
    /// Context switches since boot (`ctxt`).
    pub context_switches: u64,
    /// `procs_blocked`: tasks waiting for I/O, as the kernel counts them (not all D tasks).
    pub procs_blocked: u64,
}
