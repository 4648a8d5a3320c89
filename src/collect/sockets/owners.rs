//! Who holds a socket: a map from inode to process that is kept between passes.
//!
//! A pass looks up every inode; only one that is new, or whose holder died or let go of it, makes processes be scanned,
//! the likely ones first and within a budget. What nobody holds (a kernel socket, a descriptor in flight) is asked
//! for again ever more seldom.

use super::fds::{Fds, Found, Looked};
use crate::snapshot::{NetnsId, Task, TaskKey, TaskState, Tasks};
use rustc_hash::{FxHashMap, FxHashSet};

/// Descriptors read per pass when there is no hurry: some 20 ms.
const BUDGET: usize = 10_000;
/// Holders checked per pass, in turn: whether the descriptor is still that socket.
const CHECKS: usize = 64;
/// Freed descriptors remembered.
const FREED: usize = 4096;
/// Passes after which a process that may not be looked at is tried again, and the longest wait for a socket of nobody.
const SELDOM: u32 = 64;
/// Passes for which a process counts as one that opens sockets.
const RECENT: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// A process, seen to hold it at descriptor `fd` of thread `tid`.
    Task { pid: u32, tid: u32, fd: u32 },
    /// Not found yet; every process scanned in pass `since` or later does not have it.
    Unknown { since: u32, tries: u8 },
    /// No process had it; asked again in pass `retry`.
    Nobody { retry: u32, tries: u8 },
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    cookie: u64,
    /// The pass that saw it last.
    seen: u32,
    holder: Holder,
}

/// What is known of a process.
#[derive(Clone, Copy, Debug, Default)]
struct Process {
    start_ticks: u64,
    /// The pass that saw it alive last.
    alive: u32,
    /// The pass that scanned it last; 0 never.
    scanned: u32,
    /// The pass in which it last had a new socket.
    gained: u32,
    /// Its descriptor count then.
    fds: Option<u64>,
    denied: bool,
    holds: bool,
}

/// The answer about one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Seen before in this pass: a dump may tell of a socket twice.
    Duplicate,
    /// This process.
    Held(u32),
    /// None that can be named.
    Nobody,
    /// To be looked for: see [`Owners::search`].
    Unknown,
}

/// The map.
#[derive(Debug, Default)]
pub(super) struct Owners {
    pass: u32,
    map: FxHashMap<u32, Entry>,
    processes: FxHashMap<u32, Process>,
    /// Every process seen to hold a listener.
    listeners: FxHashMap<u32, Vec<(u32, Found)>>,
    /// The pass that saw the newest listener: all processes are scanned once from then on, for those that share it.
    listener_since: u32,
    wanted: Vec<u32>,
    /// Whether one of them is worth a look at every process, not only at those that changed.
    wanted_hard: bool,
    wanted_netns: FxHashSet<NetnsId>,
    /// Sockets of this pass that are known to have no holder that can be named.
    nobodies: usize,
    /// Whether one of them was unknown in the pass before already.
    wanted_old: bool,
    /// Descriptors whose sockets have gone: where the next ones of their process will be.
    freed: Vec<(u32, Found)>,
    /// Holders still to be checked in this round.
    checks: Vec<u32>,
}

fn row(tasks: &Tasks, pid: u32) -> Option<&Task> {
    tasks.rows.binary_search_by_key(&pid, |t| t.key.pid).ok().and_then(|at| tasks.rows.get(at))
}

/// Whether `pid` should be named rather than `other`: the older, but init (which holds sockets for others) last.
fn rather(tasks: &Tasks, pid: u32, other: u32) -> bool {
    let rank = |pid: u32| (pid == 1, row(tasks, pid).map_or(u64::MAX, |t| t.key.start_ticks), pid);
    rank(pid) < rank(other)
}

impl Owners {
    /// Starts a pass: forgets the dead, and checks a few of the living.
    pub(super) fn begin(&mut self, tasks: &Tasks, fds: &Fds) {
        self.pass += 1;
        self.wanted.clear();
        self.wanted_hard = false;
        self.wanted_old = false;
        self.nobodies = 0;
        self.wanted_netns.clear();
        self.meet(tasks, fds);
        let dead: FxHashSet<u32> =
            self.processes.iter().filter(|(_, p)| p.alive != self.pass && p.holds).map(|(&pid, _)| pid).collect();
        self.processes.retain(|_, p| p.alive == self.pass);
        if !dead.is_empty() {
            self.bury(&dead, tasks);
        }
        self.check(fds, tasks);
    }

