//! Counters, interfaces, queueing disciplines and limits of every network namespace.
//!
//! ```text
//! lane thread                               netns thread
//!   places    which namespaces                visitor   enters them where needed
//!   texts     /proc/PID/net/…  (files)        netlink   links, qdiscs
//!                                             sysctls   /proc/sys/net
//! ```

mod files;
mod netlink;
mod places;
mod sysctls;
mod texts;
mod visitor;

use super::io::{netns_dir, open_dir, read_path};
use super::kept::unread;
use super::text::{Shapes, Tally};
use super::{Collector, Context, Roots, now};
use crate::snapshot::{Counters, Gap, Moment, Net, NetnsCounters, NetnsId, Section, Tasks};
use places::Place;
use rustc_hash::{FxHashMap, FxHashSet};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use texts::Texts;
use visitor::{Answer, Found, Visit};

/// Reads the network counters of every namespace it can reach.
#[derive(Debug)]
pub struct NetCollector {
    roots: Roots,
    own: NetnsId,
    texts: Texts,
    buf: Vec<u8>,
    sysctls: FxHashMap<NetnsId, (Moment, Counters)>,
    /// The netns thread; `None` for a foreign tree, or when it could not be started or has ended.
    helper: Option<Helper>,
}

#[derive(Debug)]
struct Helper {
    visits: Sender<(u64, Vec<Visit>)>,
    answers: Receiver<Answer>,
    pass: u64,
    /// Whether the last pass has not been answered to its end.
    busy: bool,
}

impl NetCollector {
    /// A collector of the trees below `roots`. For the running system's own it starts a thread.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        let link = if roots.is_live() { "self/ns/net" } else { "1/ns/net" };
        let own = NetnsId(rustix::fs::stat(roots.proc(link)).map_or(0, |stat| stat.st_ino));
        Self {
            roots: roots.clone(),
            own,
            texts: Texts::default(),
            buf: Vec::new(),
            sysctls: FxHashMap::default(),
            helper: roots.is_live().then(Helper::start).flatten(),
        }
    }
}

impl Collector for NetCollector {
    type Out = Net;

    fn name(&self) -> &'static str {
        "net"
    }

    fn collect(&mut self, cx: &Context) -> Section<Net> {
        let at = now();
        let tasks = cx.tasks.as_deref();
        let places = places::find(&self.roots, self.own, tasks);
        let mut gaps: Vec<Gap> = tasks.and_then(Tasks::hidden_netns).into_iter().collect();
        let asked = self.ask(&places, at, cx.eager);
        let mut netns: Vec<NetnsCounters> = Vec::with_capacity(places.len());
        for place in &places {
            let mut counters = NetnsCounters {
                id: place.id,
                name: place.name.clone(),
                pid: place.pid,
                tasks: place.tasks,
                ..NetnsCounters::default()
            };
            let read = self.net_dir(place).and_then(|dir| self.texts.read(&dir, &mut counters));
            if let (Err(e), true) = (read, place.id == self.own) {
                return unread("/proc/net/netstat", "a /proc mounted without subset=pid", e);
            }
            netns.push(counters);
        }
        let mut found = self.answers(asked, places.len(), &mut gaps);
        for (counters, place) in netns.iter_mut().zip(&places) {
            if !self.join(counters, found.remove(&place.id), at, &mut gaps)
                && let Ok(dir) = self.net_dir(place)
            {
                self.texts.read_dev(&dir, counters);
            }
            if let Some((_, sysctls)) = self.sysctls.get(&place.id) {
                counters.sysctls = sysctls.clone();
            }
        }
        // A namespace that ended between the look at the tasks and this one.
        netns.retain(|n| n.id == self.own || !n.counters.is_empty());
        let alive: FxHashSet<NetnsId> = netns.iter().map(|n| n.id).collect();
        self.sysctls.retain(|id, _| alive.contains(id));
        let softnet = match read_path(&self.roots.proc("net/softnet_stat"), &mut self.buf) {
            Ok(()) => files::parse_softnet(&self.buf),
            Err(_) => Vec::new(),
        };
        gaps.dedup();
        Section::ok(at, Net { netns, softnet, gaps })
    }
}

