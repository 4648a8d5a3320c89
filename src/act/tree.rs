//! A process and all below it: stopped first, so that nobody forks away, then sent the signal, leaves first.

use super::census::Census;
use super::pin::Pin;
use super::running::Running;
use super::{Act, guard};
use crate::collect::now;
use crate::snapshot::{Decision, Signal, TaskKey, TaskState};
use rustc_hash::FxHashSet;
use std::time::Duration;

/// So long the tree may go on forking before it is taken as it is, ns.
const STILL_NS: u64 = 2_000_000_000;
/// Between two looks at it.
const TURN: Duration = Duration::from_millis(2);

/// A process of the tree, held.
struct Member {
    pin: Pin,
    /// Its plan; `None` for one that was forked meanwhile.
    plan: Option<usize>,
    /// It was stopped before we came: it stays so.
    was_stopped: bool,
}

impl Act {
    /// Stops, looks again until nobody is new and all stand still, sends.
    pub(super) fn send_tree(&mut self, running: &mut Running, pins: Vec<Option<Pin>>, signal: Signal) {
        let refused = |n: usize| running.proposal.plans.get(n).is_none_or(|plan| plan.decision == Decision::Refused);
        let held = pins.into_iter().enumerate().filter(|(n, _)| !refused(*n));
        let mut census = self.census();
        let mut members: Vec<Member> = held
            .filter_map(|(n, pin)| {
                Some(Member { was_stopped: is_stopped(&census, pin.as_ref()?.key()), pin: pin?, plan: Some(n) })
            })
            .collect();
        stop(&members);
        let began = now();
        let mut passed_over: FxHashSet<TaskKey> = FxHashSet::default();
        loop {
            census = self.census();
            let new = self.newcomers(&census, &members, &mut passed_over);
            let still = new.is_empty() && members.iter().all(|member| stands_still(&census, member));
            stop(&new);
            members.extend(new);
            if still || now().0.saturating_sub(began.0) > STILL_NS {
                break;
            }
            std::thread::sleep(TURN);
        }
        let woken: FxHashSet<TaskKey> =
            members.iter().filter(|member| !member.was_stopped).map(|member| member.pin.key()).collect();
        // The last that were found are the deepest.
        let (known, new): (Vec<Member>, Vec<Member>) = members.into_iter().partition(|member| member.plan.is_some());
        let guard = guard::guard(&self.roots, self.options.read_only, &census);
        for member in new.into_iter().rev() {
            let mut plan = self.plan_one(&member.pin, signal, &census, &guard, None);
            plan.reasons.insert(0, "it was forked after the plan was shown".into());
            plan.decision = Decision::Allowed;
            running.join(plan, member.pin, signal);
        }
        for member in known {
            if let Some(n) = member.plan {
                running.send_to(n, member.pin, signal);
            }
        }
        if signal != Signal::KILL && signal != Signal::STOP {
            for pin in running.pins().filter(|pin| woken.contains(&pin.key())) {
                let _ = pin.send(Signal::CONT);
            }
        }
    }

    /// Children of the members that nobody holds yet. Those that may not be touched are passed over, with what is below.
    fn newcomers(&self, census: &Census, members: &[Member], passed_over: &mut FxHashSet<TaskKey>) -> Vec<Member> {
        let guard = guard::guard(&self.roots, self.options.read_only, census);
        let mut held: FxHashSet<TaskKey> = members.iter().map(|member| member.pin.key()).collect();
        let mut new = Vec::new();
        let tops = members.iter().map(|member| member.pin.key());
        for top in tops.filter(|key| census.get(key.pid).is_some_and(|person| person.key == *key)).collect::<Vec<_>>() {
            for key in census.tree(top.pid) {
                if held.contains(&key) || passed_over.contains(&key) {
                    continue;
                }
                let ours = key.pid == guard.own_pid || guard.ancestors.iter().any(|(pid, _)| *pid == key.pid);
                match self.pin(key) {
                    Ok(pin) if !ours && pin.probe().is_ok() => {
                        held.insert(key);
                        new.push(Member { pin, plan: None, was_stopped: is_stopped(census, key) });
                    }
                    _ => {
                        passed_over.insert(key);
                    }
                }
            }
        }
        new
    }
}

fn stop(members: &[Member]) {
    for member in members {
        let _ = member.pin.send(Signal::STOP);
    }
}

fn is_stopped(census: &Census, key: TaskKey) -> bool {
    let person = census.get(key.pid).filter(|person| person.key == key);
    person.is_some_and(|person| matches!(person.state, TaskState::Stopped | TaskState::Traced))
}

/// Whether it can't fork now: stopped, dead, or in D, from which it wakes into being stopped.
fn stands_still(census: &Census, member: &Member) -> bool {
    let key = member.pin.key();
    match census.get(key.pid).filter(|person| person.key == key) {
        None => true,
        Some(person) => !matches!(person.state, TaskState::Running | TaskState::Sleeping),
    }
}