    /// Marks the living, and asks the newly born whether they got a listener from their parent.
    fn meet(&mut self, tasks: &Tasks, fds: &Fds) {
        let parents: FxHashSet<u32> = self.listeners.values().flatten().map(|(pid, _)| *pid).collect();
        for task in &tasks.rows {
            let known = self.processes.entry(task.key.pid).or_default();
            if known.start_ticks != task.key.start_ticks && known.alive > 0 {
                // The pid was reused: let the old one die first, this one is met in the next pass.
                continue;
            }
            let born = known.alive == 0;
            *known = Process { start_ticks: task.key.start_ticks, alive: self.pass, ..*known };
            if !born || !parents.contains(&task.ppid) {
                continue;
            }
            let pid = task.key.pid;
            for (&inode, held) in &mut self.listeners {
                let Some((_, parents)) = held.iter().find(|(holder, _)| *holder == task.ppid) else { continue };
                if fds.still(pid, parents.fd, inode) {
                    known.holds = true;
                    held.push((pid, Found { tid: pid, ..*parents }));
                }
            }
        }
    }

    fn bury(&mut self, dead: &FxHashSet<u32>, tasks: &Tasks) {
        let since = self.pass;
        for held in self.listeners.values_mut() {
            held.retain(|(pid, _)| !dead.contains(pid));
        }
        for (inode, entry) in &mut self.map {
            if let Holder::Task { pid, .. } = entry.holder
                && dead.contains(&pid)
            {
                let heirs = self.listeners.get(inode).into_iter().flatten();
                let heir = heirs.copied().reduce(|a, b| if rather(tasks, b.0, a.0) { b } else { a });
                entry.holder = heir.map_or(Holder::Unknown { since, tries: 0 }, |(pid, found)| task_holder(pid, found));
            }
        }
    }

    /// Looks whether some of the holders still hold: a server that forks closes its copy.
    fn check(&mut self, fds: &Fds, tasks: &Tasks) {
        if self.checks.is_empty() {
            self.checks.extend(self.map.keys());
        }
        for _ in 0..CHECKS {
            let Some(inode) = self.checks.pop() else { break };
            let mut heir = None;
            if let Some(held) = self.listeners.get_mut(&inode) {
                held.retain(|(_, f)| fds.still(f.tid, f.fd, inode));
                heir = held.iter().copied().reduce(|a, b| if rather(tasks, b.0, a.0) { b } else { a });
            }
            let Some(entry) = self.map.get_mut(&inode) else { continue };
            if let Holder::Task { pid, tid, fd } = entry.holder
                && !fds.still(tid, fd, inode)
            {
                self.freed.push((pid, Found { tid, fd, inode }));
                entry.holder = heir.map_or(Holder::Unknown { since: self.pass, tries: 0 }, |(p, f)| task_holder(p, f));
            }
        }
    }

    /// Who holds this socket, which the kernel has just told of.
    pub(super) fn look(&mut self, inode: u32, cookie: u64, netns: NetnsId, listens: bool) -> Owner {
        let pass = self.pass;
        let unseen = Entry { cookie, seen: pass, holder: Holder::Unknown { since: pass, tries: 0 } };
        let mut new = false;
        let entry = self.map.entry(inode).or_insert_with(|| {
            new = true;
            unseen
        });
        if !new && entry.cookie == cookie && entry.seen == pass {
            return Owner::Duplicate;
        }
        if entry.cookie != cookie {
            *entry = unseen;
            new = true;
        }
        entry.seen = pass;
        if let Holder::Nobody { retry, tries } = entry.holder
            && pass >= retry
        {
            entry.holder = Holder::Unknown { since: pass, tries };
        }
        if listens && new {
            self.listeners.insert(inode, Vec::new());
            self.listener_since = pass;
        }
        match entry.holder {
            Holder::Task { pid, .. } => Owner::Held(pid),
            Holder::Nobody { .. } => {
                self.nobodies += 1;
                Owner::Nobody
            }
            Holder::Unknown { tries, .. } => {
                self.wanted.push(inode);
                let hard = tries == 0 || wait(tries) == SELDOM;
                self.wanted_hard |= hard;
                self.wanted_old |= hard && !new;
                self.wanted_netns.insert(netns);
                Owner::Unknown
            }
        }
    }

