//! Many threads stuck in D on one wait channel (story D).

use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{Subject, Task, TaskKey, TaskState, Text, Thread};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A thread that has not woken for so long is stuck; one that has was only waiting for its disk.
const STUCK_S: f64 = 2.0;

pub(super) static RULES: &[Rule] = &[Rule {
    id: "task.d_state_pile",
    about: "many threads stuck in uninterruptible sleep on one wait channel",
    effect: "tasks hang in D",
    knobs: &[Knob { key: "count", default: 20.0, unit: "tasks", about: "threads in D on one wait channel" }],
    explains: &[
        ("task.zombie_pile", Join::TaskOrCgroup),
        ("task.d_state_long", Join::Task),
        ("task.hung", Join::Task),
        ("host.load_blocked", Join::Host),
    ],
    hold_s: 0.0,
    measure,
    judge,
}];

/// A frozen cgroup's tasks stand in D on v1: that is no trouble of theirs.
pub(super) fn is_frozen(look: &Look<'_>, task: &Task) -> bool {
    task.freezer_path().and_then(|path| look.cgroup(path)).is_some_and(|c| c.frozen == Some(true))
}

fn measure(look: &Look<'_>, out: &mut Measures) {
    let Some(tasks) = look.snap.tasks.data() else { return };
    let mut frozen: BTreeMap<&Text, u32> = BTreeMap::new();
    for task in tasks.rows.iter().filter(|t| t.by_state.blocked > 0 && is_frozen(look, t)) {
        for (wchan, count) in waits(task) {
            *frozen.entry(wchan).or_default() += count;
        }
    }
    for (wchan, count) in &tasks.blocked_by_wchan {
        let n = count.saturating_sub(frozen.get(wchan).copied().unwrap_or(0));
        if n >= 2 {
            out.put(Subject::Wchan(wchan.clone()), f64::from(n));
        }
    }
}

fn blocked(task: &Task) -> impl Iterator<Item = &Thread> {
    task.awake.iter().filter(|t| t.state == TaskState::Blocked)
}

/// Threads of a task in D by wait channel. Only so many have a row of their own: the others are taken to wait where
/// those do.
fn waits(task: &Task) -> BTreeMap<&Text, u32> {
    let mut waits: BTreeMap<&Text, u32> = BTreeMap::new();
    for wchan in blocked(task).filter_map(|t| t.wchan.as_ref()) {
        *waits.entry(wchan).or_default() += 1;
    }
    let rows = u32::try_from(blocked(task).count()).unwrap_or(u32::MAX);
    let all = task.by_state.blocked.max(rows);
    for count in waits.values_mut() {
        let scaled = u64::from(*count) * u64::from(all) / u64::from(rows.max(1));
        *count = u32::try_from(scaled).unwrap_or(u32::MAX);
    }
    waits
}

/// Who stands on a wait channel, as far as single threads are known.
#[derive(Default)]
struct Pile {
    known: u32,
    stuck: u32,
    sigkill: u32,
    oldest_s: f64,
    by_task: Vec<(TaskKey, Text, u32)>,
    by_cgroup: BTreeMap<Text, u32>,
    stack: Vec<Text>,
}

impl Pile {
    fn of(look: &Look<'_>, wchan: &Text) -> Self {
        let mut pile = Self::default();
        let tasks = look.snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
        for task in tasks.iter().filter(|t| t.by_state.blocked > 0 && !is_frozen(look, t)) {
            for thread in blocked(task).filter(|t| t.wchan.as_ref() == Some(wchan)) {
                pile.take(look, task, thread);
            }
            if let Some(here) = waits(task).remove(wchan) {
                pile.by_task.push((task.key, task.comm.clone(), here));
                if let Some(path) = &task.cgroup {
                    *pile.by_cgroup.entry(path.clone()).or_default() += here;
                }
            }
        }
        pile.by_task.sort_by_key(|(key, _, n)| (Reverse(*n), *key));
        pile
    }

