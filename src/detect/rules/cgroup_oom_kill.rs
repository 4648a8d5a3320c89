//! The OOM killer struck in a cgroup (stories C, D).

use super::cgroup_at_limit::hits_uncounted;
use crate::detect::{Case, Join, Look, Measures, Rule, Verdict, words};
use crate::model::{LogJoin, Severity, limit_hits};
use crate::snapshot::{Cgroup, LogEvent, MemUse, Subject, Text};
use std::collections::BTreeMap;

/// So long a kill counts as something that goes on.
pub(super) const STANDS_S: f64 = 10.0;

pub(super) static RULES: &[Rule] = &[Rule {
    id: "cgroup.oom_kill",
    about: "tasks killed because their cgroup ran out of memory",
    effect: "the OOM killer strikes",
    knobs: &[],
    explains: &[
        ("task.d_state_pile", Join::TaskOrCgroup),
        ("task.d_state_long", Join::TaskOrCgroup),
        ("task.respawn_loop", Join::TaskOrCgroup),
        ("task.zombie_pile", Join::TaskOrCgroup),
    ],
    hold_s: 0.0,
    measure,
    judge,
}];

/// Hits and OOMs at a cgroup's own limit.
fn own_hits(mem: &MemUse) -> Option<u64> {
    limit_hits(mem).map(|n| n.saturating_add(mem.ooms.unwrap_or(0)))
}

fn measure(look: &Look<'_>, out: &mut Measures) {
    let mut logged: BTreeMap<&Text, u64> = BTreeMap::new();
    for (event, _) in look.log.recent_of("oom_kill") {
        if let Some(path) = event.oom_cgroup() {
            *logged.entry(path).or_default() += 1;
        }
    }
    let rows = look.snap.cgroups.data().map(|c| c.rows.as_slice()).unwrap_or_default();
    for (cgroup, facts) in rows.iter().zip(&look.model.cgroups) {
        let lines = logged.remove(&cgroup.key.path);
        let mem = cgroup.memory.as_ref();
        let own = mem.and_then(|m| m.oom_kills);
        if &*cgroup.key.path == "/" || (lines.is_none() && mem.is_none()) {
            continue;
        }
        out.put(Subject::Cgroup(cgroup.key.clone()), lines.unwrap_or(0) as f64)
            .counter("kills", own)
            .counter("kills below", facts.oom_kills)
            .counter("hits", mem.and_then(own_hits))
            .counter("hits above", hits_above(look, rows, facts.parent))
            .born_after(facts.new_since);
    }
    // The cgroup has gone with its victim: the log alone tells.
    for (path, lines) in logged {
        let key = look.log.oom_cgroup(path).map_or_else(|| look.cgroup_key(path), |c| c.key.clone());
        out.put(Subject::Cgroup(key), lines as f64);
    }
}

