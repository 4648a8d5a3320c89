//! Who talks most by TCP, in namespaces where a link is busy.
//!
//! ```text
//! two looks at the interfaces ─▶ busy namespaces ─▶ reader: traffic ─▶ two readings ─▶ rates ─▶ by owner and far address
//! ```

use super::namespaces::Namespace;
use super::traffic::{Carried, Reading, parse};
use crate::collect::readers::{Readers, TrafficAsk};
use crate::snapshot::{Iface, Moment, Net, NetnsCounters, NetnsId, Sockets, Talker, TaskKey};
use rustc_hash::{FxHashMap, FxHashSet};
use rustix::io::Errno;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// A link is busy from this part of its speed on.
const BUSY_SHARE: f64 = 0.5;
/// A link whose speed nobody knows is busy from here on, bytes a second: 100 Mbit/s.
const BUSY_BYTES: f64 = 12_500_000.0;
/// Who carries this part of what a busy link does may well be behind it.
const BEHIND_SHARE: f64 = 0.1;
/// Links whose namespaces are asked in, at most.
const WATCHED_MAX: usize = 16;
/// From one reading to the next at least, ns; and so many times what the one took: a tenth of one CPU.
const PAUSE_NS: u64 = 1_000_000_000;
const PAUSE_TIMES: u64 = 10;
/// Connections of a namespace that are remembered, the heaviest.
const ROWS_MAX: usize = 256;
/// A connection that carries less says nothing, bytes a second.
const LEAST: f64 = 1000.0;

/// Looks for them.
#[derive(Debug)]
pub(super) struct Talkers {
    /// `None`: nobody may be asked, for reading may hang.
    readers: Option<Readers<TrafficAsk>>,
    links: Option<(Moment, Arc<Net>)>,
    busy: FxHashSet<NetnsId>,
    watched: FxHashMap<NetnsId, Watched>,
}

/// What is not seen while a reading hangs.
const HANGS: (&str, &str) = (
    "who talks by TCP on a busy link: the kernel does not answer",
    "the end of the task that hangs with a socket's lock",
);

/// A namespace with a busy link.
#[derive(Debug, Default)]
struct Watched {
    asked: bool,
    /// Whether the last reading got stuck.
    hangs: bool,
    /// When the next reading may be.
    next: Moment,
    last: Option<(Moment, FxHashMap<u32, Carried>)>,
    rows: Vec<Row>,
}

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    inode: u32,
    remote: IpAddr,
    tx: f64,
    rx: f64,
}

impl Talkers {
    pub(super) fn new(readers: Option<Readers<TrafficAsk>>) -> Self {
        Self { readers, links: None, busy: FxHashSet::default(), watched: FxHashMap::default() }
    }

    /// Asks for the readings that are due and takes those that have come.
    pub(super) fn turn(
        &mut self,
        at: Moment,
        links: Option<&(Moment, Arc<Net>)>,
        namespaces: &[Namespace],
        door: impl Fn(&Namespace) -> Option<PathBuf>,
    ) {
        let Some(readers) = &mut self.readers else { return };
        if let Some(new) = links.filter(|new| self.links.as_ref().is_none_or(|old| new.0 > old.0)) {
            if let Some(old) = &self.links {
                self.busy = busy(old, new);
            }
            self.links = Some(new.clone());
        }
        self.watched.retain(|id, _| self.busy.contains(id));
        for namespace in namespaces.iter().filter(|n| self.busy.contains(&n.id)) {
            let watched = self.watched.entry(namespace.id).or_default();
            if !watched.asked
                && at >= watched.next
                && let Some(door) = door(namespace)
            {
                watched.asked = readers.ask(TrafficAsk { netns: namespace.id, door: door.into() }, at);
            }
        }
        let mut answers = Vec::new();
        readers.turn(at, &mut answers);
        for answer in answers {
            if let Some(watched) = self.watched.get_mut(&answer.ask.netns) {
                watched.asked = false;
                watched.hangs = answer.bytes == Err(Errno::TIMEDOUT);
                if watched.hangs {
                    watched.rows.clear();
                }
                if let Some(reading) = answer.bytes.ok().as_deref().and_then(parse) {
                    watched.take(reading);
                }
            }
        }
    }

