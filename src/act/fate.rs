//! What a signal does to a process: first what the process has arranged for it, then what stands in its way.

use super::facts::{Facts, Freezer, ThreadFacts};
use super::wait::Wait;
use crate::snapshot::{DefaultAction, Effect, Signal, TaskState, Text};

/// An effect, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Foretold {
    /// What it will do.
    pub effect: Effect,
    /// Why, most important first.
    pub reasons: Vec<Text>,
    /// What to do instead, or next.
    pub advice: Vec<Text>,
}

impl Foretold {
    fn new(effect: Effect, why: impl Into<Text>) -> Self {
        Self { effect, reasons: vec![why.into()], advice: Vec::new() }
    }

    fn advise(mut self, what: impl Into<Text>) -> Self {
        self.advice.push(what.into());
        self
    }
}

/// What a process has arranged for a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arranged {
    /// It ends by the kernel's hand; `at_once` when the kernel ends all threads as it sends (no core dump, no tracer).
    Ends {
        at_once: bool,
    },
    /// A handler, `sigwait` or a `signalfd` takes it.
    Caught,
    Ignored,
    Blocked,
    Stops,
    Continues,
}

/// Foretells what `signal` does to the process.
#[must_use]
pub fn foretell(facts: &Facts, signal: Signal) -> Foretold {
    let name = signal.name();
    if facts.kthread {
        return Foretold::new(Effect::Ignored, "it is a kernel thread: the kernel drops every signal to it");
    }
    if facts.is_zombie() {
        return zombie(facts);
    }
    let (arranged, why) = arrange(facts, signal);
    let mut foretold = match arranged {
        Arranged::Ignored => return Foretold::new(Effect::Ignored, why),
        Arranged::Blocked => {
            return Foretold::new(Effect::Blocked, why).advise("SIGKILL can't be blocked: whytop kill --signal KILL");
        }
        Arranged::Continues => continues(facts),
        _ => hindered(facts, signal, arranged).unwrap_or_else(|| plainly(arranged)),
    };
    foretold.reasons.push(why);
    if let Some((pid, comm)) = &facts.tracer
        && signal != Signal::KILL
    {
        foretold.reasons.push(format!("{comm}({pid}) traces it, gets {name} first and decides").into());
    }
    foretold
}

fn plainly(arranged: Arranged) -> Foretold {
    let effect = match arranged {
        Arranged::Ends { .. } => Effect::Terminates,
        Arranged::Caught => Effect::Caught,
        Arranged::Stops => Effect::Stops,
        Arranged::Continues => Effect::Continues,
        Arranged::Blocked => Effect::Blocked,
        Arranged::Ignored => Effect::Ignored,
    };
    Foretold { effect, ..Foretold::default() }
}

fn arrange(facts: &Facts, signal: Signal) -> (Arranged, Text) {
    let name = signal.name();
    let has = |set: u64| set & signal.bit() != 0;
    let told = |arranged, why: String| (arranged, Text::from(why));
    if facts.target.key.pid == 1 && !has(facts.caught) {
        return told(Arranged::Ignored, format!("pid 1 has no handler for {name}: the kernel drops it"));
    }
    match signal {
        Signal::KILL if facts.pending & Signal::KILL.bit() != 0 => {
            return told(Arranged::Ends { at_once: true }, "SIGKILL is pending for it already".into());
        }
        Signal::KILL => return told(Arranged::Ends { at_once: true }, "SIGKILL can't be caught or blocked".into()),
        Signal::STOP => return told(Arranged::Stops, "SIGSTOP can't be caught or blocked".into()),
        Signal::CONT if facts.is_stopped() => {
            return told(Arranged::Continues, "it is stopped, and goes on".into());
        }
        _ => {}
    }
    let reads = has(facts.signalfd);
    match () {
        () if has(facts.ignored) => told(Arranged::Ignored, format!("it ignores {name} (SigIgn)")),
        () if reads && facts.all_block(signal) => {
            told(Arranged::Caught, format!("it reads {name} from a signalfd: its program decides"))
        }
        () if facts.all_block(signal) => told(Arranged::Blocked, format!("every thread of it blocks {name} (SigBlk)")),
        () if has(facts.caught) => {
            told(Arranged::Caught, format!("it has a handler for {name} (SigCgt), which decides"))
        }
        () if facts.is_inner_init() => told(
            Arranged::Ignored,
            format!("it is pid 1 of its pid namespace and has no handler for {name}: the kernel drops it"),
        ),
        () => match signal.default_action() {
            DefaultAction::Ignore => {
                told(Arranged::Ignored, format!("it has no handler for {name}, which then does nothing"))
            }
            DefaultAction::Continue => {
                told(Arranged::Ignored, "it is not stopped: there is nothing to continue".into())
            }
            DefaultAction::Stop => told(Arranged::Stops, format!("it has no handler for {name}, which stops it")),
            DefaultAction::Terminate if facts.threads.iter().any(|thread| thread.sigwait) => {
                told(Arranged::Caught, format!("a thread of it waits for signals (sigwait), which may be for {name}"))
            }
            DefaultAction::Terminate => told(
                Arranged::Ends { at_once: !signal.dumps_core() && facts.tracer.is_none() },
                format!("it has no handler for {name}, which ends it"),
            ),
        },
    }
}

