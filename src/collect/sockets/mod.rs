//! TCP and UDP of every network namespace by `sock_diag`, folded while reading, with owners.
//!
//! ```text
//! namespaces ─▶ dump (sock_diag) or text (/proc/PID/net) ─▶ Sock ─▶ owners ─┬─▶ fold      TCP groups
//!                                                           unknown: fds ◀──┤   listeners
//!                                                           wait, then ─────┴─▶ udp
//! ```

mod dump;
mod fds;
mod fold;
mod listeners;
pub(crate) mod namespaces;
mod owners;
mod talkers;
#[cfg(test)]
mod tests;
mod text;
mod traffic;
mod udp;
pub(crate) mod wire;

use super::io::netns_dir;
use super::readers::{Readers, TrafficAsk};
use super::{Collector, Context, Roots, now};
use crate::snapshot::{Gap, Listener, ListenerKey, NetnsId, Proto, Section, Sockets, Tasks, TcpState};
use dump::{Ask, DumpError};
use fds::Fds;
use fold::Fold;
use listeners::Listeners;
use namespaces::{Door, Inside, Namespace, Own};
use owners::{Owner, Owners};
use rustc_hash::{FxHashMap, FxHashSet};
use rustix::io::Errno;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use talkers::Talkers;
pub(in crate::collect) use traffic::dump as dump_traffic;
use udp::Udp;
use wire::Sock;

/// Netlink sockets kept open between passes; further namespaces are entered anew each time.
const KEPT_OPEN: usize = 256;
/// The four tables of `/proc/PID/net`; `tcp6` first, for its listeners on `::` own connections in `tcp` too.
const TABLES: [(&str, Proto); 4] =
    [("tcp6", Proto::Tcp), ("tcp", Proto::Tcp), ("udp", Proto::Udp), ("udp6", Proto::Udp)];

/// Reads every socket of every network namespace that can be reached.
#[derive(Debug)]
pub struct SocketsCollector {
    roots: Roots,
    own: Option<Own>,
    door: Option<Door>,
    open: FxHashMap<NetnsId, Inside>,
    /// Whether the kernel lacks the handler, by protocol: asking again would start `modprobe` each time.
    no_diag: [bool; 2],
    fds: Option<Fds>,
    owners: Owners,
    talkers: Talkers,
    pass: Pass,
    buf: Vec<u8>,
    seq: u32,
}

/// What one pass gathers. Kept for its allocations.
#[derive(Debug, Default)]
struct Pass {
    netns: Vec<NetnsId>,
    ports: Vec<RangeInclusive<u16>>,
    listeners: Listeners,
    fold: Fold,
    udp: Udp,
    /// Sockets whose holder is not known yet.
    pending: Vec<Sock>,
    /// Cookies of sockets without an inode, which [`Owners`] does not tell apart.
    orphans: FxHashSet<u64>,
    sources: [bool; 2],
    broken: Option<String>,
    unread: u64,
}

impl Pass {
    fn clear(&mut self) {
        self.netns.clear();
        self.ports.clear();
        self.listeners.clear();
        self.fold.clear();
        self.pending.clear();
        self.orphans.clear();
        self.sources = [false; 2];
        self.broken = None;
        self.unread = 0;
    }

    /// Takes a socket from the kernel.
    fn take(&mut self, sock: Sock, owners: &mut Owners) {
        let Some(&netns) = self.netns.get(sock.netns as usize) else { return };
        let listens = sock.state == TcpState::Listen && sock.proto == Proto::Tcp;
        if sock.inode == 0 {
            if sock.cookie == 0 || self.orphans.insert(sock.cookie) {
                self.place(&sock, None);
            }
            return;
        }
        match owners.look(sock.inode, sock.cookie, netns, listens) {
            Owner::Duplicate => {}
            _ if listens => self.listeners.push(sock),
            Owner::Held(pid) => self.place(&sock, Some(pid)),
            Owner::Nobody => self.place(&sock, None),
            Owner::Unknown => self.pending.push(sock),
        }
    }

