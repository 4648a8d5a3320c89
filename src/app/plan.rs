//! A plan, and what became of it, in lines.

use super::kill::{GRACE_SECS, Kill, LAST_SIGNAL, Stage};
use crate::model::Frame;
use crate::panes::subject_name;
use crate::snapshot::{
    Action, CgroupTarget, Decision, Effect as Foretold, Holds, Moment, Outcome, OutcomeKind, Plan, Proposal, Signal,
    SocketSelection, SocketTarget, Subject, Target, TaskTarget,
};
use crate::view::{Line, Role, num};

/// Targets told in full; of more each has one line.
const IN_FULL: usize = 3;
/// Characters of a command line.
const COMMAND_MAX: usize = 160;
/// Columns of the countdown.
const COUNTDOWN: usize = 20;

/// What it is about, in few words: `SIGTERM to java(16951)`.
pub(super) fn title(frame: &Frame, action: &Action, proposal: Option<&Proposal>) -> String {
    let task = |key| {
        let planned = proposal.into_iter().flat_map(|p| &p.plans).find_map(|plan| match &plan.target {
            Target::Task(task) if task.key == key => Some(format!("{}({})", task.comm, key.pid)),
            _ => None,
        });
        planned.unwrap_or_else(|| subject_name(frame, &Subject::Task(key)))
    };
    match action {
        Action::Signal { tasks, signal } => match tasks.as_slice() {
            [only] => format!("{} to {}", signal.name(), task(*only)),
            many => format!("{} to {} processes", signal.name(), many.len()),
        },
        Action::Tree { root, signal } => format!("{} to {} and all below it", signal.name(), task(*root)),
        Action::KillCgroup { cgroup } => {
            format!("SIGKILL to all of {}", subject_name(frame, &Subject::Cgroup(cgroup.clone())))
        }
        Action::Thaw { cgroup } => format!("thaw {}", subject_name(frame, &Subject::Cgroup(cgroup.clone()))),
        Action::Reap { parent } => format!("ask {} to reap its zombies", task(*parent)),
        Action::DestroySockets { sockets } => format!("destroy {}", sockets_words(sockets)),
    }
}

/// Its lines.
pub(super) fn lines(kill: &Kill, now: Moment) -> Vec<Line> {
    match &kill.stage {
        Stage::Planning => vec![Line::plain(Role::Dim, "Reading the kernel; nothing has been sent …")],
        Stage::Failed(why) => {
            vec![Line::plain(Role::Warn, format!("No plan: {why}")), Line::plain(Role::Dim, "Nothing has been sent.")]
        }
        Stage::Choosing { at, .. } => signals(*at),
        Stage::Shown(proposal) | Stage::Typing { proposal, .. } => shown(proposal),
        Stage::Sent { proposal, since } => sent(kill, proposal, now, *since),
    }
}

/// The signals to choose from.
fn signals(at: u8) -> Vec<Line> {
    let head = Line::plain(Role::Title, "Which signal? A plan for it comes next; nothing is sent yet.");
    let each = (1..=LAST_SIGNAL).map(|number| {
        let chosen = number == at;
        let line = Line::default().with(if chosen { Role::Key } else { Role::Dim }, if chosen { "▸ " } else { "  " });
        let role = if chosen { Role::Title } else { Role::Text };
        line.with(role, format!("{number:>2} {}", Signal(number).name()))
    });
    std::iter::once(head).chain(each).collect()
}

/// The row of the list that must be seen.
pub(super) fn led_row(kill: &Kill) -> Option<u16> {
    match kill.stage {
        Stage::Choosing { at, .. } => Some(u16::from(at)),
        _ => None,
    }
}

fn shown(proposal: &Proposal) -> Vec<Line> {
    let signal = signal_of(&proposal.action);
    let mut lines = vec![verdict(proposal)];
    lines.extend(block("because", proposal.reasons.iter().map(|r| Line::default().text(r.to_string()))));
    for (at, plan) in proposal.plans.iter().enumerate() {
        if proposal.plans.len() > 1 {
            lines.push(one_line(at, plan, signal));
        }
        if proposal.plans.len() <= IN_FULL || matches!(plan.target, Target::Cgroup(_)) {
            lines.extend(in_full(plan, signal));
        } else if plan.decision != Decision::Allowed {
            lines.extend(plan.reasons.first().map(|r| Line::of(" ").dim(r.to_string())));
        }
    }
    lines
}

