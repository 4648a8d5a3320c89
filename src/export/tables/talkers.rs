//! Who talks most by TCP.
use crate::export::table::table;

table!("talkers", "who talks most by TCP while a link is busy, one row a process, far address and sample", sockets, |_snap, data| &data.talkers, |t| {
    netns: Int = t.netns, "network namespace, inode";
    pid: Int = t.owner.map(|o| o.pid), "process";
    start_ticks: Int = t.owner.map(|o| o.start_ticks), "its start time since boot, ticks";
    remote_addr: Text = t.remote_addr, "far address";
    connections: Int = t.count, "connections that carried something";
    tx_bytes_per_s: Float = t.tx_bytes_per_s, "sent and acknowledged a second";
    rx_bytes_per_s: Float = t.rx_bytes_per_s, "received a second";
});
