//! Carrying out, and watching what becomes of it.

use super::cgroup::{Group, Thawing};
use super::pin::{Pin, SendError};
use super::prepare::{Prepared, Work, gone};
use super::watch::Watcher;
use super::{Act, guard};
use crate::collect::tasks::files::Files;
use crate::collect::{now, wall_unix_ns};
use crate::snapshot::{
    ActionRecord, Decision, Effect, Moment, Outcome, OutcomeKind, Plan, Proposal, Signal, Target, TaskKey, TaskState,
    Text,
};
use rustc_hash::FxHashSet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::time::Duration;

/// Longest wait for a pidfd while something else has to be looked at, ms.
const TURN_MS: u64 = 25;
/// Between two searches for successors, ms.
const SEARCH_MS: u64 = 100;

/// How somebody agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// By seeing the plan and going on.
    Seen,
    /// By typing a word.
    Typed(String),
    /// By `--yes`.
    Yes,
}

/// An action under way.
#[derive(Debug)]
pub struct Running {
    /// The plans, with the outcomes so far.
    pub proposal: Proposal,
    /// Whether anything was sent. Not when it was refused, or the consent was not what the proposal asked for.
    pub sent: bool,
    watchers: Vec<(usize, Watcher)>,
    task: Option<Task>,
    before: FxHashSet<TaskKey>,
    searched: Moment,
    at: Moment,
    wall_unix_ns: i64,
    confirmed: Option<Text>,
}

/// What is watched besides processes.
#[derive(Debug)]
enum Task {
    Kill(Group),
    Thaw(Group),
    Reap { parent: Pin, zombies: Vec<TaskKey> },
}

impl Running {
    /// Gives back the processes that live on, still held: for the signal that may follow.
    #[must_use]
    pub fn into_pins(self) -> Vec<Pin> {
        self.watchers.into_iter().map(|(_, watcher)| watcher.pin).filter(|pin| !pin.is_dead()).collect()
    }
}

impl Act {
    /// Does what was proposed, if `consent` is what the proposal asks for. Refused targets get nothing.
    pub fn carry_out(&mut self, prepared: Prepared, consent: &Consent) -> Running {
        let Prepared { proposal, pins, work, before } = prepared;
        let agreed = match (proposal.decision, consent) {
            (Decision::Refused, _) | (Decision::Confirm, Consent::Seen) => false,
            (Decision::Allowed, _) | (Decision::Confirm, Consent::Yes) => true,
            (Decision::Confirm, Consent::Typed(word)) => proposal.confirm.as_deref() == Some(word.trim()),
        };
        let confirmed = match consent {
            Consent::Yes => Some("--yes".into()),
            Consent::Typed(word) if agreed => Some(word.trim().into()),
            Consent::Typed(_) | Consent::Seen => None,
        };
        let mut running = Running {
            proposal,
            sent: false,
            watchers: Vec::new(),
            task: None,
            before,
            searched: Moment::default(),
            at: now(),
            wall_unix_ns: wall_unix_ns(),
            confirmed,
        };
        if !agreed {
            return running;
        }
        match work {
            Work::Signals(signal) => send_each(&mut running, pins, signal),
            Work::Reap(zombies) => {
                send_each(&mut running, pins, Signal::CHLD);
                if let Some((_, watcher)) = running.watchers.pop() {
                    running.task = Some(Task::Reap { parent: watcher.pin, zombies });
                }
            }
            Work::Tree(signal) => self.send_tree(&mut running, pins, signal),
            Work::Kill(group) => {
                watch_all(&mut running, pins, Signal::KILL);
                running.sent = true;
                let guard = guard::guard(&self.roots, self.options.read_only, &self.census());
                if let Err(why) = group.kill(&guard, self.options.identity, self.reader.proc()) {
                    told(&mut running, OutcomeKind::Survived, why, true);
                } else {
                    running.task = Some(Task::Kill(group));
                }
            }
            Work::Thaw(group) => {
                running.sent = true;
                match group.thaw() {
                    Ok(()) => running.task = Some(Task::Thaw(group)),
                    Err(why) => told(&mut running, OutcomeKind::Survived, why, true),
                }
            }
            Work::Sockets(chosen) => {
                running.sent = true;
                let (result, detail) = chosen.destroy();
                told(&mut running, result, detail, true);
            }
            Work::Nothing => {}
        }
        running
    }

