//! Helper processes for reads that can hang.
//!
//! Reading `cmdline` takes the target's `mmap_lock` and may fault in its pages; `stack` waits for an `execve` of the
//! target to end; a file waits for its disk. All can sleep in D for as long as a dead disk lasts, and a thread in D keeps
//! its whole process from exiting. So small processes, forked before any thread exists, do these reads:
//!
//! ```text
//! collector ──ask()──▶ queue ──turn()──▶ pipe ─▶ reader ─▶ /proc/PID/cmdline
//!           ◀─answers────────────────── pipe ◀─┘   └ silent for too long and not runnable: killed, never waited for;
//!                                                    a spare takes over, the place is left alone for a while
//! ```
//!
//! No call here blocks. Each collector has a pool of its own, so that a dead disk does not stop the other's reads.

mod ask;
mod child;

use super::tasks::stat;
use crate::snapshot::Moment;
use rustc_hash::FxHashMap;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::pipe::PIPE_BUF;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::collections::VecDeque;
use std::path::Path;

pub use ask::{Ask, FileAsk, Kind, Request, TrafficAsk};
pub(in crate::collect) use child::read_here;
pub use child::{detach, exit};

/// Readers forked at start: one works, the others are spares.
const READERS: usize = 3;
/// For so long a place whose read got stuck is not read again; longer while the stuck reader still hangs.
const LEFT_ALONE_NS: u64 = 300_000_000_000;
/// Requests that may wait; more are refused and asked again later.
const QUEUE_MAX: usize = 65_536;

/// The pools that are forked at start; a collector without one reads by itself, and may hang.
#[derive(Debug, Default)]
pub struct Pools {
    /// For command lines and kernel stacks.
    pub tasks: Option<Readers>,
    /// For the files of container runtimes.
    pub files: Option<Readers<FileAsk>>,
    /// For what TCP connections carry.
    pub traffic: Option<Readers<TrafficAsk>>,
    /// For names of users: one process.
    pub names: Option<Readers<FileAsk>>,
    /// For deep reads of a drill-down.
    pub deep: Option<Readers<FileAsk>>,
    /// For the plans of the screens: command lines and stacks.
    pub act_tasks: Option<Readers>,
    /// The same: files of container runtimes and units.
    pub act_files: Option<Readers<FileAsk>>,
}

impl Pools {
    /// Process ids of all readers.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        let files = [&self.files, &self.names, &self.deep, &self.act_files];
        let files = files.into_iter().flatten().flat_map(Readers::pids);
        let tasks = self.tasks.iter().chain(&self.act_tasks).flat_map(Readers::pids);
        tasks.chain(self.traffic.iter().flat_map(Readers::pids)).chain(files)
    }
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<R = Ask> {
    /// The request.
    pub ask: R,
    /// What was read, or why not; `ETIMEDOUT` when the read got stuck.
    pub bytes: Result<Vec<u8>, Errno>,
}

/// The helper processes and what waits for them.
#[derive(Debug)]
pub struct Readers<R: Request = Ask> {
    /// The front one works.
    live: VecDeque<Reader<R>>,
    /// Killed, not yet reaped: a process in D dies when it wakes.
    dying: Vec<Pid>,
    queue: VecDeque<R>,
    left_alone: FxHashMap<R::Place, LeftAlone>,
}

/// A place where a reader got stuck.
#[derive(Clone, Copy, Debug)]
struct LeftAlone {
    until: Moment,
    stuck: Pid,
}

#[derive(Debug)]
struct Reader<R> {
    pid: Pid,
    requests: OwnedFd,
    replies: OwnedFd,
    /// Requests that may be under way.
    batch: usize,
    under_way: VecDeque<R>,
    /// When the reader last gave a byte, or was given work while it had none. One that waits for room in the pipe gives
    /// bytes as soon as it is drained: silence means stuck.
    progress: Moment,
    /// Bytes of a frame that has not come whole.
    partial: Vec<u8>,
    /// Frames of a reply that has not come whole.
    body: Vec<u8>,
}

impl<R: Request> Readers<R> {
    /// Forks the readers; requests of tasks go to the tree at `proc`. Call it on the main thread before any other exists:
    /// they are killed when the thread that forked them ends.
    ///
    /// # Errors
    /// When not even one could be forked, or `proc` can't be opened.
    pub fn start(proc: &Path) -> Result<Self, Errno> {
        Self::start_few(proc, READERS)
    }

