//! `kill --json`.

use super::{SCHEMA, TaskRow};
use crate::snapshot::{Outcome, Plan, Proposal, SocketSelection, Target};
use serde::Serialize;

/// The document: the plans of everything that was asked for.
#[derive(Serialize)]
pub struct Plans<'a> {
    schema: u32,
    #[serde(rename = "plans")]
    rows: Vec<PlanRow<'a>>,
    reasons: Vec<&'a str>,
}

impl<'a> Plans<'a> {
    /// The plans of these actions, as they stand.
    pub fn new(proposals: &'a [Proposal]) -> Self {
        let reasons = proposals.iter().flat_map(|proposal| &proposal.reasons).map(|text| &**text).collect();
        let rows = proposals.iter().flat_map(|proposal| &proposal.plans).map(PlanRow::new).collect();
        Self { schema: SCHEMA, rows, reasons }
    }
}

#[derive(Serialize)]
struct PlanRow<'a> {
    target: TargetRow<'a>,
    decision: &'static str,
    effect: &'static str,
    reasons: Vec<&'a str>,
    advice: Vec<&'a str>,
    restarts: Option<&'a str>,
    outcome: Option<OutcomeRow<'a>>,
}

impl<'a> PlanRow<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            target: TargetRow::new(&plan.target),
            decision: plan.decision.word(),
            effect: plan.effect.word(),
            reasons: plan.reasons.iter().map(|text| &**text).collect(),
            advice: plan.advice.iter().map(|text| &**text).collect(),
            restarts: plan.restarts.as_deref(),
            outcome: plan.outcome.as_ref().map(OutcomeRow::new),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum TargetRow<'a> {
    Task {
        #[serde(flatten)]
        task: TaskRow<'a>,
        cmdline: Option<&'a str>,
        user: Option<&'a str>,
        uid: Option<u32>,
        state: char,
        age_ms: u64,
        ppid: u32,
        unit: Option<&'a str>,
        children: Option<u32>,
        threads: u32,
        rss_bytes: u64,
        swap_bytes: Option<u64>,
        listeners: Vec<&'a str>,
        connections: Option<u64>,
    },
    Cgroup {
        path: &'a str,
        inode: u64,
        container: Option<&'a str>,
        unit: Option<&'a str>,
        processes: u32,
        frozen: Option<bool>,
        method: &'a str,
    },
    Sockets {
        #[serde(flatten)]
        selection: &'a SocketSelection,
        count: u64,
    },
}

impl<'a> TargetRow<'a> {
    fn new(target: &'a Target) -> Self {
        match target {
            Target::Task(task) => Self::Task {
                task: TaskRow {
                    pid: task.key.pid,
                    start_ticks: task.key.start_ticks,
                    comm: (!task.comm.is_empty()).then_some(&*task.comm),
                    cgroup: task.cgroup.as_deref(),
                    container: task.container.as_deref().map(str::to_owned),
                },
                cmdline: task.cmdline.as_deref(),
                user: task.user.as_deref(),
                uid: task.uid,
                state: task.state.letter(),
                age_ms: task.age_ms,
                ppid: task.ppid,
                unit: task.unit.as_deref(),
                children: task.holds.children,
                threads: task.holds.threads,
                rss_bytes: task.holds.rss_bytes,
                swap_bytes: task.holds.swap_bytes,
                listeners: task.holds.listeners.iter().map(|text| &**text).collect(),
                connections: task.holds.connections,
            },
            Target::Cgroup(cgroup) => Self::Cgroup {
                path: &cgroup.key.path,
                inode: cgroup.key.inode,
                container: cgroup.container.as_deref(),
                unit: cgroup.unit.as_deref(),
                processes: cgroup.processes,
                frozen: cgroup.frozen,
                method: &cgroup.method,
            },
            Target::Sockets(sockets) => Self::Sockets { selection: &sockets.selection, count: sockets.count },
        }
    }
}

#[derive(Serialize)]
struct OutcomeRow<'a> {
    result: &'static str,
    after_ms: u64,
    detail: &'a str,
    successor: Option<u32>,
}

impl<'a> OutcomeRow<'a> {
    fn new(outcome: &'a Outcome) -> Self {
        Self {
            result: outcome.result.word(),
            after_ms: outcome.after_ms,
            detail: &outcome.detail,
            successor: outcome.successor.map(|key| key.pid),
        }
    }
}