    /// What is not seen, and what would show it.
    pub(super) fn gap(&self) -> Option<(&'static str, &'static str)> {
        self.watched.values().any(|w| w.hangs).then_some(HANGS)
    }

    /// The heaviest of each namespace; `owner` names who holds a socket.
    pub(super) fn rows(&self, owner: impl Fn(u32) -> Option<TaskKey>) -> Vec<Talker> {
        let mut all: Vec<_> =
            self.watched.iter().flat_map(|(netns, watched)| fold(*netns, &watched.rows, &owner)).collect();
        all.sort_by(heaviest);
        all
    }
}

impl Watched {
    fn take(&mut self, reading: Reading) {
        let took = reading.done.0.saturating_sub(reading.begun.0);
        self.next = Moment(reading.begun.0.saturating_add(PAUSE_NS.max(took.saturating_mul(PAUSE_TIMES))));
        let now: FxHashMap<u32, Carried> = reading.rows.into_iter().map(|row| (row.inode, row)).collect();
        if let Some((before, last)) = &self.last {
            let seconds = reading.begun.since(*before);
            self.rows = rates(last, &now, seconds);
        }
        self.last = Some((reading.begun, now));
    }
}

/// What connections carried between two readings; one that was not there, or silent, before has carried nothing yet.
fn rates(last: &FxHashMap<u32, Carried>, now: &FxHashMap<u32, Carried>, seconds: f64) -> Vec<Row> {
    let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
    let mut rows: Vec<Row> = now
        .values()
        .filter(|new| !new.remote.is_loopback() && seconds > 0.0)
        .filter_map(|new| {
            let old = last.get(&new.inode).filter(|old| old.remote == new.remote)?;
            let (tx, rx) = (rate(new.acked, old.acked), rate(new.received, old.received));
            (tx + rx >= LEAST).then_some(Row { inode: new.inode, remote: new.remote, tx, rx })
        })
        .collect();
    rows.sort_by(|a, b| (b.tx + b.rx).total_cmp(&(a.tx + a.rx)).then(a.inode.cmp(&b.inode)));
    rows.truncate(ROWS_MAX);
    rows
}

/// Connections of one process to one address together.
fn fold(netns: NetnsId, rows: &[Row], owner: impl Fn(u32) -> Option<TaskKey>) -> Vec<Talker> {
    let mut by_pair: FxHashMap<(Option<TaskKey>, IpAddr), Talker> = FxHashMap::default();
    for row in rows {
        let owner = owner(row.inode);
        let none = Talker { netns, owner, remote_addr: row.remote, count: 0, tx_bytes_per_s: 0.0, rx_bytes_per_s: 0.0 };
        let talker = by_pair.entry((owner, row.remote)).or_insert(none);
        talker.count += 1;
        talker.tx_bytes_per_s += row.tx;
        talker.rx_bytes_per_s += row.rx;
    }
    let mut talkers: Vec<_> = by_pair.into_values().collect();
    talkers.sort_by(heaviest);
    talkers.truncate(Sockets::TALKERS_MAX);
    talkers
}

fn heaviest(a: &Talker, b: &Talker) -> std::cmp::Ordering {
    let weight = |t: &Talker| t.tx_bytes_per_s + t.rx_bytes_per_s;
    let place = |t: &Talker| (t.netns, t.owner, t.remote_addr);
    weight(b).total_cmp(&weight(a)).then_with(|| place(a).cmp(&place(b)))
}

/// The namespaces to ask in: those in which a link was busy between two looks, and those that carried much of what it
/// did, for what it forwards is theirs.
fn busy(old: &(Moment, Arc<Net>), new: &(Moment, Arc<Net>)) -> FxHashSet<NetnsId> {
    let seconds = new.0.since(old.0);
    let mut before: FxHashMap<(NetnsId, &str), &Iface> = FxHashMap::default();
    for netns in &old.1.netns {
        before.extend(netns.ifaces.iter().map(|i| ((netns.id, &*i.name), i)));
    }
    let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
    let mut links: Vec<(bool, f64, NetnsId)> = Vec::new();
    for netns in &new.1.netns {
        for now in netns.ifaces.iter().filter(|i| i.up && &*i.name != "lo") {
            let Some(was) = before.get(&(netns.id, &*now.name)) else { continue };
            let (tx, rx) = (rate(now.tx_bytes, was.tx_bytes), rate(now.rx_bytes, was.rx_bytes));
            links.push((is_busy(netns, now, tx, rx), tx.max(rx), netns.id));
        }
    }
    let least = links.iter().filter(|(busy, ..)| *busy).map(|(_, rate, _)| rate * BEHIND_SHARE).min_by(f64::total_cmp);
    let Some(least) = least else { return FxHashSet::default() };
    links.retain(|(busy, rate, _)| *busy || *rate >= least);
    links.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)));
    links.into_iter().map(|(.., netns)| netns).take(WATCHED_MAX).collect()
}

