//! Dead children that their parent does not reap (story D).

use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{Subject, Task};

pub(super) static RULES: &[Rule] = &[Rule {
    id: "task.zombie_pile",
    about: "zombies that one parent does not reap",
    effect: "zombies pile up",
    knobs: &[
        Knob { key: "count", default: 20.0, unit: "tasks", about: "zombies of one parent that are a finding" },
        Knob { key: "critical", default: 200.0, unit: "tasks", about: "as many, or fewer that grow, are critical" },
    ],
    explains: &[("cgroup.pids_limit", Join::TaskOrCgroup), ("task.pid_exhaustion", Join::Task)],
    hold_s: 1.5,
    measure,
    judge,
}];

fn measure(look: &Look<'_>, out: &mut Measures) {
    for (key, facts) in &look.model.tasks {
        if facts.zombie_children >= 2 {
            out.put(Subject::Task(*key), f64::from(facts.zombie_children));
        }
    }
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let n = case.value();
    if !case.reaches(n, case.knob("count")) {
        return None;
    }
    let parent = case.task()?;
    let facts = case.look.model.tasks.get(&parent.key)?;
    let growth = case.growth();
    let severity = if n >= case.knob("critical") || growth.is_some() { Severity::Critical } else { Severity::Warning };
    let who = words::task(parent);
    let kind = if parent.key.pid == 1 {
        ", the host's init,"
    } else if parent.is_container_init() {
        ", its container's init,"
    } else {
        ""
    };
    let grows = growth.map_or_else(String::new, |r| format!(", growing {}", words::rate(r)));
    let message = format!("{who}{kind} does not reap {} that have exited{grows}", plural_children(n));
    let oldest = facts.zombie_since.map(|at| case.look.age_s(at));
    let verdict = case
        .verdict(severity, "tasks", message)
        .rate(growth)
        .rated("/proc/PID/stat", format!("children of {} in state Z", parent.key.pid), n, growth)
        .number("/proc/PID/stat", "oldest zombie, at least seconds", oldest)
        .text("/proc/PID/stat", "state of the parent", parent.state.letter().to_string())
        .shown_by(format!("ps --ppid {} -o pid,stat,etime,comm", parent.key.pid))
        .about(children(case, facts.children.iter()), []);
    Some(advise(verdict, parent, &who))
}

fn plural_children(n: f64) -> String {
    format!("{} children", words::count(n))
}

/// The zombies' own names, for joins with lines that name them.
fn children<'a>(
    case: &Case<'a>, rows: impl Iterator<Item = &'a usize>,
) -> impl Iterator<Item = crate::snapshot::TaskKey> {
    let tasks = case.look.snap.tasks.data();
    let zombies = rows.filter_map(move |&row| tasks?.rows.get(row)).filter(|t| t.is_zombie());
    zombies.map(|t| t.key).take(64)
}

fn advise(verdict: Verdict, parent: &Task, who: &str) -> Verdict {
    let verdict = verdict.advise("signals do nothing to a zombie: only its parent, or the parent's end, removes it");
    if parent.key.pid == 1 {
        return verdict.advise("pid 1 itself does not wait: look at what blocks it before anything else");
    }
    if parent.by_state.blocked > 0 {
        return verdict.advise(format!("{who} has threads in D: it can reap when what it waits for comes back"));
    }
    let verdict = verdict.advise(format!("wake it first: kill -CHLD {}", parent.key.pid));
    if parent.is_container_init() {
        verdict.advise(format!("{who} is its container's pid 1: restart the container, with an init that reaps (docker run --init)"))
    } else {
        verdict.advise(format!("then end {who}: its children go to the next reaper above it"))
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;
    use crate::model::Severity;

    #[test]
    fn fires_on_the_parent_with_the_count() {
        let mut s = Script::new();
        let parent = s.world.task(4711, "supervisord");
        s.world.zombies(parent, 25);
        s.secs(4);
        let f = s.expect("task.zombie_pile");
        assert_eq!((s.value("task.zombie_pile"), f.severity), (25, Severity::Warning));
        assert_eq!(f.message, "supervisord(4711) does not reap 25 children that have exited");
    }

    #[test]
    fn a_growing_pile_is_critical_and_pid_1_of_a_container_is_told() {
        let mut s = Script::new();
        let parent = s.world.task(4711, "tini");
        s.world.tasks.rows.last_mut().unwrap().inner_pid = Some(1);
        s.world.zombies(parent, 25);
        for _ in 0..5 {
            s.world.zombies(parent, 3);
            s.secs(1);
        }
        let f = s.expect("task.zombie_pile");
        assert_eq!(f.severity, Severity::Critical);
        assert!(f.message.contains("its container's init"), "{}", f.message);
        assert!(f.advice.iter().any(|a| a.contains("--init")));
    }

    #[test]
    fn few_zombies_and_a_dead_leader_with_live_threads_are_silent() {
        let mut s = Script::new();
        let parent = s.world.task(4711, "sh");
        s.world.zombies(parent, 15);
        for pid in 9000..9030 {
            let key = s.world.child(parent, pid, "odd");
            let odd = s.world.row(key);
            odd.state = crate::snapshot::TaskState::Zombie;
            odd.threads = 3;
        }
        s.secs(5);
        s.silent();
    }

    #[test]
    fn clears_when_reaped() {
        let mut s = Script::new();
        let parent = s.world.task(4711, "sh");
        s.world.zombies(parent, 30);
        s.secs(4);
        s.world.tasks.rows.retain(|t| !t.is_zombie());
        s.secs(3);
        assert!(!s.expect("task.zombie_pile").active);
    }
}
