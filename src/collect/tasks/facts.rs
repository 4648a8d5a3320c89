//! What is known of each process between passes, and when it is read again.

use super::files::{self, Files, Reads};
use super::status;
use crate::snapshot::{Moment, NetnsId, Task, Text};
use rustix::fd::AsFd;
use rustix::io::Errno;

/// How often a calm process's `status` and descriptor count are read.
const OFTEN_NS: u64 = 10_000_000_000;
/// How often its cgroup, namespace and limits are read.
const SELDOM_NS: u64 = 40_000_000_000;
/// Processes with threads in D whose `status` and descriptors are read in every pass, at most.
const SUSPECTS_MAX: u32 = 128;
/// Descriptors are counted one by one (kernels before 6.2) at most so many a pass: each costs an inode and a dentry.
const COUNTED_MAX: u64 = 8192;
/// A process with at most so many descriptor slots is always counted, a larger one only near its limit.
const FEW_SLOTS: u64 = 512;

/// What is kept of one process.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The pass that saw it last.
    pub seen: u64,
    /// With the pid its identity.
    pub start_ticks: u64,
    /// Passes that saw it, up to 3: an exec or a move to its cgroup often follows a fork.
    pub looks: u8,
    pub comm: Text,
    pub ppid: u32,
    pub cmdline: Option<Text>,
    /// Whether the command line has been asked for since `comm` last changed.
    pub cmdline_asked: bool,
    pub uid: Option<u32>,
    pub inner_pid: Option<u32>,
    pub swap_bytes: Option<u64>,
    pub cgroup: Option<Text>,
    pub freezer: Option<Text>,
    pub netns: Option<NetnsId>,
    pub fds: Option<u64>,
    pub fd_limit: Option<u64>,
    pub nproc_limit: Option<u64>,
    pub fds_denied: bool,
    fd_slots: u64,
}

impl Facts {
    /// Completes a row.
    pub fn copy_to(&self, task: &mut Task) {
        task.cmdline.clone_from(&self.cmdline);
        task.uid = self.uid;
        task.inner_pid = self.inner_pid;
        task.swap_bytes = self.swap_bytes;
        task.cgroup.clone_from(&self.cgroup);
        task.freezer.clone_from(&self.freezer);
        task.netns = self.netns;
        task.fds = self.fds;
        task.fd_limit = self.fd_limit;
        task.nproc_limit = self.nproc_limit;
    }
}

/// What can be read of a process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskKind {
    User,
    /// Has no descriptors, and nothing of it changes.
    Kernel,
    /// No thread of it lives, so it has neither descriptors nor namespaces.
    Dead,
}

/// The process a refresh is about.
#[derive(Clone, Copy)]
pub(super) struct Who<'a> {
    pub pid: u32,
    /// Its folder: `PID`, or `PID/task/TID` of a live thread where the leader has exited.
    pub base: &'a [u8],
    pub kind: TaskKind,
    /// New, or its name or parent changed: it may be another program in another place.
    pub changed: bool,
    /// Some thread is in D.
    pub suspect: bool,
}

/// Decides what is read again in a pass, and reads it.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    last: Moment,
    now: Moment,
    /// Rotas run so many times faster: every source is wanted now.
    haste: u64,
    suspects_left: u32,
    counted_left: u64,
    /// `st_size` of `/proc/PID/fd` is the count (6.2 and later).
    fd_size_counts: bool,
    text: Vec<u8>,
    names: Vec<u8>,
}

impl Refresh {
    pub fn begin(&mut self, now: Moment, eager: bool) {
        self.last = self.now;
        self.now = now;
        self.haste = if eager { 10 } else { 1 };
        self.suspects_left = SUSPECTS_MAX;
        self.counted_left = COUNTED_MAX;
    }

    /// Whether the moment of `pid` in a rota of `period` lies between the pass before and this one. The moments of
    /// all pids are spread evenly, so each pass reads about as many as the one before.
    fn is_due(&self, pid: u32, period: u64) -> bool {
        let period = period / self.haste.max(1);
        let phase = u64::from(pid).wrapping_mul(0x9E37_79B9_7F4A_7C15) % period;
        let turn = |at: Moment| (at.0 + phase) / period;
        turn(self.last) != turn(self.now)
    }

