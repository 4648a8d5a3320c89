//! Sockets into groups: one row for what shares namespace, owner, state and service, however many there are.

use super::listeners::Listeners;
use super::wire::{Addr, Sock};
use crate::snapshot::{NetnsId, Side, SockGroup, Sockets, TaskKey, TcpState};
use rustc_hash::FxHashMap;
use std::ops::RangeInclusive;

/// Services kept apart in one (namespace, owner, state, side); the rest is folded into one group without.
const SERVICES_MAX: usize = 256;
/// Groups held while reading before the small ones are folded.
const HELD_MAX: usize = 32 * 1024;

/// Whose a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Holder {
    /// It has a file, but its process cannot be named.
    Nobody,
    /// The process that holds it.
    Task(u32),
    /// It has no file: whoever holds this listener of the pass.
    Listener(u32),
    /// As `Listener`, resolved.
    ByListener(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    netns: u32,
    holder: Holder,
    state: TcpState,
    side: Side,
    /// Local port for the server side, far port for the client side; `None` for the folded rest.
    service: Option<u16>,
    remote: Option<Addr>,
}

impl Key {
    /// What [`SERVICES_MAX`] bounds.
    fn bucket(&self) -> Self {
        Self { service: None, remote: None, ..*self }
    }

    /// What [`Sockets::REMOTES_MAX`] bounds.
    fn without_remote(&self) -> Self {
        Self { remote: None, ..*self }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    count: u64,
    recv_q_bytes: u64,
    send_q_bytes: u64,
    mem_bytes: u64,
    drops: u64,
    retransmitting: u64,
    cgroup_id: u64,
}

impl Tally {
    fn of(sock: &Sock) -> Self {
        let mem = &sock.mem;
        Self {
            count: 1,
            recv_q_bytes: sock.rqueue.into(),
            send_q_bytes: sock.wqueue.into(),
            mem_bytes: u64::from(mem.rmem_alloc) + u64::from(mem.wmem_alloc) + u64::from(mem.fwd_alloc),
            drops: mem.drops.unwrap_or(0).into(),
            retransmitting: sock.retransmitting.into(),
            cgroup_id: sock.cgroup_id,
        }
    }

    fn add(&mut self, other: &Self) {
        if self.count == 0 {
            self.cgroup_id = other.cgroup_id;
        } else if self.cgroup_id != other.cgroup_id {
            self.cgroup_id = 0;
        }
        self.count += other.count;
        self.recv_q_bytes += other.recv_q_bytes;
        self.send_q_bytes += other.send_q_bytes;
        self.mem_bytes += other.mem_bytes;
        self.drops += other.drops;
        self.retransmitting += other.retransmitting;
    }
}

/// The groups of one pass. Bounded while reading: beyond [`HELD_MAX`] the small ones lose their name, never their count.
#[derive(Debug, Default)]
pub(super) struct Fold {
    held: FxHashMap<Key, Tally>,
}

/// Who opened the connection, where its listener is not known: by the ports that outgoing connections start from.
fn side_by_ports(sock: &Sock, ports: &RangeInclusive<u16>) -> Side {
    if !ports.contains(&sock.local_port) && ports.contains(&sock.remote_port) { Side::Server } else { Side::Client }
}

impl Fold {
    pub(super) fn clear(&mut self) {
        self.held.clear();
    }

    /// Takes a socket that does not listen; `pid` holds it when it has an inode.
    pub(super) fn add(
        &mut self,
        sock: &Sock,
        pid: Option<u32>,
        listeners: &mut Listeners,
        ports: &RangeInclusive<u16>,
    ) {
        let listener = if sock.state == TcpState::SynSent { None } else { listeners.of(sock) };
        let side = match sock.state {
            TcpState::SynSent => Side::Client,
            TcpState::SynRecv => Side::Server,
            _ if listener.is_some() => Side::Server,
            _ => side_by_ports(sock, ports),
        };
        if let (TcpState::SynRecv, Some(at)) = (sock.state, listener) {
            listeners.count_syn_recv(at);
        }
        let holder = match (sock.inode, listener) {
            (0, Some(at)) => Holder::Listener(at),
            _ => pid.map_or(Holder::Nobody, Holder::Task),
        };
        let service = Some(if side == Side::Server { sock.local_port } else { sock.remote_port });
        let key = Key { netns: sock.netns, holder, state: sock.state, side, service, remote: Some(sock.remote) };
        self.held.entry(key).or_default().add(&Tally::of(sock));
        if self.held.len() > HELD_MAX {
            let bounded = bound(self.held.drain().collect());
            self.held.extend(bounded);
        }
    }

