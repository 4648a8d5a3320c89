//! Helper processes for reads that can hang.
//!
//! Reading `cmdline` takes the target's `mmap_lock` and may fault in its pages; `stack` waits for an `execve` of the
//! target to end. Both can sleep in D for as long as a dead disk lasts, and a thread in D keeps its whole process from
//! exiting. So small processes, forked before any thread exists, do these reads:
//!
//! ```text
//! collector ──ask()──▶ queue ──turn()──▶ pipe ─▶ reader ─▶ /proc/PID/cmdline
//!           ◀─answers────────────────── pipe ◀─┘   └ silent for 200 ms and not runnable: killed, never waited for;
//!                                                    a spare takes over, the pid is left alone for a while
//! ```
//!
//! No call here blocks.

mod child;

use super::tasks::stat;
use crate::snapshot::Moment;
use rustc_hash::FxHashMap;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::collections::VecDeque;
use std::path::Path;

pub(in crate::collect) use child::read_one;

/// Readers forked at start: one works, the others are spares.
const READERS: usize = 3;
/// A request that is not answered for so long, by a reader that is not waiting for a CPU, is stuck.
const STUCK_NS: u64 = 200_000_000;
/// For so long a pid whose read got stuck is not read again.
const LEFT_ALONE_NS: u64 = 300_000_000_000;
/// Requests that may wait; more are refused and asked again later.
const QUEUE_MAX: usize = 65_536;
/// Bytes of a file that are read at most.
pub(in crate::collect) const REPLY_MAX: usize = 4096;

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/proc/PID/task/TID/cmdline`.
    Cmdline,
    /// `/proc/PID/task/TID/stack`: it is read of tasks in D, so it may use up spares only while one is left.
    Stack,
}

impl Kind {
    /// With fewer live readers than this the kind is refused.
    fn readers_needed(self) -> usize {
        match self {
            Self::Cmdline => 1,
            Self::Stack => 2,
        }
    }
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which file.
    pub kind: Kind,
    /// Process.
    pub pid: u32,
    /// Thread; the leader's is the pid.
    pub tid: u32,
    /// Start of the process, given back with the answer: by then the pid may be another's.
    pub start_ticks: u64,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The request.
    pub ask: Ask,
    /// The file's first 4,096 bytes, or why not; `ETIMEDOUT` when the read got stuck.
    pub bytes: Result<Vec<u8>, Errno>,
}

/// The helper processes and what waits for them.
#[derive(Debug)]
pub struct Readers {
    /// The front one works.
    live: VecDeque<Reader>,
    /// Killed, not yet reaped: a process in D dies when it wakes.
    dying: Vec<Pid>,
    queue: VecDeque<Ask>,
    left_alone: FxHashMap<u32, Moment>,
}

#[derive(Debug)]
struct Reader {
    pid: Pid,
    requests: OwnedFd,
    replies: OwnedFd,
    /// Requests that may be under way: so few that all their replies fit into the pipe, so that silence means stuck.
    batch: usize,
    under_way: VecDeque<Ask>,
    /// When the reader last answered, or was given work while it had none.
    progress: Moment,
    /// Bytes of a reply that has not come whole.
    partial: Vec<u8>,
}

impl Readers {
    /// Forks the readers over the tree at `proc`. Call it on the main thread before any other exists: they are killed
    /// when the thread that forked them ends.
    ///
    /// # Errors
    /// When not even one could be forked, or `proc` can't be opened.
    pub fn start(proc: &Path) -> Result<Self, Errno> {
        let dir = super::io::open_dir(proc)?;
        let mut live = VecDeque::with_capacity(READERS);
        let mut failed = Errno::AGAIN;
        for _ in 0..READERS {
            match child::fork(&dir) {
                Ok(reader) => live.push_back(reader),
                Err(error) => failed = error,
            }
        }
        if live.is_empty() {
            return Err(failed);
        }
        Ok(Self { live, dying: Vec::new(), queue: VecDeque::new(), left_alone: FxHashMap::default() })
    }

    /// Readers that can work: 0 = nothing will be answered any more.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.live.len()
    }

    /// Process ids of the readers, the working one first.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.live.iter().map(|r| r.pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// Queues a request; [`Readers::turn`] sends it. `false`: refused now (pid left alone, queue full, no reader).
    pub fn ask(&mut self, ask: Ask, now: Moment) -> bool {
        if self.live.len() < ask.kind.readers_needed() || self.queue.len() >= QUEUE_MAX {
            return false;
        }
        if let Some(&until) = self.left_alone.get(&ask.pid) {
            if now < until {
                return false;
            }
            self.left_alone.remove(&ask.pid);
        }
        self.queue.push_back(ask);
        true
    }

    /// Takes the answers that are there into `answers`, replaces a stuck reader, sends what waits. Never blocks.
    pub fn turn(&mut self, now: Moment, answers: &mut Vec<Answer>) {
        self.dying.retain(|&pid| matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)));
        while let Some(reader) = self.live.front_mut() {
            let lost = match reader.health(now, answers) {
                Health::Fine => {
                    reader.send(&mut self.queue, now);
                    break;
                }
                Health::Stuck => reader.under_way.pop_front(),
                Health::Ended => None,
            };
            if let Some(ask) = lost {
                self.left_alone.insert(ask.pid, Moment(now.0.saturating_add(LEFT_ALONE_NS)));
                answers.push(Answer { ask, bytes: Err(Errno::TIMEDOUT) });
            }
            self.abandon(lost.map(|ask| ask.pid), answers);
        }
    }

    /// Kills the front reader and queues its other requests again, except those for the process it got stuck on.
    fn abandon(&mut self, stuck_on: Option<u32>, answers: &mut Vec<Answer>) {
        let Some(reader) = self.live.pop_front() else { return };
        let _ = kill_process(reader.pid, Signal::KILL);
        self.dying.push(reader.pid);
        for ask in reader.under_way.into_iter().rev() {
            self.queue.push_front(ask);
        }
        let live = self.live.len();
        self.queue.retain(|&ask| {
            let keep = Some(ask.pid) != stuck_on && live >= ask.kind.readers_needed();
            if !keep {
                answers.push(Answer { ask, bytes: Err(Errno::TIMEDOUT) });
            }
            keep
        });
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        for pid in self.live.iter().map(|r| r.pid).chain(self.dying.iter().copied()) {
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

enum Health {
    Fine,
    Stuck,
    Ended,
}

impl Reader {
    fn health(&mut self, now: Moment, answers: &mut Vec<Answer>) -> Health {
        if !self.drain(now, answers) {
            return Health::Ended;
        }
        if self.under_way.is_empty() || now.0.saturating_sub(self.progress.0) < STUCK_NS || self.waits_for_cpu() {
            return Health::Fine;
        }
        // It may have answered and gone to sleep between the drain and the look at its state.
        let before = self.under_way.len();
        match (self.drain(now, answers), self.under_way.len() < before) {
            (false, _) => Health::Ended,
            (true, true) => Health::Fine,
            (true, false) => Health::Stuck,
        }
    }

    /// Whether the reader is runnable: then the host is short of CPU, and the read is not what hangs.
    fn waits_for_cpu(&self) -> bool {
        let mut line = Vec::new();
        let path = format!("/proc/{}/stat", self.pid.as_raw_nonzero());
        super::io::read_path(Path::new(&path), &mut line).is_ok()
            && stat::parse_state(&line).is_some_and(|(_, state)| state == crate::snapshot::TaskState::Running)
    }

    /// Reads what is there; `false` when the reader has ended.
    fn drain(&mut self, now: Moment, answers: &mut Vec<Answer>) -> bool {
        loop {
            self.partial.reserve(64 * 1024);
            match rustix::io::read(&self.replies, rustix::buffer::spare_capacity(&mut self.partial)) {
                Ok(0) => return false,
                Ok(_) => self.take_replies(now, answers),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
    }

    fn take_replies(&mut self, now: Moment, answers: &mut Vec<Answer>) {
        let mut taken = 0;
        while let Some((outcome, used)) = child::decode_reply(self.partial.get(taken..).unwrap_or_default()) {
            taken += used;
            self.progress = now;
            if let Some(ask) = self.under_way.pop_front() {
                answers.push(Answer { ask, bytes: outcome.map(<[u8]>::to_vec) });
            }
        }
        self.partial.drain(..taken);
    }

    fn send(&mut self, queue: &mut VecDeque<Ask>, now: Moment) {
        let count = self.batch.saturating_sub(self.under_way.len()).min(queue.len());
        if count == 0 {
            return;
        }
        let message: Vec<u8> = queue.iter().take(count).copied().flat_map(child::encode_request).collect();
        // The batch is below PIPE_BUF: it goes as a whole or not at all.
        if rustix::io::write(&self.requests, &message).is_ok_and(|sent| sent == message.len()) {
            if self.under_way.is_empty() {
                self.progress = now;
            }
            self.under_way.extend(queue.drain(..count));
        }
    }
}

#[cfg(test)]
mod tests;