fn hits_above(look: &Look<'_>, rows: &[Cgroup], mut row: Option<usize>) -> u64 {
    let mut sum = 0_u64;
    while let Some(at) = row {
        let mem = rows.get(at).and_then(|c| c.memory.as_ref()).filter(|m| m.limit_bytes.is_some());
        sum = sum.saturating_add(mem.and_then(own_hits).unwrap_or(0));
        row = look.model.cgroups.get(at).and_then(|f| f.parent);
    }
    sum
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let Subject::Cgroup(key) = &case.now.subject else { return None };
    let events: Vec<_> = case
        .look
        .log
        .recent_of("oom_kill")
        .filter(|(event, _)| event.oom_cgroup().is_some_and(|path| *path == key.path))
        .collect();
    let counted = counted(case, &key.path);
    let lately = events.last().is_some_and(|(_, join)| case.look.age_s(join.arrived) <= STANDS_S);
    if !lately && counted.lately < 1.0 {
        return None;
    }
    let kills = (events.len() as f64).max(counted.window);
    let cgroup = case.cgroup();
    let name = words::cgroup_name(cgroup.or_else(|| case.look.log.oom_cgroup(&key.path)), &key.path);
    let facts = case.look.cgroup_facts(&key.path);
    let left = facts.map_or(0, |f| f.tasks.saturating_sub(f.zombies));
    let mut message = match events.last() {
        Some((event, join)) => killed(event, join, &name),
        None => format!("the OOM killer struck in {name}"),
    };
    let times = if kills > 1.5 { format!(", {} kills in {}", words::count(kills), words::age(window_s(case))) } else { String::new() };
    let rest = if left > 0 { format!("; {} on", words::live(left)) } else { "; nothing of it is left".into() };
    message.push_str(&times);
    message.push_str(&rest);
    let mut verdict = case.verdict(Severity::Critical, "kills", message).rate(rate(kills, window_s(case)));
    verdict.value = kills;
    verdict.limit = None;
    let verdict = evidence(verdict, case, &events, cgroup);
    let verdict = verdict.shown_by("dmesg -T | grep -E 'oom-kill:|Killed process'".to_owned());
    let tasks = events.iter().filter_map(|(_, join)| join.task);
    let victims = events.iter().filter_map(|(event, _)| event.text("task_memcg").cloned());
    let (tasks, victims): (Vec<_>, Vec<_>) = (tasks.collect(), victims.collect());
    Some(advise(verdict, &events, &name, left).about(tasks, victims))
}

struct Counted {
    window: f64,
    lately: f64,
}

/// Kills that the counters give to this cgroup. They count where the victim was; the limit is where hits rose.
fn counted(case: &Case<'_>, path: &Text) -> Counted {
    let grown = |name: &str| Counted { window: case.grown(name), lately: case.grown_lately(name) };
    let mem = case.cgroup().and_then(|c| c.memory.as_ref());
    let hit = case.grown("hits") >= 1.0 && mem.is_some_and(|m| m.limit_bytes.is_some());
    if hit || mem.is_some_and(hits_uncounted) {
        return grown("kills below");
    }
    let told = case.look.log.recent_of("oom_kill").any(|(event, _)| event.text("task_memcg") == Some(path));
    let limited = case.look.cgroup_facts(path).is_some_and(|f| f.limit_row.is_some());
    if told || !limited || case.grown("hits above") >= 1.0 || uncounted_above(case.look, path) {
        return Counted { window: 0.0, lately: 0.0 };
    }
    grown("kills")
}

/// Whether a limit above was reached without the kernel counting it: then the kills are told there.
fn uncounted_above(look: &Look<'_>, path: &str) -> bool {
    let mut row = look.cgroup_facts(path).and_then(|f| f.parent);
    while let Some(at) = row {
        let cgroup = look.snap.cgroups.data().and_then(|c| c.rows.get(at));
        if cgroup.and_then(|c| c.memory.as_ref()).is_some_and(hits_uncounted) {
            return true;
        }
        row = look.model.cgroups.get(at).and_then(|f| f.parent);
    }
    false
}

fn window_s(case: &Case<'_>) -> f64 {
    case.look.age_s(case.look.window_start).max(1.0)
}

fn rate(kills: f64, secs: f64) -> Option<f64> {
    (kills > 1.5).then(|| kills / secs)
}

fn killed(event: &LogEvent, join: &LogJoin, name: &str) -> String {
    let victim = victim(event);
    let init = match join.container_init {
        Some(true) => ", the container's pid 1,",
        Some(false) => " (not the container's pid 1)",
        None => "",
    };
    format!("{victim}{init} was killed for memory in {name}")
}

pub(super) fn victim(event: &LogEvent) -> String {
    let comm = event.str("victim_comm").unwrap_or("a task");
    event.pid("victim_pid").map_or_else(|| comm.to_owned(), |pid| format!("{comm}({pid})"))
}

