//! Queueing disciplines.
use crate::export::table::table;

table!(
    "qdiscs", "queueing disciplines, one row a qdisc and sample", net,
    |_snap, data| data.netns.iter().flat_map(|n| n.qdiscs.iter().map(move |q| (n.id, q))), |(netns, q)| {
    netns: Int = netns, "network namespace, inode";
    iface: Text = &q.iface, "interface";
    kind: Text = &q.kind, "kind";
    handle: Int = q.handle, "handle";
    root: Bool = q.root, "whether it is the interface's root";
    bytes: Int = q.bytes, "bytes sent";
    packets: Int = q.packets, "packets sent";
    drops: Int = q.drops, "packets dropped";
    overlimits: Int = q.overlimits, "times its rate was exceeded";
    requeues: Int = q.requeues, "packets put back";
    backlog_bytes: Int = q.backlog_bytes, "bytes that wait";
    queue_packets: Int = q.queue_packets, "packets that wait";
    rate_bytes_per_sec: Int = q.rate_bytes_per_sec, "rate that it shapes to";
});
