//! One task in full, for a drill-down: reads too dear for every task in every sample.
//!
//! Never touched: `cmdline`, `environ`, `smaps`, `exe`, `cwd`, `root`; of a task in D they can hang. `stack` may wait,
//! killably, for an `execve` of the target to end; so this runs on a lane of its own.

mod deep;
mod descriptors;
mod place;
mod threads;
pub(crate) mod users;
mod waits;

pub use deep::DeepReader;

use super::readers::{FileAsk, Readers};
use super::tasks::files::{self, Decimal, Files, Interned};
use super::tasks::{stat, status};
use super::{Roots, now};
use crate::snapshot::{Counters, Detail, Gap, SignalSets, TaskDetail, TaskKey, Text};
use rustix::fd::AsFd;
use rustix::io::Errno;
use users::Users;
use waits::Servers;

/// Reads single tasks.
#[derive(Debug)]
pub struct DetailCollector {
    roots: Roots,
    interned: Interned,
    names: Vec<u8>,
    text: Vec<u8>,
    users: Users,
    servers: Servers,
}

/// One look at one task.
struct Look<'a> {
    files: Files,
    /// Its folder, of a live thread where the leader has exited.
    base: Vec<u8>,
    pid: u32,
    interned: &'a mut Interned,
    names: &'a mut Vec<u8>,
    text: &'a mut Vec<u8>,
    /// The descriptors that threads in D work on: thread, and the first argument of its system call.
    works_on: Vec<(u32, u32)>,
    gaps: Vec<Gap>,
}

impl DetailCollector {
    /// A collector over `roots`. The readers read what lies on a disk; without them no user has a name.
    #[must_use]
    pub fn new(roots: &Roots, readers: Option<Readers<FileAsk>>) -> Self {
        Self {
            roots: roots.clone(),
            interned: Interned::default(),
            names: Vec::new(),
            text: Vec::new(),
            users: Users::new(roots, readers),
            servers: Servers::default(),
        }
    }

    /// Reads the task `key`; [`Detail::task`] is `None` when it has gone or its pid is another's by now.
    pub fn collect(&mut self, key: TaskKey) -> Detail {
        let at = now();
        let task = self.look(key).ok().flatten();
        self.interned.sweep();
        Detail { at, task }
    }

    fn look(&mut self, key: TaskKey) -> Result<Option<TaskDetail>, Errno> {
        let files = Files::open(&self.roots.proc)?;
        let base = Decimal::new(key.pid).bytes().to_vec();
        self.users.turn();
        let Self { interned, names, text, users, servers, roots } = self;
        let works_on = Vec::new();
        let mut look = Look { files, base, pid: key.pid, interned, names, text, works_on, gaps: Vec::new() };
        if look.start_ticks()? != Some(key.start_ticks) {
            return Ok(None);
        }
        let (threads, live) = look.threads();
        if let Some(tid) = live {
            look.base = [Decimal::new(key.pid).bytes(), b"/task/", Decimal::new(tid).bytes()].concat();
        }
        let (uid, signals, memory) = look.status();
        let cgroups = look.cgroups();
        let waits = look.waits(&threads, &cgroups, servers, roots);
        let detail = TaskDetail {
            key,
            user: uid.and_then(|uid| users.name(uid)),
            cgroups,
            waits,
            signals,
            memory,
            oom_score: look.signed(b"/oom_score"),
            oom_score_adj: look.signed(b"/oom_score_adj"),
            limits: look.limits(),
            fds: look.descriptors(),
            threads,
            namespaces: look.namespaces(),
            gaps: std::mem::take(&mut look.gaps),
        };
        look.base = Decimal::new(key.pid).bytes().to_vec();
        Ok((look.start_ticks()? == Some(key.start_ticks)).then_some(detail))
    }
}

impl Look<'_> {
    fn read(&mut self, name: &[u8]) -> Result<&[u8], Errno> {
        self.files.read(&[&self.base, name], self.text)
    }

    fn text(&mut self, raw: &[u8]) -> Text {
        self.interned.get(raw)
    }

    /// Notes a refusal; other errors mean that the task, or the file, is not there.
    fn refused(&mut self, error: Errno, what: &str, fix: &str) {
        if matches!(error, Errno::ACCESS | Errno::PERM) {
            self.gaps.push(Gap { what: what.into(), fix: fix.into() });
        }
    }

    fn start_ticks(&mut self) -> Result<Option<u64>, Errno> {
        let text = super::io::gone_is_none(self.read(b"/stat"))?;
        Ok(text.and_then(stat::parse).map(|stat| stat.start))
    }

    fn signed(&mut self, name: &[u8]) -> Option<i64> {
        std::str::from_utf8(self.read(name).ok()?).ok()?.trim().parse().ok()
    }

    fn cgroups(&mut self) -> Vec<(Text, Text)> {
        let Ok(text) = self.read(b"/cgroup").map(<[u8]>::to_vec) else { return Vec::new() };
        status::cgroup_lines(&text).map(|(controllers, path)| (self.text(controllers), self.text(path))).collect()
    }

    fn limits(&mut self) -> Vec<(Text, Option<u64>)> {
        let Ok(text) = self.read(b"/limits").map(<[u8]>::to_vec) else { return Vec::new() };
        status::limits(&text).map(|(name, soft)| (self.text(name), soft)).collect()
    }

    fn status(&mut self) -> (Option<u32>, Option<SignalSets>, Counters) {
        let Ok(text) = self.read(b"/status") else { return Default::default() };
        let (signals, memory) = parse_status(text);
        (status::parse(text).uid, signals, memory)
    }

    fn namespaces(&mut self) -> Vec<(Text, u64)> {
        let dir = match self.files.open_dir(&[&self.base, b"/ns"]) {
            Ok(dir) => dir,
            Err(error) => {
                self.refused(error, "namespaces", "CAP_SYS_PTRACE");
                return Vec::new();
            }
        };
        let mut kinds: Vec<Vec<u8>> = Vec::new();
        let _ = files::list(dir.as_fd(), self.names, |name| {
            if !name.starts_with(b".") && !name.ends_with(b"_for_children") {
                kinds.push(name.to_vec());
            }
        });
        kinds.sort_unstable();
        let mut found = Vec::new();
        let mut denied = None;
        for kind in kinds {
            match self.files.link(&[&self.base, b"/ns/", &kind], self.text).map(status::ns_inode) {
                Ok(Some(inode)) => found.push((self.interned.get(&kind), inode)),
                Ok(None) => {}
                Err(error) => denied = Some(error),
            }
        }
        if let Some(error) = denied {
            self.refused(error, "namespaces", "CAP_SYS_PTRACE");
        }
        found
    }
}

