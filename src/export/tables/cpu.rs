//! CPU time and load of the host.
use crate::export::table::table;

table!("cpu", "CPU time and load of the host, one row a sample", cpu, |snap, data| [data], |c| {
    user_ticks: Int = c.total.user, "user code since boot, ticks";
    nice_ticks: Int = c.total.nice, "niced user code, ticks";
    system_ticks: Int = c.total.system, "kernel code, ticks";
    idle_ticks: Int = c.total.idle, "idle, ticks";
    iowait_ticks: Int = c.total.iowait, "idle with I/O outstanding, ticks";
    irq_ticks: Int = c.total.irq, "hard interrupts, ticks";
    softirq_ticks: Int = c.total.softirq, "soft interrupts, ticks";
    steal_ticks: Int = c.total.steal, "stolen by the hypervisor, ticks";
    ticks_per_sec: Int = snap.host.data().map(|h| h.ticks_per_sec), "ticks a second";
    cpus: Int = snap.host.data().map(|h| h.cpus), "CPUs online";
    load1: Float = c.load[0], "load average over 1 minute";
    load5: Float = c.load[1], "over 5 minutes";
    load15: Float = c.load[2], "over 15 minutes";
    runnable: Int = c.runnable, "runnable threads now";
    threads: Int = c.entities, "threads in all";
    forks: Int = c.forks, "forks since boot";
    context_switches: Int = c.context_switches, "context switches since boot";
    procs_blocked: Int = c.procs_blocked, "tasks that wait for I/O, as the kernel counts them";
});