    /// As [`Readers::start`], with so many processes: one works, the others are spares.
    ///
    /// # Errors
    /// As there.
    pub fn start_few(proc: &Path, count: usize) -> Result<Self, Errno> {
        let dir = super::io::open_dir(proc)?;
        let mut live = VecDeque::with_capacity(count);
        let mut failed = Errno::AGAIN;
        for _ in 0..count {
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

    /// Whether some place is left alone.
    #[must_use]
    pub fn leaves_alone(&self, now: Moment) -> bool {
        self.left_alone.values().any(|alone| self.lasts(alone, now))
    }

    fn lasts(&self, alone: &LeftAlone, now: Moment) -> bool {
        now < alone.until || self.dying.contains(&alone.stuck)
    }

    /// Queues a request; [`Readers::turn`] sends it. `false`: refused now (place left alone, queue full, no reader,
    /// path too long).
    pub fn ask(&mut self, ask: R, now: Moment) -> bool {
        let full = self.queue.len() >= QUEUE_MAX || ask.wanted().path().len() >= child::PATH_MAX;
        if full || self.live.len() < ask.readers_needed() {
            return false;
        }
        let place = ask.place();
        if let Some(alone) = self.left_alone.get(&place) {
            if self.lasts(alone, now) {
                return false;
            }
            self.left_alone.remove(&place);
        }
        self.queue.push_back(ask);
        true
    }

    /// Takes the answers that are there into `answers`, replaces a stuck reader, sends what waits. Never blocks.
    pub fn turn(&mut self, now: Moment, answers: &mut Vec<Answer<R>>) {
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
            let place = lost.as_ref().map(Request::place);
            if let Some(place) = &place {
                let until = Moment(now.0.saturating_add(LEFT_ALONE_NS));
                self.left_alone.insert(place.clone(), LeftAlone { until, stuck: reader.pid });
            }
            answers.extend(lost.map(|ask| Answer { ask, bytes: Err(Errno::TIMEDOUT) }));
            self.abandon(place.as_ref(), answers);
        }
    }

    /// Kills the front reader and queues its other requests again, except those for the place it got stuck on.
    fn abandon(&mut self, stuck_on: Option<&R::Place>, answers: &mut Vec<Answer<R>>) {
        let Some(reader) = self.live.pop_front() else { return };
        let _ = kill_process(reader.pid, Signal::KILL);
        self.dying.push(reader.pid);
        for ask in reader.under_way.into_iter().rev() {
            self.queue.push_front(ask);
        }
        let live = self.live.len();
        self.queue.retain(|ask| {
            let keep = stuck_on != Some(&ask.place()) && live >= ask.readers_needed();
            if !keep {
                answers.push(Answer { ask: ask.clone(), bytes: Err(Errno::TIMEDOUT) });
            }
            keep
        });
    }
}

impl<R: Request> Drop for Readers<R> {
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

impl<R: Request> Reader<R> {
    fn health(&mut self, now: Moment, answers: &mut Vec<Answer<R>>) -> Health {
        if self.drain(now, answers).is_none() {
            return Health::Ended;
        }
        let silent_ns = now.0.saturating_sub(self.progress.0);
        if self.under_way.is_empty() || silent_ns < R::PATIENCE_NS || self.waits_for_cpu() {
            return Health::Fine;
        }
        // It may have answered and gone to sleep between the drain and the look at its state.
        match self.drain(now, answers) {
            None => Health::Ended,
            Some(0) => Health::Stuck,
            Some(_) => Health::Fine,
        }
    }

    /// Whether the reader is runnable: then the host is short of CPU, and the read is not what hangs.
    fn waits_for_cpu(&self) -> bool {
        let mut line = Vec::new();
        let path = format!("/proc/{}/stat", self.pid.as_raw_nonzero());
        super::io::read_path(Path::new(&path), &mut line).is_ok()
            && stat::parse_state(&line).is_some_and(|(_, state)| state == crate::snapshot::TaskState::Running)
    }

    /// Reads what is there; how many bytes, `None` when the reader has ended.
    fn drain(&mut self, now: Moment, answers: &mut Vec<Answer<R>>) -> Option<usize> {
        let mut drained = 0;
        loop {
            self.partial.reserve(64 * 1024);
            match rustix::io::read(&self.replies, rustix::buffer::spare_capacity(&mut self.partial)) {
                Ok(0) => return None,
                Ok(len) => {
                    drained += len;
                    self.progress = now;
                    self.take_frames(answers);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Some(drained),
                Err(_) => return None,
            }
        }
    }

    fn take_frames(&mut self, answers: &mut Vec<Answer<R>>) {
        let mut taken = 0;
        while let Some((outcome, used)) = child::decode_frame(self.partial.get(taken..).unwrap_or_default()) {
            taken += used;
            let mut bytes = Ok(std::mem::take(&mut self.body));
            match (outcome, &mut bytes) {
                (Ok(frame), Ok(body)) => {
                    body.extend(frame);
                    if frame.len() == child::FRAME {
                        self.body = std::mem::take(body);
                        continue;
                    }
                }
                (outcome, bytes) => *bytes = outcome.map(<[u8]>::to_vec),
            }
            answers.extend(self.under_way.pop_front().map(|ask| Answer { ask, bytes }));
        }
        self.partial.drain(..taken);
    }

    /// Sends what waits, in messages so short that each goes as a whole or not at all.
    fn send(&mut self, queue: &mut VecDeque<R>, now: Moment) {
        let mut message = Vec::new();
        loop {
            message.clear();
            let mut count = 0;
            for ask in queue.iter().take(self.batch.saturating_sub(self.under_way.len())) {
                let before = message.len();
                ask.wanted().encode(&mut message);
                if message.len() > PIPE_BUF {
                    message.truncate(before);
                    break;
                }
                count += 1;
            }
            if count == 0 || rustix::io::write(&self.requests, &message) != Ok(message.len()) {
                return;
            }
            if self.under_way.is_empty() {
                self.progress = now;
            }
            self.under_way.extend(queue.drain(..count));
        }
    }
}

#[cfg(test)]
mod tests;