/// What one may do now.
fn verdict(proposal: &Proposal) -> Line {
    let refused = proposal.plans.iter().filter(|plan| plan.decision == Decision::Refused).count();
    let line = match proposal.decision {
        Decision::Allowed => Line::of("plan").with(Role::Good, "nothing has been sent; Enter does it"),
        Decision::Confirm => {
            let word = proposal.confirm.as_deref().unwrap_or_default();
            let line = Line::of("plan").with(Role::Warn, "nothing has been sent; it needs a word: Enter, then type ");
            line.with(Role::Key, word.to_owned())
        }
        Decision::Refused => return Line::of("refused").with(Role::Crit, "whytop does not do this"),
    };
    match refused {
        0 => line,
        n => line.with(Role::Warn, format!("; {n} of {} are refused and left alone", proposal.plans.len())),
    }
}

fn signal_of(action: &Action) -> Option<Signal> {
    match action {
        Action::Signal { signal, .. } | Action::Tree { signal, .. } => Some(*signal),
        Action::KillCgroup { .. } => Some(Signal::KILL),
        Action::Reap { .. } => Some(Signal::CHLD),
        Action::Thaw { .. } | Action::DestroySockets { .. } => None,
    }
}

fn target_name(target: &Target) -> String {
    match target {
        Target::Task(task) => format!("{}({})", task.comm, task.key.pid),
        Target::Cgroup(cgroup) => cgroup.container.clone().unwrap_or_else(|| cgroup.key.path.clone()).to_string(),
        Target::Sockets(sockets) => sockets_words(&sockets.selection),
    }
}

fn one_line(at: usize, plan: &Plan, signal: Option<Signal>) -> Line {
    let (role, words) = foretold(plan, signal);
    let line = Line::default().dim(format!("{:>3} ", at + 1)).text(format!("{:<24} ", target_name(&plan.target)));
    match plan.decision {
        Decision::Refused => line.with(Role::Crit, "refused"),
        _ => line.with(role, words),
    }
}

fn in_full(plan: &Plan, signal: Option<Signal>) -> Vec<Line> {
    let mut lines = match &plan.target {
        Target::Task(task) => task_lines(task),
        Target::Cgroup(cgroup) => cgroup_lines(cgroup),
        Target::Sockets(sockets) => sockets_lines(sockets),
    };
    let (role, words) = foretold(plan, signal);
    lines.push(Line::of("will").with(role, words));
    lines.extend(block("because", plan.reasons.iter().map(|r| Line::default().text(r.to_string()))));
    lines.extend(block("instead", plan.advice.iter().map(|a| Line::default().text(a.to_string()))));
    lines
}

/// What it will do, in a sentence.
fn foretold(plan: &Plan, signal: Option<Signal>) -> (Role, String) {
    let name = signal.map_or_else(|| "it".into(), Signal::name);
    let (role, words) = match (plan.effect, &plan.target) {
        (Foretold::Terminates, Target::Sockets(_)) => {
            (Role::Text, "destroys them: the process sees ECONNABORTED, the far end an RST".into())
        }
        (Foretold::Terminates, Target::Cgroup(_)) => (Role::Text, "ends every process in it and below it".into()),
        (Foretold::Terminates, _) => (Role::Text, format!("{name} ends it")),
        (Foretold::Caught, _) => (Role::Warn, format!("it catches {name}: what happens is its decision")),
        (Foretold::Ignored, _) => (Role::Warn, format!("it ignores {name}: nothing will happen")),
        (Foretold::Blocked, _) => (Role::Warn, format!("it blocks {name}: pending until it unblocks it")),
        (Foretold::PendingUntilWakes, _) => {
            (Role::Warn, format!("{name} stays pending: nothing happens until it wakes, then it counts"))
        }
        (Foretold::PendingUntilThawed, _) => {
            (Role::Warn, format!("{name} stays pending until its frozen cgroup is thawed"))
        }
        (Foretold::PendingUntilServerAnswers, _) => {
            (Role::Warn, format!("{name} may leave it in D until the FUSE server answers"))
        }
        (Foretold::UncertainD, _) => {
            (Role::Warn, format!("it is in D: whether {name} ends that wait can't be told before, only watched"))
        }
        (Foretold::NoneZombie, _) => {
            (Role::Warn, "nothing: it is dead already, only its parent can take it away".into())
        }
        (Foretold::ContainerStops, _) => (Role::Crit, "it is the init of a container: the whole container ends".into()),
        (Foretold::Stops, _) => (Role::Text, format!("{name} stops it until SIGCONT")),
        (Foretold::Continues, _) => (Role::Text, "it goes on".into()),
        (Foretold::NoneGone, _) => (Role::Ended, "it has gone already".into()),
    };
    (role, words)
}

