//! The plan for one process: pure, from what was read of it and of ourselves.

use super::facts::{Facts, Permission, Restart};
use super::fate::foretell;
use crate::snapshot::{Decision, Effect, Plan, Signal, Target, Text};

/// What holds for every action of this whytop.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guard {
    /// Our own pid.
    pub own_pid: u32,
    /// Our ancestors, the parent first: pid and name.
    pub ancestors: Vec<(u32, Text)>,
    /// Why nothing at all may be done: `--read-only`, a foreign `/proc`.
    pub forbidden: Option<Text>,
}

/// Programs that hold up a container: its runtime loses it when they end.
const SHIMS: &[&str] = &["containerd-shim", "conmon", "docker-containe", "runc", "crun", "lxc-start", "systemd-nspawn"];
/// Programs that start what ends below them.
const SUPERVISORS: &[&str] =
    &["runsv", "s6-supervise", "supervisord", "supervise", "monit", "circusd", "nodemon", "start-stop-daem"];

/// The plan for sending `signal` to one process.
#[must_use]
pub fn plan(facts: &Facts, guard: &Guard, signal: Signal) -> Plan {
    let mut plan = Plan::new(Target::Task(facts.target.clone()), Decision::Allowed, Effect::NoneGone);
    if let (Permission::Gone, Some(why)) = (&facts.permission, &guard.forbidden) {
        plan.decision = Decision::Refused;
        plan.reasons.push(why.clone());
        return plan;
    }
    if facts.permission == Permission::Gone {
        plan.reasons.push("it has gone".into());
        return plan;
    }
    let foretold = foretell(facts, signal);
    (plan.effect, plan.reasons, plan.advice) = (foretold.effect, foretold.reasons, foretold.advice);
    end_of_container(facts, signal, &mut plan);
    if let Some(why) = refusal(facts, guard, signal) {
        plan.decision = Decision::Refused;
        plan.reasons.insert(0, why);
        return plan;
    }
    comes_back(facts, signal, &mut plan);
    if may_end_or_stop(plan.effect) {
        let why = confirmation(facts);
        if !why.is_empty() {
            plan.decision = Decision::Confirm;
            plan.reasons.splice(0..0, why);
        }
    }
    plan
}

/// Whether the target may sooner or later not be there any more, or not run.
fn may_end_or_stop(effect: Effect) -> bool {
    !matches!(effect, Effect::Ignored | Effect::NoneZombie | Effect::NoneGone | Effect::Continues)
}

fn name(facts: &Facts) -> String {
    format!("{}({})", facts.target.comm, facts.target.key.pid)
}

/// The end of a container's process is the end of the container.
fn end_of_container(facts: &Facts, signal: Signal, plan: &mut Plan) {
    let ends = plan.effect == Effect::Terminates || plan.effect == Effect::Caught && signal.asks_to_end();
    if !ends || !facts.is_container_main() {
        return;
    }
    plan.effect = Effect::ContainerStops;
    let others = match facts.namespace_others {
        0 => String::new(),
        1 => " and the other process in it".into(),
        n => format!(" and the {n} other processes in it"),
    };
    let what = match &facts.container {
        Some(container) => format!("container {}", container.label),
        None => "pid namespace".into(),
    };
    plan.reasons.insert(0, format!("it is the init of its {what}: with it ends the {what}{others}").into());
}

/// Why it must not be done, whatever anybody types.
fn refusal(facts: &Facts, guard: &Guard, signal: Signal) -> Option<Text> {
    let pid = facts.target.key.pid;
    if let Some(why) = &guard.forbidden {
        return Some(why.clone());
    }
    if pid == 1 {
        return Some("pid 1 holds up the whole system".into());
    }
    if facts.kthread {
        return Some("it is a kernel thread: nothing from outside ends it".into());
    }
    if pid == guard.own_pid {
        return Some("it is this whytop".into());
    }
    if let Some(at) = guard.ancestors.iter().position(|(ancestor, _)| *ancestor == pid) {
        let path: Vec<&str> = guard.ancestors.iter().take(at + 1).rev().map(|(_, comm)| &**comm).collect();
        return Some(
            format!("whytop runs below it ({} → whytop): you would lose your session", path.join(" → ")).into(),
        );
    }
    match facts.permission {
        Permission::Denied { euid } => {
            let whose = match (&facts.target.user, facts.target.uid) {
                (Some(user), _) => format!("user {user}"),
                (None, Some(uid)) => format!("uid {uid}"),
                (None, None) => "another user".into(),
            };
            let name = signal.name();
            Some(format!("it is of {whose}: uid {euid} may not send it {name}; that needs root (CAP_KILL)").into())
        }
        Permission::Granted | Permission::Gone => None,
    }
}

