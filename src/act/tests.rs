//! Plans from facts made by hand: the conditions that can't be staged everywhere.

use super::facts::{
    ContainerFacts, Facts, Freezer, ParentFacts, Permission, Restart, RestartOn, ThreadFacts, UnitFacts,
};
use super::plan::{Guard, plan};
use super::supervise::UnitPath;
use super::wait::Wait;
use crate::snapshot::{Decision, Effect, Plan, Signal, TaskKey, TaskState, TaskTarget};
use proptest::prelude::*;

/// A sleeping process without any handler.
fn facts() -> Facts {
    let key = TaskKey { pid: 812, start_ticks: 9 };
    let target = TaskTarget { key, comm: "java".into(), ppid: 700, ..TaskTarget::default() };
    let thread = ThreadFacts { tid: 812, ..ThreadFacts::default() };
    Facts {
        target,
        threads: vec![thread],
        parent: ParentFacts {
            pid: 700,
            comm: "bash".into(),
            state: Some(TaskState::Sleeping),
            ..ParentFacts::default()
        },
        ..Facts::default()
    }
}

fn in_d(wait: Wait, pending: u64) -> ThreadFacts {
    let wchan = Some("somewhere".into());
    ThreadFacts { tid: 813, state: TaskState::Blocked, wait, pending, wchan, ..ThreadFacts::default() }
}

fn guard() -> Guard {
    Guard { own_pid: 900, ancestors: vec![(800, "bash".into()), (500, "sshd".into())], forbidden: None }
}

fn planned(facts: &Facts, signal: Signal) -> Plan {
    plan(facts, &guard(), signal)
}

fn effect(facts: &Facts, signal: Signal) -> Effect {
    planned(facts, signal).effect
}

#[test]
fn the_most_stubborn_thread_decides() {
    let mut all = facts();
    assert_eq!(effect(&all, Signal::KILL), Effect::Terminates);
    all.threads.push(in_d(Wait::Killable, 0));
    assert_eq!(effect(&all, Signal::KILL), Effect::Terminates);
    assert_eq!(effect(&all, Signal::QUIT), Effect::PendingUntilWakes, "a core dump is no fatal signal to a sleep");
    all.threads.push(in_d(Wait::Unknown, 0));
    assert_eq!(effect(&all, Signal::KILL), Effect::UncertainD);
    all.threads.push(in_d(Wait::Fuse, 0));
    assert_eq!(effect(&all, Signal::TERM), Effect::PendingUntilServerAnswers);
    all.threads.push(in_d(Wait::Plain, 0));
    assert_eq!(effect(&all, Signal::TERM), Effect::PendingUntilWakes);
}

#[test]
fn a_killable_sleep_with_sigkill_pending_is_none() {
    let mut stuck = facts();
    stuck.threads = vec![in_d(Wait::Unknown, Signal::KILL.bit())];
    let plan = planned(&stuck, Signal::KILL);
    assert_eq!(plan.effect, Effect::PendingUntilWakes);
    assert!(plan.reasons[0].contains("with SIGKILL pending"), "{:?}", plan.reasons);
}

#[test]
fn a_handler_in_a_thread_in_d_runs_when_that_wakes() {
    let mut handles = facts();
    handles.caught = Signal::TERM.bit();
    handles.threads[0].state = TaskState::Blocked;
    handles.threads[0].wait = Wait::Killable;
    assert_eq!(effect(&handles, Signal::TERM), Effect::PendingUntilWakes);
    assert_eq!(effect(&handles, Signal::KILL), Effect::Terminates);
    handles.threads[0].state = TaskState::Sleeping;
    handles.threads.push(in_d(Wait::Plain, 0));
    assert_eq!(effect(&handles, Signal::TERM), Effect::Caught, "the leader takes it");
}

#[test]
fn one_thread_that_does_not_block_is_enough() {
    let mut blocks = facts();
    blocks.threads[0].blocked = Signal::TERM.bit();
    assert_eq!(effect(&blocks, Signal::TERM), Effect::Blocked);
    blocks.threads.push(ThreadFacts { tid: 814, ..ThreadFacts::default() });
    assert_eq!(effect(&blocks, Signal::TERM), Effect::Terminates);
}

#[test]
fn frozen_cgroups_of_both_versions() {
    let mut frozen = facts();
    frozen.freezer = Freezer::V1("/a".into());
    let plan = planned(&frozen, Signal::KILL);
    assert_eq!((plan.effect, &*plan.advice[0]), (Effect::PendingUntilThawed, "whytop kill --thaw /a"));
    frozen.freezer = Freezer::V2("/a".into());
    assert_eq!(effect(&frozen, Signal::KILL), Effect::Terminates);
    assert_eq!(effect(&frozen, Signal::TERM), Effect::Terminates);
    assert_eq!(effect(&frozen, Signal::QUIT), Effect::PendingUntilThawed);
    frozen.caught = Signal::TERM.bit();
    assert_eq!(effect(&frozen, Signal::TERM), Effect::PendingUntilThawed);
}

#[test]
fn the_init_of_a_container_takes_it_along() {
    let mut init = facts();
    init.inner_pid = Some(1);
    init.namespace_others = 3;
    let restart = Some(Restart { policy: "--restart=always".into(), on: RestartOn::Always });
    let name = Some("web".into());
    init.container =
        Some(ContainerFacts { label: "web".into(), name, runtime: "docker".into(), is_main: true, restart });
    assert_eq!(effect(&init, Signal::TERM), Effect::Ignored, "no handler");
    assert_eq!(planned(&init, Signal::TERM).decision, Decision::Allowed);
    let plan = planned(&init, Signal::KILL);
    assert_eq!((plan.effect, plan.decision), (Effect::ContainerStops, Decision::Confirm));
    assert_eq!(plan.restarts.as_deref(), Some("container web (--restart=always)"));
    assert!(plan.advice.iter().any(|advice| &**advice == "to keep it down: docker stop web"), "{:?}", plan.advice);
    init.caught = Signal::TERM.bit();
    assert_eq!(effect(&init, Signal::TERM), Effect::ContainerStops);
    assert_eq!(effect(&init, Signal::HUP), Effect::Ignored);
}