fn evidence(mut verdict: Verdict, case: &Case<'_>, events: &[(&LogEvent, &LogJoin)], cgroup: Option<&Cgroup>) -> Verdict {
    if let Some((event, join)) = events.last() {
        verdict = verdict
            .text("kernel log", "oom_kill", event.text.clone())
            .text("kernel log", "victim", victim(event))
            .text("kernel log", "invoker", invoker(event))
            .number("kernel log", "anon_rss_kb", event.int("anon_rss_kb").map(|n| n as f64))
            .number("kernel log", "limit_kb", event.int("limit_kb").map(|n| n as f64));
        let init = match join.container_init {
            Some(true) => Some("yes"),
            Some(false) => Some("no"),
            None => cgroup.and_then(|c| c.container.as_ref()).map(|_| "unknown"),
        };
        if let Some(init) = init {
            verdict = verdict.text("/proc/PID/status", "victim was the container's pid 1", init);
        }
    }
    if let Some(mem) = cgroup.and_then(|c| c.memory.as_ref()) {
        verdict = verdict
            .rated("memory cgroup", "limit hits", limit_hits(mem).map(|n| n as f64), Some(case.rate("hits")))
            .number("memory cgroup", "limit", mem.limit_bytes.map(|n| n as f64))
            .number("memory cgroup", "oom_kill in it and below", case.grown("kills below"));
    }
    verdict
}

pub(super) fn invoker(event: &LogEvent) -> String {
    let comm = event.str("trigger_comm").unwrap_or("unknown");
    event.pid("trigger_pid").map_or_else(|| comm.to_owned(), |pid| format!("{comm}({pid})"))
}

