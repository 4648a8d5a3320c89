//! v1 controllers: `memory`, `cpu`, `freezer`.

use super::files::{File, Files, Reading};
use super::parse;
use crate::snapshot::{CpuUse, MemUse, OomState};

/// From here a v1 limit means none: `PAGE_COUNTER_MAX` is 2^63 less a page, 3.10 says 2^63 − 1.
const NONE_FROM: u64 = 1 << 60;

/// What the host has: a limit above it limits nothing.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// `MemTotal`, bytes.
    pub memory: u64,
    /// `MemTotal` + `SwapTotal`, bytes.
    pub with_swap: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { memory: NONE_FROM, with_swap: NONE_FROM }
    }
}

/// Usage, and the hit counters where there is a limit to hit. `due`: whether there is one will be read anew.
pub fn probe_memory(memory: &mut MemUse, due: bool, files: &mut Files<'_>, reading: &mut Reading) {
    memory.usage_bytes = files.number(File::Usage, reading);
    if due || memory.limit_bytes.is_some() {
        memory.limit_hits = files.number(File::Failcnt, reading);
    }
    if due || memory.swap_limit_bytes.is_some() {
        memory.swap_limit_hits = files.number(File::MemswFailcnt, reading);
    }
}

/// Limits, peak, swap and kernel memory. What [`read_stat`] gives stays.
pub fn read_memory(memory: &mut MemUse, bounds: Bounds, files: &mut Files<'_>, reading: &mut Reading) {
    let limit = |value: Option<u64>, most: u64| value.filter(|v| *v < NONE_FROM && *v <= most);
    memory.limit_bytes = limit(files.number(File::Limit, reading), bounds.memory);
    memory.limit_hits = files.number(File::Failcnt, reading);
    memory.peak_bytes = files.number(File::MaxUsage, reading);
    let with_swap = files.number(File::MemswUsage, reading);
    memory.swap_bytes = with_swap.zip(memory.usage_bytes).map(|(both, usage)| both.saturating_sub(usage));
    memory.swap_limit_bytes = limit(files.number(File::MemswLimit, reading), bounds.with_swap);
    memory.swap_limit_hits = files.number(File::MemswFailcnt, reading);
    memory.kmem_bytes = files.number(File::KmemUsage, reading);
    memory.kmem_limit_bytes = limit(files.number(File::KmemLimit, reading), bounds.memory);
    memory.kmem_hits = files.number(File::KmemFailcnt, reading);
    read_oom_control(memory, files, reading);
}

/// `memory.oom_control`.
pub fn read_oom_control(memory: &mut MemUse, files: &mut Files<'_>, reading: &mut Reading) {
    let raw = files.read(File::OomControl, reading);
    memory.oom = raw.and_then(|raw| {
        Some(OomState {
            kill_disabled: parse::value(raw, "oom_kill_disable")? != 0,
            under_oom: parse::value(raw, "under_oom")? != 0,
        })
    });
    memory.oom_kills = raw.and_then(|raw| parse::value(raw, "oom_kill"));
}

/// `memory.stat`: the `total_` lines are those of the subtree.
pub fn read_stat(memory: &mut MemUse, files: &mut Files<'_>, reading: &mut Reading) {
    let Some(raw) = files.read(File::MemoryStat, reading) else { return };
    for (name, value) in parse::pairs(raw) {
        let field = match name {
            b"total_rss" => &mut memory.anon_bytes,
            b"total_cache" => &mut memory.file_bytes,
            b"total_inactive_file" => &mut memory.inactive_file_bytes,
            b"total_active_file" => &mut memory.active_file_bytes,
            b"total_shmem" => &mut memory.shmem_bytes,
            _ => continue,
        };
        *field = Some(value);
    }
}

/// `cpu.cfs_quota_us`, `cpu.cfs_period_us` and, where there is a quota, what it throttled.
pub fn read_quota(cpu: &mut CpuUse, files: &mut Files<'_>, reading: &mut Reading) {
    cpu.quota_usec = files.limit(File::CfsQuota, reading);
    cpu.period_usec = files.number(File::CfsPeriod, reading);
    read_throttling(cpu, files, reading);
}

/// v1 `cpu.stat`.
pub fn read_throttling(cpu: &mut CpuUse, files: &mut Files<'_>, reading: &mut Reading) {
    let Some(raw) = files.read(File::CpuStat, reading) else { return };
    cpu.periods = parse::value(raw, "nr_periods");
    cpu.throttled_periods = parse::value(raw, "nr_throttled");
    cpu.throttled_usec = parse::value(raw, "throttled_time").map(|ns| ns / 1000);
}

/// `freezer.state`; `None` at the root, which has no such file.
pub fn frozen(files: &mut Files<'_>, reading: &mut Reading) -> Option<bool> {
    match files.read(File::FreezerState, reading)?.trim_ascii() {
        b"FROZEN" | b"FREEZING" => Some(true),
        b"THAWED" => Some(false),
        _ => None,
    }
}