#[test]
fn a_unit_that_restarts_comes_back() {
    let mut main = facts();
    let restart = |on| Some(Restart { policy: "Restart=…".into(), on });
    main.unit = Some(UnitFacts {
        unit: UnitPath { name: "web.service".into(), of_user: false },
        is_main: true,
        inner_manager: None,
        restart: restart(RestartOn::Failure),
    });
    let plan = planned(&main, Signal::KILL);
    assert_eq!((plan.effect, plan.restarts.as_deref()), (Effect::Terminates, Some("unit web.service (Restart=…)")));
    assert_eq!(&*plan.advice[0], "to keep it down: systemctl stop web.service");
    assert_eq!(planned(&main, Signal::TERM).restarts, None, "a clean end");
    if let Some(unit) = &mut main.unit {
        (unit.unit.of_user, unit.restart) = (true, restart(RestartOn::Always));
    }
    assert_eq!(&*planned(&main, Signal::TERM).advice[0], "to keep it down: systemctl --user stop web.service");
    if let Some(unit) = &mut main.unit {
        (unit.unit.of_user, unit.inner_manager) = (false, Some(7));
    }
    let advice = planned(&main, Signal::TERM).advice;
    assert_eq!(&*advice[0], "to keep it down: nsenter -a -t 7 systemctl stop web.service");
    if let Some(unit) = &mut main.unit {
        unit.is_main = false;
    }
    assert_eq!(planned(&main, Signal::KILL).restarts, None, "a worker of it");
}

#[test]
fn refused_whatever_anybody_types() {
    let refused = |facts: &Facts, guard: &Guard, why: &str| {
        let plan = plan(facts, guard, Signal::KILL);
        assert_eq!(plan.decision, Decision::Refused);
        assert!(plan.reasons[0].contains(why), "{:?}", plan.reasons);
    };
    let of_pid = |pid: u32| {
        let mut facts = facts();
        facts.target.key.pid = pid;
        facts
    };
    refused(&of_pid(1), &guard(), "pid 1");
    refused(&of_pid(900), &guard(), "it is this whytop");
    refused(&of_pid(500), &guard(), "(sshd → bash → whytop)");
    refused(&Facts { kthread: true, ..facts() }, &guard(), "kernel thread");
    let denied = Permission::Denied { euid: 1000 };
    refused(&Facts { permission: denied, ..facts() }, &guard(), "uid 1000 may not send it SIGKILL");
    let read_only = Guard { forbidden: Some("read-only".into()), ..guard() };
    refused(&facts(), &read_only, "read-only");
    refused(&Facts { permission: Permission::Gone, ..facts() }, &read_only, "read-only");
}

#[test]
fn a_word_is_typed_for_sessions_and_shims() {
    let leader = Facts { leads_session: true, ..facts() };
    assert_eq!(planned(&leader, Signal::TERM).decision, Decision::Confirm);
    assert_eq!(planned(&leader, Signal::CHLD).decision, Decision::Allowed, "which does nothing");
    let mut shim = facts();
    shim.target.comm = "containerd-shim".into();
    assert_eq!(planned(&shim, Signal::TERM).decision, Decision::Confirm);
    assert_eq!(planned(&facts(), Signal::TERM).decision, Decision::Allowed);
}

#[test]
fn whose_zombie_it_is() {
    let mut dead = facts();
    dead.target.state = TaskState::Zombie;
    dead.threads.clear();
    let plan = planned(&dead, Signal::KILL);
    assert_eq!((plan.effect, plan.decision), (Effect::NoneZombie, Decision::Allowed));
    assert!(plan.reasons[0].contains("bash(700)"), "{:?}", plan.reasons);
    dead.parent.state = Some(TaskState::Stopped);
    assert!(planned(&dead, Signal::KILL).advice[0].contains("--signal CONT 700"));
    dead.parent.state = Some(TaskState::Sleeping);
    dead.parent.is_inner_init = true;
    assert!(planned(&dead, Signal::KILL).advice.iter().any(|advice| advice.contains("restart the container")));
}

proptest! {
    #[test]
    fn every_plan_has_its_reasons(
        signal in 1_u8..=64, caught: u64, ignored: u64, blocked: u64, pending: u64, state in 0_u8..6, inner in 0_u32..3,
        wait in 0_u8..4, frozen in 0_u8..3, session: bool,
    ) {
        let mut facts = facts();
        (facts.caught, facts.ignored, facts.pending, facts.leads_session) = (caught, ignored, pending, session);
        facts.inner_pid = (inner > 0).then_some(inner);
        facts.threads[0].blocked = blocked;
        facts.threads[0].state = TaskState::from_letter(b"RSDTtZ"[usize::from(state)]);
        facts.threads[0].wait = [Wait::Killable, Wait::Plain, Wait::Fuse, Wait::Unknown][usize::from(wait)];
        facts.freezer = [Freezer::Free, Freezer::V1("/x".into()), Freezer::V2("/x".into())][usize::from(frozen)].clone();
        let plan = planned(&facts, Signal(signal));
        prop_assert!(!plan.reasons.is_empty() && plan.decision != Decision::Refused);
    }
}
