//! Listening TCP sockets.
use crate::export::table::table;

table!("listeners", "listening TCP sockets, one row a listener and sample", sockets, |_snap, data| &data.listeners, |l| {
    netns: Int = l.key.netns, "network namespace, inode";
    local_addr: Text = l.key.local.ip(), "address";
    local_port: Int = l.key.local.port(), "port";
    pid: Int = l.owner.map(|o| o.pid), "process that holds it";
    start_ticks: Int = l.owner.map(|o| o.start_ticks), "its start time since boot, ticks";
    queue: Int = l.queue, "connections that wait for accept";
    backlog: Int = l.backlog, "how many may wait";
    syn_recv: Int = l.syn_recv, "half-open connections";
    drops: Int = l.drops, "connections dropped at it";
});