fn task_lines(task: &TaskTarget) -> Vec<Line> {
    let user = match (&task.user, task.uid) {
        (Some(user), Some(uid)) => format!("{user} ({uid})"),
        (Some(user), None) => user.to_string(),
        (None, Some(uid)) => format!("uid {uid}"),
        (None, None) => "uid –".into(),
    };
    let line = task.cmdline.as_deref().unwrap_or("(its command line is not read: it is in D, or has none)");
    // What the signal will do must not scroll off below the arguments of a JVM; its page shows them all.
    let command = if line.chars().nth(COMMAND_MAX).is_some() {
        line.chars().take(COMMAND_MAX).chain(['…']).collect()
    } else {
        line.to_owned()
    };
    let parent = task.parent_comm.as_deref().map_or_else(|| task.ppid.to_string(), |c| format!("{c}({})", task.ppid));
    let mut lines = vec![
        Line::of("who").dim(format!("{user}  ")).text(command),
        Line::of(" ")
            .dim("state ")
            .text(task.state.letter().to_string())
            .dim(" · born ")
            .text(format!("{} ago", num::span(task.age_ms as f64 / 1000.0)))
            .dim(" · child of ")
            .text(parent),
    ];
    let mut home = Line::of("in");
    for (name, value) in [("container", &task.container), ("service", &task.unit), ("cgroup", &task.cgroup)] {
        if let Some(value) = value {
            let dot = if home.spans.is_empty() { "" } else { " · " };
            home = home.dim(format!("{dot}{name} ")).text(value.to_string());
        }
    }
    if !home.spans.is_empty() {
        lines.push(home);
    }
    lines.push(holds(&task.holds));
    lines
}

fn holds(holds: &Holds) -> Line {
    let count = |n: u64, one: &str| if n == 1 { format!("1 {one}") } else { format!("{} {one}s", num::grouped(n)) };
    let mut parts = vec![count(holds.threads.into(), "thread"), num::bytes(holds.rss_bytes)];
    parts.extend(holds.swap_bytes.filter(|n| *n > 0).map(|n| format!("{} in swap", num::bytes(n))));
    parts.extend(holds.children.filter(|n| *n > 0).map(|n| match n {
        1 => "1 child".into(),
        n => format!("{n} children"),
    }));
    parts.extend(holds.fds.map(|n| count(n, "descriptor")));
    parts.extend(holds.connections.filter(|n| *n > 0).map(|n| count(n, "connection")));
    if holds.session_members > 0 {
        parts.push(format!("leads a session of {} more", holds.session_members));
    }
    let line = Line::of("holds").text(parts.join(" · "));
    if holds.listeners.is_empty() { line } else { line.dim(" · listens on ").text(holds.listeners.join(", ")) }
}

fn cgroup_lines(cgroup: &CgroupTarget) -> Vec<Line> {
    let mut line = Line::of("who").text(cgroup.key.path.to_string());
    for (name, value) in [("container", &cgroup.container), ("service", &cgroup.unit)] {
        if let Some(value) = value {
            line = line.dim(format!(" · {name} ")).text(value.to_string());
        }
    }
    let mut holds = Line::of("holds").text(format!("{} processes", num::grouped(cgroup.processes.into())));
    if cgroup.frozen == Some(true) {
        holds = holds.with(Role::Warn, " · frozen");
    }
    if !cgroup.method.is_empty() {
        holds = holds.dim(" · by ").text(cgroup.method.to_string());
    }
    vec![line, holds]
}

fn sockets_lines(target: &SocketTarget) -> Vec<Line> {
    let owner = target.owner_comm.as_deref().zip(target.selection.owner);
    let line = Line::of("who").text(format!("{} sockets", num::grouped(target.count)));
    let line = line.dim(format!(": {}", sockets_words(&target.selection)));
    vec![match owner {
        Some((comm, key)) => line.dim(" · held by ").text(format!("{comm}({})", key.pid)),
        None => line,
    }]
}

fn sockets_words(selection: &SocketSelection) -> String {
    let state = selection.state.map_or_else(|| "TCP".into(), |state| state.name().replace('_', "-"));
    let owner = selection.owner.map(|key| format!(" of pid {}", key.pid)).unwrap_or_default();
    let port = selection.local_port.map(|port| format!(" at port {port}")).unwrap_or_default();
    let far = selection.remote_addr.map(|addr| {
        let port = selection.remote_port.map(|p| format!(":{p}")).unwrap_or_default();
        format!(" to {addr}{port}")
    });
    format!("{state} sockets{owner}{port}{}", far.unwrap_or_default())
}

