//! Counters of memory and of the host's tables, by the kernel's own names.
use crate::export::table::table;
use crate::snapshot::Memory;

table!("memory", "memory of the host, one row a counter and sample", memory, |_snap, data| rows(data), |(file, field, value)| {
    source: Text = file, "file it was read in";
    field: Text = field, "the kernel's name of it";
    value: Int = value, "its value; of meminfo in bytes";
});

fn rows(memory: &Memory) -> impl Iterator<Item = (&'static str, &str, u64)> {
    let limits = &memory.limits;
    let tables = [
        ("sys/fs/file-nr", "allocated", limits.files),
        ("sys/fs/file-nr", "max", limits.files_max),
        ("sys/kernel/pid_max", "pid_max", limits.pid_max),
        ("sys/kernel/threads-max", "threads-max", limits.threads_max),
    ];
    memory
        .meminfo
        .iter()
        .map(|(name, value)| ("meminfo", &**name, value))
        .chain(memory.vmstat.iter().map(|(name, value)| ("vmstat", &**name, value)))
        .chain(tables.into_iter().filter_map(|(file, name, value)| Some((file, name, value?))))
}