    /// Its threads by process, or by name where many processes have one.
    fn names(&self) -> Vec<String> {
        let mut by_comm: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for (_, comm, count) in &self.by_task {
            let (tasks, threads) = by_comm.entry(comm.as_ref()).or_default();
            (*tasks, *threads) = (*tasks + 1, *threads + count);
        }
        if by_comm.values().all(|(tasks, _)| *tasks < 4) {
            return self.by_task.iter().map(|(key, comm, count)| format!("{count} of {}", words::named(comm, *key))).collect();
        }
        let mut names: Vec<_> = by_comm.into_iter().collect();
        names.sort_by_key(|(comm, (_, threads))| (Reverse(*threads), *comm));
        let told = |(comm, (tasks, threads))| match tasks {
            1 => format!("{threads} of {comm}"),
            _ => format!("{threads} of {tasks} {comm}"),
        };
        names.into_iter().map(told).collect()
    }

    fn take(&mut self, look: &Look<'_>, task: &Task, thread: &Thread) {
        self.known += 1;
        self.sigkill += u32::from(thread.sigkill_pending == Some(true));
        if self.stack.is_empty() {
            self.stack.clone_from(&thread.stack);
        }
        let since = look.model.blocked_threads.get(&(task.key, thread.tid)).map(|b| look.age_s(b.since));
        self.oldest_s = self.oldest_s.max(since.unwrap_or(0.0));
        self.stuck += u32::from(since.is_some_and(|s| s >= STUCK_S));
    }
}

/// Waits for memory are short one by one and endless together: there a pile need not be the same threads.
fn waits_for_memory(wchan: &str) -> bool {
    wchan.contains("mem_cgroup") || wchan.contains("try_charge") || wchan.contains("throttle_direct_reclaim")
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let n = case.value();
    let Subject::Wchan(wchan) = &case.now.subject else { return None };
    if !case.reaches(n, case.knob("count")) {
        return None;
    }
    let pile = Pile::of(case.look, wchan);
    let stood = case.look.at().since(case.first_seen()) >= STUCK_S;
    let stuck = pile.known > 0 && pile.stuck * 2 >= pile.known;
    if !(stuck || (waits_for_memory(wchan) && stood)) {
        return None;
    }
    let growth = case.growth();
    let grows = growth.map_or_else(String::new, |r| format!(", growing {}", words::rate(r)));
    let message = match pile.by_task.as_slice() {
        [(key, comm, count)] => {
            let who = words::named(comm, *key);
            format!("{} of {who} hang in D at {wchan}{grows}", words::plural(f64::from(*count), "thread"))
        }
        _ => format!("{} hang in D at {wchan}{grows}: {}", words::plural(n, "thread"), words::list(&pile.names(), 3)),
    };
    let message = match pile.sigkill {
        0 => message,
        killed => format!("{message}; {killed} of them killed and not dead"),
    };
    let top = pile.by_cgroup.iter().max_by_key(|(_, n)| **n);
    let mut verdict = case
        .verdict(Severity::Critical, "tasks", message)
        .rate(growth)
        .rated("/proc/PID/task/TID/wchan", wchan.clone(), n, growth)
        .number("/proc/PID/status", "longest without a context switch, at least seconds", pile.oldest_s)
        .number("/proc/PID/status", "threads with SIGKILL pending", f64::from(pile.sigkill));
    verdict.command = Some("ps -eLo pid,tid,state,wchan:32,comm | awk '$3 == \"D\"'".into());
    if let Some((path, count)) = top {
        verdict = verdict.number("/proc/PID/cgroup", format!("threads of {path}"), f64::from(*count));
    }
    if !pile.stack.is_empty() {
        verdict = verdict.text("/proc/PID/task/TID/stack", "stack", pile.stack.join(" ← "));
    }
    let verdict = advise(verdict, wchan, &pile);
    Some(verdict.about(pile.by_task.iter().map(|(key, ..)| *key), pile.by_cgroup.keys().cloned()))
}

