//! A thread that asks by netlink, reads sysctls, and enters namespaces to do so.
//!
//! A netlink dump of links waits for the kernel's rtnl lock, in D, for as long as someone holds it; and a thread that
//! went into another namespace must not be the collector's own. So both are done here: the collector sends what it
//! wants, waits a little, and goes on without what has not come.

use super::netlink::{Link, Route, errno};
use super::sysctls;
use super::texts::Texts;
use crate::collect::text::{Shapes, Tally};
use crate::snapshot::{Counters, Iface, Moment, NetnsCounters, NetnsId, Qdisc, Text};
use rustc_hash::{FxHashMap, FxHashSet};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, gettid, move_into_link_name_space};
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// What is wanted of one namespace.
#[derive(Debug)]
pub(super) struct Visit {
    pub id: NetnsId,
    /// `/proc/PID/ns/net` or a bind mount; `None` for our own.
    pub door: Option<PathBuf>,
    /// Whether its sysctls are due.
    pub sysctls: bool,
    /// Whether its text files have to be read from inside: no process shows them.
    pub texts: bool,
}

/// What was found there. Everything has its own error, so that one refusal costs nothing else.
#[derive(Debug)]
pub(super) struct Found {
    pub id: NetnsId,
    pub links: Result<(Vec<Iface>, Vec<Qdisc>), Errno>,
    pub sysctls: Option<Result<Counters, Errno>>,
    pub texts: Option<Result<NetnsCounters, Errno>>,
}

/// An answer, with the number of the pass that asked.
pub(super) enum Answer {
    One(u64, Box<Found>),
    Done(u64),
}

/// Starts the thread; it ends when the sender of its visits is dropped.
pub(super) fn start(visits: Receiver<(u64, Vec<Visit>)>, answers: Sender<Answer>) -> std::io::Result<()> {
    // Locked memory counts whole stacks.
    let thread = std::thread::Builder::new().name("netns".into()).stack_size(256 << 10);
    thread.spawn(move || {
        let home = open(Path::new("/proc/self/ns/net"));
        Visitor {
            home,
            away: false,
            known: FxHashMap::default(),
            speeds: Speeds::default(),
            reader: Reader::default(),
        }
        .run(&visits, &answers);
    })?;
    Ok(())
}

struct Visitor {
    home: Result<OwnedFd, Errno>,
    away: bool,
    known: FxHashMap<NetnsId, Known>,
    speeds: Speeds,
    reader: Reader,
}

/// What is kept of a namespace from pass to pass: its socket pins it, so it is dropped in the first pass that does not
/// name the namespace any more, or when no pass comes.
struct Known {
    route: Route,
    names: FxHashMap<u32, Text>,
}

#[derive(Default)]
struct Reader {
    texts: Texts,
    shapes: Shapes,
    tally: Tally,
    buf: Vec<u8>,
}

impl Visitor {
    /// Longer than any usual interval; a pause must not pin namespaces.
    const IDLE: Duration = Duration::from_secs(3);

    fn run(mut self, visits: &Receiver<(u64, Vec<Visit>)>, answers: &Sender<Answer>) {
        loop {
            let (pass, wanted) = match visits.recv_timeout(Self::IDLE) {
                Ok(wanted) => wanted,
                Err(RecvTimeoutError::Timeout) => {
                    self.known.clear();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let ids: FxHashSet<NetnsId> = wanted.iter().map(|visit| visit.id).collect();
            self.known.retain(|id, _| ids.contains(id));
            for visit in &wanted {
                let found = Box::new(self.visit(visit));
                if answers.send(Answer::One(pass, found)).is_err() {
                    return;
                }
            }
            // A thread that stays pins the namespace that it is in; one that can't leave must end.
            if self.go_home().is_err() || answers.send(Answer::Done(pass)).is_err() {
                return;
            }
        }
    }

    fn visit(&mut self, visit: &Visit) -> Found {
        let known = self.known.contains_key(&visit.id);
        let entered = if known && !visit.sysctls && !visit.texts { Ok(()) } else { self.enter(visit) };
        let links = entered.and_then(|()| self.links(visit)).inspect_err(|_| {
            self.known.remove(&visit.id);
        });
        let sysctls = visit.sysctls.then(|| entered.map(|()| self.reader.sysctls()));
        let texts = visit.texts.then(|| entered.and_then(|()| self.reader.texts()));
        Found { id: visit.id, links, sysctls, texts }
    }

    fn enter(&mut self, visit: &Visit) -> Result<(), Errno> {
        let Some(door) = &visit.door else { return self.go_home() };
        let door = open(door)?;
        if rustix::fs::fstat(&door)?.st_ino != visit.id.0 {
            // The pid belongs to another process by now.
            return Err(Errno::SRCH);
        }
        if let Err(e) = &self.home {
            return Err(*e);
        }
        move_into_link_name_space(door.as_fd(), Some(LinkNameSpaceType::Network))?;
        self.away = true;
        Ok(())
    }

    fn go_home(&mut self) -> Result<(), Errno> {
        if self.away {
            let home = self.home.as_ref().map_err(|e| *e)?;
            move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network))?;
            self.away = false;
        }
        Ok(())
    }

