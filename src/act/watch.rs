//! What became of a process that was sent a signal: looked for, never assumed.

use super::census::{Census, Person};
use super::pin::Pin;
use crate::collect::now;
use crate::collect::tasks::files::{self, Decimal, Files};
use crate::collect::tasks::{stat, status};
use crate::snapshot::{Effect, Moment, Outcome, OutcomeKind, Signal, TaskKey, TaskState, TaskTarget, Text};
use rustc_hash::FxHashSet;
use rustix::fd::AsFd;

/// So long after an end a successor is looked for when nobody is known to start one, ms.
const GRACE_MS: u64 = 700;
/// So long it is looked for when somebody promised to, ms: docker takes a second to begin with, systemd 100 ms.
const PROMISED_MS: u64 = 30_000;
/// A signal that is foretold to be dropped is believed to be after so long, ms.
const DROPPED_MS: u64 = 300;
/// Threads looked at for the one that keeps a process from ending, at most.
const THREADS_MAX: usize = 256;

/// One process under watch.
#[derive(Debug)]
pub struct Watcher {
    /// The process.
    pub pin: Pin,
    target: TaskTarget,
    effect: Effect,
    signal: Signal,
    /// Whether somebody is known to start it again.
    promised: bool,
    sent: Moment,
    /// When it was seen dead, ms after the sending.
    dead_ms: Option<u64>,
    /// When it was seen gone.
    gone_ms: Option<u64>,
}

impl Watcher {
    /// Watches from now on, the moment of sending.
    pub fn new(pin: Pin, target: TaskTarget, effect: Effect, signal: Signal, promised: bool) -> Self {
        Self { pin, target, effect, signal, promised, sent: now(), dead_ms: None, gone_ms: None }
    }

    /// Whether it died; then its pidfd has nothing more to tell.
    pub fn is_dead(&self) -> bool {
        self.dead_ms.is_some()
    }

    /// Whether a successor may still come: looked for while anybody watches, though an end without a promise is settled
    /// sooner.
    pub fn may_return(&self, now: Moment) -> bool {
        self.gone_ms.is_some_and(|gone| self.ms(now) < gone + PROMISED_MS)
    }

    fn is_settled(&self, now: Moment) -> bool {
        let patience_ms = if self.promised { PROMISED_MS } else { GRACE_MS };
        self.gone_ms.is_some_and(|gone| self.ms(now) >= gone + patience_ms)
    }

    fn ms(&self, now: Moment) -> u64 {
        now.0.saturating_sub(self.sent.0) / 1_000_000
    }

    /// Looks once.
    pub fn look(&mut self, files: &mut Files) -> Outcome {
        let now = now();
        let after_ms = self.ms(now);
        if self.dead_ms.is_none() && self.pin.is_dead() {
            self.dead_ms = Some(after_ms);
        }
        let Some(dead_ms) = self.dead_ms else { return self.living(files, after_ms) };
        if self.gone_ms.is_none() && self.pin.is_reaped() {
            self.gone_ms = Some(after_ms);
        }
        if self.gone_ms.is_some() {
            let detail = format!("ended after {}", span(dead_ms)).into();
            let settled = self.is_settled(now);
            return Outcome { result: OutcomeKind::Exited, after_ms: dead_ms, detail, settled, successor: None };
        }
        let TaskTarget { key, ppid, .. } = self.target;
        // Its parent may have changed since.
        let ppid = read(files, &[Decimal::new(key.pid).bytes(), b"/stat"])
            .and_then(|text| Some(stat::parse(&text)?.ppid))
            .unwrap_or(ppid);
        let parent = read(files, &[Decimal::new(ppid).bytes(), b"/stat"]);
        let comm =
            parent.as_deref().and_then(stat::parse_state).map(|(comm, _)| String::from_utf8_lossy(comm).into_owned());
        let who = format!("{}({ppid})", comm.unwrap_or_default());
        Outcome {
            result: OutcomeKind::Zombie,
            after_ms: dead_ms,
            detail: format!("dead, and a zombie until its parent {who} waits for it").into(),
            settled: self.effect == Effect::NoneZombie,
            successor: None,
        }
    }

    /// It lives: what has become of the signal?
    fn living(&self, files: &mut Files, after_ms: u64) -> Outcome {
        let outcome = |result, detail: String, settled| Outcome {
            result,
            after_ms,
            detail: detail.into(),
            settled,
            successor: None,
        };
        let name = self.signal.name();
        let Some(look) = Look::at(files, self.target.key, self.signal) else {
            return outcome(OutcomeKind::Survived, "it can't be looked at".into(), false);
        };
        let state = look.words();
        if look.pending {
            let what = if look.killed { "SIGKILL" } else { &*name };
            return outcome(OutcomeKind::Pending, format!("{state}, {what} pending"), false);
        }
        let dropped = matches!(self.effect, Effect::Ignored | Effect::NoneZombie);
        let settled = match self.effect {
            _ if dropped => after_ms >= DROPPED_MS,
            Effect::Stops => look.stopped,
            Effect::Continues => !look.stopped,
            // Whoever asks for the end wants to see it.
            _ => !self.signal.asks_to_end() && after_ms >= DROPPED_MS,
        };
        let detail = match self.effect {
            _ if dropped => format!("{state}: {name} changed nothing"),
            Effect::Stops if look.stopped => "stopped".into(),
            Effect::Continues if !look.stopped => format!("{state}: it goes on"),
            _ => format!("{state}: it took {name} and lives"),
        };
        outcome(OutcomeKind::Survived, detail, settled)
    }