fn advise(verdict: Verdict, wchan: &str, pile: &Pile) -> Verdict {
    let verdict = if waits_for_memory(wchan) {
        verdict.advise("they wait for memory of their cgroup: raise its limit, or stop what fills it")
    } else if wchan.contains("rpc_") || wchan.contains("nfs") {
        verdict.advise("they wait for an NFS server: see whether it answers; these waits die by kill -9")
    } else if wchan.contains("fuse") || wchan.contains("request_wait_answer") {
        verdict.advise("they wait for a FUSE server: echo 1 > /sys/fs/fuse/connections/N/abort ends the wait")
    } else if wchan.contains("percpu_rwsem") || wchan.contains("freeze") || wchan.contains("sb_start_write") {
        verdict.advise("a file system may be frozen: fsfreeze --unfreeze its mount point if nothing else holds it")
    } else if wchan.contains("rwsem") || wchan.contains("mutex") || wchan.contains("filename_create") || wchan.contains("fdget_pos") {
        verdict.advise("they wait for a lock: look for the one task that holds it and waits for something else")
    } else {
        verdict.advise("look at the disks and network file systems under them: the kernel log, then the stack above")
    };
    if pile.sigkill > 0 {
        verdict.advise("SIGKILL is pending already: they die when they wake, another kill changes nothing")
    } else {
        verdict.advise("kill -9 waits too: a plain D task takes it only when it wakes")
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;
    use crate::snapshot::Subject;

    #[test]
    fn a_pile_that_stands_is_found_with_its_owner() {
        let mut s = Script::new();
        let dd = s.world.task(50, "dd");
        s.world.blocked(dd, "percpu_rwsem_wait", 25);
        s.secs(4);
        let f = s.expect("task.d_state_pile");
        assert_eq!(f.subject, Subject::Wchan("percpu_rwsem_wait".into()));
        assert_eq!(s.value("task.d_state_pile"), 25);
        assert!(f.message == "25 threads of dd(50) hang in D at percpu_rwsem_wait");
    }

    #[test]
    fn threads_without_a_row_of_their_own_count_for_their_task() {
        let mut s = Script::new();
        let dd = s.world.task(50, "dd");
        s.world.blocked(dd, "percpu_rwsem_wait", 25);
        s.world.row(dd).by_state.blocked = 100;
        s.secs(4);
        assert!(s.expect("task.d_state_pile").message.contains("100 threads of dd(50)"));
    }

    #[test]
    fn short_waits_of_a_busy_disk_are_silent() {
        let mut s = Script::new();
        let db = s.world.task(50, "postgres");
        s.world.blocked(db, "folio_wait_bit_common", 40);
        for _ in 0..8 {
            s.world.row(db).awake.iter_mut().for_each(|t| t.switches = t.switches.map(|n| n + 3));
            s.secs(1);
        }
        s.silent();
    }

    #[test]
    fn a_frozen_cgroup_is_told_apart() {
        let mut s = Script::new();
        let job = s.world.task(50, "job");
        s.world.in_cgroup(job, "/frozen");
        s.world.cgroup("/frozen").frozen = Some(true);
        s.world.blocked(job, "do_nanosleep", 30);
        s.secs(5);
        s.silent();
    }

    #[test]
    fn clears_when_they_wake_and_stays_silent_without_tasks() {
        let mut s = Script::new();
        let dd = s.world.task(50, "dd");
        s.world.blocked(dd, "percpu_rwsem_wait", 25);
        s.secs(4);
        s.world.unblock(dd);
        s.secs(3);
        assert!(!s.expect("task.d_state_pile").active);
        let mut s = Script::new();
        let dd = s.world.task(50, "dd");
        s.world.blocked(dd, "percpu_rwsem_wait", 25);
        s.world.hide("tasks");
        s.secs(4);
        s.silent();
    }

    #[test]
    fn a_pile_in_one_memory_cgroup_needs_no_same_threads() {
        let mut s = Script::new();
        let app = s.world.task(50, "java");
        s.world.blocked(app, "mem_cgroup_handle_over_high", 25);
        for _ in 0..5 {
            s.world.row(app).awake.iter_mut().for_each(|t| t.switches = t.switches.map(|n| n + 1));
            s.secs(1);
        }
        assert!(s.expect("task.d_state_pile").active);
    }

    #[test]
    fn many_processes_of_one_name_are_counted_and_so_are_those_killed_already() {
        let mut s = Script::new();
        for pid in 100..125 {
            let java = s.world.task(pid, "java");
            s.world.blocked(java, "percpu_rwsem_wait", 1);
            s.world.row(java).awake[0].sigkill_pending = Some(pid < 105);
        }
        s.world.tasks.blocked_by_wchan = vec![("percpu_rwsem_wait".into(), 25)];
        s.secs(5);
        let f = s.expect("task.d_state_pile");
        assert_eq!(f.message, "25 threads hang in D at percpu_rwsem_wait: 25 of 25 java; 5 of them killed and not dead");
    }
}
