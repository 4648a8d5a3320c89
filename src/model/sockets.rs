//! Sockets summed by task, remote end and namespace.

use super::before::{Before, per_second, span};
use super::{Model, RemoteFacts, StateTally};
use crate::snapshot::{
    ListenerKey, NetnsId, RemoteKey, Side, Snapshot, SockGroup, SockKey, Sockets, Subject, TaskKey, TcpState,
};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Place of a state in a [`StateTally`].
#[must_use]
pub fn slot(state: TcpState) -> usize {
    TcpState::ALL.iter().position(|&s| s == state).unwrap_or(0)
}

/// Sockets in `state`.
#[must_use]
pub fn tally_of(tally: &StateTally, state: TcpState) -> u64 {
    tally.get(slot(state)).copied().unwrap_or(0)
}

pub(super) fn add(tally: &mut StateTally, state: TcpState, count: u64) {
    if let Some(n) = tally.get_mut(slot(state)) {
        *n = n.saturating_add(count);
    }
}

pub(super) fn join(m: &mut Model, now: &Snapshot, before: &Before) {
    if let Some(sockets) = now.sockets.data() {
        for group in &sockets.groups {
            join_group(m, group);
        }
        for facts in m.remotes.values_mut() {
            fold_tasks(&mut facts.tasks);
        }
        for listener in &sockets.listeners {
            tally_owner(m, listener.key.netns, listener.owner, TcpState::Listen, 1);
        }
        for owner in sockets.udp.iter().filter_map(|s| s.owner) {
            if let Some(facts) = m.tasks.get_mut(&owner) {
                facts.udp = facts.udp.saturating_add(1);
            }
        }
    }
    count_time_wait(m, now);
    drop_rates(m, now, before);
}

fn join_group(m: &mut Model, group: &SockGroup) {
    tally_owner(m, group.netns, group.owner, group.state, group.count);
    let (Side::Client, Some(addr), Some(port)) = (group.side, group.remote_addr, group.remote_port) else { return };
    let key = RemoteKey { netns: group.netns, addr, port: Some(port) };
    let facts: &mut RemoteFacts = m.remotes.entry(key).or_default();
    add(&mut facts.tcp, group.state, group.count);
    facts.tasks.extend(group.owner.map(|owner| (owner, group.count)));
}

fn tally_owner(m: &mut Model, netns: NetnsId, owner: Option<TaskKey>, state: TcpState, count: u64) {
    add(m.tcp_by_netns.entry(netns).or_default(), state, count);
    match owner.and_then(|key| m.tasks.get_mut(&key)) {
        Some(facts) => add(&mut facts.tcp, state, count),
        None => add(m.tcp_unowned.entry(netns).or_default(), state, count),
    }
}

fn fold_tasks(tasks: &mut Vec<(TaskKey, u64)>) {
    tasks.sort_unstable();
    tasks.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 = kept.1.saturating_add(next.1);
        }
        same
    });
    tasks.sort_by_key(|&(key, count)| (std::cmp::Reverse(count), key));
}

/// `TIME_WAIT` sockets may not have been dumped (they have no owner): sockstat counts them for nothing.
fn count_time_wait(m: &mut Model, now: &Snapshot) {
    let Some(net) = now.net.data() else { return };
    for netns in &net.netns {
        let Some(counted) = netns.sockstat.get("TCPtw") else { continue };
        let tally = m.tcp_by_netns.entry(netns.id).or_default();
        let missing = counted.saturating_sub(tally_of(tally, TcpState::TimeWait));
        add(tally, TcpState::TimeWait, missing);
        if missing > 0 {
            add(m.tcp_unowned.entry(netns.id).or_default(), TcpState::TimeWait, missing);
        }
    }
}

/// Drops by listener; sockets that share an address (`SO_REUSEPORT`) together.
#[must_use]
pub fn listener_drops(sockets: &Sockets) -> BTreeMap<ListenerKey, u64> {
    let mut sums = BTreeMap::new();
    for (key, drops) in sockets.listeners.iter().filter_map(|l| Some((l.key, l.drops?))) {
        let sum: &mut u64 = sums.entry(key).or_default();
        *sum = sum.saturating_add(drops);
    }
    sums
}

fn drop_rates(m: &mut Model, now: &Snapshot, before: &Before) {
    let Some(span) = span(&now.sockets, &before.sockets) else { return };
    let mut put = |subject, old, new| {
        if let Some(rate) = per_second(old, new, span.secs).filter(|&r| r > 0.0) {
            m.socket_drops_per_s.insert(subject, rate);
        }
    };
    let old: FxHashMap<SockKey, u64> = span.old.udp.iter().map(|s| (s.key, s.drops)).collect();
    for socket in span.now.udp.iter().filter(|s| s.drops > 0) {
        if let Some(&drops) = old.get(&socket.key) {
            put(Subject::Socket(socket.key), drops, socket.drops);
        }
    }
    let old = listener_drops(span.old);
    for (key, drops) in listener_drops(span.now) {
        if let Some(&before) = old.get(&key) {
            put(Subject::Listener(key), before, drops);
        }
    }
}