impl NetCollector {
    /// Sends what is wanted of each namespace to the netns thread; whether it took it.
    fn ask(&mut self, places: &[Place], at: Moment, eager: bool) -> bool {
        /// Sysctls change by hand only; while someone waits for an answer they are read more often.
        const SYSCTL_SECS: [f64; 2] = [10.0, 1.0];
        if !self.roots.is_live() {
            self.own_sysctls(at);
            return false;
        }
        let limit = if eager { SYSCTL_SECS[1] } else { SYSCTL_SECS[0] };
        let visits = places.iter().map(|place| Visit {
            id: place.id,
            door: door(place).filter(|_| place.id != self.own),
            sysctls: self.sysctls.get(&place.id).is_none_or(|(read, _)| at.since(*read) >= limit),
            texts: place.id != self.own && place.pid.is_none(),
        });
        let visits = visits.collect();
        self.helper.as_mut().is_some_and(|helper| helper.ask(visits))
    }

    /// The answers to what was asked, and gaps for why there are none.
    fn answers(&mut self, asked: bool, places: usize, gaps: &mut Vec<Gap>) -> FxHashMap<NetnsId, Found> {
        let Some(helper) = self.helper.as_mut() else {
            if self.roots.is_live() {
                gaps.push(gap("queueing disciplines and other namespaces' limits", "a thread more: restart whytop"));
            }
            return FxHashMap::default();
        };
        let found = if asked { helper.answers(places) } else { FxHashMap::default() };
        if found.len() < places {
            gaps.push(gap(
                "interfaces by netlink, queueing disciplines, new limits: the netns thread has not answered",
                "the kernel's rtnl lock is held: look for tasks in D that configure the network",
            ));
        }
        found
    }

    /// Puts what the netns thread found into the namespace's row; whether its interfaces are there now.
    fn join(&mut self, counters: &mut NetnsCounters, found: Option<Found>, at: Moment, gaps: &mut Vec<Gap>) -> bool {
        let Some(found) = found else { return false };
        if let Some(Ok(texts)) = found.texts {
            *counters = NetnsCounters { id: counters.id, name: counters.name.take(), ..texts };
        }
        if let Some(Ok(sysctls)) = found.sysctls {
            self.sysctls.insert(counters.id, (at, sysctls));
        }
        match found.links {
            Ok((ifaces, qdiscs)) => {
                (counters.ifaces, counters.qdiscs) = (ifaces, qdiscs);
                return true;
            }
            Err(Errno::PERM | Errno::ACCESS) => gaps.push(gap(
                "limits and queueing disciplines of other network namespaces",
                "root, or CAP_SYS_ADMIN in their user namespace",
            )),
            // The namespace has gone: no gap, it will not be named in the next pass.
            Err(_) => {}
        }
        false
    }

    /// The folder of a process's view of its namespace, made sure of by the namespace's inode after it was opened.
    fn net_dir(&self, place: &Place) -> Result<OwnedFd, Errno> {
        let proc = &self.roots.proc;
        if place.id == self.own {
            let link = if self.roots.is_live() { "self/net" } else { "1/net" };
            return open_dir(&proc.join(link)).or_else(|_| open_dir(&proc.join("net")));
        }
        let task = open_dir(&netns_dir(proc, place.pid.ok_or(Errno::SRCH)?))?;
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let net = rustix::fs::openat(&task, "net", flags, rustix::fs::Mode::empty())?;
        let inode = rustix::fs::statat(&task, "ns/net", rustix::fs::AtFlags::empty())?.st_ino;
        if inode == place.id.0 { Ok(net) } else { Err(Errno::SRCH) }
    }

    /// A foreign tree's sysctls are those of the reader's namespace: they count only when that is the tree's own.
    fn own_sysctls(&mut self, at: Moment) {
        let reader = rustix::fs::stat(self.roots.proc("self/ns/net")).map_or(0, |stat| stat.st_ino);
        if reader == self.own.0 {
            let (mut shapes, mut tally) = (Shapes::default(), Tally::default());
            sysctls::tally(&self.roots.proc, &mut tally, &mut self.buf);
            self.sysctls.insert(self.own, (at, shapes.counters(&tally)));
        }
    }
}

impl Helper {
    fn start() -> Option<Self> {
        let (visits, wanted) = channel();
        let (found, answers) = channel();
        visitor::start(wanted, found).ok()?;
        Some(Self { visits, answers, pass: 0, busy: false })
    }

    /// Sends visits unless the last ones are still under way.
    fn ask(&mut self, visits: Vec<Visit>) -> bool {
        while let Ok(answer) = self.answers.try_recv() {
            self.busy &= !matches!(answer, Answer::Done(pass) if pass == self.pass);
        }
        if self.busy {
            return false;
        }
        self.pass = self.pass.wrapping_add(1);
        self.busy = self.visits.send((self.pass, visits)).is_ok();
        self.busy
    }

