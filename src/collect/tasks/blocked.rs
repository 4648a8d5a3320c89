//! Threads in D: where they wait, whether they woke in between, and what a SIGKILL would meet.

use super::files::{Interned, Reads};
use super::status;
use crate::collect::readers::{Ask, Kind};
use crate::snapshot::Text;
use rustc_hash::FxHashMap;
use rustix::io::Errno;

/// `status` files of threads read in a pass at most; the rest have no context switches and no pending signals.
const STATUSES_MAX: u32 = 256;
/// Kernel stacks asked for in a pass at most: one costs as much as ten `stat`s.
const STACKS_MAX: u32 = 64;
/// Functions kept of a stack.
const FRAMES_MAX: usize = 32;
/// Main loops of kernel threads: there they wait for work, not for a resource. Before 4.14 such a thread shows as D
/// although the load does not count it; later it shows as I.
const IDLE_LOOPS: [&[u8]; 8] = [
    b"worker_thread",
    b"rescuer_thread",
    b"kthread_worker_fn",
    b"smpboot_thread_fn",
    b"rcu_gp_kthread",
    b"rcu_nocb_kthread",
    b"svc_recv",
    b"svc_get_next_xprt",
];

/// A thread in D.
#[derive(Clone, Copy)]
pub(super) struct Sleeper<'a> {
    pub pid: u32,
    pub tid: u32,
    pub start_ticks: u64,
    /// Its folder: `PID/task/TID`, or `PID`.
    pub base: &'a [u8],
    pub kthread: bool,
    /// Whether it will have a row; without one only its wait channel is counted.
    pub row: bool,
}

/// What is known of a thread in D.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocked {
    pub wchan: Option<Text>,
    pub switches: Option<u64>,
    pub sigkill_pending: Option<bool>,
    pub stack: Vec<Text>,
}

#[derive(Debug, Default)]
struct Cached {
    seen: u64,
    switches: Option<u64>,
    /// Valid for these `switches` only.
    stack: Vec<Text>,
    asked: bool,
    denied: bool,
}

/// Reads threads in D, within a budget a pass.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    pass: u64,
    cache: FxHashMap<u32, Cached>,
    by_wchan: FxHashMap<Text, u32>,
    statuses_left: u32,
    stacks_left: u32,
    /// Threads whose stack the kernel refuses: all without CAP_SYS_ADMIN, else those with capabilities we lack.
    pub stacks_denied: u32,
    /// Some wait channel was `0`.
    pub wchan_unknown: bool,
    text: Vec<u8>,
}

impl Sleepers {
    pub fn begin(&mut self, pass: u64) {
        self.pass = pass;
        self.by_wchan.clear();
        self.statuses_left = STATUSES_MAX;
        self.stacks_left = STACKS_MAX;
        self.wchan_unknown = false;
    }

    /// Looks at one thread that `stat` showed in D; `None` when it is an idle kernel thread after all.
    pub fn look(&mut self, who: Sleeper<'_>, reads: &mut Reads) -> Option<Blocked> {
        let wchan = match reads.files.read(&[who.base, b"/wchan"], &mut self.text) {
            Ok(text) => text.trim_ascii(),
            Err(_) => b"0",
        };
        if who.kthread && IDLE_LOOPS.contains(&wchan) {
            return None;
        }
        let wchan = if matches!(wchan, b"0" | b"") { None } else { Some(reads.interned.get(wchan)) };
        self.wchan_unknown |= wchan.is_none();
        *self.by_wchan.entry(wchan.clone().unwrap_or_default()).or_default() += 1;
        let mut blocked = Blocked { wchan, ..Blocked::default() };
        if who.row && self.statuses_left > 0 {
            self.statuses_left -= 1;
            self.fill(&mut blocked, who, reads);
        }
        Some(blocked)
    }

    fn fill(&mut self, blocked: &mut Blocked, who: Sleeper<'_>, reads: &mut Reads) {
        let Ok(text) = reads.files.read(&[who.base, b"/status"], &mut self.text) else { return };
        let status = status::parse(text);
        blocked.switches = status.switches;
        blocked.sigkill_pending = status.sigkill_pending;
        let cached = self.cache.entry(who.tid).or_default();
        if cached.switches != status.switches {
            *cached = Cached { switches: status.switches, ..Cached::default() };
        }
        cached.seen = self.pass;
        blocked.stack.clone_from(&cached.stack);
        if !cached.asked && self.stacks_left > 0 {
            self.stacks_left -= 1;
            cached.asked = true;
            reads.asks.push(Ask { kind: Kind::Stack, pid: who.pid, tid: who.tid, start_ticks: who.start_ticks });
        }
    }

    /// Takes a stack that has come; the functions, when the thread is still known.
    pub fn take_stack(&mut self, tid: u32, read: Result<&[u8], Errno>, interned: &mut Interned) -> Option<Vec<Text>> {
        let cached = self.cache.get_mut(&tid)?;
        match read {
            Ok(text) => {
                cached.stack = functions(text).take(FRAMES_MAX).map(|name| interned.get(name)).collect();
                Some(cached.stack.clone())
            }
            Err(error) => {
                // Refused now, it may be asked again in a later pass.
                cached.asked = error != Errno::AGAIN;
                cached.denied = matches!(error, Errno::ACCESS | Errno::PERM);
                None
            }
        }
    }

    /// Forgets threads that left D, and gives the wait channels, most threads first.
    pub fn end(&mut self) -> Vec<(Text, u32)> {
        let pass = self.pass;
        self.cache.retain(|_, cached| cached.seen == pass);
        let denied = self.cache.values().filter(|cached| cached.denied).count();
        self.stacks_denied = u32::try_from(denied).unwrap_or(u32::MAX);
        let mut by_wchan: Vec<(Text, u32)> = self.by_wchan.drain().collect();
        by_wchan.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        by_wchan
    }
}

/// The functions of a `/proc/PID/stack`, innermost first, without addresses and offsets.
pub(crate) fn functions(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = text.len() - text.iter().rev().take_while(|b| **b != b'\n').count();
    text.get(..whole).unwrap_or_default().split(|b| *b == b'\n').filter_map(|line| {
        let name = line.get(memchr::memchr(b']', line)? + 1..)?.trim_ascii();
        let name = name.split(|b| *b == b'+').next()?;
        (!name.is_empty() && !name.starts_with(b"0x")).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(text: &[u8]) -> Vec<&str> {
        functions(text).map(|f| std::str::from_utf8(f).unwrap()).collect()
    }

    #[test]
    fn stacks_of_new_and_old_kernels() {
        let new = b"[<0>] percpu_rwsem_wait+0x11b/0x140\n[<0>] __percpu_down_read+0x5e/0x70\n\
            [<0>] ext4_da_write_begin+0x4a/0x2b0 [ext4]\n[<0>] ent";
        assert_eq!(names(new), ["percpu_rwsem_wait", "__percpu_down_read", "ext4_da_write_begin"]);
        let old =
            b"[<ffffffff8109f2a8>] call_rwsem_down_read_failed+0x18/0x30\n[<ffffffffffffffff>] 0xffffffffffffffff\n";
        assert_eq!(names(old), ["call_rwsem_down_read_failed"]);
        assert!(names(b"").is_empty());
    }

    proptest! {
        #[test]
        fn never_panics(noise: Vec<u8>) { let _ = functions(&noise).count(); }
    }
}