    /// Links and queueing disciplines through the namespace's socket, which is made if there is none: then the thread
    /// is in that namespace.
    fn links(&mut self, visit: &Visit) -> Result<(Vec<Iface>, Vec<Qdisc>), Errno> {
        let known = match self.known.entry(visit.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let route = Route::open().map_err(|e| errno(&e))?;
                place.insert(Known { route, names: FxHashMap::default() })
            }
        };
        let mut links = known.route.links().map_err(|e| errno(&e))?;
        // One name for the interface and its qdiscs, and the same from pass to pass.
        known.names.retain(|index, _| links.iter().any(|link| link.index == *index));
        for link in &mut links {
            let name = known.names.entry(link.index).or_insert_with(|| link.iface.name.clone());
            if *name != link.iface.name {
                *name = link.iface.name.clone();
            }
            link.iface.name = name.clone();
        }
        let qdiscs = known.route.qdiscs().unwrap_or_default().into_iter().filter_map(|(index, mut qdisc)| {
            qdisc.iface = known.names.get(&index)?.clone();
            Some(qdisc)
        });
        let qdiscs = qdiscs.collect();
        if visit.door.is_none() {
            self.speeds.fill(&mut links, crate::collect::now());
        }
        Ok((links.into_iter().map(|link| link.iface).collect(), qdiscs))
    }
}

impl Reader {
    fn sysctls(&mut self) -> Counters {
        self.tally.clear();
        sysctls::tally(Path::new("/proc"), &mut self.tally, &mut self.buf);
        self.shapes.counters(&self.tally)
    }

    fn texts(&mut self) -> Result<NetnsCounters, Errno> {
        // `self/net` is the leader's; `thread-self` came with 3.17.
        let ours = format!("/proc/self/task/{}/net", gettid().as_raw_nonzero());
        let net = crate::collect::io::open_dir(Path::new(&ours))?;
        let mut found = NetnsCounters::default();
        self.texts.read(&net, &mut found)?;
        Ok(found)
    }
}

/// Speeds of our own namespace's interfaces. Drivers may take long to answer, and sysfs makes the reader try again and
/// again while the rtnl lock is held, so they are asked seldom.
#[derive(Default)]
struct Speeds(FxHashMap<Text, (Moment, bool, Option<u64>)>);

impl Speeds {
    const PERIOD_SECS: f64 = 60.0;

    fn fill(&mut self, links: &mut [Link], at: Moment) {
        self.0.retain(|name, _| links.iter().any(|link| link.iface.name == *name));
        for link in links.iter_mut().filter(|link| !link.made_up_speed) {
            let iface = &mut link.iface;
            iface.speed_mbit = match self.0.get(&iface.name) {
                Some((read, up, speed)) if *up == iface.up && at.since(*read) < Self::PERIOD_SECS => *speed,
                _ => {
                    let speed = speed(&iface.name);
                    self.0.insert(iface.name.clone(), (at, iface.up, speed));
                    speed
                }
            };
        }
    }
}

/// Mbit/s; `None` for -1 (virtio) and EINVAL (`lo`, or no link).
fn speed(iface: &str) -> Option<u64> {
    let mut buf = Vec::new();
    crate::collect::io::read_path(&Path::new("/sys/class/net").join(iface).join("speed"), &mut buf).ok()?;
    let text = buf.trim_ascii();
    // -1 comes as 4294967295 from some.
    crate::collect::text::number(text).filter(|speed| *speed > 0 && *speed < u64::from(u32::MAX))
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
