//! Threads that are not asleep.
use crate::export::table::table;

table!(
    "threads", "threads in R, D, T or t (at most 64 a process), one row a thread and sample", tasks,
    |_snap, data| data.rows.iter().flat_map(|t| t.awake.iter().map(move |thread| (t, thread))), |(task, t)| {
    pid: Int = task.key.pid, "process id";
    start_ticks: Int = task.key.start_ticks, "start time of the process since boot, ticks";
    tid: Int = t.tid, "thread id";
    comm: Text = &t.comm, "name of the thread";
    state: Text = t.state.letter().to_string(), "state, the kernel's letter";
    wchan: Text = t.wchan.as_ref(), "kernel function it sleeps in";
    stack: Text = (!t.stack.is_empty()).then(|| t.stack.join(";")), "kernel stack, innermost first";
    sigkill_pending: Bool = t.sigkill_pending, "whether SIGKILL is pending";
    switches: Int = t.switches, "context switches so far";
});
