//! What threads wait for: their stacks, the files they work on, and who is to answer.

use super::Look;
use super::place::Mount;
use crate::collect::tasks::files::{self, Decimal};
use crate::collect::tasks::{stat, status};
use crate::collect::{Roots, now};
use crate::snapshot::{Moment, TaskKey, TaskState, Text, Thread, Wait, WaitFor};
use rustc_hash::FxHashMap;
use rustix::fd::AsFd;
use std::cmp::Reverse;

/// Kinds of waits in [`crate::snapshot::TaskDetail::waits`] at most.
const WAITS_MAX: usize = 16;
/// Mounts named where the kernel does not tell which it is.
const CANDIDATES_MAX: usize = 3;
/// Descriptors of a process that are looked through for a FUSE device, at most; and in a whole search.
const FDS_EACH: u64 = 1024;
const FDS_ALL: u64 = 65_536;
/// The server of a FUSE connection is searched for again after so long.
const KEPT_NS: u64 = 60_000_000_000;

/// The servers of FUSE connections that were searched for.
#[derive(Debug, Default)]
pub(super) struct Servers(FxHashMap<u32, (Moment, Option<(TaskKey, Text)>)>);

impl Look<'_> {
    /// The waits of these threads, most threads first.
    pub(super) fn waits(
        &mut self,
        threads: &[Thread],
        cgroups: &[(Text, Text)],
        servers: &mut Servers,
        roots: &Roots,
    ) -> Vec<Wait> {
        let mut waits: Vec<(Wait, Option<u32>)> = Vec::new();
        for thread in threads.iter().filter(|thread| waits_for_another(thread)) {
            let fd = self.works_on.iter().find(|(tid, _)| *tid == thread.tid).map(|(_, fd)| *fd);
            let killed = u32::from(thread.sigkill_pending == Some(true));
            let same = |(wait, of): &&mut (Wait, Option<u32>)| {
                *of == fd && wait.wchan == thread.wchan && wait.stack == thread.stack
            };
            if let Some((wait, _)) = waits.iter_mut().find(same) {
                wait.threads += 1;
                wait.sigkill_pending += killed;
                continue;
            }
            let wait = Wait {
                kind: WaitFor::of(thread.wchan.as_deref(), &thread.stack),
                threads: 1,
                tid: thread.tid,
                wchan: thread.wchan.clone(),
                stack: thread.stack.clone(),
                syscall: thread.syscall,
                sigkill_pending: killed,
                ..Wait::default()
            };
            waits.push((wait, fd));
        }
        waits.sort_by_key(|(wait, _)| Reverse(wait.threads));
        waits.truncate(WAITS_MAX);
        let mounts = if waits.is_empty() { Vec::new() } else { self.mounts() };
        for (wait, fd) in &mut waits {
            self.locate(wait, *fd, &mounts, cgroups);
            self.name(wait, *fd, &mounts, servers, roots);
        }
        waits.into_iter().map(|(wait, _)| wait).collect()
    }

    /// Says where the wait is.
    fn locate(&mut self, wait: &mut Wait, fd: Option<u32>, mounts: &[Mount], cgroups: &[(Text, Text)]) {
        if let Some(path) = fd.and_then(|fd| self.path_of(fd)) {
            wait.file = Some(self.text(&path));
        }
        if wait.kind == WaitFor::FrozenCgroup {
            let freezer = |c: &&(Text, Text)| c.0.split(',').any(|name| name == "freezer");
            let home = cgroups.iter().find(freezer).or_else(|| cgroups.iter().find(|c| c.0.is_empty()));
            wait.place = home.map(|(_, path)| path.clone()).unwrap_or_default();
            return;
        }
        if let Some(mount) = fd.and_then(|fd| self.mount_of(fd, mounts)) {
            wait.place = mount.words.as_str().into();
            return;
        }
        let fits = |mount: &&Mount| match wait.kind {
            WaitFor::Fuse => mount.is_fuse(),
            WaitFor::Nfs => mount.kind.starts_with("nfs"),
            WaitFor::FrozenFs => mount.on_disk,
            _ => false,
        };
        let mut words: Vec<&str> = mounts.iter().filter(fits).map(|mount| mount.words.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        wait.place = match words.as_slice() {
            [only] => (*only).into(),
            [] => Text::default(),
            many if many.len() <= CANDIDATES_MAX => format!("one of: {}", many.join(", ")).into(),
            many => format!("one of {}", many.len()).into(),
        };
    }

    /// Says who is waited for.
    fn name(&mut self, wait: &mut Wait, fd: Option<u32>, mounts: &[Mount], servers: &mut Servers, roots: &Roots) {
        wait.on = match wait.kind {
            WaitFor::Vfork => self.vfork_child(wait.tid),
            WaitFor::Fuse => {
                let mut fuse = mounts.iter().filter(|mount| mount.is_fuse());
                let only = fuse.next().filter(|_| fuse.next().is_none());
                let mount = fd.and_then(|fd| self.mount_of(fd, mounts)).or(only);
                mount.and_then(|mount| self.fuse_server(mount.minor, servers, roots))
            }
            _ => None,
        };
    }

    /// The youngest child of a thread: a thread in `vfork` makes no other.
    fn vfork_child(&mut self, tid: u32) -> Option<(TaskKey, Text)> {
        let (pid, tid) = (Decimal::new(self.pid), Decimal::new(tid));
        let text = self.files.read(&[pid.bytes(), b"/task/", tid.bytes(), b"/children"], self.text).ok()?;
        let last = text.split(|b| *b == b' ').rfind(|word| !word.is_empty())?;
        let child = files::id(last)?;
        self.named(child)
    }

    fn named(&mut self, pid: u32) -> Option<(TaskKey, Text)> {
        let text = self.files.read(&[Decimal::new(pid).bytes(), b"/stat"], self.text).ok()?;
        let comm = stat::parse_state(text)?.0.to_vec();
        let start_ticks = stat::parse(text)?.start;
        Some((TaskKey { pid, start_ticks }, self.text(&comm)))
    }

    /// The process that serves a FUSE connection: the one that holds its device open.
    fn fuse_server(&mut self, connection: u32, servers: &mut Servers, roots: &Roots) -> Option<(TaskKey, Text)> {
        let now = now();
        if let Some((at, known)) = servers.0.get(&connection)
            && now.0.saturating_sub(at.0) < KEPT_NS
            && known.as_ref().is_none_or(|(key, _)| self.named(key.pid).is_some_and(|(now, _)| now == *key))
        {
            return known.clone();
        }
        let found = self.search_server(connection, roots).and_then(|pid| self.named(pid));
        servers.0.insert(connection, (now, found.clone()));
        found
    }

    /// Looks through the descriptors of all processes. Before 6.12 the kernel does not tell of which connection a
    /// descriptor is: then only the one process that holds any is known to be the server.
    fn search_server(&mut self, connection: u32, roots: &Roots) -> Option<u32> {
        let root = super::super::io::open_dir(&roots.proc).ok()?;
        let mut pids = Vec::new();
        let _ = files::list(root.as_fd(), self.names, |name| pids.extend(files::id(name)));
        let (mut left, mut holders, mut told) = (FDS_ALL, Vec::new(), false);
        for pid in pids {
            let pid_name = Decimal::new(pid);
            let Ok(dir) = self.files.open_dir(&[pid_name.bytes(), b"/fd"]) else { continue };
            let mut fds = Vec::new();
            let _ = files::list_while(dir.as_fd(), self.names, |name| {
                fds.extend(files::id(name));
                (fds.len() as u64) < FDS_EACH.min(left)
            });
            left = left.saturating_sub(fds.len() as u64);
            for fd in fds {
                let fd = Decimal::new(fd);
                let link = self.files.link(&[pid_name.bytes(), b"/fd/", fd.bytes()], self.text);
                if link != Ok(b"/dev/fuse") {
                    continue;
                }
                holders.push(pid);
                let info = self.files.read(&[pid_name.bytes(), b"/fdinfo/", fd.bytes()], self.text).unwrap_or_default();
                let of = status::pairs(info).find(|(key, _)| *key == b"fuse_connection").map(|(_, n)| n);
                told |= of.is_some();
                if of.and_then(status::number) == Some(u64::from(connection)) {
                    return Some(pid);
                }
            }
            if left == 0 {
                return None;
            }
        }
        holders.dedup();
        match holders.as_slice() {
            [only] if !told => Some(*only),
            _ => None,
        }
    }
}

/// Whether a thread waits for someone else to act: in D, or asleep on a server's answer.
fn waits_for_another(thread: &Thread) -> bool {
    let served = || matches!(WaitFor::of(thread.wchan.as_deref(), &[]), WaitFor::Fuse | WaitFor::Nfs);
    match thread.state {
        TaskState::Blocked => true,
        TaskState::Sleeping => served(),
        _ => false,
    }
}
