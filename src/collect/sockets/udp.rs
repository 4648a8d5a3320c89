//! UDP sockets as rows, those in trouble first, bounded.

use super::wire::Sock;
use crate::snapshot::{NetnsId, Proto, SockKey, Sockets, TaskKey, UdpSocket};
use std::cmp::Reverse;

/// The UDP sockets of one pass, each with the process that holds it.
#[derive(Debug, Default)]
pub(super) struct Udp {
    rows: Vec<(Sock, Option<u32>)>,
    more: u64,
}

impl Udp {
    pub(super) fn add(&mut self, sock: &Sock, pid: Option<u32>) {
        self.rows.push((*sock, pid));
        if self.rows.len() >= 4 * Sockets::UDP_MAX {
            self.bound();
        }
    }

    /// Keeps the rows with most drops, then the longest queue.
    fn bound(&mut self) {
        let rank = |s: &Sock| {
            (
                Reverse(s.mem.drops),
                Reverse(u64::from(s.rqueue) + u64::from(s.wqueue)),
                s.local_port,
                s.local,
                s.cookie,
                s.inode,
            )
        };
        self.rows.sort_unstable_by_key(|(sock, _)| rank(sock));
        self.more += self.rows.len().saturating_sub(Sockets::UDP_MAX) as u64;
        self.rows.truncate(Sockets::UDP_MAX);
    }

    /// The rows, and how many did not fit. Empty afterwards.
    pub(super) fn finish(&mut self, netns: &[NetnsId], task: impl Fn(u32) -> Option<TaskKey>) -> (Vec<UdpSocket>, u64) {
        self.bound();
        let rows = self.rows.drain(..).filter_map(|(sock, pid)| row(&sock, pid.and_then(&task), netns)).collect();
        (rows, std::mem::take(&mut self.more))
    }
}

fn row(sock: &Sock, owner: Option<TaskKey>, netns: &[NetnsId]) -> Option<UdpSocket> {
    let connected = sock.remote_port != 0 || !sock.remote.is_any();
    let cookie = if sock.cookie == 0 { sock.inode.into() } else { sock.cookie };
    Some(UdpSocket {
        key: SockKey {
            netns: *netns.get(sock.netns as usize)?,
            proto: Proto::Udp,
            local: sock.local.with_port(sock.local_port),
            cookie,
        },
        owner,
        remote_addr: connected.then(|| sock.remote.ip()),
        remote_port: connected.then_some(sock.remote_port),
        recv_q_bytes: sock.mem.rmem_alloc.into(),
        rcvbuf_bytes: sock.mem.rcvbuf.map(u64::from),
        send_q_bytes: sock.wqueue.into(),
        sndbuf_bytes: sock.mem.sndbuf.map(u64::from),
        drops: sock.mem.drops.unwrap_or(0).into(),
        cgroup_id: sock.cgroup_id,
    })
}
