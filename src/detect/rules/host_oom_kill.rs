//! The OOM killer struck for the whole host.

use super::cgroup_oom_kill::{STANDS_S, invoker, victim};
use crate::detect::{Case, Join, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{LogEvent, Subject, TaskKey};

pub(super) static RULES: &[Rule] = &[Rule {
    id: "host.oom_kill",
    about: "a task killed because the host ran out of memory",
    effect: "the host kills tasks for memory",
    knobs: &[],
    explains: &[("task.zombie_pile", Join::TaskOrCgroup), ("task.respawn_loop", Join::TaskOrCgroup)],
    hold_s: 0.0,
    measure,
    judge,
}];

fn is_global(event: &LogEvent) -> bool {
    event.str("scope") == Some("global")
}

fn victim_key(event: &LogEvent, joined: Option<TaskKey>) -> Option<TaskKey> {
    joined.or_else(|| event.pid("victim_pid").map(|pid| TaskKey { pid, start_ticks: 0 }))
}

fn measure(look: &Look<'_>, out: &mut Measures) {
    for (event, join) in look.log.recent_of("oom_kill").filter(|(event, _)| is_global(event)) {
        if let Some(key) = victim_key(event, join.task) {
            out.put(Subject::Task(key), 1.0);
        }
    }
    // Without a readable log the counters must do: kills that no limited cgroup accounts for.
    if look.snap.klog.data().is_none()
        && let Some(memory) = look.snap.memory.data()
    {
        let limited = look.model.cgroups.iter().zip(look.snap.cgroups.data().map(|c| c.rows.as_slice()).unwrap_or_default());
        let by_limit = limited.filter(|(f, _)| f.limit_row.is_some()).filter_map(|(_, c)| c.memory.as_ref()?.oom_kills);
        out.put(Subject::Host, 0.0)
            .counter("all", memory.vmstat.get("oom_kill"))
            .counter("by limit", by_limit.fold(0, u64::saturating_add));
    }
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let Subject::Task(key) = case.now.subject else { return judge_host(case) };
    let mut events = case.look.log.recent_of("oom_kill").filter(|(event, _)| is_global(event));
    let (event, join) = events.find(|(event, join)| victim_key(event, join.task) == Some(key))?;
    if case.look.age_s(join.arrived) > STANDS_S {
        return None;
    }
    let rss = event.int("anon_rss_kb").map(|kb| kb as f64 * 1024.0);
    let held = rss.map_or_else(String::new, |b| format!(" (it held {})", words::bytes(b)));
    let message = format!("the host ran out of memory and killed {}{held}; {} asked for it", victim(event), invoker(event));
    Some(
        case.verdict(Severity::Critical, "kills", message)
            .text("kernel log", "oom_kill", event.text.clone())
            .text("kernel log", "invoker", invoker(event))
            .number("kernel log", "anon_rss_kb", event.int("anon_rss_kb").map(|n| n as f64))
            .since(join.arrived)
            .about([], event.text("task_memcg").cloned())
            .advise("the victim is who was largest, not who is at fault: see what grows (tasks by memory, cgroups, slab)"),
    )
}

fn judge_host(case: &Case<'_>) -> Option<Verdict> {
    let kills = case.grown("all") - case.grown("by limit");
    let meminfo = |name: &str| case.look.snap.memory.data()?.meminfo.get(name);
    let available = meminfo("MemAvailable")? as f64 / case.look.ram_bytes()?;
    if kills < 1.0 || case.grown_lately("all") < 1.0 || available > 0.1 {
        return None;
    }
    let message = format!("the host ran out of memory and killed {}", words::plural(kills, "task"));
    let mut verdict = case
        .verdict(Severity::Critical, "kills", message)
        .number("/proc/vmstat", "oom_kill", case.look.model.totals.oom_kills.map(|n| n as f64))
        .advise("the kernel log names the victim: it can't be read here");
    verdict.value = kills;
    Some(verdict)
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{RAM, Script, counters};
    use crate::snapshot::Subject;

    #[test]
    fn a_global_kill_names_victim_and_invoker_and_ends() {
        let mut s = Script::new();
        let victim = s.world.task(1203, "mysqld");
        s.secs(2);
        let fields = [("scope", "global"), ("victim_pid", "1203"), ("victim_comm", "mysqld"), ("trigger_comm", "httpd")];
        s.world.log("oom_kill", &fields);
        s.secs(1);
        let f = s.expect("host.oom_kill");
        assert_eq!(f.subject, Subject::Task(victim));
        assert!(f.message.contains("killed mysqld(1203)") && f.message.contains("httpd asked"), "{}", f.message);
        s.without("cgroup.oom_kill");
        s.secs(14);
        assert!(!s.expect("host.oom_kill").active);
    }

    #[test]
    fn a_victim_never_seen_alive_has_the_name_of_the_log() {
        let mut s = Script::new();
        s.secs(2);
        let fields = [("scope", "global"), ("victim_pid", "122"), ("victim_comm", "hog"), ("task_memcg", "/batch"), ("trigger_comm", "hog")];
        s.world.log("oom_kill", &fields);
        s.secs(1);
        let f = s.expect("host.oom_kill");
        assert_eq!(f.label.comm.as_deref(), Some("hog"));
        assert_eq!((&*f.label.name, f.label.cgroup.as_deref()), ("hog(122)", Some("/batch")));
    }

    #[test]
    fn a_kill_of_a_cgroup_is_not_the_hosts() {
        let mut s = Script::new();
        s.secs(1);
        s.world.log("oom_kill", &[("scope", "memcg"), ("oom_memcg", "/a"), ("victim_pid", "9")]);
        s.secs(2);
        s.without("host.oom_kill");
    }

    #[test]
    fn without_a_log_counters_do_where_memory_is_gone() {
        for (available, found) in [(RAM / 50, true), (RAM / 2, false)] {
            let mut s = Script::new();
            s.world.hide("klog");
            s.world.memory.meminfo = counters(&[("MemTotal", RAM), ("MemAvailable", available)]);
            s.world.memory.vmstat = counters(&[("oom_kill", 7)]);
            s.secs(2);
            s.without("host.oom_kill");
            s.world.memory.vmstat = counters(&[("oom_kill", 8)]);
            s.secs(1);
            assert_eq!(s.found("host.oom_kill").is_some(), found);
        }
    }
}