fn sent(kill: &Kill, proposal: &Proposal, now: Moment, since: Moment) -> Vec<Line> {
    let mut lines = Vec::new();
    if proposal.decision == Decision::Refused {
        lines.push(verdict(proposal));
    } else {
        lines.push(countdown(kill, proposal, now, since));
    }
    lines.extend(block("because", proposal.reasons.iter().map(|r| Line::default().text(r.to_string()))));
    for (at, plan) in proposal.plans.iter().enumerate() {
        let (role, words) = outcome(plan);
        let line =
            if proposal.plans.len() > 1 { Line::default().dim(format!("{:>3} ", at + 1)) } else { Line::of("outcome") };
        lines.push(line.text(format!("{} ", target_name(&plan.target))).with(role, words));
        if plan.decision == Decision::Refused {
            lines.extend(plan.reasons.first().map(|r| Line::of(" ").dim(r.to_string())));
        }
    }
    let lasts = proposal.plans.iter().filter(|plan| plan.outcome.as_ref().is_none_or(|o| lives(o.result)));
    lines.extend(block(
        "instead",
        lasts.take(IN_FULL).flat_map(|p| &p.advice).map(|a| Line::default().text(a.to_string())),
    ));
    if kill.offers_kill(now) {
        lines.push(
            Line::of("next").with(Role::Key, "9").text(" plans SIGKILL for what is left; nothing is sent by itself"),
        );
    }
    lines
}

/// How long it has had, and what comes after.
fn countdown(kill: &Kill, proposal: &Proposal, now: Moment, since: Moment) -> Line {
    let passed = now.since(since);
    let line = Line::of("sent").text(format!("{} ago", num::span(passed)));
    if proposal.is_settled() {
        return line.with(Role::Good, " · nothing more is expected");
    }
    let asks = kill.signal().is_some_and(|s| s != Signal::KILL && s.asks_to_end());
    if !asks || passed >= GRACE_SECS {
        return line.dim(" · watching");
    }
    let share = (passed / GRACE_SECS).clamp(0.0, 1.0) * COUNTDOWN as f64;
    let done = usize::try_from(num::whole(share)).unwrap_or(0).min(COUNTDOWN);
    let left = num::whole((GRACE_SECS - passed).ceil().max(0.0));
    line.dim(" · ")
        .with(Role::Bar, "━".repeat(done))
        .with(Role::Rule, "─".repeat(COUNTDOWN - done))
        .text(format!(" {left}s"))
        .dim(" until SIGKILL is offered")
}

fn lives(result: OutcomeKind) -> bool {
    matches!(result, OutcomeKind::Survived | OutcomeKind::Pending | OutcomeKind::Zombie)
}

fn outcome(plan: &Plan) -> (Role, String) {
    match &plan.outcome {
        Some(outcome) => (outcome_role(outcome), outcome_words(outcome)),
        None if plan.decision == Decision::Refused => (Role::Crit, "refused: nothing was sent to it".into()),
        None => (Role::Dim, "…".into()),
    }
}

fn outcome_role(outcome: &Outcome) -> Role {
    match outcome.result {
        OutcomeKind::Exited => Role::Good,
        OutcomeKind::Gone => Role::Ended,
        _ => Role::Warn,
    }
}

fn outcome_words(outcome: &Outcome) -> String {
    let after = if outcome.after_ms < 100 {
        format!("{} ms", outcome.after_ms)
    } else if outcome.after_ms < 60_000 {
        format!("{:.1} s", outcome.after_ms as f64 / 1000.0)
    } else {
        num::span(outcome.after_ms as f64 / 1000.0)
    };
    let words = match outcome.result {
        OutcomeKind::Exited => format!("exited in {after}"),
        OutcomeKind::Zombie => format!("dead in {after}, not reaped"),
        OutcomeKind::Pending => format!("still there after {after}"),
        OutcomeKind::Survived => format!("lives on after {after}"),
        OutcomeKind::Gone => "had gone before, nothing was sent".into(),
        OutcomeKind::Respawned => format!("exited, and was started anew within {after}"),
        OutcomeKind::Done => "done".into(),
    };
    // When it ended is said already.
    let said =
        outcome.detail.is_empty() || outcome.result == OutcomeKind::Exited && outcome.detail.starts_with("ended");
    if said { words } else { format!("{words}: {}", outcome.detail) }
}

/// What became of it, in one line, for whoever has left the layer.
pub(super) fn told(proposal: &Proposal) -> String {
    match proposal.plans.as_slice() {
        [only] => format!("{} {}", target_name(&only.target), outcome(only).1),
        many => {
            let done = many.iter().filter(|p| p.outcome.as_ref().is_some_and(|o| !lives(o.result))).count();
            format!("{done} of {} have ended", many.len())
        }
    }
}

fn block(label: &'static str, lines: impl IntoIterator<Item = Line>) -> Vec<Line> {
    lines.into_iter().enumerate().map(|(i, line)| Line { label: if i == 0 { label } else { " " }, ..line }).collect()
}
