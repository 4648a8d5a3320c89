//! The operator's acts and marks in words.

use super::summary::Entry;
use crate::snapshot::{Action, ActionRecord, Decision, Plan, Target};

/// A mark.
#[must_use]
pub fn marked(unix_ns: i64, text: &str) -> Entry {
    Entry::new(unix_ns, if text.is_empty() { "(no text)".into() } else { text.to_owned() })
}

/// An action with its decision and outcomes. With `redact`, without command lines.
#[must_use]
pub fn acted(record: &ActionRecord, redact: bool) -> Entry {
    let what = match &record.proposal.action {
        Action::Signal { signal, .. } => format!("{} to ", signal.name()),
        Action::Tree { signal, .. } => format!("{} to a tree of processes: ", signal.name()),
        Action::KillCgroup { .. } => "killed all of ".into(),
        Action::Thaw { .. } => "thawed ".into(),
        Action::Reap { .. } => "asked to reap its zombies: ".into(),
        Action::DestroySockets { .. } => "destroyed ".into(),
    };
    let targets: Vec<String> = record.proposal.plans.iter().map(|plan| target(plan, redact)).collect();
    let refused = record.proposal.decision == Decision::Refused;
    let end = match (refused, record.sent) {
        (true, _) => {
            let why = record.proposal.reasons.first().or_else(|| record.proposal.plans.first()?.reasons.first());
            format!(" (refused: {})", why.map_or("", |w| w))
        }
        (false, true) => String::new(),
        (false, false) => " (not sent)".into(),
    };
    Entry::new(record.wall_unix_ns, format!("{what}{}{end}", targets.join("; ")))
}

fn target(plan: &Plan, redact: bool) -> String {
    let who = match &plan.target {
        Target::Task(task) => {
            let line = task.cmdline.as_ref().filter(|_| !redact).map_or_else(String::new, |line| format!(" {line}"));
            format!("{}({}){line}", task.comm, task.key.pid)
        }
        Target::Cgroup(cgroup) => format!("cgroup {} of {} processes", cgroup.key.path, cgroup.processes),
        Target::Sockets(sockets) => format!("{} TCP sockets", sockets.count),
    };
    let outcome = plan.outcome.as_ref().map_or_else(String::new, |outcome| {
        let detail = if outcome.detail.is_empty() { String::new() } else { format!(", {}", outcome.detail) };
        format!(": {} after {} ms{detail}", outcome.result.word(), outcome.after_ms)
    });
    format!("{who}{outcome}")
}