    fn place(&mut self, sock: &Sock, pid: Option<u32>) {
        if sock.proto == Proto::Udp {
            self.udp.add(sock, pid);
        } else if let Some(ports) = self.ports.get(sock.netns as usize) {
            self.fold.add(sock, pid, &mut self.listeners, ports);
        }
    }
}

impl SocketsCollector {
    /// Reads below `roots`; namespaces are entered and `sock_diag` is asked only where these are the live trees. Without
    /// `readers` nobody asks for `tcp_info`.
    #[must_use]
    pub fn new(roots: &Roots, readers: Option<Readers<TrafficAsk>>) -> Self {
        let live = roots.is_live();
        Self {
            own: live.then(|| Own::find(&roots.proc).ok()).flatten(),
            door: live.then(|| Door::open(&roots.proc)).flatten(),
            roots: roots.clone(),
            open: FxHashMap::default(),
            no_diag: [!live; 2],
            fds: None,
            owners: Owners::default(),
            talkers: Talkers::new(readers.filter(|_| live)),
            pass: Pass::default(),
            buf: vec![0; dump::BUFFER],
            seq: 0,
        }
    }

    fn namespaces(&self, tasks: &Tasks) -> Vec<Namespace> {
        let mut all = namespaces::of_tasks(tasks);
        namespaces::add_bound(&mut all, self.own.as_ref());
        if all.is_empty() {
            all.push(Namespace { id: NetnsId::default(), pids: Vec::new(), bind: None });
        }
        all
    }