fn is_busy(netns: &NetnsCounters, iface: &Iface, tx: f64, rx: f64) -> bool {
    let speed = iface.speed_mbit.map(|mbit| mbit as f64 * 125_000.0);
    let shapers = netns.qdiscs.iter().filter(|q| q.root && q.iface == iface.name);
    let shaped = shapers.filter_map(|q| q.rate_bytes_per_sec).min().map(|rate| rate as f64);
    let near = |bytes: f64, limit: Option<f64>| bytes >= limit.map_or(BUSY_BYTES, |limit| limit * BUSY_SHARE);
    near(tx, shaped.or(speed)) || near(rx, speed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Qdisc;

    const HERE: NetnsId = NetnsId(1);

    fn net(at: u64, tx: u64, rx: u64, speed: Option<u64>, shaped: Option<u64>) -> (Moment, Arc<Net>) {
        let iface =
            Iface { name: "eth0".into(), up: true, tx_bytes: tx, rx_bytes: rx, speed_mbit: speed, ..Iface::default() };
        let root = Qdisc { iface: "eth0".into(), root: true, rate_bytes_per_sec: shaped, ..Qdisc::default() };
        let netns = NetnsCounters { id: HERE, ifaces: vec![iface], qdiscs: vec![root], ..NetnsCounters::default() };
        (Moment(at * 1_000_000_000), Arc::new(Net { netns: vec![netns], ..Net::default() }))
    }

    #[test]
    fn a_link_is_busy_by_its_speed_its_shaper_or_much_of_what_nobody_knows() {
        let is = |tx: u64, rx: u64, speed, shaped| {
            !busy(&net(1, 0, 0, speed, shaped), &net(3, 2 * tx, 2 * rx, speed, shaped)).is_empty()
        };
        assert!(is(70_000_000, 0, Some(1000), None) && is(0, 70_000_000, Some(1000), None));
        assert!(!is(50_000_000, 50_000_000, Some(1000), None));
        assert!(is(700_000, 0, Some(1000), Some(1_000_000)));
        assert!(!is(0, 700_000, Some(1000), Some(1_000_000)), "a shaper slows what is sent");
        assert!(is(20_000_000, 0, None, None) && !is(10_000_000, 0, None, None));
        // Counters that went back: an interface of the same name.
        assert!(busy(&net(1, u64::MAX, 0, None, None), &net(3, 5, 5, None, None)).is_empty());
    }

    #[test]
    fn namespaces_behind_a_busy_link_are_asked_too() {
        let look = |at, uplink, container: u64, calm| {
            let (moment, mut net) = net(at, uplink, 0, Some(1000), None);
            let all = Arc::make_mut(&mut net);
            for (id, rx_bytes) in [(2, container), (3, calm)] {
                let veth =
                    Iface { name: "eth0".into(), up: true, rx_bytes, speed_mbit: Some(10_000), ..Iface::default() };
                all.netns.push(NetnsCounters { id: NetnsId(id), ifaces: vec![veth], ..NetnsCounters::default() });
            }
            (moment, net)
        };
        let asked = |uplink, container, calm| {
            let mut ids: Vec<_> = busy(&look(1, 0, 0, 0), &look(2, uplink, container, calm)).into_iter().collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(asked(110_000_000, 90_000_000, 1_000_000), [HERE, NetnsId(2)]);
        assert_eq!(asked(40_000_000, 40_000_000, 0), []);
    }

    fn carried(inode: u32, remote: &str, acked: u64, received: u64) -> Carried {
        Carried { inode, remote: remote.parse().unwrap(), acked, received }
    }

    fn reading(at_s: u64, rows: &[Carried]) -> Reading {
        let begun = Moment(at_s * 1_000_000_000);
        Reading { begun, done: Moment(begun.0 + 100_000_000), rows: rows.to_vec() }
    }

    #[test]
    fn connections_of_one_process_to_one_address_are_one_talker() {
        let mut watched = Watched::default();
        watched.take(reading(
            10,
            &[
                carried(1, "10.0.0.9", 1_000_000, 0),
                carried(2, "10.0.0.9", 500_000, 10),
                carried(3, "10.0.0.7", 0, 0),
                carried(4, "127.0.0.1", 0, 0),
                carried(5, "10.0.0.8", 9_000_000, 0),
            ],
        ));
        assert_eq!((watched.rows.len(), watched.next), (0, Moment(11_000_000_000)));
        watched.take(reading(
            12,
            &[
                carried(1, "10.0.0.9", 3_000_000, 0),
                carried(2, "10.0.0.9", 700_000, 10),
                carried(3, "10.0.0.7", 0, 40_000),
                carried(4, "127.0.0.1", 9_000_000, 9_000_000),
                // Another connection with that inode, and one that was not there before.
                carried(5, "10.0.0.1", 9_500_000, 0),
                carried(6, "10.0.0.9", 9_000_000, 0),
            ],
        ));
        let task = |pid| TaskKey { pid, start_ticks: 7 };
        let talkers = fold(HERE, &watched.rows, |inode| (inode < 3).then(|| task(40)));
        let told: Vec<_> = talkers
            .iter()
            .map(|t| (t.owner, t.remote_addr.to_string(), t.count, t.tx_bytes_per_s, t.rx_bytes_per_s))
            .collect();
        assert_eq!(
            told,
            [(Some(task(40)), "10.0.0.9".into(), 2, 1_100_000.0, 0.0), (None, "10.0.0.7".into(), 1, 0.0, 20_000.0),]
        );
    }

    #[test]
    fn nobody_is_asked_without_a_reader() {
        let mut talkers = Talkers::new(None);
        talkers.turn(Moment(5), Some(&net(1, 0, 0, None, None)), &[], |_| None);
        assert!(talkers.rows(|_| None).is_empty());
    }

    #[test]
    fn a_reading_that_hangs_is_told_until_the_link_is_calm() {
        let readers = Readers::start_few(std::path::Path::new("/proc"), 1).unwrap();
        for pid in readers.pids() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        }
        let mut talkers = Talkers::new(Some(readers));
        let here = [Namespace { id: HERE, pids: Vec::new(), bind: None }];
        let door = |_: &Namespace| Some(PathBuf::from("/proc/self/ns/net"));
        let at = crate::collect::now();
        talkers.turn(at, Some(&net(1, 0, 0, None, None)), &here, door);
        talkers.turn(at, Some(&net(2, 1 << 40, 0, None, None)), &here, door);
        assert_eq!(talkers.gap(), None);
        for _ in 0..1000 {
            talkers.turn(Moment(at.0 + 6_000_000_000), None, &here, door);
            if talkers.gap().is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(talkers.gap(), Some(HANGS));
        talkers.turn(at, Some(&net(3, 1 << 40, 0, None, None)), &here, door);
        assert_eq!(talkers.gap(), None);
    }

    #[test]
    fn a_busy_namespace_is_read_by_a_reader_and_a_calm_one_is_not() {
        let readers = Readers::start_few(std::path::Path::new("/proc"), 1).unwrap();
        let mut talkers = Talkers::new(Some(readers));
        let here = [Namespace { id: HERE, pids: Vec::new(), bind: None }];
        let door = |_: &Namespace| Some(PathBuf::from("/proc/self/ns/net"));
        talkers.turn(crate::collect::now(), Some(&net(1, 0, 0, None, None)), &here, door);
        talkers.turn(crate::collect::now(), Some(&net(2, 1, 1, None, None)), &here, door);
        assert!(talkers.watched.is_empty());
        let flood = net(3, 1 << 40, 0, None, None);
        for _ in 0..2000 {
            talkers.turn(crate::collect::now(), Some(&flood), &here, door);
            if talkers.watched.get(&HERE).is_some_and(|w| w.last.is_some()) {
                talkers.turn(crate::collect::now(), Some(&net(4, 1 << 40, 0, None, None)), &here, door);
                assert!(talkers.watched.is_empty(), "calm again");
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("no reading in 10 s");
    }
}
