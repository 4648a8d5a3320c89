//! UDP sockets.
use crate::export::table::table;

table!("udp", "UDP sockets, one row a socket and sample", sockets, |_snap, data| &data.udp, |u| {
    netns: Int = u.key.netns, "network namespace, inode";
    local_addr: Text = u.key.local.ip(), "address";
    local_port: Int = u.key.local.port(), "port";
    cookie: Int = u.key.cookie, "the kernel's id of the socket";
    remote_addr: Text = u.remote_addr, "far address, when connected";
    remote_port: Int = u.remote_port, "far port, when connected";
    pid: Int = u.owner.map(|o| o.pid), "process that holds it";
    start_ticks: Int = u.owner.map(|o| o.start_ticks), "its start time since boot, ticks";
    recv_q_bytes: Int = u.recv_q_bytes, "received and not read";
    rcvbuf_bytes: Int = u.rcvbuf_bytes, "receive buffer as granted";
    send_q_bytes: Int = u.send_q_bytes, "waiting to be sent";
    sndbuf_bytes: Int = u.sndbuf_bytes, "send buffer as granted";
    drops: Int = u.drops, "datagrams dropped at it since it was opened";
});