    /// Waits for news, at most so long, and looks at every outcome that is not settled.
    pub fn look(&mut self, running: &mut Running, wait: Duration) {
        wait_for_news(running, wait);
        let Ok(mut files) = Files::open(&self.roots.proc) else { return };
        for (at, watcher) in &mut running.watchers {
            let Some(plan) = running.proposal.plans.get_mut(*at) else { continue };
            if plan.outcome.as_ref().is_none_or(|outcome| !outcome.settled) {
                plan.outcome = Some(watcher.look(&mut files));
            }
        }
        self.look_for_successors(running, &mut files);
        self.look_at_task(running);
    }

    /// Ends the watch: what is not settled stays as it was last seen. Writes the audit line.
    ///
    /// # Errors
    /// The record all the same, and why the line could not be written.
    pub fn finish(&mut self, running: &mut Running) -> (ActionRecord, Result<(), String>) {
        if running.sent {
            self.look(running, Duration::ZERO);
        }
        for plan in &mut running.proposal.plans {
            if let Some(outcome) = &mut plan.outcome {
                outcome.settled = true;
            }
        }
        let record = self.record(running);
        let written = self.options.audit.write(&record);
        (record, written)
    }

    /// What has been done, with the outcomes so far.
    #[must_use]
    pub fn record(&self, running: &Running) -> ActionRecord {
        ActionRecord {
            at: running.at,
            wall_unix_ns: running.wall_unix_ns,
            actor: guard::actor(&self.roots, self.options.by),
            confirmed: running.confirmed.clone(),
            sent: running.sent,
            proposal: running.proposal.clone(),
        }
    }

    fn look_for_successors(&mut self, running: &mut Running, files: &mut Files) {
        let at = now();
        let Running { proposal, watchers, before, searched, .. } = running;
        let open = |plan: Option<&Plan>| {
            plan.and_then(|plan| plan.outcome.as_ref()).is_none_or(|o| o.result != OutcomeKind::Respawned)
        };
        let expected = watchers.iter().any(|(n, watcher)| watcher.may_return(at) && open(proposal.plans.get(*n)));
        if !expected || at.0.saturating_sub(searched.0) < SEARCH_MS * 1_000_000 {
            return;
        }
        *searched = at;
        let census = self.census();
        for (n, watcher) in watchers.iter() {
            let Some(plan) = proposal.plans.get_mut(*n) else { continue };
            if !watcher.may_return(at) || !open(Some(plan)) {
                continue;
            }
            let cmdline = |key| self.reader.cmdline(key);
            if let Some((person, outcome)) = watcher.successor(&census, before, files, cmdline) {
                // One process is one's successor only.
                before.insert(person.key);
                plan.outcome = Some(outcome);
            }
        }
    }

    fn look_at_task(&mut self, running: &mut Running) {
        let after_ms = now().0.saturating_sub(running.at.0) / 1_000_000;
        let census = matches!(running.task, Some(Task::Reap { .. })).then(|| self.census());
        let Some(plan) = running.proposal.plans.first_mut() else { return };
        if plan.outcome.as_ref().is_some_and(|outcome| outcome.settled) {
            return;
        }
        let (result, detail, settled) = match &mut running.task {
            None => return,
            Some(Task::Kill(group)) => {
                let guard = super::plan::Guard { own_pid: std::process::id(), ..super::plan::Guard::default() };
                group.kill_look(&guard, self.options.identity, self.reader.proc())
            }
            Some(Task::Thaw(group)) => match group.thawing() {
                Thawing::Done(detail) => (OutcomeKind::Done, detail, true),
                Thawing::Not(detail) => (OutcomeKind::Pending, detail, false),
            },
            Some(Task::Reap { parent, zombies }) => {
                let census = census.unwrap_or_default();
                let left = zombies.iter().filter(|zombie| {
                    let person = census.get(zombie.pid).filter(|person| person.key == **zombie);
                    person.is_some_and(|p| p.ppid == parent.key().pid && p.state == TaskState::Zombie)
                });
                match (left.count(), zombies.len()) {
                    (0, 0) => (OutcomeKind::Done, "it had no zombies".into(), true),
                    (0, all) => (OutcomeKind::Done, format!("all {all} zombies are reaped").into(), true),
                    (left, all) => {
                        let detail = format!("{left} of {all} zombies are still there").into();
                        (OutcomeKind::Survived, detail, after_ms > 2000)
                    }
                }
            }
        };
        plan.outcome = Some(Outcome { result, after_ms, detail, settled, successor: None });
    }
}

