//! From an action to its proposal: every target pinned, read and planned. Nothing is sent here.

use super::census::Census;
use super::cgroup::Group;
use super::facts::Permission;
use super::pin::{Pin, PinError};
use super::plan::{Guard, plan};
use super::sockets::Chosen;
use super::{Act, guard};
use crate::collect::now;
use crate::snapshot::{
    Action, CgroupKey, Decision, Effect, Plan, Proposal, Signal, Snapshot, Target, TaskKey, TaskState, TaskTarget, Text,
};
use rustc_hash::FxHashSet;

/// From so many processes on a person types how many.
const MANY: usize = 5;
/// Processes of a cgroup that get a plan of their own, at most.
const MEMBERS_MAX: usize = 64;

/// A proposal, and what is held to carry it out.
#[derive(Debug)]
pub struct Prepared {
    /// What to show.
    pub proposal: Proposal,
    /// For each plan the process that is held.
    pub(super) pins: Vec<Option<Pin>>,
    pub(super) work: Work,
    /// Every process there was.
    pub(super) before: FxHashSet<TaskKey>,
}

/// What there is to do besides sending a signal to every pin.
#[derive(Debug)]
pub(super) enum Work {
    /// Send it.
    Signals(Signal),
    /// Stop the tree first, and look for more.
    Tree(Signal),
    /// Kill all of a cgroup.
    Kill(Group),
    /// Thaw it.
    Thaw(Group),
    /// Ask a parent for these.
    Reap(Vec<TaskKey>),
    /// Destroy these.
    Sockets(Chosen),
    /// Nothing can be done; the reasons say why.
    Nothing,
}

impl Prepared {
    /// Gives back the processes it holds: for another plan.
    #[must_use]
    pub fn into_pins(self) -> Vec<Pin> {
        self.pins.into_iter().flatten().collect()
    }
}

impl Act {
    /// Reads the kernel, and says what `action` would do. `pins` are the processes that were pinned when they were
    /// selected; of others the action's own keys are pinned now. `known` saves reading again what a look has seen.
    pub fn propose(&mut self, action: &Action, pins: Vec<Pin>, known: Option<&Snapshot>) -> Prepared {
        let census = self.census();
        let guard = guard::guard(&self.roots, self.options.read_only, &census);
        let mut work = Work::Nothing;
        let (plans, reasons) = match action {
            Action::Signal { tasks, signal } => {
                work = Work::Signals(*signal);
                (self.plan_all(tasks, *signal, pins, &census, &guard, known), Vec::new())
            }
            Action::Tree { root, signal } => {
                work = Work::Tree(*signal);
                self.plan_tree(*root, *signal, pins, &census, &guard, known)
            }
            Action::KillCgroup { cgroup } => self.plan_cgroup(cgroup, &mut work, &census, &guard, known),
            Action::Thaw { cgroup } => self.plan_thaw(cgroup, &mut work, &guard),
            Action::Reap { parent } => self.plan_reap(*parent, &mut work, pins, &census, &guard, known),
            Action::DestroySockets { sockets } => self.plan_sockets(sockets, &mut work, &census, &guard),
        };
        let (pins, plans): (Vec<Option<Pin>>, Vec<Plan>) = plans.into_iter().unzip();
        let exact = pins.iter().flatten().all(Pin::is_exact);
        let mut proposal =
            Proposal { action: action.clone(), at: now(), decision: Decision::Allowed, confirm: None, reasons, plans };
        if !exact {
            let why = "this kernel has no pidfd: the start time is checked right before and after the sending";
            proposal.reasons.push(why.into());
        }
        decide(&mut proposal);
        let before = census.people.iter().map(|person| person.key).collect();
        Prepared { proposal, pins, work, before }
    }

    fn plan_all(
        &mut self,
        tasks: &[TaskKey],
        signal: Signal,
        mut pins: Vec<Pin>,
        census: &Census,
        guard: &Guard,
        known: Option<&Snapshot>,
    ) -> Vec<(Option<Pin>, Plan)> {
        let mut seen = FxHashSet::default();
        let tasks = tasks.iter().filter(|key| seen.insert(**key));
        tasks
            .map(|key| {
                let held = pins.iter().position(|pin| pin.key() == *key).map(|at| pins.swap_remove(at));
                match held.map_or_else(|| self.pin(*key), Ok) {
                    Ok(pin) => {
                        let plan = self.plan_one(&pin, signal, census, guard, known);
                        (Some(pin), plan)
                    }
                    Err(error) => (None, cannot_hold(*key, error)),
                }
            })
            .collect()
    }

