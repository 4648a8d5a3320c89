//! Children that start and die again and again beside kills, zombies or limit hits (story D).

use super::cgroup_at_limit::is_full_of_cache;
use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{Subject, Task, Text};

pub(super) static RULES: &[Rule] = &[Rule {
    id: "task.respawn_loop",
    about: "children of one name start and die again and again beside OOM kills, zombies or limit hits",
    effect: "a supervisor starts it again and again",
    knobs: &[
        Knob { key: "starts", default: 3.0, unit: "starts", about: "new children of one name in the window" },
        Knob { key: "zombies", default: 5.0, unit: "tasks", about: "zombies of the parent that count as trouble beside it" },
    ],
    explains: &[("task.zombie_pile", Join::Task)],
    hold_s: 0.0,
    measure,
    judge,
}];

/// The value is the start time of the youngest child: it changes with each start, and so its series counts them.
fn measure(look: &Look<'_>, out: &mut Measures) {
    let Some(tasks) = look.snap.tasks.data() else { return };
    for (key, facts) in look.model.tasks.iter().filter(|(key, f)| !f.children.is_empty() && key.pid != 2) {
        if let Some(child) = youngest(&tasks.rows, &facts.children) {
            out.put(Subject::Task(*key), child.key.start_ticks as f64);
        }
    }
}

fn youngest<'a>(tasks: &'a [Task], children: &[usize]) -> Option<&'a Task> {
    children.iter().filter_map(|&row| tasks.get(row)).max_by_key(|t| (t.key.start_ticks, t.key.pid))
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let starts = f64::from(case.changes());
    let lately = case.value() > case.value_ago(10.0);
    if starts < case.knob("starts") || !lately {
        return None;
    }
    let parent = case.task()?;
    let look = case.look;
    let facts = look.model.tasks.get(&parent.key)?;
    let tasks = look.snap.tasks.data()?;
    let child = youngest(&tasks.rows, &facts.children)?;
    // As many as started must have died: a parent that only gains children does not respawn them.
    let same = facts.children.iter().filter_map(|&row| tasks.rows.get(row)).filter(|t| t.comm == child.comm);
    let alive = same.filter(|t| !t.is_zombie() && !is_dying(t));
    let young = alive.filter(|t| t.key.start_ticks as f64 > case.value_ago(60.0)).count();
    if young as f64 > starts / 2.0 + 1.0 {
        return None;
    }
    let paths = [parent.cgroup.as_ref(), child.cgroup.as_ref()];
    // What enters another cgroup was started there by a container's runtime, or by systemd: a health check beside the
    // kills of the container's own supervisor is no loop of theirs. What they start and what dies must be the same.
    let outside = parent.cgroup != child.cgroup;
    let trouble = Trouble::beside(case, &child.comm, paths.into_iter().flatten(), facts.zombie_children)?;
    if outside && trouble.victim.as_ref() != Some(&child.comm) {
        return None;
    }
    let who = words::task(parent);
    // The youngest child may be a helper beside the one that dies: the kernel's victim is the name to say.
    let name = trouble.victim.as_ref().unwrap_or(&child.comm);
    let message = format!(
        "{who} starts {name} again and again, {} times in {}, beside {}",
        words::count(starts),
        words::age(look.age_s(look.window_start.max(case.first_seen()))),
        trouble.words
    );
    let secs = look.age_s(look.trend_from()).max(1.0);
    let mut verdict = case
        .verdict(trouble.severity, "starts", message)
        .rate(starts / secs)
        .number("/proc/PID/stat", format!("children of {} started in the window", parent.key.pid), starts)
        .number("/proc/PID/stat", "zombies of it", f64::from(facts.zombie_children))
        .advise(format!("stop it from starting more (service, supervisor or pod) until what kills {name} is cured"));
    verdict.value = starts;
    verdict.cgroups.extend(child.cgroup.clone());
    Some(verdict)
}

/// Killed already, and held up on its way out.
fn is_dying(task: &Task) -> bool {
    task.awake.iter().any(|t| t.sigkill_pending == Some(true))
}

struct Trouble {
    words: String,
    /// Limit hits without a kill fail no work: what hits may be page cache, gone again with its file.
    severity: Severity,
    /// Name of the last task that was killed.
    victim: Option<Text>,
}

impl Trouble {
    /// What goes wrong beside the starts; `None`: a compile or a shell loop is calm.
    fn beside<'a>(case: &Case<'_>, comm: &str, paths: impl Iterator<Item = &'a Text>, zombies: u32) -> Option<Self> {
        let look = case.look;
        let paths: Vec<&Text> = paths.collect();
        let kills = look.log.recent_of("oom_kill").filter(|(event, _)| {
            let here = |path: &str| paths.iter().any(|p| &***p == path || p.starts_with(&format!("{path}/")));
            let told: Vec<&str> = [event.str("task_memcg"), event.str("oom_memcg")].into_iter().flatten().collect();
            // A line that names no cgroup names at least the task.
            if told.is_empty() { event.str("victim_comm") == Some(comm) } else { told.iter().any(|p| *p != "/" && here(p)) }
        });
        let kills: Vec<_> = kills.collect();
        let (severity, words) = match kills.len() {
            0 if f64::from(zombies) >= case.knob("zombies") => (Severity::Critical, format!("{zombies} zombies")),
            0 if paths.iter().any(|path| hits_limit(look, path)) => (Severity::Warning, "limit hits of its cgroup".into()),
            0 => return None,
            // The log holds fewer than there were: the kernel limits its rate.
            _ => (Severity::Critical, "OOM kills".into()),
        };
        let victim = kills.last().and_then(|(event, _)| event.text("victim_comm")).cloned();
        Some(Self { words, severity, victim })
    }
}