    /// The process that took its place, if one has.
    pub fn successor<'c>(
        &self,
        census: &'c Census,
        before: &FxHashSet<TaskKey>,
        files: &mut Files,
        mut cmdline: impl FnMut(TaskKey) -> Option<Text>,
    ) -> Option<(&'c Person, Outcome)> {
        let gone_ms = self.gone_ms?;
        let target = &self.target;
        let is_new = |person: &&Person| {
            !before.contains(&person.key)
                && person.key != target.key
                && person.key.start_ticks >= target.key.start_ticks
                && person.comm == target.comm
                && !matches!(person.state, TaskState::Zombie | TaskState::Dead)
        };
        for person in census.people.iter().filter(is_new) {
            let same_parent = person.ppid == target.ppid;
            let cgroup = read(files, &[Decimal::new(person.key.pid).bytes(), b"/cgroup"]);
            let cgroup = cgroup.as_deref().and_then(status::cgroup_path).map(String::from_utf8_lossy);
            let same_cgroup = target.cgroup.as_deref().is_some_and(|own| own != "/" && cgroup.as_deref() == Some(own));
            if !same_parent && !same_cgroup {
                continue;
            }
            // A pool's next worker, or a shell's next command, has another command line.
            if let Some(own) = &target.cmdline
                && cmdline(person.key).is_some_and(|new| new != *own)
            {
                continue;
            }
            let by = if let Some(unit) = target.unit.as_deref().filter(|_| same_cgroup) {
                format!("unit {unit}")
            } else if let Some(container) = target.container.as_deref().filter(|_| same_cgroup) {
                format!("container {container}")
            } else {
                format!("its parent {}({})", target.parent_comm.as_deref().unwrap_or_default(), target.ppid)
            };
            let outcome = Outcome {
                result: OutcomeKind::Respawned,
                after_ms: gone_ms,
                detail: format!("ended after {}, came back as pid {} by {by}", span(gone_ms), person.key.pid).into(),
                settled: true,
                successor: Some(person.key),
            };
            return Some((person, outcome));
        }
        None
    }
}

/// A living process and its signal.
struct Look {
    /// Its leader, or the thread that keeps it from ending.
    state: TaskState,
    wchan: Option<String>,
    /// The signal, or the SIGKILL that it became, has not been taken.
    pending: bool,
    killed: bool,
    stopped: bool,
}

impl Look {
    fn at(files: &mut Files, key: TaskKey, signal: Signal) -> Option<Self> {
        let pid = Decimal::new(key.pid);
        let line = read(files, &[pid.bytes(), b"/stat"])?;
        let stat = stat::parse(&line).filter(|stat| stat.start == key.start_ticks)?;
        let mut look = Self {
            state: stat.state,
            wchan: None,
            pending: false,
            killed: false,
            stopped: matches!(stat.state, TaskState::Stopped | TaskState::Traced),
        };
        let (mut tids, mut names) = (Vec::new(), Vec::new());
        if let Ok(dir) = files.open_dir(&[pid.bytes(), b"/task"]) {
            let _ = files::list_while(dir.as_fd(), &mut names, |name| {
                tids.extend(files::id(name));
                tids.len() < THREADS_MAX
            });
        }
        for tid in tids {
            look.thread(files, &pid, tid, signal);
        }
        Some(look)
    }

    fn thread(&mut self, files: &mut Files, pid: &Decimal, tid: u32, signal: Signal) {
        let tid = Decimal::new(tid);
        let file = |name: &'static [u8]| [pid.bytes(), b"/task/", tid.bytes(), name].concat();
        let Some(line) = read(files, &[&file(b"/stat")]) else { return };
        let Some((_, state)) = stat::parse_state(&line) else { return };
        if matches!(state, TaskState::Zombie | TaskState::Dead) {
            return;
        }
        let sets = read(files, &[&file(b"/status")]).unwrap_or_default();
        let set = status::pairs(&sets)
            .filter(|(key, _)| matches!(*key, b"SigPnd" | b"ShdPnd"))
            .filter_map(|(_, value)| status::hex(value))
            .fold(0, |all, set| all | set);
        self.pending |= set & (signal.bit() | Signal::KILL.bit()) != 0;
        self.killed |= set & Signal::KILL.bit() != 0;
        // The thread in D is the one that matters.
        if self.state != TaskState::Blocked || self.wchan.is_none() {
            if state == TaskState::Blocked || matches!(self.state, TaskState::Zombie | TaskState::Dead) {
                self.state = state;
            }
            if state == self.state {
                let wchan = read(files, &[&file(b"/wchan")]).unwrap_or_default();
                let wchan = String::from_utf8_lossy(wchan.trim_ascii()).into_owned();
                self.wchan = Some(wchan).filter(|name| !matches!(&**name, "0" | ""));
            }
        }
    }

    fn words(&self) -> String {
        let place = self.wchan.as_deref().map(|wchan| format!(" at {wchan}")).unwrap_or_default();
        match self.state {
            TaskState::Blocked => format!("still in D{place}"),
            TaskState::Stopped => "stopped".into(),
            TaskState::Traced => "stopped by its tracer".into(),
            TaskState::Running => "running".into(),
            state => format!("alive ({}{place})", state.letter()),
        }
    }
}

fn read(files: &mut Files, parts: &[&[u8]]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    files.read(parts, &mut text).ok()?;
    Some(text)
}

fn span(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{:.1} s", ms as f64 / 1000.0) }
}