    /// The holder that is known by now.
    pub(super) fn holder(&self, inode: u32) -> Option<u32> {
        match self.map.get(&inode)?.holder {
            Holder::Task { pid, .. } => Some(pid),
            Holder::Unknown { .. } | Holder::Nobody { .. } => None,
        }
    }

    /// How many processes were seen to hold this listener.
    pub(super) fn shared_by(&self, inode: u32) -> u32 {
        self.listeners.get(&inode).map_or(0, |held| u32::try_from(held.len()).unwrap_or(u32::MAX))
    }

    /// Whether sockets of this pass have no owner while some processes may not be looked at, or are not even `listed`.
    pub(super) fn any_hidden(&self, listed: bool) -> bool {
        self.nobodies > 0 && (!listed || self.processes.values().any(|p| p.denied))
    }

    /// Sockets of this pass whose owners are still looked for.
    pub(super) fn still_unknown(&self) -> usize {
        let unknown = |i: &&u32| self.map.get(i).is_some_and(|e| matches!(e.holder, Holder::Unknown { tries: 0, .. }));
        self.wanted.iter().filter(unknown).count()
    }

    /// Looks for what [`Owners::look`] did not know: where sockets of known holders were replaced, then in processes
    /// never scanned, and from its second pass on in all. Within a budget, and not so when `eager`.
    pub(super) fn search(&mut self, tasks: &Tasks, fds: &mut Fds, eager: bool) {
        let mut left = self.wanted.iter().filter(|i| self.holder(**i).is_none()).count();
        self.probe(tasks, fds, &mut left);
        let mut order = self.order(tasks);
        // Without hard cases the order holds only what changed.
        let everywhere = left > 0 && (eager || self.wanted_old || !self.wanted_hard);
        order.retain(|(_, scanned, _)| everywhere || *scanned < self.listener_since || left > 0 && *scanned == 0);
        if order.is_empty() {
            return self.give_up(&self.order(tasks));
        }
        let known = self.known_fds();
        let mut spent = 0;
        for &(class, scanned, task) in &order {
            let over = spent >= if class == 0 { BUDGET / 2 } else { BUDGET };
            if (over && !eager) || (left == 0 && scanned >= self.listener_since) {
                continue;
            }
            let pid = task.key.pid;
            let before = left;
            let skip = |fd: u32| known.contains(&(pid, fd));
            let mut holds = false;
            let (map, listeners) = (&mut self.map, &mut self.listeners);
            let looked = fds.scan(pid, task.threads > 1, skip, |found| {
                holds |= found_one(map, listeners, tasks, pid, found, &mut left);
            });
            let pass = self.pass;
            let process = self.processes.entry(pid).or_default();
            process.scanned = pass;
            process.fds = task.fds;
            process.denied = looked == Looked::Denied;
            process.holds |= holds;
            if left < before {
                process.gained = pass;
            }
            spent += if let Looked::Seen(read) = looked { read + 4 } else { 4 };
        }
        self.give_up(&self.order(tasks));
    }

    /// Looks where a process that closed a socket, or opens one after another, has its next: the lowest free descriptor.
    fn probe(&mut self, tasks: &Tasks, fds: &Fds, left: &mut usize) {
        let mut highest: FxHashMap<u32, Found> = FxHashMap::default();
        for (&inode, entry) in &self.map {
            let Holder::Task { pid, tid, fd } = entry.holder else { continue };
            let place = Found { tid, fd, inode };
            if entry.seen != self.pass {
                self.freed.push((pid, place));
            }
            let top = highest.entry(pid).or_insert(place);
            *top = if top.fd < fd { place } else { *top };
        }
        self.freed.drain(..self.freed.len().saturating_sub(FREED));
        let mut freed = std::mem::take(&mut self.freed);
        freed.retain(|(pid, at)| {
            self.processes.contains_key(pid) && (*left == 0 || self.found_at(tasks, fds, *pid, *at, left) != Some(true))
        });
        self.freed = freed;
        for (pid, mut at) in highest {
            for _ in 0..FREED {
                at.fd += 1;
                if *left == 0 || self.found_at(tasks, fds, pid, at, left).is_none() {
                    break;
                }
            }
        }
    }

    /// Looks at one descriptor: `None` when no socket is there, else whether it is one that the kernel told of by now.
    fn found_at(&mut self, tasks: &Tasks, fds: &Fds, pid: u32, at: Found, left: &mut usize) -> Option<bool> {
        let inode = fds.socket_at(at.tid, at.fd)?;
        let told = found_one(&mut self.map, &mut self.listeners, tasks, pid, Found { inode, ..at }, left);
        if told {
            let process = self.processes.entry(pid).or_default();
            (process.gained, process.holds) = (self.pass, true);
        }
        Some(told)
    }