fn continues(facts: &Facts) -> Foretold {
    match &facts.freezer {
        Freezer::V1(path) | Freezer::V2(path) => Foretold::new(
            Effect::PendingUntilThawed,
            format!("its cgroup {path} is frozen: it goes on when that is thawed"),
        ),
        Freezer::Free => plainly(Arranged::Continues),
    }
}

/// What keeps a process from taking a signal now.
fn hindered(facts: &Facts, signal: Signal, arranged: Arranged) -> Option<Foretold> {
    let name = signal.name();
    let ends = matches!(arranged, Arranged::Ends { .. });
    let at_once = arranged == Arranged::Ends { at_once: true };
    match &facts.freezer {
        Freezer::V1(path) => {
            let why = format!("its cgroup {path} is frozen (v1 freezer): {name} is taken when that is thawed");
            return Some(Foretold::new(Effect::PendingUntilThawed, why).advise(thaw(path)));
        }
        Freezer::V2(path) if !at_once => {
            let why =
                format!("its cgroup {path} is frozen: only what ends a process at once reaches it before it is thawed");
            return Some(Foretold::new(Effect::PendingUntilThawed, why).advise(thaw(path)));
        }
        Freezer::V2(_) | Freezer::Free => {}
    }
    if facts.is_stopped() && signal != Signal::KILL {
        let traced = facts.threads.iter().any(|thread| thread.state == TaskState::Traced);
        let by = if traced { "stopped by its tracer" } else { "stopped" };
        let why = format!("it is {by}: {name} is taken when it goes on");
        let advice = "let it go on: whytop kill --signal CONT; or end it now: --signal KILL";
        return Some(Foretold::new(Effect::PendingUntilWakes, why).advise(advice));
    }
    if ends { until_all_end(facts, &name, at_once) } else { until_one_takes_it(facts, signal, &name) }
}

fn thaw(path: &Text) -> String {
    format!("whytop kill --thaw {path}")
}

/// A process ends when its last thread does: the most stubborn one decides.
fn until_all_end(facts: &Facts, name: &str, at_once: bool) -> Option<Foretold> {
    let killed = |thread: &ThreadFacts| (thread.pending | facts.pending) & Signal::KILL.bit() != 0;
    let wait = |thread: &ThreadFacts| match (thread.state, thread.wait) {
        (TaskState::Blocked | TaskState::Sleeping, Wait::Fuse) => Some(Wait::Fuse),
        // A sleep that SIGKILL could end would have ended; and who is on the way out takes no signals any more.
        (TaskState::Blocked, _) if killed(thread) || thread.exiting => Some(Wait::Plain),
        (TaskState::Blocked, Wait::Killable) if !at_once => Some(Wait::Plain),
        (TaskState::Blocked, Wait::Killable) => None,
        (TaskState::Blocked, wait) => Some(wait),
        _ => None,
    };
    let of = |kind: Wait| facts.threads.iter().filter(move |thread| wait(thread) == Some(kind));
    let others = facts.threads.len();
    let place = |thread: &ThreadFacts| match &thread.wchan {
        Some(wchan) => format!("at {wchan}"),
        None => "at a place the kernel does not tell".into(),
    };
    let who = |count: usize| match (count, others) {
        (1, 1) => "it is".to_owned(),
        (1, _) => "one of its threads is".to_owned(),
        (n, all) => format!("{n} of its {all} threads are"),
    };
    let foretold = if let Some(thread) = of(Wait::Plain).next() {
        let waits = if killed(thread) {
            format!("in D {}, with SIGKILL pending: it ends when what it waits for has come", place(thread))
        } else {
            format!("in D {}: {name} is taken when what it waits for has come", place(thread))
        };
        Foretold::new(Effect::PendingUntilWakes, format!("{} {waits}", who(of(Wait::Plain).count())))
            .advise(format!("another signal changes nothing; find what holds it {}", place(thread)))
    } else if of(Wait::Fuse).next().is_some() {
        let waits = "waiting for a FUSE server: if that has read the request, it stays in D until the server answers";
        Foretold::new(Effect::PendingUntilServerAnswers, format!("{} {waits}", who(of(Wait::Fuse).count())))
            .advise("if the server is dead: echo 1 > /sys/fs/fuse/connections/N/abort ends every such wait")
    } else if let Some(thread) = of(Wait::Unknown).next() {
        let waits = format!("in D {}: /proc does not tell whether a signal ends that wait", place(thread));
        Foretold::new(Effect::UncertainD, format!("{} {waits}", who(of(Wait::Unknown).count())))
            .advise("whytop watches, and says whether it ended or stays in D with the signal pending")
    } else {
        let mut foretold = plainly(Arranged::Ends { at_once });
        let killable = facts.threads.iter().find(|thread| thread.state == TaskState::Blocked)?;
        foretold.reasons.push(format!("it is in D {}, but that wait ends with a fatal signal", place(killable)).into());
        foretold
    };
    Some(foretold)
}

