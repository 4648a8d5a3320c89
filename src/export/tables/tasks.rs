//! Processes.
use crate::export::table::table;

table!("tasks", "processes, one row a process and sample", tasks, |_snap, data| &data.rows, |t| {
    pid: Int = t.key.pid, "process id";
    start_ticks: Int = t.key.start_ticks, "start time since boot, ticks: tells a reused pid from the one before";
    ppid: Int = t.ppid, "parent's pid";
    comm: Text = &t.comm, "name, at most 15 bytes";
    cmdline: Text = t.cmdline.as_ref(), "command line";
    uid: Int = t.uid, "real user id";
    state: Text = t.state.letter().to_string(), "state of the leader, the kernel's letter";
    kthread: Bool = t.kthread, "whether it is a kernel thread";
    threads: Int = t.threads, "threads, the leader included";
    threads_running: Int = t.by_state.running, "threads in R";
    threads_blocked: Int = t.by_state.blocked, "threads in D";
    threads_stopped: Int = t.by_state.stopped, "threads in T or t";
    utime_ticks: Int = t.utime_ticks, "user CPU time, ticks";
    stime_ticks: Int = t.stime_ticks, "kernel CPU time, ticks";
    minor_faults: Int = t.minor_faults, "page faults without a disk";
    major_faults: Int = t.major_faults, "page faults that read a disk";
    rss_bytes: Int = t.rss_bytes, "resident memory";
    swap_bytes: Int = t.swap_bytes, "swapped memory";
    vsize_bytes: Int = t.vsize_bytes, "address space";
    fds: Int = t.fds, "open descriptors";
    fd_limit: Int = t.fd_limit, "soft RLIMIT_NOFILE";
    cgroup: Text = t.cgroup.as_ref(), "cgroup path";
    netns: Int = t.netns, "network namespace, inode";
    inner_pid: Int = t.inner_pid, "pid in its innermost pid namespace; 1 is a container's init";
});