/// Whether a cgroup or one above it hits its memory limit now. One that is full of page cache hits it by reading files:
/// that kills nobody.
fn hits_limit(look: &Look<'_>, path: &str) -> bool {
    let mut row = look.model.cgroup_by_path.get(path).copied();
    while let Some(facts) = row.and_then(|row| look.model.cgroups.get(row)) {
        let mem = row.and_then(|row| look.snap.cgroups.data()?.rows.get(row)?.memory.as_ref());
        let hits = facts.limit_row == row && facts.limit_hits_per_s.is_some_and(|r| r > 0.0);
        if hits && !mem.is_some_and(is_full_of_cache) {
            return true;
        }
        row = facts.parent;
    }
    false
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;
    use crate::model::Severity;
    use crate::snapshot::TaskKey;

    /// The parent's only child is replaced once a second.
    fn respawn(s: &mut Script, parent: TaskKey, times: u32) {
        for n in 0..times {
            respawn_as(s, parent, 5000 + n);
        }
    }

    fn respawn_as(s: &mut Script, parent: TaskKey, pid: u32) {
        s.world.tasks.rows.retain(|t| &*t.comm != "worker");
        s.world.child(parent, pid, "worker");
        s.world.row(parent).minor_faults += 1;
        s.secs(1);
    }

    #[test]
    fn beside_oom_kills_it_is_found() {
        let mut s = Script::new();
        let parent = s.world.task(50, "supervisord");
        s.world.in_cgroup(parent, "/web");
        s.secs(1);
        s.world.log("oom_kill", &[("scope", "memcg"), ("oom_memcg", "/web"), ("task_memcg", "/web"), ("victim_comm", "worker")]);
        respawn(&mut s, parent, 6);
        let f = s.expect("task.respawn_loop");
        assert!(f.message.contains("supervisord(50) starts worker again and again") && f.message.ends_with("beside OOM kills"), "{}", f.message);
        let cause = f.explained_by[0];
        assert_eq!(s.last().findings[cause].id, "cgroup.oom_kill");
        s.secs(70);
        s.silent();
    }

    #[test]
    fn children_that_were_killed_and_hang_in_d_count_as_dead() {
        for (killed, found) in [(true, true), (false, false)] {
            let mut s = Script::new();
            let parent = s.world.task(50, "supervisord");
            s.world.in_cgroup(parent, "/web");
            s.secs(1);
            s.world.log("oom_kill", &[("scope", "memcg"), ("oom_memcg", "/web"), ("task_memcg", "/web"), ("victim_comm", "worker")]);
            for n in 0..8 {
                let worker = s.world.child(parent, 5000 + n, "worker");
                s.world.blocked(worker, "percpu_rwsem_wait", 1);
                s.world.row(worker).awake[0].sigkill_pending = Some(killed);
                s.secs(1);
            }
            assert_eq!(s.found("task.respawn_loop").is_some(), found, "{:#?}", s.messages());
        }
    }

    #[test]
    fn a_runtime_is_not_blamed_for_what_the_containers_own_supervisor_does() {
        for (victim, found) in [("java", false), ("worker", true)] {
            let mut s = Script::new();
            let shim = s.world.task(50, "containerd-shim");
            s.world.in_cgroup(shim, "/system.slice/docker.service");
            s.world.cgroup("/docker/web");
            s.secs(1);
            s.world.log("oom_kill", &[("scope", "memcg"), ("oom_memcg", "/docker/web"), ("task_memcg", "/docker/web"), ("victim_comm", victim)]);
            for n in 0..6 {
                s.world.tasks.rows.retain(|t| &*t.comm != "worker");
                let check = s.world.child(shim, 5000 + n, "worker");
                s.world.in_cgroup(check, "/docker/web");
                s.secs(1);
            }
            assert_eq!(s.found("task.respawn_loop").is_some(), found, "{:#?}", s.messages());
        }
    }

    #[test]
    fn beside_limit_hits_it_is_found_but_not_where_page_cache_fills_the_limit() {
        for (cache, found) in [(2 << 20, true), (60 << 20, false)] {
            let mut s = Script::new();
            let sh = s.world.task(50, "sh");
            s.world.in_cgroup(sh, "/web");
            for n in 0..6 {
                let mem = s.world.cgroup_memory("/web");
                (mem.limit_bytes, mem.usage_bytes) = (Some(64 << 20), Some(64 << 20));
                (mem.inactive_file_bytes, mem.active_file_bytes) = (Some(cache), Some(0));
                mem.limit_hits = Some(100 * n);
                respawn_as(&mut s, sh, 6000 + u32::try_from(n).unwrap());
            }
            let severity = s.found("task.respawn_loop").map(|f| f.severity);
            assert_eq!(severity, found.then_some(Severity::Warning));
        }
    }

    #[test]
    fn a_shell_loop_a_growing_pool_and_no_tasks_are_calm() {
        let mut s = Script::new();
        let sh = s.world.task(50, "sh");
        respawn(&mut s, sh, 20);
        s.silent();
        s.world.log("oom_kill", &[("scope", "memcg"), ("oom_memcg", "/other"), ("victim_comm", "java")]);
        respawn(&mut s, sh, 5);
        s.without("task.respawn_loop");
        s.world.hide("tasks");
        s.secs(3);
        s.without("task.respawn_loop");
    }
}