/// One thread takes a signal that doesn't end the process: its first that does not block it. In D it does so on waking.
fn until_one_takes_it(facts: &Facts, signal: Signal, name: &str) -> Option<Foretold> {
    let leader = facts.threads.iter().find(|thread| thread.tid == facts.target.key.pid);
    let open = |thread: &&ThreadFacts| thread.blocked & signal.bit() == 0;
    let taker = leader.filter(open).or_else(|| facts.threads.iter().find(open))?;
    let place = taker.wchan.as_deref().map(|wchan| format!(" at {wchan}")).unwrap_or_default();
    match (taker.state, taker.wait) {
        (TaskState::Blocked | TaskState::Sleeping, Wait::Fuse) => Some(Foretold::new(
            Effect::PendingUntilServerAnswers,
            format!("it waits for a FUSE server: {name} is taken when that answers, and until then it is in D"),
        )),
        (TaskState::Blocked, _) => Some(Foretold::new(
            Effect::PendingUntilWakes,
            format!("the thread that would take {name} is in D{place}: it does so when it wakes"),
        )),
        _ => None,
    }
}

/// Nothing ends what is dead: only its parent can take it away.
fn zombie(facts: &Facts) -> Foretold {
    let parent = &facts.parent;
    let who = format!("{}({})", parent.comm, parent.pid);
    let mut foretold = Foretold::new(
        Effect::NoneZombie,
        format!("it is dead already (a zombie): it stays until its parent {who} waits for it"),
    );
    match parent.state {
        Some(TaskState::Stopped | TaskState::Traced) => {
            foretold.reasons.push(format!("{who} is stopped and can't").into());
            return foretold.advise(format!("let the parent go on: whytop kill --signal CONT {}", parent.pid));
        }
        Some(TaskState::Blocked) => {
            foretold.reasons.push(format!("{who} is in D and can't now").into());
            return foretold.advise(format!("find what {who} waits for"));
        }
        _ => {}
    }
    match (parent.pid, parent.is_inner_init) {
        (0 | 1, _) => foretold.advise("init takes such processes away by itself; if this one stays, init hangs"),
        (pid, true) => {
            foretold.reasons.push(format!("{who} is the init of its container: nobody else will take it away").into());
            let container = facts.container.as_ref().and_then(|container| container.name.as_deref());
            let restart = container.map(|name| format!("restart the container: docker restart {name}"));
            foretold
                .advise(format!("ask it: whytop kill --reap {pid}"))
                .advise(restart.unwrap_or_else(|| "restart the container".into()))
        }
        (pid, false) => {
            let asked = if parent.catches_chld { "" } else { " (it has no handler for SIGCHLD: little hope)" };
            foretold
                .advise(format!("ask its parent: whytop kill --reap {pid}{asked}"))
                .advise(format!("or end the parent: whytop kill {pid}; then init takes the zombie away"))
        }
    }
}