/// Signal sets (all five lines, or none) and sizes of a `status` file.
fn parse_status(text: &[u8]) -> (Option<SignalSets>, Counters) {
    let mut sets = SignalSets::default();
    let mut found = 0;
    let mut sizes = Vec::new();
    for (key, value) in status::pairs(text) {
        let slot = match key {
            b"SigPnd" => &mut sets.pending,
            b"ShdPnd" => &mut sets.shared_pending,
            b"SigBlk" => &mut sets.blocked,
            b"SigIgn" => &mut sets.ignored,
            b"SigCgt" => &mut sets.caught,
            _ => {
                sizes.extend(status::kib(value).map(|bytes| (String::from_utf8_lossy(key).into_owned(), bytes)));
                continue;
            }
        };
        if let Some(set) = status::hex(value) {
            *slot = set;
            found += 1;
        }
    }
    ((found == 5).then_some(sets), Counters::from_pairs(sizes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::TaskState;
    use proptest::prelude::*;

    fn own_key() -> TaskKey {
        let text = std::fs::read("/proc/self/stat").unwrap();
        TaskKey { pid: std::process::id(), start_ticks: stat::parse(&text).unwrap().start }
    }

    #[test]
    fn sees_itself_in_full() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let _again = file.reopen().unwrap();
        let detail = DetailCollector::new(&Roots::default(), None).collect(own_key()).task.unwrap();
        assert!(detail.threads.iter().any(|t| t.state == TaskState::Running));
        assert!(detail.memory.get("VmRSS").is_some_and(|bytes| bytes > 100_000), "{:?}", detail.memory);
        assert!(detail.signals.is_some() && detail.oom_score.is_some() && detail.oom_score_adj.is_some());
        assert!(detail.limits.iter().any(|(name, soft)| &**name == "Max open files" && soft.is_some()));
        assert!(detail.namespaces.iter().any(|(kind, inode)| &**kind == "net" && *inode > 0));
        assert!(!detail.cgroups.is_empty());
        let fds = detail.fds.unwrap();
        let path = file.path().to_str().unwrap();
        assert!(fds.paths.iter().any(|(p, n)| &**p == path && *n == 2), "{fds:?}");
        assert!(!fds.cut && fds.total >= fds.files + fds.pipes + fds.sockets + fds.anon);
    }

    #[test]
    fn a_reused_pid_is_nobody() {
        let key = own_key();
        let other = TaskKey { start_ticks: key.start_ticks + 1, ..key };
        assert_eq!(DetailCollector::new(&Roots::default(), None).collect(other).task, None);
        assert_eq!(
            DetailCollector::new(&Roots::default(), None).collect(TaskKey { pid: 0, start_ticks: 0 }).task,
            None
        );
    }

    #[test]
    fn signal_sets_come_whole_or_not_at_all() {
        let text = b"SigPnd:\t0000000000000001\nShdPnd:\t0000000000000100\nSigBlk:\t0\nSigIgn:\t1000\nSigCgt:\t4002\n\
            VmSwap:\t  12 kB\nHugetlbPages:\t 0 kB\nName:\tx\n";
        let (signals, memory) = parse_status(text);
        let signals = signals.unwrap();
        assert_eq!(
            (signals.pending, signals.shared_pending, signals.ignored, signals.caught),
            (1, 0x100, 0x1000, 0x4002)
        );
        assert_eq!(
            (memory.get("VmSwap"), memory.get("HugetlbPages"), memory.get("Name")),
            (Some(12288), Some(0), None)
        );
        assert_eq!(parse_status(b"SigPnd:\t0\n").0, None);
    }

    proptest! {
        #[test]
        fn never_panics(noise: Vec<u8>) {
            let _ = parse_status(&noise);
            let _ = (status::cgroup_lines(&noise).count(), status::limits(&noise).count());
        }
    }
}