/// Sends one signal to every process that is held and not refused, and begins to watch it.
pub(super) fn send_each(running: &mut Running, pins: Vec<Option<Pin>>, signal: Signal) {
    for (n, pin) in pins.into_iter().enumerate() {
        let (Some(pin), Some(plan)) = (pin, running.proposal.plans.get_mut(n)) else { continue };
        if plan.decision == Decision::Refused || plan.outcome.is_some() {
            continue;
        }
        running.sent |= send(&mut running.watchers, n, plan, pin, signal);
    }
}

/// Sends; whether anything was.
fn send(watchers: &mut Vec<(usize, Watcher)>, n: usize, plan: &mut Plan, pin: Pin, signal: Signal) -> bool {
    let Target::Task(target) = &plan.target else { return false };
    let watcher = Watcher::new(pin, target.clone(), plan.effect, signal, plan.restarts.is_some());
    let (outcome, sent) = match watcher.pin.send(signal) {
        Ok(()) => (None, true),
        Err(SendError::Gone) => (Some(gone()), false),
        Err(error @ SendError::Doubt) => (Some(survived(error)), true),
        Err(error) => (Some(survived(error)), false),
    };
    match outcome {
        Some(outcome) => plan.outcome = Some(outcome),
        None => watchers.push((n, watcher)),
    }
    sent
}

fn survived(error: SendError) -> Outcome {
    Outcome {
        result: OutcomeKind::Survived,
        detail: format!("not sent: {error}").into(),
        settled: true,
        ..Outcome::default()
    }
}

/// Watches processes that something else than a pin's signal will end.
fn watch_all(running: &mut Running, pins: Vec<Option<Pin>>, signal: Signal) {
    for (n, pin) in pins.into_iter().enumerate() {
        let (Some(pin), Some(plan)) = (pin, running.proposal.plans.get(n)) else { continue };
        if let (Target::Task(target), None) = (&plan.target, &plan.outcome) {
            let watcher = Watcher::new(pin, target.clone(), plan.effect, signal, plan.restarts.is_some());
            running.watchers.push((n, watcher));
        }
    }
}

/// Says what became of the one target that is no process.
fn told(running: &mut Running, result: OutcomeKind, detail: Text, settled: bool) {
    let after_ms = now().0.saturating_sub(running.at.0) / 1_000_000;
    if let Some(plan) = running.proposal.plans.first_mut() {
        plan.outcome = Some(Outcome { result, after_ms, detail, settled, successor: None });
    }
}

impl Running {
    /// Adds a process that was found while acting.
    pub(super) fn join(&mut self, plan: Plan, pin: Pin, signal: Signal) {
        let n = self.proposal.plans.len();
        self.proposal.plans.push(plan);
        if let Some(plan) = self.proposal.plans.get_mut(n)
            && plan.decision != Decision::Refused
        {
            self.sent |= send(&mut self.watchers, n, plan, pin, signal);
        }
    }

    /// Sends to the process of one plan.
    pub(super) fn send_to(&mut self, n: usize, pin: Pin, signal: Signal) {
        if let Some(plan) = self.proposal.plans.get_mut(n) {
            self.sent |= send(&mut self.watchers, n, plan, pin, signal);
        }
    }

    /// The processes under watch.
    pub(super) fn pins(&self) -> impl Iterator<Item = &Pin> {
        self.watchers.iter().map(|(_, watcher)| &watcher.pin)
    }
}

/// Waits until a process ends, or for the time that other things may take.
fn wait_for_news(running: &Running, wait: Duration) {
    let watched = || running.watchers.iter().map(|(_, watcher)| watcher);
    let fds: Vec<_> = watched().filter(|watcher| !watcher.is_dead()).filter_map(|watcher| watcher.pin.fd()).collect();
    let all_by_fd = running.task.is_none() && watched().all(|watcher| !watcher.is_dead() && watcher.pin.is_exact());
    let ending = running.proposal.plans.iter().all(|plan| plan.effect == Effect::Terminates);
    let longest = if all_by_fd && ending { wait } else { wait.min(Duration::from_millis(TURN_MS)) };
    let timeout = Timespec {
        tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(longest.subsec_nanos()),
    };
    let mut fds: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let _ = poll(&mut fds, Some(&timeout));
}
