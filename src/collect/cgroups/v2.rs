//! The v2 tree: whatever controllers are switched on in a directory, and pressure, which is always there.

use super::files::{File, Files, Reading};
use super::parse;
use crate::collect::pressure;
use crate::snapshot::{Cgroup, CpuUse, MemUse};

/// Usage, and the events where there is a limit to hit. `due`: whether there is one will be read anew.
pub fn probe_memory(memory: &mut Option<MemUse>, due: bool, files: &mut Files<'_>, reading: &mut Reading) {
    let usage = files.number(File::MemoryCurrent, reading);
    if usage.is_none() && memory.is_none() {
        return;
    }
    let memory = memory.get_or_insert_default();
    memory.usage_bytes = usage;
    if due || memory.limit_bytes.is_some() || memory.high_bytes.is_some() {
        read_events(memory, files, reading);
    }
}

/// `memory.events.local`; before 5.2 `memory.events`, which counts the whole subtree.
pub fn read_events(memory: &mut MemUse, files: &mut Files<'_>, reading: &mut Reading) {
    memory.counts_subtree = !take_events(memory, files.read(File::MemoryEventsLocal, reading))
        && take_events(memory, files.read(File::MemoryEvents, reading));
}

fn take_events(memory: &mut MemUse, raw: Option<&[u8]>) -> bool {
    let Some(raw) = raw else { return false };
    memory.limit_hits = parse::value(raw, "max");
    memory.high_hits = parse::value(raw, "high");
    memory.ooms = parse::value(raw, "oom");
    memory.oom_kills = parse::value(raw, "oom_kill");
    memory.oom_group_kills = parse::value(raw, "oom_group_kill");
    true
}

/// Limits, peak and swap. What [`read_stat`] gives stays.
pub fn read_memory(memory: &mut MemUse, files: &mut Files<'_>, reading: &mut Reading) {
    memory.limit_bytes = files.limit(File::MemoryMax, reading);
    memory.high_bytes = files.limit(File::MemoryHigh, reading);
    memory.peak_bytes = files.number(File::MemoryPeak, reading);
    memory.swap_bytes = files.number(File::SwapCurrent, reading);
    memory.swap_limit_bytes = files.limit(File::SwapMax, reading);
    memory.swap_limit_hits = files.read(File::SwapEvents, reading).and_then(|raw| parse::value(raw, "max"));
    read_events(memory, files, reading);
}

/// `cpu.max`.
pub fn read_quota(cpu: &mut Option<CpuUse>, files: &mut Files<'_>, reading: &mut Reading) {
    if let Some((quota, period)) = files.read(File::CpuMax, reading).and_then(parse::cpu_max) {
        let cpu = cpu.get_or_insert_default();
        cpu.quota_usec = quota;
        cpu.period_usec = Some(period);
    }
}

/// What every directory has: whether it is frozen, and the dying below it. Frozen in v1 stays frozen.
pub fn read_core(row: &mut Cgroup, files: &mut Files<'_>, reading: &mut Reading) {
    if let Some(frozen) = files.read(File::CgroupEvents, reading).and_then(|raw| parse::value(raw, "frozen")) {
        row.frozen = Some(frozen != 0 || row.frozen == Some(true));
    }
    row.dying_descendants =
        files.read(File::CgroupStat, reading).and_then(|raw| parse::value(raw, "nr_dying_descendants"));
}

/// `cpu.stat`: usage in every directory, throttling where the cpu controller is on.
pub fn read_cpu_stat(cpu: &mut Option<CpuUse>, files: &mut Files<'_>, reading: &mut Reading) {
    let Some(raw) = files.read(File::CpuStat, reading) else { return };
    let cpu = cpu.get_or_insert_default();
    cpu.usage_usec = parse::value(raw, "usage_usec");
    if let Some(periods) = parse::value(raw, "nr_periods") {
        cpu.periods = Some(periods);
        cpu.throttled_periods = parse::value(raw, "nr_throttled");
        cpu.throttled_usec = parse::value(raw, "throttled_usec");
    }
}

/// The three pressure files that every kernel with PSI has.
pub fn read_pressure(row: &mut Cgroup, files: &mut Files<'_>, reading: &mut Reading) {
    row.psi_memory = files.read(File::MemoryPressure, reading).and_then(pressure::parse);
    row.psi_cpu = files.read(File::CpuPressure, reading).and_then(pressure::parse);
    row.psi_io = files.read(File::IoPressure, reading).and_then(pressure::parse);
}

/// `memory.stat`.
pub fn read_stat(memory: &mut MemUse, files: &mut Files<'_>, reading: &mut Reading) {
    let Some(raw) = files.read(File::MemoryStat, reading) else { return };
    let mut kernel = None;
    let mut parts = None;
    for (name, value) in parse::pairs(raw) {
        let field = match name {
            b"anon" => &mut memory.anon_bytes,
            b"file" => &mut memory.file_bytes,
            b"inactive_file" => &mut memory.inactive_file_bytes,
            b"active_file" => &mut memory.active_file_bytes,
            b"shmem" => &mut memory.shmem_bytes,
            b"kernel" => &mut kernel,
            b"kernel_stack" | b"pagetables" | b"percpu" | b"vmalloc" => {
                add(&mut parts, value);
                continue;
            }
            b"slab" => {
                add(&mut parts, value);
                &mut memory.slab_bytes
            }
            _ => continue,
        };
        *field = Some(value);
    }
    // `kernel` came with 5.18.
    memory.kmem_bytes = kernel.or(parts);
}

fn add(sum: &mut Option<u64>, value: u64) {
    *sum = Some(sum.unwrap_or(0).saturating_add(value));
}
