//! Plans made by hand, as the kernel would have them.

use super::{app, press, story_d};
use whytop::app::{App, Effect, Event};
use whytop::snapshot::{
    Action, CgroupTarget, Decision, Effect as Foretold, Holds, Outcome, OutcomeKind, Plan, Proposal, SocketTarget,
    Target, TaskKey, TaskState, TaskTarget,
};

fn task(key: TaskKey) -> TaskTarget {
    TaskTarget {
        key,
        pidfd_inode: None,
        comm: if key.pid == 4711 { "supervisord" } else { "java" }.into(),
        cmdline: (key.pid != 16951).then(|| "/usr/bin/python /usr/bin/supervisord -n".into()),
        state: TaskState::Blocked,
        ppid: 4711,
        parent_comm: Some("supervisord".into()),
        uid: Some(999),
        user: Some("app".into()),
        age_ms: 11_523_000,
        cgroup: Some("/kubepods/burstable/pod4c1e/checkout-7f9c".into()),
        container: Some("checkout".into()),
        unit: None,
        holds: Holds {
            children: Some(3),
            threads: 214,
            rss_bytes: 1_643 << 20,
            swap_bytes: Some(0),
            fds: Some(1204),
            listeners: vec!["tcp 0.0.0.0:8080".into()],
            connections: Some(41),
            session_members: 0,
        },
    }
}

/// A proposal for an action, all of its plans alike.
pub fn of(action: &Action, decision: Decision, effect: Foretold) -> Proposal {
    let targets: Vec<Target> = match action {
        Action::Signal { tasks, .. } => tasks.iter().map(|key| Target::Task(task(*key))).collect(),
        Action::Tree { root, .. } => vec![Target::Task(task(*root))],
        Action::Reap { parent } => vec![Target::Task(task(*parent))],
        Action::KillCgroup { cgroup } | Action::Thaw { cgroup } => vec![Target::Cgroup(CgroupTarget {
            key: cgroup.clone(),
            container: Some("checkout".into()),
            processes: 353,
            frozen: Some(false),
            method: "freeze, kill, thaw (v1 freezer)".into(),
            ..CgroupTarget::default()
        })],
        Action::DestroySockets { sockets } => {
            vec![Target::Sockets(SocketTarget { selection: sockets.clone(), count: 412, owner_comm: None })]
        }
    };
    let plan = |target| Plan {
        target,
        decision,
        effect,
        reasons: vec!["all its threads are in D: they wait for memory of checkout-7f9c".into()],
        advice: vec!["raise memory.limit_in_bytes of checkout-7f9c (now 2.0G)".into()],
        restarts: None,
        outcome: None,
    };
    Proposal {
        action: action.clone(),
        at: super::at(3_553_920.0),
        decision,
        confirm: (decision == Decision::Confirm).then(|| "checkout".into()),
        reasons: Vec::new(),
        plans: targets.into_iter().map(plan).collect(),
    }
}

/// Gives every process this command line.
pub fn command(proposal: &mut Proposal, line: &str) {
    for plan in &mut proposal.plans {
        if let Target::Task(task) = &mut plan.target {
            task.cmdline = Some(line.into());
        }
    }
}

/// Gives every plan this outcome.
pub fn outcome(proposal: &mut Proposal, result: OutcomeKind, after_ms: u64, detail: &str, settled: bool) {
    for plan in &mut proposal.plans {
        plan.outcome = Some(Outcome { result, after_ms, detail: detail.into(), settled, successor: None });
    }
}

/// Presses keys, and answers the plan they ask for.
fn walk(pane: &str, keys: &str, decision: Decision, effect: Foretold) -> (App, u64, Proposal) {
    let mut app = app(pane, &story_d());
    let effects = press(&mut app, keys);
    let plan =
        effects.iter().find_map(|e| if let Effect::Plan { id, action } = e { Some((*id, action)) } else { None });
    let (id, action) = plan.unwrap();
    let proposal = of(action, decision, effect);
    app.step(Event::Planned { id, plan: Ok(Box::new(proposal.clone())) });
    (app, id, proposal)
}

const JAVA: &str = "v\\comm=java rss>1g<enter>k";

fn after(secs: f64, result: OutcomeKind, detail: &str, settled: bool) -> App {
    let (mut app, id, mut proposal) = walk("tasks", JAVA, Decision::Allowed, Foretold::PendingUntilWakes);
    press(&mut app, "<enter>");
    outcome(&mut proposal, result, (secs * 1000.0) as u64, detail, settled);
    app.step(Event::Acted { id, proposal: Box::new(proposal) });
    app.step(Event::Tick { now: super::at(3_553_920.0 + secs), utc_offset_secs: 0 });
    app
}

/// Makes a screen.
pub type Walk = fn() -> App;

/// Screens of the layer, by name.
pub static SCREENS: &[(&str, Walk)] = &[
    ("a plan", || walk("tasks", JAVA, Decision::Allowed, Foretold::PendingUntilWakes).0),
    ("a word is asked for", || walk("cgroups", "/checkout-7f9c<enter>k", Decision::Confirm, Foretold::Terminates).0),
    ("the word is typed", || {
        let mut app = walk("cgroups", "/checkout-7f9c<enter>k", Decision::Confirm, Foretold::Terminates).0;
        press(&mut app, "<enter>wrong<enter>check");
        app
    }),
    ("refused", || walk("tasks", "v\\comm=systemd<enter>k", Decision::Refused, Foretold::Ignored).0),
    ("several", || walk("tasks", "v\\comm=java<enter><home>     k", Decision::Allowed, Foretold::Terminates).0),
    ("another signal", || {
        let mut app = walk("tasks", JAVA, Decision::Allowed, Foretold::Caught).0;
        press(&mut app, "s<down>");
        app
    }),
    ("counting down", || after(3.0, OutcomeKind::Pending, "in D at mem_cgroup_oom, SIGTERM pending", false)),
    ("KILL is offered", || after(12.0, OutcomeKind::Pending, "in D at mem_cgroup_oom, SIGTERM pending", false)),
    ("exited", || after(0.3, OutcomeKind::Exited, "", true)),
    ("respawned", || after(0.9, OutcomeKind::Respawned, "as pid 17400 by supervisord(4711)", true)),
];
