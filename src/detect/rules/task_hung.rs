//! The kernel's own hung-task line, joined to the live task (story A).

use crate::detect::{Case, Join, Look, Measures, Rule, Verdict, words};
use crate::model::{LogJoin, Severity};
use crate::snapshot::{LogEvent, Subject, TaskKey};

pub(super) static RULES: &[Rule] = &[Rule {
    id: "task.hung",
    about: "the kernel says that a task has hung",
    effect: "the kernel reports hung tasks",
    knobs: &[],
    explains: &[("host.load_blocked", Join::Host)],
    hold_s: 0.0,
    measure,
    judge,
}];

fn key_of(event: &LogEvent, join: &LogJoin) -> Option<TaskKey> {
    join.task.or_else(|| event.pid("pid").map(|pid| TaskKey { pid, start_ticks: 0 }))
}

fn measure(look: &Look<'_>, out: &mut Measures) {
    for (event, join) in look.log.recent_of("hung_task") {
        if let Some(key) = key_of(event, join) {
            out.put(Subject::Task(key), event.int("seconds").unwrap_or(0) as f64);
        }
    }
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let Subject::Task(key) = case.now.subject else { return None };
    let (event, join) = case.look.log.recent_of("hung_task").filter(|(e, j)| key_of(e, j) == Some(key)).last()?;
    let blocked = case.task().is_some_and(|t| t.by_state.blocked > 0);
    if !blocked && case.look.age_s(join.arrived) > 10.0 {
        return None;
    }
    let comm = event.str("comm").unwrap_or("a task");
    let state = match case.task() {
        Some(task) if task.by_state.blocked > 0 => "it still is",
        Some(_) => "it runs again",
        None => "it has gone",
    };
    let secs = words::age(case.value());
    let place = event.str("top_frame").map_or_else(String::new, |f| format!(" in {f}"));
    let owner = event.str("blocked_by_comm").zip(event.pid("blocked_by_pid"));
    let by = owner.map_or_else(String::new, |(comm, pid)| format!(", likely behind {comm}({pid})"));
    // The line names a thread.
    let tid = event.pid("pid").unwrap_or(key.pid);
    let of = case.task().filter(|_| tid != key.pid).map_or_else(String::new, |t| format!(" of {}", words::task(t)));
    let message = format!("the kernel reported {comm}({tid}){of} blocked for more than {secs}{place}{by}; {state}");
    let sysctl = |name: &str| case.look.snap.memory.data()?.limits.sysctls.get(name).map(|v| v as f64);
    let holder = event.pid("blocked_by_pid").and_then(|pid| case.look.model.by_pid.get(&pid)).copied();
    Some(
        case.verdict(Severity::Critical, "s", message)
            .text("kernel log", "hung_task", event.text.clone())
            .number("/proc/sys", "kernel.hung_task_timeout_secs", sysctl("kernel.hung_task_timeout_secs"))
            .number("/proc/sys", "kernel.hung_task_warnings", sysctl("kernel.hung_task_warnings"))
            .since(join.arrived)
            .about(holder, [])
            .advise("after kernel.hung_task_warnings lines the kernel falls silent: look at the tasks in D, not at the log")
            .advise("find what they wait for: disks, network file systems, a lock's owner"),
    )
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;
    use crate::snapshot::Subject;

    const LINE: [(&str, &str); 4] = [("comm", "java"), ("pid", "700"), ("seconds", "120"), ("top_frame", "rwsem_down_write")];

    #[test]
    fn a_line_is_joined_to_the_live_task_and_stands_while_it_hangs() {
        let mut s = Script::new();
        let java = s.world.task(700, "java");
        s.world.blocked(java, "rwsem_down_write", 1);
        s.secs(1);
        s.world.log("hung_task", &LINE);
        s.secs(20);
        let f = s.expect("task.hung");
        assert_eq!((f.subject.clone(), f.active), (Subject::Task(java), true));
        assert!(f.message.ends_with("for more than 2m00s in rwsem_down_write; it still is"), "{}", f.message);
        s.world.unblock(java);
        s.secs(3);
        assert!(!s.expect("task.hung").active);
    }

    #[test]
    fn a_thread_is_joined_to_its_process() {
        let mut s = Script::new();
        let java = s.world.task(700, "java");
        s.world.blocked(java, "rwsem_down_write", 2);
        s.world.row(java).awake[1].comm = "gc".into();
        s.secs(1);
        s.world.log("hung_task", &[("comm", "gc"), ("pid", "701"), ("seconds", "120")]);
        s.secs(20);
        let f = s.expect("task.hung");
        assert_eq!((f.subject.clone(), f.active), (Subject::Task(java), true));
        let told = "the kernel reported gc(701) of java(700) blocked for more than 2m00s; it still is";
        assert_eq!(f.message, told);
    }

    #[test]
    fn one_that_was_never_seen_has_the_name_of_its_line() {
        let mut s = Script::new();
        s.secs(1);
        s.world.log("hung_task", &LINE);
        s.secs(1);
        let f = s.expect("task.hung");
        assert_eq!(f.label.comm.as_deref(), Some("java"));
        assert!(f.message.ends_with("; it has gone"), "{}", f.message);
    }

    #[test]
    fn old_lines_and_no_log_are_silent() {
        let mut s = Script::new();
        s.world.log("hung_task", &LINE);
        s.secs(3);
        s.silent();
        s.world.hide("klog");
        s.world.log("hung_task", &LINE);
        s.secs(3);
        s.silent();
    }
}