    pub(super) fn plan_one(
        &mut self,
        pin: &Pin,
        signal: Signal,
        census: &Census,
        guard: &Guard,
        known: Option<&Snapshot>,
    ) -> Plan {
        let mut facts = self.reader.facts(pin, signal, census, known);
        if known.is_none() && facts.permission != Permission::Gone {
            self.sockets_of(&mut facts);
        }
        let mut plan = plan(&facts, guard, signal);
        if plan.effect == Effect::NoneGone && plan.decision != Decision::Refused {
            plan.outcome = Some(gone());
        }
        plan
    }

    /// A tree is planned leaves first: a parent that ends before its children could be replaced by its supervisor, and
    /// would not see them end.
    fn plan_tree(
        &mut self,
        root: TaskKey,
        signal: Signal,
        pins: Vec<Pin>,
        census: &Census,
        guard: &Guard,
        known: Option<&Snapshot>,
    ) -> (Vec<(Option<Pin>, Plan)>, Vec<Text>) {
        let mut tasks =
            if census.get(root.pid).is_some_and(|top| top.key == root) { census.tree(root.pid) } else { vec![root] };
        tasks.reverse();
        let mut plans = self.plan_all(&tasks, signal, pins, census, guard, known);
        let mut reasons: Vec<Text> = vec![
            format!(
                "{} processes: each is stopped, children that are forked meanwhile too, then gets {}, leaves first",
                plans.len(),
                signal.name()
            )
            .into(),
        ];
        // Refused for its top, refused for all: the rest of our own session is not a tree that anybody means.
        if let Some((_, top)) = plans.last()
            && top.decision == Decision::Refused
        {
            let why = top.reasons.first().cloned().unwrap_or_default();
            reasons.insert(0, format!("the top of the tree is refused: {why}").into());
            for (_, plan) in &mut plans {
                plan.decision = Decision::Refused;
            }
        }
        (plans, reasons)
    }

    fn plan_cgroup(
        &mut self,
        key: &CgroupKey,
        work: &mut Work,
        census: &Census,
        guard: &Guard,
        known: Option<&Snapshot>,
    ) -> (Vec<(Option<Pin>, Plan)>, Vec<Text>) {
        let group = match Group::find(self.reader.trees(), key) {
            Ok(group) => group,
            Err(why) => return (vec![(None, no_cgroup(key, why))], Vec::new()),
        };
        let members = group.members();
        let mut first = group.kill_plan(&members, guard, known);
        let mut plans = Vec::new();
        for pid in members.iter().take(MEMBERS_MAX) {
            if let Ok(pin) = self.pin_pid(*pid) {
                let mut plan = self.plan_one(&pin, Signal::KILL, census, guard, known);
                if first.decision == Decision::Refused {
                    plan.decision = Decision::Refused;
                }
                plans.push((Some(pin), plan));
            }
        }
        if let Some((_, denied)) = plans.iter().find(|(_, plan)| plan.decision == Decision::Refused)
            && first.decision != Decision::Refused
        {
            let why = denied.reasons.first().cloned().unwrap_or_default();
            first.decision = Decision::Refused;
            first.reasons.insert(0, format!("one of its processes is refused: {why}").into());
        }
        plans.insert(0, (None, first));
        *work = Work::Kill(group);
        let more = members.len().saturating_sub(MEMBERS_MAX);
        let reasons =
            if more > 0 { vec![format!("{more} more processes have no plan of their own").into()] } else { Vec::new() };
        (plans, reasons)
    }

    fn plan_thaw(&mut self, key: &CgroupKey, work: &mut Work, guard: &Guard) -> (Vec<(Option<Pin>, Plan)>, Vec<Text>) {
        match Group::find_freezer(self.reader.trees(), key) {
            Ok(group) => {
                let plan = group.thaw_plan(guard);
                *work = Work::Thaw(group);
                (vec![(None, plan)], Vec::new())
            }
            Err(why) => (vec![(None, no_cgroup(key, why))], Vec::new()),
        }
    }

