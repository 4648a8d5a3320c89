//! Every process and its threads, from `/proc/PID/stat` and what hangs below it.
//!
//! ```text
//! every pass   PID/stat of all · task/TID/stat of all threads · wchan of all in D · status, stack of some in D
//! on a rota    status, fd count (10 s) · cgroup, ns/net, limits (40 s) · new and changed processes at once
//! by readers   cmdline, stack: they can hang; their answers show in this pass or a later one
//! ```

pub(crate) mod blocked;
mod facts;
pub(crate) mod files;
mod gaps;
pub(crate) mod stat;
pub(crate) mod status;
mod threads;

use super::readers::{Answer, Ask, Kind, Readers, read_here};
use super::{Collector, Context, Roots, now};
use crate::snapshot::{Moment, Section, Task, TaskKey, Tasks, Text};
use facts::{Facts, Refresh, TaskKind, Who};
use files::{Decimal, Files, Interned, Reads};
use gaps::Refused;
use rustc_hash::FxHashMap;
use rustix::io::Errno;
use stat::Stat;
use std::sync::Arc;
use threads::Threads;

/// Readers are looked after once in so many processes.
const TURN_EVERY: usize = 64;
/// Names that nobody uses any more are forgotten once in so many passes.
const SWEEP_EVERY: u64 = 64;

/// Reads all processes. One pass costs little more than the kernel's own part of it.
#[derive(Debug)]
pub struct TasksCollector {
    roots: Roots,
    reads: Option<Reads>,
    readers: Option<Readers>,
    pass: u64,
    /// By pid.
    known: FxHashMap<u32, Facts>,
    refresh: Refresh,
    threads: Threads,
    answers: Vec<Answer>,
    names: Vec<u8>,
    pids: Vec<u32>,
    text: Vec<u8>,
    page_bytes: u64,
}

impl Collector for TasksCollector {
    type Out = Tasks;

    fn name(&self) -> &'static str {
        "tasks"
    }

    fn collect(&mut self, cx: &Context) -> Section<Tasks> {
        let at = now();
        match self.pass(at, cx.eager) {
            // We are one ourselves: a /proc without any shows no host.
            Ok(tasks) if tasks.rows.is_empty() => {
                let why = tasks.gaps.first().map_or_else(|| "no process in it".into(), |gap| gap.what.clone());
                Section::absent(format!("{}: {why}", self.roots.proc.display()))
            }
            Ok(tasks) => Section::ok(at, tasks),
            Err(error @ (Errno::ACCESS | Errno::PERM)) => {
                Section::denied(format!("{}: {error}", self.roots.proc.display()), "root, or a /proc that may be read")
            }
            Err(error) => Section::absent(format!("{}: {error}", self.roots.proc.display())),
        }
    }
}

impl TasksCollector {
    /// A collector over `roots`. Without readers it reads `cmdline` and `stack` itself, within the pass; that may hang,
    /// so it is for tests and for trees where no reader could be forked.
    #[must_use]
    pub fn new(roots: &Roots, readers: Option<Readers>) -> Self {
        Self {
            roots: roots.clone(),
            reads: None,
            readers,
            pass: 0,
            known: FxHashMap::default(),
            refresh: Refresh::default(),
            threads: Threads::default(),
            answers: Vec::new(),
            names: Vec::new(),
            pids: Vec::new(),
            text: Vec::new(),
            page_bytes: procfs::page_size(),
        }
    }

    fn pass(&mut self, at: Moment, eager: bool) -> Result<Tasks, Errno> {
        let mut reads = match self.reads.take() {
            Some(reads) => reads,
            None => Reads { files: Files::open(&self.roots.proc)?, interned: Interned::default(), asks: Vec::new() },
        };
        let tasks = self.pass_with(&mut reads, at, eager);
        self.reads = Some(reads);
        tasks
    }

    fn pass_with(&mut self, reads: &mut Reads, at: Moment, eager: bool) -> Result<Tasks, Errno> {
        self.pass += 1;
        self.refresh.begin(at, eager);
        self.threads.begin(self.pass);
        let mut refused = Refused::default();
        let mut pids = std::mem::take(&mut self.pids);
        pids.clear();
        reads.files.list(&mut self.names, |name| pids.extend(files::id(name)))?;
        // The kernel lists them in order; another tree may not.
        pids.sort_unstable();
        let mut tasks = Tasks { rows: Vec::with_capacity(pids.len()), ..Tasks::default() };
        for (n, &pid) in pids.iter().enumerate() {
            match self.process(pid, reads) {
                Ok(task) => tasks.rows.extend(task),
                Err(error) => refused.process(error),
            }
            if n % TURN_EVERY == 0 {
                self.turn(reads, &mut tasks.rows);
            }
        }
        self.turn(reads, &mut tasks.rows);
        self.pids = pids;
        tasks.blocked_by_wchan = self.threads.sleepers.end();
        if self.known.len() > tasks.rows.len() {
            let pass = self.pass;
            self.known.retain(|_, facts| facts.seen == pass);
        }
        if self.pass.is_multiple_of(SWEEP_EVERY) {
            reads.interned.sweep();
        }
        // By now a reader on another CPU has answered for the newest processes too.
        self.turn(reads, &mut tasks.rows);
        refused.fds = count(&self.known, |facts| facts.fds_denied);
        refused.stacks = self.threads.sleepers.stacks_denied;
        refused.wchan = self.threads.sleepers.wchan_unknown;
        refused.no_reader = self.readers.as_ref().is_some_and(|r| r.alive() == 0);
        tasks.gaps = refused.gaps(&self.roots, tasks.rows.first());
        tasks.gaps.extend(tasks.hidden_netns());
        Ok(tasks)
    }