    /// The rows, in a fixed order. `by_listener` names the process that holds a listener of this pass.
    pub(super) fn finish(
        &mut self,
        netns: &[NetnsId],
        by_listener: impl Fn(u32) -> Option<u32>,
        task: impl Fn(u32) -> Option<TaskKey>,
    ) -> Vec<SockGroup> {
        let resolved = self.held.drain().map(|(key, tally)| {
            let holder = match key.holder {
                Holder::Listener(at) => by_listener(at).map_or(Holder::Nobody, Holder::ByListener),
                other => other,
            };
            (Key { holder, ..key }, tally)
        });
        let rows = bound(resolved.collect());
        rows.into_iter().filter_map(|(key, tally)| group(&key, &tally, netns, &task)).collect()
    }
}

fn group(key: &Key, tally: &Tally, netns: &[NetnsId], task: &impl Fn(u32) -> Option<TaskKey>) -> Option<SockGroup> {
    let (owner, by_listener) = match key.holder {
        Holder::Task(pid) => (task(pid), false),
        Holder::ByListener(pid) => (task(pid), true),
        Holder::Nobody | Holder::Listener(_) => (None, false),
    };
    let server = key.side == Side::Server;
    Some(SockGroup {
        netns: *netns.get(key.netns as usize)?,
        owner,
        by_listener,
        state: key.state,
        side: key.side,
        local_port: key.service.filter(|_| server),
        remote_addr: key.remote.map(Addr::ip),
        remote_port: key.service.filter(|_| !server),
        cgroup_id: tally.cgroup_id,
        count: tally.count,
        recv_q_bytes: tally.recv_q_bytes,
        send_q_bytes: tally.send_q_bytes,
        mem_bytes: tally.mem_bytes,
        drops: tally.drops,
        retransmitting: tally.retransmitting,
    })
}

/// Merges what is equal, and folds what passes the bounds: the small services first, then the small remotes.
fn bound(rows: Vec<(Key, Tally)>) -> Vec<(Key, Tally)> {
    let rows = keep_largest(merge(rows), Key::without_remote, Sockets::REMOTES_MAX, |k| k.remote.is_some());
    // By service now: how many sockets each has, whatever its remotes.
    let services = merge(rows.iter().map(|(k, t)| (k.without_remote(), *t)).collect());
    if services.len() <= SERVICES_MAX {
        return rows;
    }
    let kept = keep_largest(services, Key::bucket, SERVICES_MAX, |k| k.service.is_some());
    let folded = rows.into_iter().map(|(key, tally)| {
        let stays = kept.binary_search_by_key(&key.without_remote(), |(k, _)| *k).is_ok();
        (if stays { key } else { key.bucket() }, tally)
    });
    merge(folded.collect())
}

/// Of the rows with the same `group`, keeps the `max` largest that are `named`; the others lose what `group` drops.
/// Takes and gives rows sorted by key.
fn keep_largest(
    mut rows: Vec<(Key, Tally)>,
    group: impl Fn(&Key) -> Key,
    max: usize,
    named: impl Fn(&Key) -> bool,
) -> Vec<(Key, Tally)> {
    let mut folded = false;
    for same in rows.chunk_by_mut(|a, b| group(&a.0) == group(&b.0)) {
        if same.iter().filter(|(k, _)| named(k)).count() <= max {
            continue;
        }
        folded = true;
        same.sort_unstable_by_key(|(key, tally)| (!named(key), std::cmp::Reverse(tally.count), *key));
        for (key, _) in same.iter_mut().skip(max) {
            *key = group(key);
        }
    }
    if folded { merge(rows) } else { rows }
}

/// Sorts by key and adds up the rows that are equal.
fn merge(mut rows: Vec<(Key, Tally)>) -> Vec<(Key, Tally)> {
    rows.sort_unstable_by_key(|(key, _)| *key);
    rows.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1.add(&next.1);
        }
        same
    });
    rows
}
