//! The threads of one process: how many in which state, and a row for each that is not asleep.

use super::blocked::{Sleeper, Sleepers};
use super::files::{self, Decimal, Reads};
use super::stat;
use crate::snapshot::{Task, TaskState, Text, Thread};
use rustix::fd::AsFd;
use std::sync::Arc;

/// Walks threads; keeps its buffers.
#[derive(Debug, Default)]
pub(super) struct Threads {
    pub sleepers: Sleepers,
    blocked: Vec<Thread>,
    others: Vec<Thread>,
    tids: Vec<u32>,
    names: Vec<u8>,
    text: Vec<u8>,
    base: Vec<u8>,
}

impl Threads {
    pub fn begin(&mut self, pass: u64) {
        self.sleepers.begin(pass);
    }

    /// Fills `by_state` and `awake` of `task`, whose folder is `base`. For a leader that has exited while threads live
    /// on: the tid of one of them, and its memory (the leader has none).
    pub fn walk(&mut self, task: &mut Task, base: &[u8], reads: &mut Reads, page_bytes: u64) -> Option<u32> {
        self.blocked.clear();
        self.others.clear();
        let comm = Arc::clone(&task.comm);
        task.state = self.thread(task, (task.key.pid, task.state, comm), base, reads);
        let live = if task.threads > 1 { self.rest(task, base, reads, page_bytes) } else { None };
        if !self.blocked.is_empty() || !self.others.is_empty() {
            task.awake = self.blocked.drain(..).chain(self.others.drain(..)).take(Task::AWAKE_MAX).collect();
        }
        live
    }

    /// All threads but the leader, whose state `stat` of the process has told.
    fn rest(&mut self, task: &mut Task, base: &[u8], reads: &mut Reads, page_bytes: u64) -> Option<u32> {
        let dir = reads.files.open_dir(&[base, b"/task"]).ok()?;
        let mut tids = std::mem::take(&mut self.tids);
        tids.clear();
        let listed = files::list(dir.as_fd(), &mut self.names, |name| tids.extend(files::id(name)));
        let mut live = None;
        let leader = task.key.pid;
        for &tid in tids.iter().filter(|tid| **tid != leader) {
            let name = Decimal::new(tid);
            // A thread that ends meanwhile is no longer counted.
            let Ok(text) = reads.files.read_in(&dir, &[name.bytes(), b"/stat"], &mut self.text) else { continue };
            let Some((comm, state)) = stat::parse_state(text) else { continue };
            if task.state == TaskState::Zombie && live.is_none() && state != TaskState::Zombie {
                live = Some(tid);
                if let Some(stat) = stat::parse(text) {
                    task.vsize_bytes = stat.vsize;
                    task.rss_bytes = stat.rss_pages.saturating_mul(page_bytes);
                }
            }
            if state == TaskState::Sleeping {
                task.by_state.add(state);
                continue;
            }
            let comm = reads.interned.get(comm);
            let mut folder = std::mem::take(&mut self.base);
            folder.clear();
            folder.extend([base, b"/task/", name.bytes()].into_iter().flatten());
            self.thread(task, (tid, state, comm), &folder, reads);
            self.base = folder;
        }
        self.tids = tids;
        listed.ok().and(live)
    }

    /// Counts one thread and makes its row when it is awake; the state it is really in.
    fn thread(
        &mut self,
        task: &mut Task,
        (tid, mut state, comm): (u32, TaskState, Text),
        base: &[u8],
        reads: &mut Reads,
    ) -> TaskState {
        match state {
            TaskState::Blocked => {
                let row = self.blocked.len() < Task::AWAKE_MAX;
                let who = Sleeper {
                    pid: task.key.pid,
                    tid,
                    start_ticks: task.key.start_ticks,
                    base,
                    kthread: task.kthread,
                    row,
                };
                match self.sleepers.look(who, reads) {
                    None => state = TaskState::Idle,
                    Some(blocked) if row => self.blocked.push(Thread {
                        tid,
                        comm,
                        state,
                        wchan: blocked.wchan,
                        stack: blocked.stack,
                        sigkill_pending: blocked.sigkill_pending,
                        switches: blocked.switches,
                        syscall: None,
                    }),
                    Some(_) => {}
                }
            }
            TaskState::Running | TaskState::Stopped | TaskState::Traced if self.others.len() < Task::AWAKE_MAX => {
                self.others.push(Thread { tid, comm, state, ..Thread::default() });
            }
            _ => {}
        }
        task.by_state.add(state);
        state
    }
}