    /// A netlink socket inside `namespace`.
    fn inside(&mut self, namespace: &Namespace) -> Result<Inside, Errno> {
        if let Some(inside) = self.open.remove(&namespace.id) {
            return Ok(inside);
        }
        if self.own.is_some_and(|own| own.id == namespace.id) {
            return Inside::here(&self.roots.proc);
        }
        let mut last = Errno::NOENT;
        for path in doors(&self.roots, namespace) {
            // The process may have moved or gone meanwhile, and its pid be another's.
            let entered = namespaces::open_namespace(&path).and_then(|file| {
                let id = rustix::fs::fstat(&file)?.st_ino;
                if NetnsId(id) == namespace.id { self.enter(file) } else { Err(Errno::NOENT) }
            });
            match entered {
                Ok(inside) => return Ok(inside),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    fn enter(&mut self, file: rustix::fd::OwnedFd) -> Result<Inside, Errno> {
        let entered = self.door.as_ref().map_or(Err(Errno::IO), |door| door.enter(file));
        if entered.as_ref().is_err_and(|e| *e == Errno::IO) {
            self.door = None; // stuck or gone: whatever it may still answer is for nobody
        }
        entered
    }

    /// Reads one namespace by the best way there is; whether anything was read.
    fn read(&mut self, namespace: &Namespace) -> bool {
        let at = u32::try_from(self.pass.netns.len()).unwrap_or(u32::MAX);
        self.pass.netns.push(namespace.id);
        let inside = if self.no_diag == [true; 2] { Err(Errno::NOSYS) } else { self.inside(namespace) };
        let ports = inside.as_ref().map_or_else(|_| namespaces::local_ports(&self.roots.proc), |i| i.ports.clone());
        self.pass.ports.push(ports);
        let Ok(inside) = inside else {
            let read = self.read_text(namespace, at, &[Proto::Tcp, Proto::Udp]);
            if !read {
                self.pass.netns.pop();
                self.pass.ports.pop();
            }
            return read;
        };
        let mut sound = true;
        for (proto, asks) in [(Proto::Tcp, &[Ask::Listeners, Ask::Connections][..]), (Proto::Udp, &[Ask::Udp])] {
            sound &= self.read_diag(&inside, namespace, at, proto, asks);
        }
        if sound && self.open.len() < KEPT_OPEN {
            self.open.insert(namespace.id, inside);
        }
        true
    }

    /// Dumps one protocol; whether the netlink socket may be used again.
    fn read_diag(&mut self, inside: &Inside, namespace: &Namespace, at: u32, proto: Proto, asks: &[Ask]) -> bool {
        let missing = usize::from(proto == Proto::Udp);
        for &ask in asks {
            if self.no_diag.get(missing) == Some(&true) {
                self.read_text(namespace, at, &[proto]);
                return true;
            }
            let (pass, owners) = (&mut self.pass, &mut self.owners);
            let each = |sock: Sock| pass.take(Sock { netns: at, ..sock }, owners);
            match dump::dump(&inside.socket, ask, &mut self.seq, &mut self.buf, each) {
                Ok(()) => self.pass.sources[0] = true,
                Err(DumpError::Unavailable) => {
                    if let Some(flag) = self.no_diag.get_mut(missing) {
                        *flag = true;
                    }
                    self.read_text(namespace, at, &[proto]);
                    return true;
                }
                Err(DumpError::Broken(e)) => {
                    self.pass.broken = Some(format!("sockets after sock_diag broke off: {e}"));
                    return false;
                }
            }
        }
        true
    }

    fn read_text(&mut self, namespace: &Namespace, at: u32, protos: &[Proto]) -> bool {
        let own = self.own.is_none_or(|own| own.id == namespace.id) && namespace.pids.is_empty();
        let of_pids = namespace.pids.iter().map(|pid| netns_dir(&self.roots.proc, *pid).join("net"));
        for folder in of_pids.chain(own.then(|| self.roots.proc("net"))) {
            let mut read = false;
            for (table, proto) in TABLES.iter().filter(|(_, proto)| protos.contains(proto)) {
                let (pass, owners) = (&mut self.pass, &mut self.owners);
                let path = folder.join(table);
                let each = |sock: Sock| pass.take(Sock { netns: at, ..sock }, owners);
                read |= text::read(&path, *proto, &mut self.buf, each).is_ok();
            }
            if read {
                self.pass.sources[1] = true;
                return true;
            }
        }
        false
    }

    fn finish(&mut self, tasks: &Tasks) -> Sockets {
        let mut pending = std::mem::take(&mut self.pass.pending);
        for sock in pending.drain(..) {
            let pid = self.owners.holder(sock.inode);
            self.pass.place(&sock, pid);
        }
        self.pass.pending = pending;
        let owners = &self.owners;
        let pass = &mut self.pass;
        let task = |pid| Owners::key(tasks, pid);
        let listeners = &pass.listeners;
        let of_listener = |at| listeners.get(at).and_then(|l| owners.holder(l.inode));
        let groups = pass.fold.finish(&pass.netns, of_listener, task);
        let (udp, udp_more) = pass.udp.finish(&pass.netns, task);
        Sockets {
            groups,
            listeners: rows_of(listeners, &pass.netns, owners, tasks),
            udp,
            udp_more,
            talkers: self.talkers.rows(|inode| owners.holder(inode).and_then(task)),
            netns: pass.netns.clone(),
            source: match pass.sources {
                [true, true] => "sock_diag and /proc/net",
                [false, true] => "/proc/net",
                _ => "sock_diag",
            }
            .into(),
            gaps: Vec::new(),
        }
    }

    fn gaps(&self, tasks: Option<&Tasks>) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut gap = |what: String, fix: &str| gaps.push(Gap { what: what.into(), fix: fix.into() });
        if tasks.is_none() {
            gap("owners of sockets, other network namespaces".into(), "the list of processes, not read yet");
        } else if self.fds.is_none() {
            gap("owners of sockets".into(), "a /proc that can be opened");
        } else if self.owners.any_hidden(tasks.is_none_or(|t| t.gaps.is_empty())) {
            gap("owners of other users' sockets".into(), "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH");
        }
        if self.owners.still_unknown() > 0 {
            gap("owners of new sockets".into(), "the next samples: the search is bounded in each");
        }
        if self.pass.unread > 0 {
            gap(format!("sockets of {} network namespaces", self.pass.unread), "CAP_SYS_ADMIN and CAP_SYS_PTRACE");
        }
        if self.pass.sources[1] {
            let fix = match (self.roots.is_live(), self.no_diag) {
                (false, _) => "the running system's own /proc",
                (true, [false, false]) => "CAP_SYS_ADMIN and CAP_SYS_PTRACE",
                _ => "the kernel modules tcp_diag and udp_diag",
            };
            gap("socket buffers, backlogs and cgroups (read from /proc/net)".into(), fix);
        }
        if let Some((what, fix)) = self.talkers.gap() {
            gap(what.into(), fix);
        }
        if let Some(broken) = &self.pass.broken {
            gap(broken.clone(), "kernel memory; tried again in the next sample");
        }
        gaps.extend(tasks.and_then(Tasks::hidden_netns));
        gaps
    }
}

/// Files that stand for a namespace.
fn doors(roots: &Roots, namespace: &Namespace) -> Vec<PathBuf> {
    let of_pids = namespace.pids.iter().map(|pid| netns_dir(&roots.proc, *pid).join("ns/net"));
    of_pids.chain(namespace.bind.clone()).collect()
}

fn rows_of(listeners: &Listeners, netns: &[NetnsId], owners: &Owners, tasks: &Tasks) -> Vec<Listener> {
    let mut rows: Vec<_> = listeners
        .rows
        .iter()
        .filter_map(|(sock, syn_recv)| {
            Some(Listener {
                key: ListenerKey {
                    netns: *netns.get(sock.netns as usize)?,
                    local: sock.local.with_port(sock.local_port),
                },
                cookie: if sock.cookie == 0 { sock.inode.into() } else { sock.cookie },
                owner: owners.holder(sock.inode).and_then(|pid| Owners::key(tasks, pid)),
                shared_by: owners.shared_by(sock.inode),
                queue: sock.rqueue.into(),
                backlog: sock.wqueue.into(),
                drops: sock.mem.drops.map(u64::from),
                syn_recv: *syn_recv,
                cgroup_id: sock.cgroup_id,
            })
        })
        .collect();
    rows.sort_unstable_by_key(|l| (l.key, l.cookie));
    rows
}

impl Collector for SocketsCollector {
    type Out = Sockets;

    fn name(&self) -> &'static str {
        "sockets"
    }

    fn collect(&mut self, cx: &Context) -> Section<Sockets> {
        let at = now();
        let none = Tasks::default();
        let tasks = cx.tasks.as_deref().unwrap_or(&none);
        self.pass.clear();
        if self.fds.is_none() {
            self.fds = Fds::open(&self.roots.proc).ok();
        }
        if let Some(fds) = &self.fds {
            self.owners.begin(tasks, fds);
        }
        let namespaces = self.namespaces(tasks);
        self.open.retain(|id, _| namespaces.binary_search_by_key(id, |n| n.id).is_ok());
        for namespace in &namespaces {
            if !self.read(namespace) {
                self.pass.unread += 1;
            }
        }
        if self.pass.netns.is_empty() {
            return Section::absent("neither sock_diag nor /proc/net/tcp can be read");
        }
        if let Some(fds) = &mut self.fds {
            self.owners.search(tasks, fds, cx.eager);
        }
        self.talkers
            .turn(at, cx.net.as_ref(), &namespaces, |namespace| doors(&self.roots, namespace).into_iter().next());
        let mut data = self.finish(tasks);
        data.gaps = self.gaps(cx.tasks.as_deref());
        self.owners.end(self.pass.broken.is_none() && self.pass.unread == 0);
        Section::ok(at, data)
    }
}
