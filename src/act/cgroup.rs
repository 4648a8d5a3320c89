//! A whole cgroup: killed until it is empty, or thawed. It is held by its directory, so that another of the same path is
//! another.

use super::freezer::{Trees, dir, read};
use super::pin::{Identity, Pin};
use super::plan::Guard;
use crate::collect::cgroups::mounts::Mount;
use crate::collect::containers::of_path;
use crate::collect::tasks::status;
use crate::collect::{io, now};
use crate::snapshot::{
    CgroupKey, CgroupTarget, Decision, Effect, OutcomeKind, Plan, Signal, Snapshot, Target, TaskState, Text,
};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Access, Mode, OFlags};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Levels below a cgroup that are looked at.
const DEPTH_MAX: usize = 32;
/// So long the v1 freezer may take to freeze all; what is in D then stays outside, ns.
const FREEZE_NS: u64 = 500_000_000;

/// A cgroup, held.
#[derive(Debug)]
pub struct Group {
    key: CgroupKey,
    mount: Mount,
    dir: OwnedFd,
    /// The same path in the v1 freezer, when `mount` is another v1 hierarchy, or that one.
    freezer: Option<OwnedFd>,
    killed: u32,
}

/// How far a thaw is.
pub enum Thawing {
    /// It runs.
    Done(Text),
    /// It does not, and why.
    Not(Text),
}

/// How a cgroup is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// The kernel does it, forks under way included (v2, 5.14).
    CgroupKill,
    /// Frozen by the v1 freezer, killed, thawed.
    Freeze,
    /// Every process stopped, then killed.
    Stop,
}

impl Method {
    fn words(self) -> &'static str {
        match self {
            Self::CgroupKill => "cgroup.kill",
            Self::Freeze => "freeze, kill, thaw (v1 freezer)",
            Self::Stop => "stop, kill, until empty",
        }
    }
}

impl Group {
    /// Finds and holds the cgroup: in the hierarchy where its directory has that inode.
    pub fn find(trees: &Trees, key: &CgroupKey) -> Result<Self, Text> {
        let mut other = false;
        for mount in trees.all() {
            let Some(fd) = open(mount, &key.path) else { continue };
            if key.inode != 0 && inode(&fd) != Some(key.inode) {
                other = true;
                continue;
            }
            let freezer = trees.v1("freezer").filter(|_| mount.controllers.is_some());
            let freezer = freezer.and_then(|mount| open(mount, &key.path));
            let key = CgroupKey { path: key.path.clone(), inode: inode(&fd).unwrap_or(0) };
            return Ok(Self { key, mount: mount.clone(), dir: fd, freezer, killed: 0 });
        }
        Err(if other {
            format!("{} is another cgroup by now: made anew under the same path", key.path).into()
        } else {
            format!("there is no cgroup {}", key.path).into()
        })
    }

    /// Finds the cgroup where it can be frozen: in the v1 freezer or the v2 tree, whichever is.
    pub fn find_freezer(trees: &Trees, key: &CgroupKey) -> Result<Self, Text> {
        let hold = |mount: &Mount| {
            let dir = open(mount, &key.path)?;
            let key = CgroupKey { path: key.path.clone(), inode: inode(&dir).unwrap_or(0) };
            Some(Self { key, mount: mount.clone(), dir, freezer: None, killed: 0 })
        };
        let found: Vec<Self> = [trees.v1("freezer"), trees.v2()].into_iter().flatten().filter_map(hold).collect();
        let mut found = found.into_iter();
        let Some(first) = found.next() else {
            return Err(format!("there is no cgroup {} that can be frozen", key.path).into());
        };
        Ok(if first.is_frozen() { first } else { found.find(Self::is_frozen).unwrap_or(first) })
    }

    fn is_v2(&self) -> bool {
        self.mount.controllers.is_none()
    }

    fn file(&self, name: &str) -> PathBuf {
        below(&self.dir).join(name)
    }

    fn method(&self) -> Method {
        let kill = self.file("cgroup.kill");
        if self.is_v2() && rustix::fs::access(&kill, Access::WRITE_OK).is_ok() {
            return Method::CgroupKill;
        }
        let state = self.freezer.as_ref().map(|dir| below(dir).join("freezer.state"));
        match state {
            Some(state) if rustix::fs::access(&state, Access::WRITE_OK).is_ok() => Method::Freeze,
            _ => Method::Stop,
        }
    }