    /// The processes worth scanning, the likeliest first, with their class and when they were last scanned.
    fn order<'t>(&self, tasks: &'t Tasks) -> Vec<(u8, u32, &'t Task)> {
        if self.wanted.is_empty() && self.processes.values().all(|p| p.scanned >= self.listener_since) {
            return Vec::new();
        }
        let mut order = Vec::with_capacity(tasks.rows.len());
        for task in &tasks.rows {
            let Some(process) = self.processes.get(&task.key.pid) else { continue };
            let seldom = process.denied && self.pass.saturating_sub(process.scanned) < SELDOM;
            if task.kthread || task.is_zombie() || task.fds == Some(0) && task.state != TaskState::Zombie || seldom {
                continue;
            }
            let changed = process.scanned == 0 || task.fds != process.fds;
            if !changed && !self.wanted_hard && process.scanned >= self.listener_since {
                continue;
            }
            let class = if process.gained > 0 && self.pass - process.gained <= RECENT {
                0
            } else if changed {
                1
            } else if task.netns.is_none_or(|n| self.wanted_netns.contains(&n)) {
                2
            } else {
                3
            };
            order.push((class, process.scanned, task));
        }
        order.sort_by_key(|(class, scanned, _)| (*class, *scanned));
        order
    }

    /// Descriptors that need no look: their socket was seen in this pass and its holder is known.
    fn known_fds(&self) -> FxHashSet<(u32, u32)> {
        let held = self.map.values().filter(|e| e.seen == self.pass);
        held.filter_map(|e| match e.holder {
            Holder::Task { pid, fd, .. } => Some((pid, fd)),
            Holder::Unknown { .. } | Holder::Nobody { .. } => None,
        })
        .collect()
    }

    /// Ends the search for sockets that no process had since they were seen first.
    fn give_up(&mut self, order: &[(u8, u32, &Task)]) {
        let horizon = order.iter().map(|(_, scanned, _)| *scanned).min().unwrap_or(self.pass);
        for inode in &self.wanted {
            let Some(entry) = self.map.get_mut(inode) else { continue };
            if let Holder::Unknown { since, tries } = entry.holder
                && since <= horizon
            {
                self.nobodies += 1;
                entry.holder = Holder::Nobody { retry: self.pass + wait(tries), tries: tries.saturating_add(1) };
            }
        }
    }

    /// Ends a pass. With `complete` dumps, what they did not tell of has gone.
    pub(super) fn end(&mut self, complete: bool) {
        if complete {
            let pass = self.pass;
            self.map.retain(|_, e| e.seen == pass);
            let map = &self.map;
            self.listeners.retain(|inode, _| map.contains_key(inode));
        }
    }

    /// The key of a holder.
    pub(super) fn key(tasks: &Tasks, pid: u32) -> Option<TaskKey> {
        row(tasks, pid).map(|t| t.key)
    }
}

/// Passes until a socket that so many searches did not find is searched for again.
fn wait(tries: u8) -> u32 {
    1u32.checked_shl(tries.into()).unwrap_or(SELDOM).min(SELDOM)
}

fn task_holder(pid: u32, found: Found) -> Holder {
    Holder::Task { pid, tid: found.tid, fd: found.fd }
}

/// Notes that `pid` holds a socket; whether it is one that was asked for.
fn found_one(
    map: &mut FxHashMap<u32, Entry>,
    listeners: &mut FxHashMap<u32, Vec<(u32, Found)>>,
    tasks: &Tasks,
    pid: u32,
    found: Found,
    left: &mut usize,
) -> bool {
    let Some(entry) = map.get_mut(&found.inode) else { return false };
    if let Some(held) = listeners.get_mut(&found.inode)
        && !held.iter().any(|(holder, _)| *holder == pid)
    {
        held.push((pid, found));
    }
    match entry.holder {
        Holder::Task { pid: other, .. } if !rather(tasks, pid, other) => {}
        Holder::Task { .. } | Holder::Nobody { .. } => entry.holder = task_holder(pid, found),
        Holder::Unknown { .. } => {
            entry.holder = task_holder(pid, found);
            *left = left.saturating_sub(1);
        }
    }
    true
}
