//! The process that writes, and the one that samples: neither waits for the other.
//!
//! A disk that hangs holds whoever writes to it, and a process with a thread held so can't even end. So frames go through
//! a pipe to a process that was forked at start-up; what the pipe does not take waits in a bounded queue, and what that
//! does not take is lost and told.

use super::frame::Frame;
use super::keeper::Keeper;
use super::save::Save;
use super::wire::{Destination, Order, Report};
use super::writer::Sink;
use crate::snapshot::Text;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::collections::VecDeque;

/// Bytes that wait for a disk that does not answer.
const QUEUE_MAX: usize = 32 << 20;
const READ_STEP: usize = 256 << 10;

/// The writing process's life: carries out orders until their pipe closes. It never writes to the other side so that it
/// would wait.
pub fn serve(orders: &OwnedFd, reports: &OwnedFd) {
    let mut keeper = Keeper::default();
    let mut come = Vec::new();
    let mut part = vec![0; READ_STEP];
    let mut last_unix_ns = 0;
    let mut tell = |report: Report| {
        let mut line = serde_json::to_vec(&report).unwrap_or_default();
        line.push(b'\n');
        // Where nobody reads, nobody waits for it either.
        let _ = rustix::io::write(reports, &line);
    };
    loop {
        let is_busy = keeper.has_work();
        if is_busy && !is_ready(orders, 0) {
            keeper.work(&mut tell);
            continue;
        }
        match rustix::io::read(orders, &mut part) {
            Ok(0) => break,
            Ok(len) => come.extend(part.get(..len).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
        while let Some(order) = Order::take(&mut come) {
            match order {
                Order::Open(to) => tell(keeper.open(to)),
                Order::Frame(frame) => {
                    last_unix_ns = frame.wall_unix_ns;
                    keeper.take(frame, &mut tell);
                }
                Order::End(wall) => tell(Report::Closed { bytes: keeper.close(wall) }),
                Order::Save(save) => tell(save.carry_out()),
            }
        }
        if come.is_empty() {
            // What was saved may have been long; memory is locked here.
            come.shrink_to(READ_STEP);
        }
        keeper.sync(&mut tell);
    }
    keeper.close(last_unix_ns);
}

/// Whether something can be read, within a time.
fn is_ready(fd: &OwnedFd, wait_ms: u32) -> bool {
    let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(wait_ms) * 1_000_000 };
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&wait)).is_ok_and(|n| n > 0)
}

/// A writing process, as the other side sees it.
#[derive(Debug)]
pub struct Helper {
    /// Its process id.
    pub pid: u32,
    /// Orders go here; does not block.
    pub orders: OwnedFd,
    /// Reports come from here; does not block.
    pub reports: OwnedFd,
}

/// Frames on their way to a file, or files on their way to a directory.
#[derive(Debug)]
pub struct Link {
    /// The one that writes, and those that take over when it dies.
    helpers: VecDeque<Helper>,
    /// The recording that is open, or was ordered to be.
    to: Option<Destination>,
    queue: VecDeque<Vec<u8>>,
    /// Bytes of the first in the queue that the pipe has taken.
    sent: usize,
    queued: usize,
    come: Vec<u8>,
    /// What happened on this side.
    own: Vec<Report>,
}

impl Link {
    /// A link to processes that write, of which the first does.
    #[must_use]
    pub fn new(helpers: Vec<Helper>) -> Self {
        Self {
            helpers: helpers.into(),
            to: None,
            queue: VecDeque::new(),
            sent: 0,
            queued: 0,
            come: Vec::new(),
            own: Vec::new(),
        }
    }

    /// Has a recording opened; a report says what came of it.
    pub fn open(&mut self, to: Destination) {
        self.send(&Order::Open(to.clone()));
        self.to = Some(to);
    }

    /// Has files written; a report says what came of it.
    pub fn save(&mut self, save: Save) {
        self.send(&Order::Save(save));
    }

    /// Every writing process there is.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.helpers.iter().map(|helper| helper.pid)
    }

    /// The writing process; `None` when all have died.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.helpers.front().map(|helper| helper.pid)
    }

    /// Bytes that the writing process has not taken.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.queued - self.sent
    }

    fn send(&mut self, order: &Order) {
        let bytes = order.bytes();
        self.queued += bytes.len();
        self.queue.push_back(bytes);
        self.pump();
    }

    /// Gives the pipe what it takes without waiting.
    pub fn pump(&mut self) {
        while let (Some(first), Some(helper)) = (self.queue.front(), self.helpers.front()) {
            match rustix::io::write(&helper.orders, first.get(self.sent..).unwrap_or_default()) {
                Ok(len) => self.sent += len,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return,
                Err(_) => return self.replace(),
            }
            if self.sent >= first.len() {
                self.queued -= first.len();
                self.sent = 0;
                self.queue.pop_front();
            }
        }
    }

    /// What the writing process has told since the last call.
    pub fn reports(&mut self) -> Vec<Report> {
        self.pump();
        let mut part = [0; 4096];
        while let Some(helper) = self.helpers.front() {
            match rustix::io::read(&helper.reports, &mut part) {
                Ok(0) => self.replace(),
                Ok(len) => self.come.extend(part.get(..len).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        let end = self.come.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.come.drain(..end).collect();
        let told = lines.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        let mut all = std::mem::take(&mut self.own);
        all.extend(told);
        all
    }

    /// The next process takes over from one that died.
    fn replace(&mut self) {
        self.helpers.pop_front();
        self.queue.clear();
        (self.sent, self.queued) = (0, 0);
        self.own.push(Report::Died);
        if let Some(to) = self.to.clone().filter(|_| !self.helpers.is_empty()) {
            self.send(&Order::Open(to));
            self.own.push(Report::NeedsKey);
        }
    }

    /// Has the recording closed; a report says when it is.
    pub fn end(&mut self, wall_unix_ns: i64) {
        self.to = None;
        self.send(&Order::End(wall_unix_ns));
    }

    /// Waits for a report, so long at most.
    pub fn wait(&self, wait_ms: u32) {
        if let Some(helper) = self.helpers.front() {
            is_ready(&helper.reports, wait_ms);
        }
    }
}

impl Sink for Link {
    fn put(&mut self, frame: Frame) -> Result<(), Text> {
        if self.helpers.is_empty() {
            return Err("no process is left that writes".into());
        }
        if self.queued + frame.body.len() > QUEUE_MAX {
            self.pump();
        }
        if self.queued + frame.body.len() > QUEUE_MAX {
            return Err("the disk takes nothing".into());
        }
        self.send(&Order::Frame(frame));
        Ok(())
    }
}