    /// The processes in it and below it, by pid; one that our pid namespace does not show is left out.
    pub fn members(&self) -> Vec<u32> {
        let mut pids = Vec::new();
        walk(&below(&self.dir), DEPTH_MAX, &mut pids);
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// The plan to kill it.
    pub fn kill_plan(&self, members: &[u32], guard: &Guard, known: Option<&Snapshot>) -> Plan {
        let method = self.method();
        let mut plan = self.plan(members, known, method.words());
        let inside = |pid: u32| members.binary_search(&pid).is_ok();
        let ancestor = guard.ancestors.iter().find(|(pid, _)| inside(*pid));
        let refusal: Option<Text> = if let Some(why) = &guard.forbidden {
            Some(why.clone())
        } else if self.key.path.trim_matches('/').is_empty() {
            Some("it is the root: all of the system is in it".into())
        } else if inside(1) {
            Some("pid 1 is in it".into())
        } else if inside(guard.own_pid) {
            Some("this whytop is in it".into())
        } else {
            ancestor.map(|(pid, comm)| format!("{comm}({pid}) is in it, and whytop runs below that").into())
        };
        plan.effect = match plan.target {
            _ if members.is_empty() => Effect::NoneGone,
            Target::Cgroup(CgroupTarget { container: Some(_), .. }) => Effect::ContainerStops,
            _ => Effect::Terminates,
        };
        let count = members.len();
        if let Some(why) = refusal {
            plan.reasons.insert(0, why);
        } else {
            plan.decision = if count == 0 { Decision::Allowed } else { Decision::Confirm };
            plan.reasons.push(format!("{} by SIGKILL, none can tidy up", count_words(count, "ends", "end")).into());
        }
        plan.reasons.push(format!("by {}", method.words()).into());
        plan
    }

    fn plan(&self, members: &[u32], known: Option<&Snapshot>, method: &str) -> Plan {
        let meaning = of_path(&self.key.path);
        let rows = known.and_then(|snap| snap.cgroups.data()).map(|cgroups| &*cgroups.rows).unwrap_or_default();
        let row = rows.iter().find(|row| row.key.path == self.key.path);
        let container = row.and_then(|row| row.container.clone()).or(meaning.container);
        let target = CgroupTarget {
            key: self.key.clone(),
            container: container.map(|container| container.label().into()),
            unit: meaning.unit,
            processes: u32::try_from(members.len()).unwrap_or(u32::MAX),
            frozen: Some(self.is_frozen()),
            method: method.into(),
        };
        Plan::new(Target::Cgroup(target), Decision::Refused, Effect::Terminates)
    }

    /// Begins to kill: at the end of this all that were in it have their SIGKILL.
    pub fn kill(&self, guard: &Guard, identity: Identity, proc: BorrowedFd<'_>) -> Result<(), Text> {
        match self.method() {
            Method::CgroupKill => match write(&self.file("cgroup.kill"), "1") {
                Ok(()) => return Ok(()),
                // A threaded cgroup has the file, and refuses.
                Err(rustix::io::Errno::OPNOTSUPP) => self.stop(guard, identity, proc),
                Err(error) => return Err(format!("cgroup.kill: {error}").into()),
            },
            Method::Freeze => self.freeze(),
            Method::Stop => self.stop(guard, identity, proc),
        }
        self.send(Signal::KILL, guard, identity, proc);
        self.unfreeze();
        Ok(())
    }

    fn freeze(&self) {
        let Some(dir) = &self.freezer else { return };
        let state = below(dir).join("freezer.state");
        let began = now();
        if write(&state, "FROZEN").is_err() {
            return;
        }
        while read(&state).is_ok_and(|state| state != b"FROZEN") && now().0.saturating_sub(began.0) < FREEZE_NS {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn unfreeze(&self) {
        if let Some(dir) = &self.freezer {
            let _ = write(&below(dir).join("freezer.state"), "THAWED");
        }
    }

    /// Stops every member, again and again while there are new ones: under a pids limit a fork bomb then stands still,
    /// while killing it one by one would make room for more.
    fn stop(&self, guard: &Guard, identity: Identity, proc: BorrowedFd<'_>) {
        let began = now();
        let mut stopped = 0;
        loop {
            let count = self.send(Signal::STOP, guard, identity, proc);
            if count <= stopped || now().0.saturating_sub(began.0) > FREEZE_NS {
                return;
            }
            stopped = count;
        }
    }

    /// Sends to every member that is held and, held, is still a member; how many.
    fn send(&self, signal: Signal, guard: &Guard, identity: Identity, proc: BorrowedFd<'_>) -> usize {
        let never =
            |pid: u32| pid == 1 || pid == guard.own_pid || guard.ancestors.iter().any(|(above, _)| *above == pid);
        let members = self.members();
        let held = members.iter().filter(|pid| !never(**pid)).filter_map(|pid| Pin::of_pid(proc, *pid, identity).ok());
        held.filter(|pin| self.has(proc, pin.key().pid) && pin.send(signal).is_ok()).count()
    }

    /// Whether a process is in it or below it.
    fn has(&self, proc: BorrowedFd<'_>, pid: u32) -> bool {
        let mut lines = Vec::new();
        if io::read_at(proc, format!("{pid}/cgroup"), &mut lines).is_err() {
            return false;
        }
        status::cgroup_lines(&lines).any(|(controllers, path)| {
            let of_mount = match &self.mount.controllers {
                None => controllers.is_empty(),
                Some(_) => {
                    controllers.split(|b| *b == b',').any(|c| std::str::from_utf8(c).is_ok_and(|c| self.mount.has(c)))
                }
            };
            let below = path.strip_prefix(self.key.path.as_bytes());
            of_mount && below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    }

    /// Looks how far the killing is, and goes on with it.
    pub fn kill_look(&mut self, guard: &Guard, identity: Identity, proc: BorrowedFd<'_>) -> (OutcomeKind, Text, bool) {
        let members = self.members();
        if members.is_empty() {
            return (OutcomeKind::Exited, "it is empty".into(), true);
        }
        let (mut blocked, mut fresh) = (0, 0);
        for pid in &members {
            match condition(proc, *pid) {
                Some((true, TaskState::Blocked)) => blocked += 1,
                Some((true, _)) | None => {}
                Some((false, _)) => fresh += 1,
            }
        }
        if fresh > 0 {
            self.killed = self.killed.saturating_add(1);
            let _ = self.kill(guard, identity, proc);
        } else if self.method() == Method::Freeze {
            // Somebody else may have frozen it meanwhile.
            self.unfreeze();
        }
        let detail = match blocked {
            0 => format!("{} processes are on their way out", members.len()),
            n => format!("{n} of {} processes are still in D, SIGKILL pending", members.len()),
        };
        (OutcomeKind::Pending, detail.into(), false)
    }

    fn is_frozen(&self) -> bool {
        if self.is_v2() {
            let events = read(&self.file("cgroup.events")).unwrap_or_default();
            let frozen = events.split(|b| *b == b'\n').any(|line| line == b"frozen 1");
            return frozen || read(&self.file("cgroup.freeze")).is_ok_and(|value| value == b"1");
        }
        let dir = self.freezer.as_ref().unwrap_or(&self.dir);
        read(&below(dir).join("freezer.state")).is_ok_and(|state| state != b"THAWED")
    }

    /// The cgroup above that keeps it frozen.
    fn frozen_from(&self) -> Option<Text> {
        let file = if self.is_v2() { "cgroup.freeze" } else { "freezer.self_freezing" };
        let mut path = &*self.key.path;
        while let Some((above, _)) = path.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
            let at = dir(&self.mount, above.as_bytes())?;
            if read(&at.join(file)).is_ok_and(|value| value == b"1") {
                return Some(above.into());
            }
            path = above;
        }
        None
    }

    fn switch(&self) -> PathBuf {
        self.file(if self.is_v2() { "cgroup.freeze" } else { "freezer.state" })
    }

    /// The plan to thaw it.
    pub fn thaw_plan(&self, guard: &Guard) -> Plan {
        let members = self.members();
        let how = if self.is_v2() { "cgroup.freeze" } else { "freezer.state (v1)" };
        let mut plan = self.plan(&members, None, how);
        (plan.decision, plan.effect) = (Decision::Allowed, Effect::Continues);
        if let Some(why) = &guard.forbidden {
            plan.decision = Decision::Refused;
            plan.reasons.push(why.clone());
        } else if let Err(error) = rustix::fs::access(self.switch(), Access::WRITE_OK) {
            plan.decision = Decision::Refused;
            plan.reasons.push(format!("{how} can't be written ({error}): that needs root").into());
        }
        if !self.is_frozen() {
            plan.effect = Effect::Ignored;
            plan.reasons.push("it is not frozen".into());
        } else if let Some(above) = self.frozen_from() {
            plan.effect = Effect::PendingUntilThawed;
            plan.reasons.push(format!("it is frozen from above, at {above}").into());
            plan.advice.push(format!("thaw that: whytop kill --thaw {above}").into());
        } else {
            let goes_on = count_words(members.len(), "goes on", "go on");
            plan.reasons.push(format!("{goes_on}, with every signal that waited").into());
        }
        if let Target::Cgroup(CgroupTarget { container: Some(name), .. }) = &plan.target {
            plan.advice.push(format!("if it was paused by its runtime, tell that: docker unpause {name}").into());
        }
        plan
    }

    /// Thaws it.
    pub fn thaw(&self) -> Result<(), Text> {
        let value = if self.is_v2() { "0" } else { "THAWED" };
        write(&self.switch(), value).map_err(|error| format!("{}: {error}", self.switch().display()).into())
    }

    /// Whether it runs now.
    pub fn thawing(&self) -> Thawing {
        if !self.is_frozen() {
            return Thawing::Done(format!("thawed: {}", count_words(self.members().len(), "goes on", "go on")).into());
        }
        match self.frozen_from() {
            Some(above) => Thawing::Not(format!("still frozen from above, at {above}").into()),
            None => Thawing::Not("still frozen".into()),
        }
    }
}

/// The key of a cgroup that is named by its path in a hierarchy, or by its directory.
pub fn key_of(trees: &Trees, named: &str) -> Option<CgroupKey> {
    for mount in trees.all() {
        if let Ok(rest) = Path::new(named).strip_prefix(&mount.point)
            && let Ok(stat) = rustix::fs::stat(named)
        {
            let prefix = String::from_utf8_lossy(&mount.prefix);
            let path = format!("{prefix}/{}", rest.to_str()?);
            return Some(CgroupKey { path: path.trim_end_matches('/').into(), inode: stat.st_ino });
        }
    }
    let path = format!("/{}", named.trim_matches('/'));
    let found = trees.all().filter_map(|mount| {
        let dir = open(mount, &path)?;
        let mut pids = Vec::new();
        walk(&below(&dir), DEPTH_MAX, &mut pids);
        Some((pids.is_empty(), CgroupKey { path: path.as_str().into(), inode: inode(&dir)? }))
    });
    // Of hierarchies that have it, the first in which it holds processes.
    found.min_by_key(|(empty, _)| *empty).map(|(_, key)| key)
}

fn open(mount: &Mount, path: &str) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(dir(mount, path.as_bytes())?, flags, Mode::empty()).ok()
}

fn inode(fd: &OwnedFd) -> Option<u64> {
    rustix::fs::fstat(fd).ok().map(|stat| stat.st_ino)
}

/// The directory that is held, whatever stands at its path now.
fn below(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

fn walk(dir: &Path, depth: usize, pids: &mut Vec<u32>) {
    let procs = read(&dir.join("cgroup.procs")).unwrap_or_default();
    let numbers = procs.split(|b| *b == b'\n').filter_map(|line| std::str::from_utf8(line).ok()?.parse::<u32>().ok());
    pids.extend(numbers.filter(|pid| *pid != 0));
    let Some(depth) = depth.checked_sub(1) else { return };
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), depth, pids);
        }
    }
}

fn write(path: &Path, value: &str) -> Result<(), rustix::io::Errno> {
    std::fs::write(path, value)
        .map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
}

/// Whether SIGKILL is pending for a process, and the state of its leader.
fn condition(proc: BorrowedFd<'_>, pid: u32) -> Option<(bool, TaskState)> {
    let mut text = Vec::new();
    io::read_at(proc, format!("{pid}/status"), &mut text).ok()?;
    let state = status::pairs(&text).find(|(key, _)| *key == b"State").and_then(|(_, value)| value.first().copied())?;
    Some((status::parse(&text).sigkill_pending?, TaskState::from_letter(state)))
}
/// `1 process ends`, `7 processes end`.
fn count_words(count: usize, one: &str, more: &str) -> String {
    if count == 1 { format!("1 process {one}") } else { format!("{count} processes {more}") }
}
