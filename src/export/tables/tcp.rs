//! TCP sockets in groups.
use crate::export::table::table;

table!("tcp", "TCP sockets that share namespace, owner, state and service, one row a group and sample", sockets, |_snap, data| &data.groups, |g| {
    netns: Int = g.netns, "network namespace, inode";
    pid: Int = g.owner.map(|o| o.pid), "process that holds them, or that of their listener";
    start_ticks: Int = g.owner.map(|o| o.start_ticks), "its start time since boot, ticks";
    by_listener: Bool = g.by_listener, "whether the process is named by way of the listener";
    state: Text = g.state.name(), "TCP state";
    local_port: Int = g.local_port, "the service here; empty for clients";
    remote_addr: Text = g.remote_addr, "far address";
    remote_port: Int = g.remote_port, "the service there; empty for servers";
    sockets: Int = g.count, "sockets in the group";
    recv_q_bytes: Int = g.recv_q_bytes, "received and not read";
    send_q_bytes: Int = g.send_q_bytes, "sent and not acknowledged";
    mem_bytes: Int = g.mem_bytes, "kernel memory of their queues";
    drops: Int = g.drops, "packets dropped at the sockets";
    retransmitting: Int = g.retransmitting, "sockets with a retransmission running";
});
