//! Reading the facts of one process for its plan.

use super::census::Census;
use super::facts::{ContainerFacts, Facts, ParentFacts, Permission, ThreadFacts, UnitFacts};
use super::freezer::Trees;
use super::lookup::Lookup;
use super::pin::{Pin, SendError};
use super::supervise;
use super::wait::Wait;
use crate::collect::containers::of_path;
use crate::collect::detail::users;
use crate::collect::tasks::blocked::functions;
use crate::collect::tasks::files::{self, Decimal, Files};
use crate::collect::tasks::{stat, status};
use crate::collect::{Roots, now};
use crate::snapshot::{Holds, Signal, Snapshot, TaskKey, TaskState, TaskTarget, Text};
use rustc_hash::FxHashSet;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use std::path::PathBuf;

/// Kernel stacks that are asked for, at most.
const STACKS_MAX: usize = 64;
/// Descriptors looked through for a signalfd, at most.
const FDS_MAX: usize = 4096;
/// Most bytes of a `passwd` or `mountinfo`.
const LIST_MAX: u32 = 4 << 20;

/// What a plan reads with.
#[derive(Debug)]
pub struct Reader {
    roots: Roots,
    files: Files,
    lookup: Lookup,
    trees: Trees,
    text: Vec<u8>,
    names: Vec<u8>,
}

impl Reader {
    /// A reader of the tree at `roots`.
    ///
    /// # Errors
    /// When `/proc` can't be opened.
    pub fn new(roots: &Roots, lookup: Lookup) -> Result<Self, Errno> {
        Ok(Self {
            roots: roots.clone(),
            files: Files::open(&roots.proc)?,
            lookup,
            trees: Trees::discover(roots),
            text: Vec::new(),
            names: Vec::new(),
        })
    }

