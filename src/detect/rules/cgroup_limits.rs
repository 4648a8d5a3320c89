//! Cgroups at their limit of pids or of CPU time.

use crate::detect::command::{change_limit, controller_files};
use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{Subject, Task, TaskKey, Text};
use std::cmp::Reverse;
use std::collections::BTreeMap;

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "cgroup.pids_limit",
        about: "a cgroup near or at its limit of tasks",
        effect: "a cgroup can't fork",
        knobs: &[Knob { key: "share", default: 0.9, unit: "of pids.max", about: "tasks that are a finding" }],
        explains: &[("kmsg.fork_rejected", Join::Cgroup)],
        hold_s: 1.0,
        measure: measure_pids,
        judge: judge_pids,
    },
    Rule {
        id: "cgroup.cpu_throttled",
        about: "a cgroup that its CPU quota holds back",
        effect: "a cgroup is throttled",
        knobs: &[Knob { key: "share", default: 0.5, unit: "of its periods", about: "throttled periods that are a finding" }],
        explains: &[],
        hold_s: 2.0,
        measure: measure_cpu,
        judge: judge_cpu,
    },
];

fn measure_pids(look: &Look<'_>, out: &mut Measures) {
    let Some(cgroups) = look.snap.cgroups.data() else { return };
    for (cgroup, facts) in cgroups.rows.iter().zip(&look.model.cgroups) {
        let Some((pids, limit)) = cgroup.pids.and_then(|p| Some((p, p.limit?))) else { continue };
        out.put(Subject::Cgroup(cgroup.key.clone()), pids.current as f64)
            .limit(Some(limit as f64))
            .counter("refused", pids.limit_hits)
            .born_after(facts.new_since);
    }
}

fn judge_pids(case: &Case<'_>) -> Option<Verdict> {
    let limit = case.now.limit?;
    let refused = case.grown_lately("refused") >= 1.0;
    // Refused forks are counted and logged once while they go on: to be full is enough.
    let full = case.value() >= limit;
    if !full && !refused && !case.reaches(case.value(), limit * case.knob("share")) {
        return None;
    }
    let severity = if full || refused { Severity::Critical } else { Severity::Warning };
    let cgroup = case.cgroup()?;
    let name = words::cgroup_name(Some(cgroup), &cgroup.key.path);
    let told = if full || refused { ": fork fails in it" } else { "" };
    let (most, tasks) = inside(case.look, &cgroup.key.path);
    let of = if most.is_empty() { String::new() } else { format!(" ({})", words::list(&most, 2)) };
    let (used, max) = (words::count(case.value()), words::count(limit));
    let message = format!("{name} has {used} of {max} tasks it may have{told}{of}");
    let file = |name: &str| format!("{}/pids.{name}", cgroup.key.path.trim_end_matches('/'));
    Some(
        case.verdict(severity, "tasks", message)
            .rate(case.growth())
            .number(file("current"), "tasks, threads too", case.value())
            .number(file("max"), "limit", limit)
            .rated(file("events"), "max", cgroup.pids?.limit_hits.map(|n| n as f64), Some(case.rate("refused")))
            .advise(format!("find what in {name} forks or starts threads; raise pids.max (now {limit:.0}) if that is right"))
            .advise_some(change_limit(
                cgroup,
                &format!("--pids-limit {:.0}", limit * 2.0),
                &format!("TasksMax={:.0}", limit * 2.0),
                &format!("{limit:.0}"),
            ))
            .shown_by(controller_files(case.look, cgroup, "pids", "pids.current pids.max pids.events"))
            .about(tasks, []),
    )
}

/// Of what name most tasks of a cgroup and those below it are, threads counted, and the largest of them.
fn inside(look: &Look<'_>, path: &str) -> (Vec<String>, Vec<TaskKey>) {
    let below = |of: &Text| of.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let rows = look.snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    let mut tasks: Vec<&Task> = rows.iter().filter(|t| t.cgroup.as_ref().is_some_and(below)).collect();
    let mut by_name: BTreeMap<&Text, u32> = BTreeMap::new();
    for task in &tasks {
        *by_name.entry(&task.comm).or_default() += task.threads.max(1);
    }
    let mut names: Vec<_> = by_name.into_iter().collect();
    names.sort_by_key(|&(name, n)| (Reverse(n), name));
    tasks.sort_by_key(|t| (Reverse(t.threads), t.key));
    (names.iter().map(|(name, n)| format!("{n} of {name}")).collect(), tasks.iter().take(3).map(|t| t.key).collect())
}

fn measure_cpu(look: &Look<'_>, out: &mut Measures) {
    let Some(cgroups) = look.snap.cgroups.data() else { return };
    for (cgroup, facts) in cgroups.rows.iter().zip(&look.model.cgroups) {
        if let Some(pct) = facts.throttled_pct.filter(|_| cgroup.cpu.is_some_and(|c| c.quota_usec.is_some())) {
            out.put(Subject::Cgroup(cgroup.key.clone()), pct)
                .limit(Some(100.0))
                .counter("throttled", cgroup.cpu.and_then(|c| c.throttled_periods))
                .counter("periods", cgroup.cpu.and_then(|c| c.periods));
        }
    }
}