/// What a person must have understood before it is done.
fn confirmation(facts: &Facts) -> Vec<Text> {
    let mut why: Vec<Text> = Vec::new();
    if facts.is_container_main() && facts.container.is_some() {
        why.push("it ends a container".into());
    } else if facts.is_inner_init() {
        why.push("it ends a pid namespace".into());
    }
    if SHIMS.iter().any(|shim| facts.target.comm.starts_with(shim)) {
        why.push("it holds up a container, which its runtime loses with it".into());
    }
    if facts.leads_session {
        let members = facts.target.holds.session_members;
        let others = match members {
            0 => "no other process in it".to_owned(),
            1 => "1 other process in it".into(),
            n => format!("{n} other processes in it"),
        };
        let hang_up = if facts.leads_terminal { ", which get a hang-up from its terminal" } else { "" };
        why.push(format!("it leads a session, with {others}{}", if members > 0 { hang_up } else { "" }).into());
    }
    why
}

/// Who starts it anew.
fn comes_back(facts: &Facts, signal: Signal, plan: &mut Plan) {
    let caught = plan.effect == Effect::Caught
        || plan.effect == Effect::ContainerStops && facts.caught & signal.bit() != 0 && !signal.is_absolute();
    if !may_end_or_stop(plan.effect) || plan.effect == Effect::Stops {
        return;
    }
    let container = facts.container.as_ref().filter(|_| facts.is_container_main());
    if let Some((container, restart)) = container.and_then(|c| Some((c, c.restart.as_ref()?))) {
        promise(plan, &format!("container {}", container.label), restart, signal, caught);
        plan.advice.push(match (&*container.runtime, &container.name) {
            ("docker", Some(name)) => format!("to keep it down: docker stop {name}").into(),
            ("podman", Some(name)) => format!("to keep it down: podman stop {name}").into(),
            _ => "to keep it down, delete or scale down its pod".into(),
        });
    } else if let Some((unit, restart)) =
        facts.unit.as_ref().filter(|unit| unit.is_main).and_then(|u| Some((u, u.restart.as_ref()?)))
    {
        let name = &unit.unit.name;
        promise(plan, &format!("unit {name}"), restart, signal, caught);
        let user = if unit.unit.of_user { "--user " } else { "" };
        let inside = unit.inner_manager.map_or_else(String::new, |pid| format!("nsenter -a -t {pid} "));
        plan.advice.insert(0, format!("to keep it down: {inside}systemctl {user}stop {name}").into());
    } else if SUPERVISORS.iter().any(|known| facts.parent.comm.starts_with(known)) {
        let parent = format!("{}({})", facts.parent.comm, facts.parent.pid);
        plan.restarts = Some(format!("its parent {parent}").into());
        plan.reasons.push(format!("its parent {parent} is a supervisor: it starts {} anew", name(facts)).into());
        plan.advice.push(format!("to keep it down, tell {}", facts.parent.comm).into());
    }
}

fn promise(plan: &mut Plan, who: &str, restart: &Restart, signal: Signal, caught: bool) {
    let policy = &restart.policy;
    let name = signal.name();
    match restart.follows(signal, caught) {
        Some(true) => {
            plan.restarts = Some(format!("{who} ({policy})").into());
            plan.reasons.push(format!("it comes back: {who} has {policy}").into());
        }
        Some(false) => {
            plan.reasons.push(format!("{who} has {policy}, which does not follow an end by {name}").into());
        }
        None => {
            plan.restarts = Some(format!("{who} ({policy})").into());
            plan.reasons.push(format!("it may come back: {who} has {policy}, and how it ends is up to it").into());
        }
    }
}