    /// Brings `facts` up to date as far as this pass allows.
    pub fn run(&mut self, facts: &mut Facts, who: Who<'_>, reads: &mut Reads) {
        let fresh = who.changed || facts.looks == 1;
        facts.looks = facts.looks.saturating_add(1).min(3);
        let suspect = who.suspect && self.suspects_left > 0;
        self.suspects_left -= u32::from(suspect);
        let changes = who.kind != TaskKind::Kernel;
        if fresh || (changes && self.is_due(who.pid, SELDOM_NS)) {
            self.seldom(facts, who, reads);
            facts.cmdline_asked &= !fresh && facts.cmdline.is_some();
        }
        if fresh || suspect || (changes && self.is_due(who.pid, OFTEN_NS)) {
            self.often(facts, who, &mut reads.files);
        }
    }

    fn often(&mut self, facts: &mut Facts, who: Who<'_>, files: &mut Files) {
        let Ok(text) = files.read(&[who.base, b"/status"], &mut self.text) else { return };
        let status = status::parse(text);
        facts.uid = status.uid.or(facts.uid);
        facts.inner_pid = status.inner_pid.or(facts.inner_pid);
        facts.swap_bytes = status.swap_bytes;
        facts.fd_slots = status.fd_slots.unwrap_or(0);
        if who.kind == TaskKind::Kernel {
            return;
        }
        match self.descriptors(facts, who, files) {
            Ok(count) => (facts.fds, facts.fds_denied) = (count, false),
            Err(error) => facts.fds_denied = matches!(error, Errno::ACCESS | Errno::PERM),
        }
    }

    fn descriptors(&mut self, facts: &Facts, who: Who<'_>, files: &mut Files) -> Result<Option<u64>, Errno> {
        let size = files.size(&[who.base, b"/fd"])?;
        self.fd_size_counts |= size > 0;
        if self.fd_size_counts || who.kind == TaskKind::Dead {
            return Ok(Some(size));
        }
        let near_limit = facts.fd_limit.is_some_and(|limit| facts.fd_slots >= limit / 2);
        if facts.fd_slots > self.counted_left || !(facts.fd_slots <= FEW_SLOTS || near_limit) {
            return Ok(None);
        }
        let dir = files.open_dir(&[who.base, b"/fd"])?;
        let mut count = 0;
        files::list(dir.as_fd(), &mut self.names, |name| count += u64::from(files::id(name).is_some()))?;
        self.counted_left = self.counted_left.saturating_sub(count);
        Ok(Some(count))
    }

    fn seldom(&mut self, facts: &mut Facts, who: Who<'_>, reads: &mut Reads) {
        if let Ok(text) = reads.files.read(&[who.base, b"/cgroup"], &mut self.text)
            && let Some(path) = status::cgroup_path(text)
        {
            let freezer = status::freezer_path(text).filter(|other| *other != path);
            for (known, now) in [(&mut facts.cgroup, Some(path)), (&mut facts.freezer, freezer)] {
                if known.as_deref().map(str::as_bytes) != now {
                    *known = now.map(|path| reads.interned.get(path));
                }
            }
        }
        if who.kind == TaskKind::Kernel {
            return;
        }
        // The namespace that a zombie lived in stays known.
        if let Ok(link) = reads.files.link(&[who.base, b"/ns/net"], &mut self.text) {
            facts.netns = status::netns(link).or(facts.netns);
        }
        if let Ok(text) = reads.files.read(&[who.base, b"/limits"], &mut self.text) {
            let own = status::own_limits(text);
            facts.fd_limit = own.files.or(facts.fd_limit);
            facts.nproc_limit = own.processes.or(facts.nproc_limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pid_is_due_once_a_period_and_each_pass_has_its_share() {
        let mut refresh = Refresh::default();
        let (second, pids) = (1_000_000_000, 1..=5000_u32);
        refresh.begin(Moment(777 * second), false);
        let mut times = vec![0; 5001];
        for tick in 1..=10 {
            refresh.begin(Moment((777 + tick) * second), false);
            let due: Vec<u32> = pids.clone().filter(|&pid| refresh.is_due(pid, OFTEN_NS)).collect();
            assert!((350..=650).contains(&due.len()), "{}", due.len());
            for pid in due {
                times[pid as usize] += 1;
            }
        }
        assert!(times[1..].iter().all(|&n| n == 1));
    }
}