    /// One process; `None` when it has gone.
    fn process(&mut self, pid: u32, reads: &mut Reads) -> Result<Option<Task>, Errno> {
        let name = Decimal::new(pid);
        let text = reads.files.read(&[name.bytes(), b"/stat"], &mut self.text);
        let Some(text) = super::io::gone_is_none(text)? else { return Ok(None) };
        let stat = stat::parse(text).ok_or(Errno::PROTO)?;
        let facts = self.known.entry(pid).or_default();
        if facts.start_ticks != stat.start {
            *facts = Facts::default();
            facts.start_ticks = stat.start;
        }
        facts.seen = self.pass;
        let renamed = facts.looks == 0 || facts.comm.as_bytes() != stat.comm;
        if renamed {
            facts.comm = reads.interned.get(stat.comm);
        }
        let changed = renamed || facts.ppid != stat.ppid;
        facts.ppid = stat.ppid;
        let mut task = row(pid, &stat, &facts.comm, self.page_bytes);
        let live = self.threads.walk(&mut task, name.bytes(), reads, self.page_bytes);
        let live_name = live.map(|tid| [name.bytes(), b"/task/", Decimal::new(tid).bytes()].concat());
        let kind = match (task.kthread, task.is_zombie()) {
            (true, _) => TaskKind::Kernel,
            (false, true) => TaskKind::Dead,
            (false, false) => TaskKind::User,
        };
        let who = Who {
            pid,
            base: live_name.as_deref().unwrap_or(name.bytes()),
            kind,
            changed,
            suspect: task.by_state.blocked > 0,
        };
        self.refresh.run(facts, who, reads);
        // With a thread in D the read might never end; a healthier moment will come.
        let may_hang = task.by_state.blocked > 0;
        if kind == TaskKind::User && !may_hang && !facts.cmdline_asked {
            facts.cmdline_asked = true;
            let tid = live.unwrap_or(pid);
            reads.asks.push(Ask { kind: Kind::Cmdline, pid, tid, start_ticks: stat.start });
        }
        facts.copy_to(&mut task);
        Ok(Some(task))
    }

    /// Hands requests to the readers and takes their answers into what is known and into `rows`.
    fn turn(&mut self, reads: &mut Reads, rows: &mut [Task]) {
        let at = now();
        for ask in reads.asks.drain(..) {
            let Some(readers) = &mut self.readers else {
                let bytes = read_here(reads.files.root(), &ask);
                self.answers.push(Answer { ask, bytes });
                continue;
            };
            if !readers.ask(ask, at) {
                self.answers.push(Answer { ask, bytes: Err(Errno::AGAIN) });
            }
        }
        if let Some(readers) = &mut self.readers {
            readers.turn(at, &mut self.answers);
        }
        let mut answers = std::mem::take(&mut self.answers);
        for answer in answers.drain(..) {
            self.take(&answer, &mut reads.interned, rows);
        }
        self.answers = answers;
    }

    fn take(&mut self, answer: &Answer, interned: &mut Interned, rows: &mut [Task]) {
        let Answer { ask, bytes } = answer;
        let row = rows.binary_search_by_key(&ask.pid, |task| task.key.pid).ok().and_then(|at| rows.get_mut(at));
        let row = row.filter(|task| task.key.start_ticks == ask.start_ticks);
        match ask.kind {
            Kind::Stack => {
                let stack = self.threads.sleepers.take_stack(ask.tid, bytes.as_deref().map_err(|e| *e), interned);
                let thread = row.and_then(|task| task.awake.iter_mut().find(|thread| thread.tid == ask.tid));
                if let (Some(thread), Some(stack)) = (thread, stack) {
                    thread.stack = stack;
                }
            }
            Kind::Cmdline => {
                let facts = self.known.get_mut(&ask.pid).filter(|facts| facts.start_ticks == ask.start_ticks);
                let Some(facts) = facts else { return };
                match bytes {
                    Ok(bytes) => facts.cmdline = command_line(bytes),
                    Err(error) => facts.cmdline_asked = *error != Errno::AGAIN,
                }
                if let Some(task) = row {
                    task.cmdline.clone_from(&facts.cmdline);
                }
            }
        }
    }
}

fn count(known: &FxHashMap<u32, Facts>, which: impl Fn(&Facts) -> bool) -> u32 {
    u32::try_from(known.values().filter(|facts| which(facts)).count()).unwrap_or(u32::MAX)
}

/// The row of one process as far as `stat` knows it.
fn row(pid: u32, stat: &Stat<'_>, comm: &Text, page_bytes: u64) -> Task {
    Task {
        key: TaskKey { pid, start_ticks: stat.start },
        ppid: stat.ppid,
        session: stat.session,
        comm: Arc::clone(comm),
        state: stat.state,
        kthread: stat.kthread,
        threads: stat.threads,
        utime_ticks: stat.utime,
        stime_ticks: stat.stime,
        minor_faults: stat.minor_faults,
        major_faults: stat.major_faults,
        rss_bytes: stat.rss_pages.saturating_mul(page_bytes),
        vsize_bytes: stat.vsize,
        ..Task::default()
    }
}

/// The arguments joined by spaces; `None` when there are none.
fn command_line(bytes: &[u8]) -> Option<Text> {
    let end = bytes.iter().rposition(|b| *b != 0)? + 1;
    let joined: Vec<u8> = bytes.get(..end)?.iter().map(|b| if *b == 0 { b' ' } else { *b }).collect();
    Some(Text::from(String::from_utf8_lossy(&joined).as_ref()))
}

#[cfg(test)]
mod tests;