    /// The root of `/proc`.
    pub fn proc(&self) -> BorrowedFd<'_> {
        self.files.root()
    }

    /// The hierarchies of cgroups.
    pub fn trees(&self) -> &Trees {
        &self.trees
    }

    /// The command line of a process.
    pub fn cmdline(&mut self, key: TaskKey) -> Option<Text> {
        self.lookup.cmdline(key)
    }

    /// The network namespace of a process, by inode.
    pub fn netns(&mut self, pid: u32) -> Option<u64> {
        let link = self.files.link(&[Decimal::new(pid).bytes(), b"/ns/net"], &mut self.text).ok()?;
        status::ns_inode(link)
    }

    /// The inodes of the sockets that a process holds.
    pub fn socket_inodes(&mut self, pid: u32) -> FxHashSet<u32> {
        let pid = Decimal::new(pid);
        let mut inodes = FxHashSet::default();
        let Ok(dir) = self.files.open_dir(&[pid.bytes(), b"/fd"]) else { return inodes };
        let mut fds = Vec::new();
        let _ = files::list(dir.as_fd(), &mut self.names, |name| fds.extend(files::id(name)));
        for fd in fds {
            let link = self.files.link(&[pid.bytes(), b"/fd/", Decimal::new(fd).bytes()], &mut self.text);
            let digits = link.ok().and_then(|link| link.strip_prefix(b"socket:[")?.strip_suffix(b"]"));
            inodes.extend(digits.and_then(status::number).and_then(|n| u32::try_from(n).ok()));
        }
        inodes
    }

    /// Everything about the process that is held, for a plan to send `signal` to it. What `known` says is not read again.
    pub fn facts(&mut self, pin: &Pin, signal: Signal, census: &Census, known: Option<&Snapshot>) -> Facts {
        let key = pin.key();
        let target = TaskTarget { key, pidfd_inode: pin.inode(), ..TaskTarget::default() };
        let mut facts = Facts { target, ..Facts::default() };
        facts.permission = permission(pin, signal, census);
        let read = self.fill(&mut facts, census, known);
        // What was read is of this process only if it is there still: else its pid may have been another's.
        if read.is_none() || pin.is_reaped() {
            facts.permission = Permission::Gone;
        }
        facts
    }

    fn read(&mut self, pid: u32, name: &[u8]) -> Option<Vec<u8>> {
        self.files.read(&[Decimal::new(pid).bytes(), name], &mut self.text).ok().map(<[u8]>::to_vec)
    }

    /// `None` when it has gone.
    fn fill(&mut self, facts: &mut Facts, census: &Census, known: Option<&Snapshot>) -> Option<()> {
        let key = facts.target.key;
        let line = self.read(key.pid, b"/stat")?;
        let stat = stat::parse(&line).filter(|stat| stat.start == key.start_ticks)?;
        let ppid = stat.ppid;
        facts.kthread = stat.kthread;
        facts.leads_session = stat.session == key.pid;
        facts.leads_terminal = facts.leads_session && stat.tty;
        facts.target = TaskTarget {
            key,
            pidfd_inode: facts.target.pidfd_inode,
            comm: lossy(stat.comm),
            state: stat.state,
            ppid,
            age_ms: age_ms(stat.start),
            holds: self.holds(key, &stat, facts.leads_session, census, known),
            ..TaskTarget::default()
        };
        self.status(facts);
        self.threads(facts);
        self.signalfds(facts);
        self.cgroup(facts, known);
        self.user(facts);
        self.parent(facts, ppid);
        if facts.is_inner_init() {
            facts.namespace_others = self.namespace_others(key.pid, census);
        }
        let task = known.and_then(|snap| snap.tasks.data()?.rows.iter().find(|task| task.key == key));
        facts.target.cmdline = match task {
            Some(task) => task.cmdline.clone(),
            None if facts.kthread || facts.is_zombie() || facts.target.state == TaskState::Zombie => None,
            // A thread in D may hold the lock that reading it takes.
            None if facts.threads.iter().any(|thread| thread.state == TaskState::Blocked) => None,
            None => self.lookup.cmdline(key),
        };
        Some(())
    }

    fn status(&mut self, facts: &mut Facts) {
        let Some(text) = self.read(facts.target.key.pid, b"/status") else { return };
        let parsed = status::parse(&text);
        facts.target.uid = parsed.uid;
        facts.target.holds.swap_bytes = parsed.swap_bytes;
        facts.inner_pid = parsed.inner_pid;
        let mut tracer = None;
        for (name, value) in status::pairs(&text) {
            let slot = match name {
                b"SigIgn" => &mut facts.ignored,
                b"SigCgt" => &mut facts.caught,
                b"ShdPnd" => &mut facts.pending,
                b"TracerPid" => {
                    tracer = status::number(value).and_then(|n| u32::try_from(n).ok()).filter(|pid| *pid != 0);
                    continue;
                }
                _ => continue,
            };
            *slot = status::hex(value).unwrap_or(0);
        }
        facts.tracer = tracer.map(|pid| (pid, self.comm(pid)));
    }

    fn comm(&mut self, pid: u32) -> Text {
        let line = self.read(pid, b"/stat");
        line.as_deref().and_then(stat::parse_state).map_or_else(Text::default, |(comm, _)| lossy(comm))
    }

    /// The threads that live, those in D first, with what each blocks and where it sleeps.
    fn threads(&mut self, facts: &mut Facts) {
        let pid = facts.target.key.pid;
        let Ok(dir) = self.files.open_dir(&[Decimal::new(pid).bytes(), b"/task"]) else { return };
        let mut tids = Vec::new();
        let _ = files::list(dir.as_fd(), &mut self.names, |name| tids.extend(files::id(name)));
        let mut threads = Vec::with_capacity(tids.len());
        for tid in tids {
            let Ok(line) = self.files.read_in(&dir, &[Decimal::new(tid).bytes(), b"/stat"], &mut self.text) else {
                continue;
            };
            let Some(stat) = stat::parse(line) else { continue };
            if !matches!(stat.state, TaskState::Zombie | TaskState::Dead) {
                threads.push(ThreadFacts { tid, state: stat.state, exiting: stat.exiting, ..ThreadFacts::default() });
            }
        }
        threads.sort_by_key(|thread| (thread.state != TaskState::Blocked, thread.tid != pid, thread.tid));
        threads.truncate(Facts::THREADS_MAX);
        for thread in &mut threads {
            self.thread(&dir, thread);
        }
        self.waits(facts, &mut threads);
        facts.threads = threads;
    }

    fn thread(&mut self, dir: &rustix::fd::OwnedFd, thread: &mut ThreadFacts) {
        let name = Decimal::new(thread.tid);
        if let Ok(text) = self.files.read_in(dir, &[name.bytes(), b"/status"], &mut self.text) {
            for (key, value) in status::pairs(text) {
                match key {
                    b"SigBlk" => thread.blocked = status::hex(value).unwrap_or(0),
                    b"SigPnd" => thread.pending = status::hex(value).unwrap_or(0),
                    _ => {}
                }
            }
        }
        if let Ok(text) = self.files.read_in(dir, &[name.bytes(), b"/wchan"], &mut self.text) {
            let wchan = text.trim_ascii();
            thread.wchan = (!matches!(wchan, b"0" | b"")).then(|| lossy(wchan));
        }
        thread.sigwait = thread.wchan.as_deref().is_some_and(|wchan| wchan.contains("sigtimedwait"));
    }

    /// Judges the sleeps: of threads in D by their stacks, of the others by the wait channel alone.
    fn waits(&mut self, facts: &Facts, threads: &mut [ThreadFacts]) {
        let blocked = threads.iter().filter(|thread| thread.state == TaskState::Blocked);
        let tids: Vec<u32> = blocked.map(|thread| thread.tid).take(STACKS_MAX).collect();
        let stacks = if tids.is_empty() { Vec::new() } else { self.lookup.stacks(facts.target.key, &tids) };
        for thread in threads {
            let file = stacks.iter().find(|(tid, _)| *tid == thread.tid).map(|(_, file)| &**file);
            let stack: Vec<Text> = functions(file.unwrap_or_default()).map(lossy).collect();
            thread.wait = Wait::of(thread.wchan.as_deref(), &stack);
        }
    }

    /// The signals that it reads from descriptors: looked for only where some are blocked, as that needs.
    fn signalfds(&mut self, facts: &mut Facts) {
        if facts.threads.iter().all(|thread| thread.blocked == 0) {
            return;
        }
        let pid = Decimal::new(facts.target.key.pid);
        let Ok(dir) = self.files.open_dir(&[pid.bytes(), b"/fd"]) else { return };
        let mut fds = Vec::new();
        let _ = files::list_while(dir.as_fd(), &mut self.names, |name| {
            fds.extend(files::id(name));
            fds.len() < FDS_MAX
        });
        for fd in fds {
            let fd = Decimal::new(fd);
            let link = self.files.link(&[pid.bytes(), b"/fd/", fd.bytes()], &mut self.text);
            if link != Ok(b"anon_inode:[signalfd]") {
                continue;
            }
            let Ok(info) = self.files.read(&[pid.bytes(), b"/fdinfo/", fd.bytes()], &mut self.text) else { continue };
            let mask =
                status::pairs(info).find(|(key, _)| *key == b"sigmask").and_then(|(_, value)| status::hex(value));
            facts.signalfd |= mask.unwrap_or(0);
        }
    }

    /// Its cgroup, and what that makes it a part of.
    fn cgroup(&mut self, facts: &mut Facts, known: Option<&Snapshot>) {
        let Some(lines) = self.read(facts.target.key.pid, b"/cgroup") else { return };
        facts.freezer = self.trees.freezer(&lines);
        facts.target.cgroup = status::cgroup_path(&lines).map(lossy);
        let paths: Vec<Text> = status::cgroup_lines(&lines).map(|(_, path)| lossy(path)).collect();
        let rows = known.and_then(|snap| snap.cgroups.data()).map(|cgroups| &*cgroups.rows).unwrap_or_default();
        if let Some(container) = paths.iter().find_map(|path| of_path(path).container) {
            let named = rows.iter().filter_map(|row| row.container.as_ref()).find(|c| c.id == container.id);
            let found = named.unwrap_or(&container);
            let mut container = ContainerFacts {
                label: found.label().into(),
                name: found.name.clone(),
                runtime: found.runtime.clone(),
                ..ContainerFacts::default()
            };
            let TaskTarget { key, ppid, .. } = facts.target;
            self.restart_of_container([key.pid, ppid], &found.id, found.pod_uid.is_some(), &mut container);
            facts.target.container = Some(container.label.clone());
            facts.container = Some(container);
        } else if let Some(unit) = paths.iter().find_map(|path| supervise::unit_of_path(path)) {
            facts.target.unit = Some((&*unit.name).into());
            facts.unit = Some(UnitFacts { unit, is_main: false, inner_manager: None, restart: None });
        }
    }

    /// `pids`: the process, and its parent: what is dead sees no mounts any more, but its parent does.
    fn restart_of_container(&mut self, pids: [u32; 2], id: &str, in_pod: bool, container: &mut ContainerFacts) {
        if in_pod {
            container.restart = Some(supervise::kubernetes());
            return;
        }
        let own = self.files.read(&[b"self/mountinfo"], &mut self.text).map(<[u8]>::to_vec).unwrap_or_default();
        let usual = || PathBuf::from("/var/lib/docker/containers").join(id);
        let mounts = pids.map(|pid| self.read(pid, b"/mountinfo").unwrap_or_default());
        let dir = mounts.iter().find_map(|theirs| supervise::docker_dir(theirs, &own, id));
        let dir = dir.or_else(|| (&*container.runtime == "docker").then(usual));
        if let Some(dir) = dir {
            supervise::docker(&dir, pids.first().copied().unwrap_or(0), container, &mut self.lookup);
        }
    }

    fn user(&mut self, facts: &mut Facts) {
        let Some(uid) = facts.target.uid else { return };
        let passwd = self.lookup.file(&self.roots.host_root().join("etc/passwd"), LIST_MAX);
        facts.target.user = passwd.ok().and_then(|text| users::parse(&text).get(&uid).cloned());
    }

    fn parent(&mut self, facts: &mut Facts, ppid: u32) {
        facts.parent.pid = ppid;
        let Some(line) = self.read(ppid, b"/stat") else { return };
        let Some((comm, state)) = stat::parse_state(&line) else { return };
        facts.parent = ParentFacts { pid: ppid, comm: lossy(comm), state: Some(state), ..ParentFacts::default() };
        facts.target.parent_comm = Some(facts.parent.comm.clone());
        if let Some(text) = self.read(ppid, b"/status") {
            facts.parent.is_inner_init = status::parse(&text).inner_pid == Some(1);
            let caught = status::pairs(&text).find(|(key, _)| *key == b"SigCgt").and_then(|(_, set)| status::hex(set));
            facts.parent.catches_chld = caught.is_some_and(|set| set & Signal::CHLD.bit() != 0);
        }
        if let Some(facts_of_unit) = &mut facts.unit {
            self.unit(&facts.parent, facts_of_unit);
        }
    }

    /// Whether its unit's manager started it, and what that promised. A manager that is the init of a pid namespace has
    /// its units in its own root.
    fn unit(&mut self, parent: &ParentFacts, facts: &mut UnitFacts) {
        let by_systemd = &*parent.comm == "systemd";
        let by_inner = by_systemd && parent.is_inner_init;
        facts.is_main = parent.pid == 1 || by_inner || by_systemd && facts.unit.of_user;
        if !facts.is_main {
            return;
        }
        facts.inner_manager = by_inner.then_some(parent.pid);
        let root = facts.inner_manager.map(|pid| self.roots.proc.join(pid.to_string()).join("root"));
        let root = root.unwrap_or_else(|| self.roots.host_root());
        facts.restart = supervise::unit_restart(&root, &facts.unit, &mut self.lookup);
    }

    /// Other processes in the pid namespace of `pid`.
    fn namespace_others(&mut self, pid: u32, census: &Census) -> u32 {
        let mut namespace = |pid: u32| {
            let link = self.files.link(&[Decimal::new(pid).bytes(), b"/ns/pid"], &mut self.text).ok()?;
            status::ns_inode(link)
        };
        let Some(own) = namespace(pid) else { return 0 };
        let others = census.people.iter().filter(|person| person.key.pid != pid && !person.kthread);
        u32::try_from(others.filter(|person| namespace(person.key.pid) == Some(own)).count()).unwrap_or(u32::MAX)
    }

    fn holds(
        &mut self,
        key: TaskKey,
        stat: &stat::Stat<'_>,
        leads_session: bool,
        census: &Census,
        known: Option<&Snapshot>,
    ) -> Holds {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let members = census.people.iter().filter(|p| leads_session && p.session == key.pid && p.key != key);
        let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let mut holds = Holds {
            children: Some(count(census.children(key.pid).count())),
            threads: stat.threads,
            rss_bytes: stat.rss_pages.saturating_mul(page_bytes),
            fds: self.files.size(&[Decimal::new(key.pid).bytes(), b"/fd"]).ok().filter(|n| *n > 0),
            session_members: count(members.count()),
            ..Holds::default()
        };
        if let Some(sockets) = known.and_then(|snap| snap.sockets.data()) {
            let listeners = sockets.listeners.iter().filter(|l| l.owner == Some(key));
            holds.listeners =
                listeners.map(|l| Text::from(format!("tcp {}", l.key.local))).take(Holds::LISTENERS_MAX).collect();
            let groups = sockets.groups.iter().filter(|g| g.owner == Some(key) && !g.by_listener);
            holds.connections = Some(groups.map(|group| group.count).sum());
        }
        holds
    }
}

/// Whether the kernel lets us send `signal`: asked, with no signal sent.
fn permission(pin: &Pin, signal: Signal, census: &Census) -> Permission {
    match pin.probe() {
        Err(SendError::Gone) => Permission::Gone,
        Err(SendError::Denied) => {
            // SIGCONT may be sent to everything in one's own session.
            let session = |pid| census.get(pid).map(|person| person.session);
            let own = session(std::process::id());
            if signal == Signal::CONT && own.is_some() && own == session(pin.key().pid) {
                return Permission::Granted;
            }
            Permission::Denied { euid: rustix::process::geteuid().as_raw() }
        }
        _ => Permission::Granted,
    }
}

fn lossy(raw: &[u8]) -> Text {
    String::from_utf8_lossy(raw).as_ref().into()
}

fn age_ms(start_ticks: u64) -> u64 {
    let hz = rustix::param::clock_ticks_per_second().max(1);
    (now().0 / 1_000_000).saturating_sub(start_ticks.saturating_mul(1000) / hz)
}
