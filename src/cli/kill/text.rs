//! Plans and outcomes for people.

use crate::cli::text::{COLUMNS, Dress, wrap};
use crate::snapshot::{
    Action, CgroupTarget, Decision, Effect, Holds, OutcomeKind, Plan, Proposal, SocketTarget, Target, TaskTarget,
};
use crate::view::num;
use crate::view::text::printable;
use std::fmt::Write as _;

/// Columns of the names before the text.
const INDENT: usize = 11;
/// Plans that are written out; of the rest there is a count.
const PLANS_MAX: usize = 20;

/// Every plan.
pub fn plans(proposal: &Proposal, dress: Dress) -> String {
    let mut text = String::new();
    for plan in proposal.plans.iter().take(PLANS_MAX) {
        let head = format!("{}: {}", name(&plan.target), effect(&proposal.action, plan));
        let _ = match plan.decision {
            Decision::Refused => writeln!(text, "{}: {}", dress.critical("refused"), dress.bold(&dress.drawn(&head))),
            Decision::Confirm | Decision::Allowed => writeln!(text, "{}", dress.bold(&dress.drawn(&head))),
        };
        for (label, line) in about(&plan.target) {
            field(&mut text, label, &line, dress);
        }
        for (n, reason) in plan.reasons.iter().enumerate() {
            field(&mut text, if n == 0 { "because" } else { "" }, reason, dress);
        }
        for (n, advice) in plan.advice.iter().enumerate() {
            field(&mut text, if n == 0 { "advice" } else { "" }, advice, dress);
        }
    }
    let more = proposal.plans.len().saturating_sub(PLANS_MAX);
    if more > 0 {
        let _ = writeln!(text, "and {more} more");
    }
    for reason in &proposal.reasons {
        field(&mut text, "note", reason, dress);
    }
    text
}

/// What became of each.
pub fn outcomes(proposal: &Proposal, dress: Dress) -> String {
    let mut text = String::new();
    for plan in &proposal.plans {
        let Some(outcome) = &plan.outcome else { continue };
        let line = format!("{}: {}", name(&plan.target), printable(&outcome.detail));
        let line = dress.drawn(&line).into_owned();
        let _ = match outcome.result {
            OutcomeKind::Exited | OutcomeKind::Done => writeln!(text, "{}", dress.good(&line)),
            OutcomeKind::Survived if plan.effect != Effect::Terminates => writeln!(text, "{line}"),
            _ => writeln!(text, "{}", dress.warning(&line)),
        };
        if let Some((label, advice)) = next(proposal, plan) {
            field(&mut text, label, &advice, dress);
        }
    }
    text
}

/// What may follow an outcome. SIGKILL is offered, never sent unasked.
fn next(proposal: &Proposal, plan: &Plan) -> Option<(&'static str, String)> {
    let (Action::Signal { signal, .. } | Action::Tree { signal, .. }) = &proposal.action else { return None };
    let (Target::Task(task), Some(outcome)) = (&plan.target, &plan.outcome) else { return None };
    let pid = task.key.pid;
    let kill = || Some(("next", format!("whytop kill --signal KILL {pid}")));
    match outcome.result {
        OutcomeKind::Survived if signal.asks_to_end() && signal.name() != "SIGKILL" => kill(),
        OutcomeKind::Pending if matches!(plan.effect, Effect::Blocked) => kill(),
        _ => None,
    }
}

fn field(text: &mut String, label: &str, line: &str, dress: Dress) {
    let label = format!("  {label:<width$}", width = INDENT - 2);
    for (n, line) in wrap(line, COLUMNS - INDENT, 6).iter().enumerate() {
        let label = if n == 0 { dress.dim(&label).into_owned() } else { " ".repeat(INDENT) };
        let _ = writeln!(text, "{label}{}", dress.drawn(line));
    }
}

