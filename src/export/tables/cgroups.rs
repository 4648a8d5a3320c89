//! Control groups.
use crate::export::table::table;

table!("cgroups", "control groups, one row a cgroup and sample", cgroups, |_snap, data| &data.rows, |c| {
    path: Text = &c.key.path, "path below the mount";
    inode: Int = c.key.inode, "its directory's inode: tells one that was made anew";
    runtime: Text = c.container.as_ref().map(|x| &x.runtime), "container runtime";
    container_id: Text = c.container.as_ref().map(|x| &x.id), "container id";
    container: Text = c.container.as_ref().and_then(|x| x.name.as_ref()), "container name";
    image: Text = c.container.as_ref().and_then(|x| x.image.as_ref()), "image";
    pod: Text = c.container.as_ref().and_then(|x| x.pod.as_ref()), "pod";
    unit: Text = c.unit.as_ref(), "systemd unit";
    usage_bytes: Int = c.memory.as_ref().and_then(|m| m.usage_bytes), "memory in use";
    limit_bytes: Int = c.memory.as_ref().and_then(|m| m.limit_bytes), "its own memory limit";
    high_bytes: Int = c.memory.as_ref().and_then(|m| m.high_bytes), "memory.high";
    limit_hits: Int = c.memory.as_ref().and_then(|m| m.limit_hits), "failcnt (v1) or events max (v2)";
    oom_kills: Int = c.memory.as_ref().and_then(|m| m.oom_kills), "OOM kills";
    anon_bytes: Int = c.memory.as_ref().and_then(|m| m.anon_bytes), "anonymous memory";
    file_bytes: Int = c.memory.as_ref().and_then(|m| m.file_bytes), "page cache";
    slab_bytes: Int = c.memory.as_ref().and_then(|m| m.slab_bytes), "kernel objects";
    kmem_bytes: Int = c.memory.as_ref().and_then(|m| m.kmem_bytes), "kernel memory";
    swap_bytes: Int = c.memory.as_ref().and_then(|m| m.swap_bytes), "swap in use";
    pids: Int = c.pids.as_ref().map(|p| p.current), "threads in it";
    pids_limit: Int = c.pids.as_ref().and_then(|p| p.limit), "how many may be in it";
    pids_limit_hits: Int = c.pids.as_ref().and_then(|p| p.limit_hits), "forks refused";
    cpu_usage_usec: Int = c.cpu.as_ref().and_then(|p| p.usage_usec), "CPU time, microseconds";
    cpu_quota_usec: Int = c.cpu.as_ref().and_then(|p| p.quota_usec), "CPU quota a period, microseconds";
    cpu_periods: Int = c.cpu.as_ref().and_then(|p| p.periods), "periods in which it ran";
    cpu_throttled_periods: Int = c.cpu.as_ref().and_then(|p| p.throttled_periods), "periods in which it was throttled";
    memory_some_usec: Int = c.psi_memory.map(|p| p.some_usec), "some task waited for memory, microseconds";
    dying_descendants: Int = c.dying_descendants, "removed cgroups below that still hold memory";
    frozen: Bool = c.frozen, "whether it is frozen";
});
