//! `whytop kill`: the safe kill from a shell.

mod ask;
mod stop;
mod text;

use super::args::{Global, KillArgs};
use super::json::Plans;
use super::out;
use super::setup::{BadUse, Host};
use super::text::Dress;
use crate::act::{Act, Consent, Lookup, Options, Pin};
use crate::collect::now;
use crate::snapshot::{Action, Decision, OutcomeKind, Plan, Proposal, SocketSelection, TaskKey};
use ask::{Answer, ask};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;
use stop::Interrupted;

/// Exit status when a target was gone, or lives on.
const NOT_ALL: u8 = 1;
/// Exit status when something was refused, or not confirmed.
const REFUSED: u8 = 2;
/// Exit status of bad use.
pub const KILL_BAD_USE: u8 = 3;
/// One look at outcomes.
const TURN: Duration = Duration::from_millis(50);

/// Plans, asks, sends, watches, and tells.
pub fn run(global: &Global, args: &KillArgs) -> anyhow::Result<ExitCode> {
    let mut host = Host::open(global)?;
    let lookup = Lookup { tasks: host.startup.readers.tasks.take(), files: host.startup.readers.files.take() };
    let options = Options {
        read_only: host.settings.read_only,
        by: "kill",
        audit: host.settings.audit.clone(),
        ..Options::default()
    };
    let mut act = Act::new(&host.roots, lookup, options)?;
    let mut interrupted = Interrupted::catch()?;
    let dress = Dress::for_stdout(host.settings.ascii);
    let mut done: Vec<Proposal> = Vec::new();
    let mut worst = 0;
    for (action, pins) in actions(&mut act, args)? {
        let prepared = act.propose(&action, pins, None);
        if !args.json {
            out::print(&text::plans(&prepared.proposal, dress))?;
        }
        if args.plan {
            worst = worst.max(status_of_plan(&prepared.proposal));
            done.push(prepared.proposal);
            continue;
        }
        let consent = match ask(&prepared.proposal, args.yes, std::io::stdin().is_terminal(), &mut interrupted) {
            Answer::Yes(consent) => consent,
            Answer::No(why) => {
                out::tell(&format!("whytop: {why}: nothing was sent\n"));
                // An attempt all the same: it is on record.
                Consent::Seen
            }
        };
        let mut running = act.carry_out(prepared, &consent);
        let began = now();
        while running.sent && !running.proposal.is_settled() && !interrupted.is() {
            let left = args.wait.as_secs_f64() - now().since(began);
            if left <= 0.0 {
                break;
            }
            act.look(&mut running, TURN.min(Duration::from_secs_f64(left)));
        }
        let (record, written) = act.finish(&mut running);
        if let Err(why) = written {
            out::tell(&format!("whytop: {why}\n"));
        }
        if !args.json {
            out::print(&text::outcomes(&record.proposal, dress))?;
        }
        worst = worst.max(status(&record.proposal, record.sent));
        done.push(record.proposal);
    }
    if args.json {
        out::print_json(&Plans::new(&done))?;
    }
    Ok(ExitCode::from(worst))
}

/// What is asked for, with the processes held from here on.
fn actions(act: &mut Act, args: &KillArgs) -> anyhow::Result<Vec<(Action, Vec<Pin>)>> {
    let signal = args.signal;
    if let Some(path) = args.cgroup.as_ref().or(args.thaw.as_ref()) {
        let cgroup = act.cgroup_key(path).ok_or_else(|| BadUse::Cgroup(path.clone()))?;
        let action = if args.cgroup.is_some() { Action::KillCgroup { cgroup } } else { Action::Thaw { cgroup } };
        return Ok(vec![(action, Vec::new())]);
    }
    let mut pins = Vec::new();
    let mut keys = Vec::new();
    for pid in &args.pids {
        match act.pin_pid(*pid) {
            Ok(pin) => {
                keys.push(pin.key());
                pins.push(pin);
            }
            // Its plan says why.
            Err(_) => keys.push(TaskKey { pid: *pid, start_ticks: 0 }),
        }
    }
    if !args.tree && !args.reap && !args.sockets {
        return Ok(vec![(Action::Signal { tasks: keys, signal }, pins)]);
    }
    let mut pins = pins.into_iter();
    Ok(keys
        .into_iter()
        .map(|key| {
            let pin = if key.start_ticks == 0 { None } else { pins.next() };
            let action = if args.tree {
                Action::Tree { root: key, signal }
            } else if args.reap {
                Action::Reap { parent: key }
            } else {
                Action::DestroySockets { sockets: selection(act, args, key) }
            };
            (action, pin.into_iter().collect())
        })
        .collect())
}

fn selection(act: &mut Act, args: &KillArgs, owner: TaskKey) -> SocketSelection {
    SocketSelection {
        netns: act.netns_of(owner.pid).unwrap_or_default(),
        owner: Some(owner),
        state: args.state,
        local_port: args.local_port,
        remote_addr: args.remote.map(|remote| remote.0),
        remote_port: args.remote.and_then(|remote| remote.1),
    }
}

fn status_of_plan(proposal: &Proposal) -> u8 {
    let of = |plan: &Plan| match plan.decision {
        Decision::Refused => REFUSED,
        _ if plan.outcome.is_some() => NOT_ALL,
        _ => 0,
    };
    proposal.plans.iter().map(of).max().unwrap_or(0)
}

/// 0 when all became as asked.
fn status(proposal: &Proposal, sent: bool) -> u8 {
    let signal = match &proposal.action {
        Action::Signal { signal, .. } | Action::Tree { signal, .. } => Some(*signal),
        _ => None,
    };
    let of = |plan: &Plan| {
        let result = plan.outcome.as_ref().map(|outcome| outcome.result);
        match (plan.decision, result) {
            (Decision::Refused, _) => REFUSED,
            (_, Some(OutcomeKind::Exited | OutcomeKind::Respawned | OutcomeKind::Done)) => 0,
            // A signal that is not meant to end it.
            (_, Some(OutcomeKind::Survived)) if signal.is_some_and(|signal| !signal.asks_to_end()) => 0,
            (_, Some(_)) => NOT_ALL,
            (_, None) if sent => NOT_ALL,
            (_, None) => REFUSED,
        }
    };
    // Of a cgroup the whole counts, not the processes that were looked at one by one.
    let whole = matches!(proposal.action, Action::KillCgroup { .. });
    let plans = proposal.plans.iter().take(if whole { 1 } else { usize::MAX });
    plans.map(of).max().unwrap_or(0)
}