fn name(target: &Target) -> String {
    match target {
        Target::Task(task) if task.comm.is_empty() => format!("pid {}", task.key.pid),
        Target::Task(task) => format!("{}({})", printable(&task.comm), task.key.pid),
        Target::Cgroup(cgroup) => format!("cgroup {}", printable(&cgroup.key.path)),
        Target::Sockets(sockets) => match (&sockets.owner_comm, sockets.selection.owner) {
            (Some(comm), Some(key)) => format!("{} sockets of {}({})", sockets.count, printable(comm), key.pid),
            _ => format!("{} sockets", sockets.count),
        },
    }
}

/// What will happen, in words.
fn effect(action: &Action, plan: &Plan) -> String {
    let signal = match action {
        Action::Signal { signal, .. } | Action::Tree { signal, .. } => signal.name(),
        Action::KillCgroup { .. } => "SIGKILL".into(),
        Action::Reap { .. } => "SIGCHLD".into(),
        Action::Thaw { .. } => {
            return if plan.effect == Effect::Continues { "goes on".into() } else { "stays as it is".into() };
        }
        Action::DestroySockets { .. } => {
            return if plan.effect == Effect::NoneGone { "gone".into() } else { "destroyed".into() };
        }
    };
    match plan.effect {
        Effect::Terminates => format!("{signal} ends it"),
        Effect::Caught => format!("{signal} goes to its handler"),
        Effect::Ignored => format!("{signal} changes nothing"),
        Effect::Blocked => format!("{signal} waits until it is unblocked"),
        Effect::PendingUntilWakes => format!("{signal} waits until it wakes"),
        Effect::PendingUntilThawed => format!("{signal} waits until it is thawed"),
        Effect::PendingUntilServerAnswers => format!("{signal} may wait until a FUSE server answers"),
        Effect::UncertainD => format!("{signal} may wait until it wakes from D"),
        Effect::NoneZombie => "dead already".into(),
        Effect::ContainerStops => format!("{signal} ends its container"),
        Effect::Stops => format!("{signal} stops it"),
        Effect::Continues => format!("{signal} lets it go on"),
        Effect::NoneGone => "gone".into(),
    }
}

fn about(target: &Target) -> Vec<(&'static str, String)> {
    match target {
        Target::Task(task) if task.comm.is_empty() => Vec::new(),
        Target::Task(task) => about_task(task),
        Target::Cgroup(CgroupTarget { container, processes, frozen, .. }) => {
            let container = container.as_ref().map(|name| format!("container {name}; ")).unwrap_or_default();
            let frozen = if *frozen == Some(true) { "; frozen" } else { "" };
            vec![("what", format!("{container}{processes} processes{frozen}"))]
        }
        Target::Sockets(SocketTarget { .. }) => Vec::new(),
    }
}

fn about_task(task: &TaskTarget) -> Vec<(&'static str, String)> {
    let mut who = Vec::new();
    who.extend(task.cmdline.as_deref().map(str::to_owned));
    let user = task.user.as_deref().map(str::to_owned).or_else(|| Some(format!("uid {}", task.uid?)));
    who.extend(user.map(|user| format!("user {user}")));
    who.push(format!("{} old", num::span(task.age_ms as f64 / 1000.0)));
    who.extend(task.container.as_deref().map(|name| format!("container {name}")));
    who.extend(task.unit.as_deref().map(|name| format!("unit {name}")));
    who.extend(task.parent_comm.as_deref().map(|comm| format!("child of {comm}({})", task.ppid)));
    let mut lines = vec![("who", who.join("; "))];
    let holds = holds(&task.holds);
    if !holds.is_empty() {
        lines.push(("holds", holds));
    }
    lines
}

fn holds(holds: &Holds) -> String {
    let some = |count: u64, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {many}")),
    };
    let memory = holds.rss_bytes.saturating_add(holds.swap_bytes.unwrap_or(0));
    let parts = [
        some(holds.children.unwrap_or(0).into(), "child", "children"),
        some(u64::from(holds.threads), "thread", "threads"),
        (memory > 0).then(|| num::prose_bytes(memory)),
        some(holds.fds.unwrap_or(0), "descriptor", "descriptors"),
        (!holds.listeners.is_empty()).then(|| format!("listens on {}", holds.listeners.join(", "))),
        some(holds.connections.unwrap_or(0), "connection", "connections"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