fn advise(verdict: Verdict, events: &[(&LogEvent, &LogJoin)], name: &str, left: u32) -> Verdict {
    let verdict = verdict.advise(format!("raise the memory limit of {name}, or find what in it grows"));
    match events.last().and_then(|(_, join)| join.container_init) {
        Some(false) if left > 0 => verdict.advise(
            "the container was not restarted: its pid 1 lives, with a part of it missing; restart it, or set memory.oom.group",
        ),
        Some(true) => verdict.advise("its pid 1 died with it: the runtime restarts the container if it is told to"),
        _ => verdict,
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;
    use crate::snapshot::{Container, OomState};

    const WEB: &str = "/docker/web";

    fn web() -> Script {
        let mut s = Script::new();
        for (pid, inner) in [(40, 1), (41, 7)] {
            let key = s.world.task(pid, "java");
            s.world.in_cgroup(key, WEB);
            s.world.row(key).inner_pid = Some(inner);
        }
        let mem = s.world.cgroup_memory(WEB);
        (mem.limit_bytes, mem.usage_bytes) = (Some(100 << 20), Some(90 << 20));
        (mem.limit_hits, mem.oom_kills) = (Some(5), Some(2));
        s.secs(2);
        s.silent();
        s
    }

    fn kill_line(s: &mut Script, owner: &str, victim: &str, pid: &str) {
        s.world.log(
            "oom_kill",
            &[
                ("scope", "memcg"),
                ("oom_memcg", owner),
                ("task_memcg", victim),
                ("victim_pid", pid),
                ("victim_comm", "java"),
                ("trigger_comm", "gc"),
                ("trigger_pid", "41"),
            ],
        );
    }

    #[test]
    fn log_and_counters_are_one_finding_that_says_who_and_what_lives() {
        let mut s = web();
        s.world.tasks.rows.retain(|t| t.key.pid != 41);
        kill_line(&mut s, WEB, WEB, "41");
        (s.world.cgroup_memory(WEB).oom_kills, s.world.cgroup_memory(WEB).limit_hits) = (Some(3), Some(90));
        s.secs(1);
        let kills: Vec<_> = s.last().findings.iter().filter(|f| f.id == "cgroup.oom_kill").collect();
        assert_eq!(kills.len(), 1);
        assert_eq!(
            kills[0].message,
            "java(41) (not the container's pid 1) was killed for memory in /docker/web; 1 task lives on"
        );
        assert_eq!(s.value("cgroup.oom_kill"), 1);
        assert_eq!(s.last().findings[kills[0].explained_by[0]].id, "cgroup.at_limit");
    }

    #[test]
    fn a_victim_that_nobody_saw_was_not_pid_1_where_that_lives_on() {
        for (born_s, said) in [(900, true), (1002, false)] {
            let mut s = web();
            s.world.tasks.rows.retain(|t| t.key.pid != 40);
            let init = s.world.task_born(40, "tini", born_s);
            s.world.in_cgroup(init, WEB);
            s.world.row(init).inner_pid = Some(1);
            kill_line(&mut s, WEB, &format!("{WEB}/app"), "99");
            s.world.log.last_mut().unwrap().at = Some(crate::snapshot::Moment(1_001_500_000_000));
            s.secs(1);
            let f = s.expect("cgroup.oom_kill");
            assert_eq!(f.message.contains("java(99) (not the container's pid 1) was killed"), said, "{}", f.message);
        }
    }

    #[test]
    fn pid_1_that_executed_another_program_is_still_pid_1() {
        for (cgroup, said) in [(WEB, true), ("/docker/other", false)] {
            let mut s = Script::new();
            let entry = s.world.task(41, "sh");
            s.world.in_cgroup(entry, cgroup);
            s.world.row(entry).inner_pid = Some(1);
            s.world.cgroup_memory(WEB).limit_bytes = Some(1 << 20);
            s.secs(2);
            s.world.tasks.rows.retain(|t| t.key.pid != 41);
            // The script's last line was `exec java`.
            kill_line(&mut s, WEB, WEB, "41");
            s.secs(1);
            let f = s.expect("cgroup.oom_kill");
            assert_eq!(f.message.contains("java(41), the container's pid 1, was killed"), said, "{}", f.message);
        }
    }

    #[test]
    fn a_service_has_no_container_to_be_pid_1_of() {
        let mut s = Script::new();
        let app = s.world.task(41, "java");
        s.world.in_cgroup(app, "/own.service");
        s.world.cgroup_memory("/own.service").limit_bytes = Some(1 << 20);
        s.secs(2);
        kill_line(&mut s, "/own.service", "/own.service", "41");
        s.secs(1);
        let f = s.expect("cgroup.oom_kill");
        assert!(!f.message.contains("container"), "{}", f.message);
        assert!(f.evidence.iter().all(|e| !e.field.contains("container")), "{:?}", f.evidence);
    }

    #[test]
    fn counters_alone_name_the_cgroup_whose_limit_was_hit() {
        let mut s = Script::new();
        (s.world.cgroup_memory("/pod").limit_bytes, s.world.cgroup_memory("/pod").limit_hits) = (Some(1 << 20), Some(1));
        s.world.cgroup_memory("/pod/app").limit_bytes = Some(8 << 20);
        (s.world.cgroup_memory("/pod/app").oom_kills, s.world.cgroup_memory("/pod/app").limit_hits) = (Some(0), Some(0));
        s.secs(2);
        s.world.cgroup_memory("/pod").limit_hits = Some(9);
        s.world.cgroup_memory("/pod/app").oom_kills = Some(2);
        s.secs(1);
        let kills: Vec<_> = s.last().findings.iter().filter(|f| f.id == "cgroup.oom_kill").map(|f| &*f.label.name).collect();
        assert_eq!(kills, ["/pod"]);
        assert_eq!(s.value("cgroup.oom_kill"), 2);
    }

    #[test]
    fn a_kernel_that_counts_no_hits_is_judged_by_the_highest_usage() {
        let mut s = Script::new();
        let pod = s.world.cgroup_memory("/pod");
        (pod.limit_bytes, pod.peak_bytes, pod.usage_bytes) = (Some(48 << 20), Some(48 << 20), Some(1 << 20));
        (pod.limit_hits, pod.swap_limit_hits) = (Some(0), Some(0));
        pod.oom = Some(OomState::default());
        s.world.cgroup_memory("/pod/app").oom_kills = Some(10);
        s.secs(2);
        s.silent();
        s.world.cgroup_memory("/pod/app").oom_kills = Some(12);
        s.secs(1);
        let names: Vec<_> = s.last().findings.iter().map(|f| (f.id, &*f.label.name)).collect();
        assert_eq!(names, [("cgroup.at_limit", "/pod"), ("cgroup.oom_kill", "/pod")]);
    }

    #[test]
    fn in_v2_a_childs_peak_past_its_limit_is_no_hit() {
        let mut s = Script::new();
        let pod = s.world.cgroup_memory("/pod");
        (pod.limit_bytes, pod.limit_hits, pod.high_hits) = (Some(48 << 20), Some(0), Some(0));
        let app = s.world.cgroup_memory("/pod/app");
        (app.limit_bytes, app.peak_bytes, app.usage_bytes) = (Some(48 << 20), Some((48 << 20) + 60 * 4096), Some(1 << 20));
        (app.limit_hits, app.high_hits, app.oom_kills) = (Some(0), Some(0), Some(1));
        s.secs(2);
        (s.world.cgroup_memory("/pod").limit_hits, s.world.cgroup_memory("/pod/app").oom_kills) = (Some(5), Some(2));
        s.secs(1);
        let names: Vec<_> = s.last().findings.iter().map(|f| (f.id, &*f.label.name)).collect();
        assert_eq!(names, [("cgroup.at_limit", "/pod"), ("cgroup.oom_kill", "/pod")]);
    }

    #[test]
    fn one_that_goes_with_its_victim_stays_one_finding_with_its_name() {
        let mut s = web();
        let container = Container { id: "82c165f102bf".into(), runtime: "docker".into(), ..Container::default() };
        s.world.cgroup(WEB).container = Some(container);
        kill_line(&mut s, WEB, WEB, "40");
        s.secs(1);
        s.world.tasks.rows.clear();
        s.world.cgroups.rows.retain(|c| &*c.key.path != WEB);
        s.secs(6);
        let kills: Vec<_> = s.last().findings.iter().filter(|f| f.id == "cgroup.oom_kill").collect();
        assert_eq!(kills.len(), 1, "{kills:#?}");
        assert_eq!(kills[0].label.container.as_deref(), Some("82c165f102bf"));
        assert!(kills[0].message.contains("docker container 82c165f102bf; nothing of it is left"), "{}", kills[0].message);
    }

    #[test]
    fn a_cgroup_that_has_gone_is_told_from_the_log() {
        let mut s = web();
        kill_line(&mut s, "/docker/gone", "/docker/gone", "999");
        s.secs(1);
        let f = s.expect("cgroup.oom_kill");
        assert_eq!(&*f.label.name, "/docker/gone");
        assert!(f.message.contains("nothing of it is left"), "{}", f.message);
    }

    #[test]
    fn a_cgroup_born_inside_the_look_has_all_its_kills() {
        let mut s = web();
        let mem = s.world.cgroup_memory("/docker/new");
        (mem.limit_bytes, mem.limit_hits, mem.oom_kills) = (Some(1 << 20), Some(40), Some(1));
        s.secs(1);
        assert_eq!(s.value("cgroup.oom_kill"), 1);
    }

    #[test]
    fn old_lines_and_old_counters_are_history_and_a_kill_ends() {
        let mut s = Script::new();
        kill_line(&mut s, WEB, WEB, "41");
        s.world.cgroup_memory(WEB).oom_kills = Some(7);
        s.secs(3);
        s.silent();
        kill_line(&mut s, WEB, WEB, "41");
        s.secs(1);
        assert!(s.expect("cgroup.oom_kill").active);
        s.secs(14);
        assert!(!s.expect("cgroup.oom_kill").active);
        s.secs(60);
        s.silent();
    }
}