fn judge_cpu(case: &Case<'_>) -> Option<Verdict> {
    if !case.reaches(case.value(), case.knob("share") * 100.0) {
        return None;
    }
    let cgroup = case.cgroup()?;
    let cpu = cgroup.cpu?;
    let name = words::cgroup_name(Some(cgroup), &cgroup.key.path);
    let cores = cpu.quota_usec? as f64 / cpu.period_usec.unwrap_or(100_000).max(1) as f64;
    let used = case.look.cgroup_facts(&cgroup.key.path).and_then(|f| f.cpu_pct);
    let use_words = used.map_or_else(String::new, |pct| format!("; it uses {:.2}", pct / 100.0));
    let message = format!(
        "{name} is held back in {} of its periods by its quota of {cores:.2} CPUs{use_words}",
        words::percent(case.value() / 100.0)
    );
    let now = format!("{cores:.2} CPUs");
    let file = format!("{}/cpu.stat", cgroup.key.path.trim_end_matches('/'));
    Some(
        case.verdict(Severity::Warning, "percent", message)
            .rated(file.clone(), "nr_throttled", cpu.throttled_periods.map(|n| n as f64), Some(case.rate("throttled")))
            .rated(file, "nr_periods", cpu.periods.map(|n| n as f64), Some(case.rate("periods")))
            .number("cgroup", "quota, percent of one core", cores * 100.0)
            .number("cpu", "use, percent of one core", used)
            .advise(format!("raise the quota of {name} (now {now}), or give it fewer threads: it waits although CPUs may be idle"))
            .advise_some(change_limit(
                cgroup,
                &format!("--cpus {:.2}", cores * 2.0),
                &format!("CPUQuota={:.0}%", cores * 200.0),
                &now,
            ))
            .shown_by(controller_files(case.look, cgroup, "cpu", "cpu.stat")),
    )
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;
    use crate::model::Severity;
    use crate::snapshot::{CpuUse, PidsUse};

    #[test]
    fn pids_near_the_limit_warn_and_full_is_critical() {
        let mut s = Script::new();
        s.world.cgroup("/job").pids = Some(PidsUse { current: 95, limit: Some(100), limit_hits: Some(7) });
        s.secs(3);
        assert_eq!(s.expect("cgroup.pids_limit").severity, Severity::Warning);
        s.world.cgroup("/job").pids = Some(PidsUse { current: 100, limit: Some(100), limit_hits: Some(7) });
        s.secs(2);
        let f = s.expect("cgroup.pids_limit");
        assert_eq!((f.severity, f.message.as_str()), (Severity::Critical, "/job has 100 of 100 tasks it may have: fork fails in it"));
        s.world.cgroup("/job").pids = Some(PidsUse { current: 3, limit: Some(100), limit_hits: Some(0) });
        s.secs(3);
        assert!(!s.expect("cgroup.pids_limit").active);
    }

    #[test]
    fn what_fills_it_and_the_command_that_raises_it_are_named() {
        let mut s = Script::new();
        let cgroup = s.world.cgroup("/system.slice/ci.service");
        (cgroup.pids, cgroup.unit) =
            (Some(PidsUse { current: 100, limit: Some(100), limit_hits: Some(7) }), Some("ci.service".into()));
        for (pid, comm, threads) in [(7, "make", 1), (8, "cc1", 1), (9, "cc1", 1), (10, "java", 80)] {
            let task = s.world.task(pid, comm);
            s.world.in_cgroup(task, "/system.slice/ci.service");
            s.world.row(task).threads = threads;
        }
        s.secs(3);
        let f = s.expect("cgroup.pids_limit");
        assert!(f.message.ends_with("fork fails in it (80 of java, 2 of cc1 and 1 more)"), "{}", f.message);
        assert_eq!(f.advice[1], "systemctl set-property ci.service TasksMax=200   # now 100");
        let shown = "(cd /sys/fs/cgroup/system.slice/ci.service && grep . pids.current pids.max pids.events)";
        assert_eq!(f.command.as_deref(), Some(shown));
    }

    #[test]
    fn the_kernels_line_about_it_is_the_same_story() {
        for (cgroup, stories) in [("/pod/job", 1), ("/other", 2)] {
            let mut s = Script::new();
            s.world.cgroup("/pod").pids = Some(PidsUse { current: 100, limit: Some(100), limit_hits: Some(0) });
            s.world.cgroup("/pod/job");
            s.secs(2);
            s.world.log("fork_rejected", &[("cgroup", cgroup)]);
            s.secs(2);
            s.expect("kmsg.fork_rejected");
            let told: Vec<_> = s.last().stories.iter().map(|t| s.last().findings[t.root].id).collect();
            assert_eq!((told.len(), told[0]), (stories, "cgroup.pids_limit"), "{:#?}", s.messages());
        }
    }

    #[test]
    fn throttling_through_the_look_is_found_and_use_without_it_is_not() {
        for (step, found) in [(9, true), (1, false)] {
            let mut s = Script::new();
            for n in 0..6 {
                s.world.cgroup("/job").cpu = Some(CpuUse {
                    quota_usec: Some(50_000),
                    period_usec: Some(100_000),
                    periods: Some(n * 10),
                    throttled_periods: Some(n * step),
                    ..CpuUse::default()
                });
                s.secs(1);
            }
            assert_eq!(s.found("cgroup.cpu_throttled").is_some(), found);
        }
    }

    #[test]
    fn without_limits_or_the_section_it_is_silent() {
        let mut s = Script::new();
        s.world.cgroup("/job").pids = Some(PidsUse { current: 9000, limit: None, limit_hits: Some(7) });
        s.secs(3);
        s.world.cgroup("/job").pids = Some(PidsUse { current: 100, limit: Some(100), limit_hits: None });
        s.world.hide("cgroups");
        s.secs(3);
        s.silent();
    }
}
