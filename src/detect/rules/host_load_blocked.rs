//! Load that is made of stuck tasks, not of CPU (story D).

use super::task_d_state_pile::is_frozen;
use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{Subject, TaskState};

/// As in the pile: a thread that has not woken for so long is stuck.
const STUCK_S: f64 = 2.0;

pub(super) static RULES: &[Rule] = &[Rule {
    id: "host.load_blocked",
    about: "load made of tasks in D rather than of tasks that run",
    effect: "the load is made of stuck tasks",
    knobs: &[
        Knob { key: "count", default: 10.0, unit: "tasks", about: "stuck threads that are a finding" },
        Knob { key: "per_cpu", default: 2.0, unit: "tasks per CPU", about: "and so many for each CPU" },
    ],
    explains: &[("host.pressure", Join::Host)],
    hold_s: 0.0,
    measure,
    judge,
}];

fn measure(look: &Look<'_>, out: &mut Measures) {
    let Some(tasks) = look.snap.tasks.data() else { return };
    let frozen: u32 = tasks.rows.iter().filter(|t| t.by_state.blocked > 0 && is_frozen(look, t)).map(|t| t.by_state.blocked).sum();
    out.put(Subject::Host, f64::from(look.model.totals.threads.blocked.saturating_sub(frozen)));
}

/// Threads known one by one, and those of them that have not woken.
fn stuck(look: &Look<'_>) -> (u32, u32) {
    let rows = look.snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    let (mut known, mut stuck) = (0, 0);
    for task in rows.iter().filter(|t| t.by_state.blocked > 0 && !is_frozen(look, t)) {
        for thread in task.awake.iter().filter(|t| t.state == TaskState::Blocked) {
            known += 1;
            let since = look.model.blocked_threads.get(&(task.key, thread.tid)).map(|b| look.age_s(b.since));
            stuck += u32::from(since.is_some_and(|s| s >= STUCK_S));
        }
    }
    (known, stuck)
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let blocked = case.value();
    let running = f64::from(case.look.model.totals.threads.running);
    let cpus = case.look.snap.host.data().map_or(1, |h| h.cpus.max(1));
    let enough = case.knob("count").max(case.knob("per_cpu") * f64::from(cpus));
    if !case.reaches(blocked, enough) || blocked < running * 2.0 {
        return None;
    }
    let (known, stuck) = stuck(case.look);
    if known == 0 || stuck * 2 < known {
        return None;
    }
    let load = case.look.snap.cpu.data().map(|c| c.load[0]);
    let share = blocked / (blocked + running).max(1.0);
    let message = format!(
        "the load is {} stuck in D and {} running: {} of it is not CPU",
        words::count(blocked),
        words::count(running),
        words::percent(share)
    );
    Some(
        case.verdict(Severity::Warning, "tasks", message)
            .rate(case.growth())
            .number("/proc/PID/task/TID/stat", "threads in D", blocked)
            .number("/proc/PID/task/TID/stat", "threads in R", running)
            .number("/proc/loadavg", "1 minute", load)
            .advise("adding CPU won't help: see what they wait for"),
    )
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;

    #[test]
    fn stuck_threads_are_the_load_and_hang_under_their_pile() {
        let mut s = Script::new();
        let dd = s.world.task(50, "dd");
        s.world.blocked(dd, "percpu_rwsem_wait", 30);
        s.secs(4);
        assert_eq!(s.value("host.load_blocked"), 30);
        let frame = s.last();
        assert_eq!(frame.stories.len(), 1, "{:#?}", s.messages());
        assert_eq!(frame.findings[frame.stories[0].root].id, "task.d_state_pile");
        assert!(frame.stories[0].summary.contains("the load is made of stuck tasks"), "{}", frame.stories[0].summary);
        s.world.unblock(dd);
        s.secs(3);
        assert!(!s.expect("host.load_blocked").active);
    }

    #[test]
    fn cpu_load_a_busy_disk_and_no_tasks_are_silent() {
        let mut s = Script::new();
        let db = s.world.task(50, "db");
        s.world.blocked(db, "submit_bio_wait", 30);
        for _ in 0..5 {
            s.world.row(db).awake.iter_mut().for_each(|t| t.switches = t.switches.map(|n| n + 1));
            s.secs(1);
        }
        s.silent();
        s.world.unblock(db);
        s.world.row(db).by_state.running = 400;
        s.secs(4);
        s.silent();
        s.world.hide("tasks");
        s.secs(4);
        s.silent();
    }
}