    /// Waits for the answers of this pass, at most a quarter of a second and a little for each namespace.
    fn answers(&mut self, places: usize) -> FxHashMap<NetnsId, Found> {
        let start = now();
        let limit = Duration::from_millis(250 + 2 * places as u64);
        let mut found = FxHashMap::default();
        while self.busy {
            let left = limit.saturating_sub(Duration::from_secs_f64(now().since(start)));
            match self.answers.recv_timeout(left) {
                Ok(Answer::One(pass, one)) if pass == self.pass => {
                    found.insert(one.id, *one);
                }
                Ok(Answer::Done(pass)) if pass == self.pass => self.busy = false,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        found
    }
}

/// The way into a namespace: a process's link, or its bind mount.
fn door(place: &Place) -> Option<PathBuf> {
    place.pid.map(|pid| netns_dir(Path::new("/proc"), pid).join("ns/net")).or_else(|| place.bind.clone())
}

fn gap(what: &str, fix: &str) -> Gap {
    Gap { what: what.into(), fix: fix.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().flatten() {
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }

    fn foreign(tree: &str) -> (tempfile::TempDir, Roots) {
        let dir = tempfile::tempdir().unwrap();
        copy(&Path::new("tests/fixtures/proc").join(tree), dir.path());
        let roots = Roots { proc: dir.path().to_owned(), sys: dir.path().join("sys") };
        (dir, roots)
    }

    #[test]
    fn another_machines_tree_without_netlink() {
        let (dir, roots) = foreign("linux-6.18");
        let sysctl = dir.path().join("sys/net/ipv4");
        std::fs::create_dir_all(&sysctl).unwrap();
        std::fs::write(sysctl.join("tcp_max_tw_buckets"), "5000\n").unwrap();
        let section = NetCollector::new(&roots).collect(&Context::default());
        let net = section.data().unwrap();
        let [own] = net.netns.as_slice() else { panic!("{net:?}") };
        assert_eq!(own.counters.get("TcpExtTW"), Some(10));
        assert_eq!(own.counters.get("TcpMaxConn"), Some(u64::MAX));
        assert_eq!((own.sockstat.get("TCPtw"), own.sockstat.get("TCP6inuse")), (Some(0), Some(0)));
        assert_eq!(own.sysctls.get("net.ipv4.tcp_max_tw_buckets"), Some(5000));
        assert_eq!(own.ifaces.iter().map(|i| &*i.name).collect::<Vec<_>>(), ["lo", "ifb0", "ifb1", "eth0"]);
        assert_eq!((own.conntrack, own.neigh4, own.neigh_table_fulls), (Some(0), Some(2), Some(0)));
        assert_eq!((net.softnet.len(), own.qdiscs.len()), (2, 0));
    }

    #[test]
    fn files_that_an_old_kernel_lacks_cost_nothing_else() {
        let (dir, roots) = foreign("linux-3.10");
        std::fs::write(dir.path().join("net/snmp"), "Tcp: RtoMin MaxConn\nTcp: 200 -1\n").unwrap();
        let section = NetCollector::new(&roots).collect(&Context::default());
        let own = &section.data().unwrap().netns[0];
        assert_eq!(own.counters.get("TcpExtTCPTimeWaitOverflow"), Some(795));
        assert_eq!(own.counters.get("Ip6InReceives"), None);
        assert_eq!((own.conntrack, own.neigh4, own.neigh_table_fulls), (None, None, None));
        assert!(own.sockstat.is_empty() && own.ifaces.is_empty());
    }

    #[test]
    fn a_netns_thread_that_hangs_is_not_asked_again_until_it_answers() {
        let (visits, wanted) = channel();
        let (found, answers) = channel();
        let mut helper = Helper { visits, answers, pass: 0, busy: false };
        assert!(helper.ask(Vec::new()));
        let start = now();
        assert!(helper.answers(1).is_empty());
        assert!(now().since(start) < 5.0);
        assert!(!helper.ask(Vec::new()), "it is still under way");
        found.send(Answer::Done(1)).unwrap();
        assert!(helper.ask(Vec::new()));
        found.send(Answer::Done(2)).unwrap();
        assert!(helper.answers(1).is_empty());
        assert!(!helper.busy);
        drop(wanted);
        assert!(!helper.ask(Vec::new()), "it has ended");
    }

    #[test]
    fn names_are_shared_between_namespaces_and_samples() {
        let (_dir, roots) = foreign("linux-6.18");
        let mut collector = NetCollector::new(&roots);
        let mut name = || {
            let section = collector.collect(&Context::default());
            section.data().unwrap().netns[0].counters.iter().next().unwrap().0.clone()
        };
        let (first, second) = (name(), name());
        assert!(std::sync::Arc::ptr_eq(&first, &second));
    }
}