    /// Asks by SIGCHLD. What that does is up to the parent, and mostly it has had one for each zombie already.
    fn plan_reap(
        &mut self,
        parent: TaskKey,
        work: &mut Work,
        pins: Vec<Pin>,
        census: &Census,
        guard: &Guard,
        known: Option<&Snapshot>,
    ) -> (Vec<(Option<Pin>, Plan)>, Vec<Text>) {
        let dead = |state| matches!(state, TaskState::Zombie | TaskState::Dead);
        let zombies: Vec<TaskKey> = census
            .children(parent.pid)
            .filter(|child| dead(child.state) && child.threads <= 1)
            .map(|child| child.key)
            .collect();
        let mut plans = self.plan_all(&[parent], Signal::CHLD, pins, census, guard, known);
        if let Some((_, plan)) = plans.first_mut() {
            plan.reasons.insert(
                0,
                match zombies.len() {
                    0 => "it has no zombies".into(),
                    n => Text::from(format!(
                        "it has {n} zombies, and had a SIGCHLD for them before: another may be ignored too"
                    )),
                },
            );
            let then = match parent.pid {
                1 => "init that does not reap hangs: look at what it waits for".to_owned(),
                pid => format!("if they stay, end the parent: whytop kill {pid}; then init takes them away"),
            };
            plan.advice.push(then.into());
        }
        *work = Work::Reap(zombies);
        (plans, Vec::new())
    }
}

/// The whole is as strict as its strictest part that is not refused, and refused when all of it is.
fn decide(proposal: &mut Proposal) {
    let live = || proposal.plans.iter().filter(|plan| plan.decision != Decision::Refused);
    // A cgroup stands for its processes, of which not all may have a plan of their own.
    let targets = match (&proposal.action, live().next().map(|plan| &plan.target)) {
        (Action::KillCgroup { .. }, Some(Target::Cgroup(cgroup))) => {
            usize::try_from(cgroup.processes).unwrap_or(usize::MAX)
        }
        _ => live().filter(|plan| plan.effect != Effect::NoneGone).count(),
    };
    let strictest = live().map(|plan| plan.decision).max();
    let many = targets >= MANY;
    let decision = match strictest {
        None => Decision::Refused,
        Some(_) if many => Decision::Confirm,
        Some(decision) => decision,
    };
    let confirm = (decision == Decision::Confirm).then(|| {
        let mut confirmed = live().filter(|plan| plan.decision == Decision::Confirm);
        match (confirmed.next(), confirmed.next()) {
            _ if many => targets.to_string().into(),
            (Some(plan), None) => word_of(&plan.target),
            _ => targets.to_string().into(),
        }
    });
    (proposal.decision, proposal.confirm) = (decision, confirm);
}

/// What to type for one target: its name, as far as that can be typed.
fn word_of(target: &Target) -> Text {
    let (name, other) = match target {
        Target::Task(task) => (task.container.as_ref().unwrap_or(&task.comm), task.key.pid.to_string()),
        Target::Cgroup(cgroup) => (cgroup.container.as_ref().unwrap_or(&cgroup.key.path), cgroup.processes.to_string()),
        Target::Sockets(sockets) => return sockets.count.to_string().into(),
    };
    let can_be_typed = !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_graphic());
    if can_be_typed { name.clone() } else { other.into() }
}

pub(super) fn gone() -> crate::snapshot::Outcome {
    crate::snapshot::Outcome {
        result: crate::snapshot::OutcomeKind::Gone,
        detail: "it was gone before anything was sent".into(),
        settled: true,
        ..crate::snapshot::Outcome::default()
    }
}

/// The plan for a process that could not be pinned.
fn cannot_hold(key: TaskKey, error: PinError) -> Plan {
    let target = Target::Task(TaskTarget { key, ..TaskTarget::default() });
    let mut plan = Plan::new(target, Decision::Allowed, Effect::NoneGone);
    plan.reasons.push(error.to_string().into());
    match error {
        PinError::Gone | PinError::Reused { .. } => plan.outcome = Some(gone()),
        PinError::Thread { pid } => {
            plan.decision = Decision::Refused;
            plan.advice.push(format!("name the process: whytop kill {pid}").into());
        }
        PinError::Failed(_) => plan.decision = Decision::Refused,
    }
    plan
}

fn no_cgroup(key: &CgroupKey, why: Text) -> Plan {
    let target = crate::snapshot::CgroupTarget { key: key.clone(), ..crate::snapshot::CgroupTarget::default() };
    Plan { reasons: vec![why], ..Plan::new(Target::Cgroup(target), Decision::Refused, Effect::NoneGone) }
}
