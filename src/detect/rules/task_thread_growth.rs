//! A process whose threads grow without bound (story A).

use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, earlier, words};
use crate::model::{Metric, Severity, Trend};
use crate::snapshot::Subject;

pub(super) static RULES: &[Rule] = &[Rule {
    id: "task.thread_growth",
    about: "threads that grow without bound",
    effect: "its threads grow",
    knobs: &[Knob { key: "growth", default: 50.0, unit: "threads", about: "more in the window, and still growing" }],
    explains: &[
        ("task.memory_growth", Join::Task),
        ("cgroup.at_limit", Join::Cgroup),
        ("cgroup.oom_kill", Join::TaskOrCgroup),
        ("task.hung", Join::Task),
        ("cgroup.pids_limit", Join::Cgroup),
        ("task.pid_exhaustion", Join::Task),
    ],
    hold_s: 0.0,
    measure,
    judge,
}];

fn measure(look: &Look<'_>, out: &mut Measures) {
    let Some(tasks) = look.snap.tasks.data() else { return };
    for task in tasks.rows.iter().filter(|t| t.threads > 10 && !t.is_zombie()) {
        let subject = Subject::Task(task.key);
        if look.rise(&subject, Metric::Threads, look.trend_from()).is_some_and(|(rise, _)| rise >= 10.0) {
            out.put(subject, f64::from(task.threads));
        }
    }
}

/// Pools are filled while a program starts.
const STARTED_S: f64 = 10.0;
/// What has not grown for so long has stopped.
const END_S: f64 = 6.0;

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let (look, subject) = (case.look, &case.now.subject);
    let task = case.task()?;
    let from = look.trend_from().max(look.when_aged(task, STARTED_S));
    let trend = look.trend_of(subject, Metric::Threads, from).filter(Trend::goes_on)?;
    let (late, _) = look.rise(subject, Metric::Threads, earlier(look.at(), END_S))?;
    if late < 1.0 || !case.reaches(trend.rise, case.knob("growth")) {
        return None;
    }
    let who = words::task(task);
    let message = format!(
        "{who} has {} threads, {} more in {}, and still grows {}",
        words::count(case.value()),
        words::count(trend.rise),
        words::age(trend.span_s),
        words::rate(trend.per_s)
    );
    let limits = case.look.snap.memory.data().map(|m| &m.limits);
    let max = |get: fn(&crate::snapshot::Limits) -> Option<u64>| limits.and_then(get).map(|n| n as f64);
    Some(
        case.verdict(Severity::Warning, "threads", message)
            .rate(trend.per_s)
            .draw(Metric::Threads)
            .rated("/proc/PID/stat", "num_threads", case.value(), Some(trend.per_s))
            .number("/proc/PID/task", "threads in D", f64::from(task.by_state.blocked))
            .number("/proc/sys", "kernel.threads-max", max(|l| l.threads_max))
            .number("/proc/sys", "kernel.pid_max", max(|l| l.pid_max))
            .shown_by(format!("ps -o pid,nlwp,stat,comm -p {}", task.key.pid))
            .advise(format!("see what its threads wait for (drill into {who}): often each one waits for a server that does not answer"))
            .advise("bound its pool; a restart frees the threads"),
    )
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;

    fn grow(s: &mut Script, key: crate::snapshot::TaskKey, by: u32, times: u32) {
        for _ in 0..times {
            s.world.row(key).threads += by;
            s.secs(1);
        }
    }

    #[test]
    fn steady_growth_fires_and_is_explained_by_the_pile_of_connections() {
        let mut s = Script::new();
        let java = s.world.task(100, "java");
        s.world.row(java).threads = 40;
        for n in 0..5 {
            s.world.sockets.groups.clear();
            s.world.tcp_client(java, "SYN_SENT", "10.0.0.9:61616", 60 + n * 20);
            grow(&mut s, java, 20, 1);
        }
        let f = s.expect("task.thread_growth");
        assert!((f.rate_per_s.unwrap() - 20.0).abs() < 2.0);
        let frame = s.last();
        assert_eq!(frame.stories.len(), 1);
        assert_eq!(frame.findings[frame.stories[0].root].id, "tcp.syn_sent_pile");
        assert!(frame.stories[0].summary.ends_with("with it its threads grow"), "{}", frame.stories[0].summary);
    }

    #[test]
    fn a_pool_that_stopped_growing_and_a_slow_one_are_silent() {
        let mut s = Script::new();
        let pool = s.world.task(100, "pool");
        s.secs(10);
        grow(&mut s, pool, 100, 1);
        s.secs(10);
        s.silent();
        let slow = s.world.task(101, "slow");
        grow(&mut s, slow, 1, 45);
        s.silent();
    }

    #[test]
    fn a_pool_is_silent_once_it_is_full_or_while_its_program_starts() {
        let mut s = Script::new();
        let pool = s.world.task(100, "pool");
        grow(&mut s, pool, 4, 20);
        assert!(s.expect("task.thread_growth").active);
        s.secs(10);
        assert!(!s.expect("task.thread_growth").active);
        let mut s = Script::new();
        let jvm = s.world.task_born(100, "jvm", 1000);
        grow(&mut s, jvm, 20, 10);
        s.secs(5);
        s.silent();
        grow(&mut s, jvm, 20, 10);
        s.expect("task.thread_growth");
    }

    #[test]
    fn ends_with_its_growth_or_with_the_section() {
        let mut s = Script::new();
        let java = s.world.task(100, "java");
        grow(&mut s, java, 30, 6);
        assert!(s.expect("task.thread_growth").active);
        s.secs(30);
        assert!(!s.expect("task.thread_growth").active);
        s.world.hide("tasks");
        s.secs(3);
        assert!(!s.expect("task.thread_growth").active);
    }
}
