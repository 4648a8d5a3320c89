//! Memory cgroups that were removed but live on (story C).

use super::cgroup_at_limit::{is_kernel_memory, is_v1};
use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::{Metric, Severity};
use crate::snapshot::{Cgroup, Cgroups, Moment, Subject};

/// Memory cgroup ids are 16 bits: when they run out, `mkdir` says `cannot allocate memory`.
const IDS: f64 = 65_535.0;

/// Fewer more are no growth: containers come and go, and what they leave goes a little later.
const RISE_MIN: f64 = 10.0;

pub(super) static RULES: &[Rule] = &[Rule {
    id: "cgroup.dying_pile",
    about: "removed memory cgroups that are kept alive by what they still hold",
    effect: "dead cgroups stay",
    knobs: &[
        Knob { key: "count", default: 1000.0, unit: "cgroups", about: "dying cgroups that are a finding" },
        Knob { key: "growth", default: 100.0, unit: "cgroups", about: "more in the window that are a finding" },
        Knob { key: "critical_share", default: 0.9, unit: "of 65,535 ids", about: "ids in use that are critical" },
    ],
    explains: &[
        ("slab.unreclaimable", Join::HostGrowth),
        ("slab.growth", Join::HostGrowth),
        // A limit above them that what they hold fills: see `filled`.
        ("cgroup.at_limit", Join::Cgroup),
        ("cgroup.oom_kill", Join::Cgroup),
    ],
    hold_s: 1.0,
    measure,
    judge,
}];

fn measure(look: &Look<'_>, out: &mut Measures) {
    let Some(dying) = look.snap.cgroups.data().and_then(|c| c.dying) else { return };
    out.put(Subject::Host, dying as f64).limit(Some(IDS));
}

/// How much the pile grows a second since `from`, where it does: a pile that stands fills no more memory.
pub(super) fn growth(look: &Look<'_>, from: Moment) -> Option<f64> {
    let trend = look.trend_of(&Subject::Host, Metric::Dying, from)?;
    (trend.grows() && trend.rise >= RISE_MIN).then_some(trend.per_s)
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let n = case.value();
    let cgroups = case.look.snap.cgroups.data()?;
    let trend = case.trend();
    let risen = trend.is_some_and(|t| t.rise >= case.knob("growth") && t.late_per_s >= 0.0);
    if !case.reaches(n, case.knob("count")) && !risen {
        return None;
    }
    let live = cgroups.live.unwrap_or(0) as f64;
    let full = n + live >= IDS * case.knob("critical_share");
    let growth = growth(case.look, case.look.trend_from());
    let severity = if full { Severity::Critical } else { Severity::Warning };
    let grows = growth.map_or_else(String::new, |r| format!(", growing {}/min", words::count(r * 60.0)));
    let message = format!(
        "{} dead memory cgroups are kept alive (live: {}){grows}{}; at {} ids no container can start",
        words::count(n),
        words::count(live),
        place(case.look, cgroups, growth.is_some() || risen),
        words::count(IDS)
    );
    let kernel = case.look.snap.host.data().map(|h| h.kernel.clone()).filter(|k| !k.is_empty());
    let mut verdict = case
        .verdict(severity, "cgroups", message)
        .rate(growth.or(trend.filter(|_| risen).map(|t| t.rise / t.span_s)))
        .rated(cgroups.dying_source.clone(), "dying memory cgroups", n, growth)
        .number(cgroups.dying_source.clone(), "live memory cgroups", live);
    verdict.command = Some(match &*cgroups.dying_source {
        source if source.starts_with("/proc/cgroups") => {
            "grep memory /proc/cgroups; find /sys/fs/cgroup/memory -type d | wc -l".into()
        }
        source => format!("grep nr_ {}", source.trim_end_matches(":nr_dying_descendants")),
    });
    verdict = verdict.about([], filled(cgroups).map(|c| c.key.path.clone()));
    if let Some(kernel) = &kernel {
        verdict = verdict.text("uname", "release", kernel.clone());
    }
    let cached = "they go when their last page or object goes: unlink files they left in tmpfs, or echo 2 > /proc/sys/vm/drop_caches";
    let verdict = verdict.advise("stop what makes and removes cgroups in a loop (a job that starts containers, a failing pod)");
    Some(match kernel.as_deref().filter(|k| k.starts_with("3.")) {
        Some(k) => verdict.advise(format!(
            "kernel {k} leaks kernel memory accounted to containers: upgrade, or boot with cgroup.memory=nokmem (el7 from 3.10.0-1062.4)"
        )),
        None => verdict.advise(cached),
    })
}

/// Where they are made, and what likely does it, as words: below the cgroup where others come and go while the pile grows,
/// else below the lowest that has most of them (v2).
fn place(look: &Look<'_>, cgroups: &Cgroups, grows: bool) -> String {
    let busy = look.model.nests.iter().filter(|(_, nest)| grows && nest.is_busy());
    if let Some((path, nest)) = busy.max_by_key(|(path, nest)| (nest.changes, std::cmp::Reverse(*path))) {
        let by = nest.maker.map_or_else(String::new, |key| format!(", likely by {}", look.task_name(key)));
        return format!("; they come and go below {path}{by}");
    }
    let most = |c: &&Cgroup| c.dying_descendants.zip(cgroups.dying).is_some_and(|(below, all)| below > all / 2);
    let lowest = cgroups.rows.iter().filter(most).max_by_key(|c| c.key.path.len());
    lowest.filter(|c| &*c.key.path != "/").map_or_else(String::new, |c| format!(", most below {}", c.key.path))
}

/// Limited cgroups whose usage is kernel memory in large part. What dead children held is charged to their parents.
///
/// The v2 tree counts the dying below each; where memory is on v1 its directories of the same names know nothing of that.
fn filled(cgroups: &Cgroups) -> impl Iterator<Item = &Cgroup> {
    let may_be_theirs = |c: &Cgroup, mem| is_kernel_memory(mem) && (is_v1(mem) || c.dying_descendants != Some(0));
    cgroups.rows.iter().filter(move |c| c.memory.as_ref().is_some_and(|mem| may_be_theirs(c, mem)))
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;
    use crate::model::Severity;
    use crate::snapshot::OomState;

    #[test]
    fn many_fire_and_near_the_ids_is_critical() {
        let mut s = Script::new();
        s.world.cgroups.live = Some(240);
        s.world.cgroups.dying = Some(1200);
        s.secs(3);
        let f = s.expect("cgroup.dying_pile");
        assert_eq!((s.value("cgroup.dying_pile"), f.limit, f.severity), (1200, Some(65_535.0), Severity::Warning));
        s.world.cgroups.dying = Some(61_204);
        s.secs(3);
        assert_eq!(s.expect("cgroup.dying_pile").severity, Severity::Critical);
    }

    #[test]
    fn a_hundred_more_in_the_window_fire() {
        let mut s = Script::new();
        for t in 0..8 {
            s.world.cgroups.dying = Some(20 + t * 20);
            s.secs(1);
        }
        assert!(s.expect("cgroup.dying_pile").rate_per_s.is_some());
    }

    #[test]
    fn a_limit_that_their_kernel_memory_fills_is_theirs_and_anothers_is_not() {
        let mut s = Script::new();
        for t in 0..6 {
            s.world.cgroups.dying = Some(20 + t * 40);
            for (path, kmem) in [("/kubepods", 50 << 20), ("/web", 2 << 20)] {
                let mem = s.world.cgroup_memory(path);
                (mem.limit_bytes, mem.usage_bytes) = (Some(64 << 20), Some(60 << 20));
                (mem.kmem_bytes, mem.limit_hits) = (Some(kmem), Some(100 * t));
            }
            s.secs(1);
        }
        let at = |id: &str, name: &str| {
            let found = s.last().findings.iter().find(|f| f.id == id && &*f.label.name == name).unwrap();
            (found.explained_by.iter().map(|i| s.last().findings[*i].id).collect::<Vec<_>>(), found.message.clone())
        };
        let (causes, message) = at("cgroup.at_limit", "/kubepods");
        assert_eq!(causes, ["cgroup.dying_pile"]);
        assert!(message.ends_with("(60 MB now, 50 MB of it kernel memory)"), "{message}");
        assert!(at("cgroup.at_limit", "/web").0.is_empty());
    }

    #[test]
    fn a_v2_directory_beside_the_v1_limit_knows_nothing_of_the_dead() {
        // Docker makes a container's parent in every hierarchy.
        for (v1, joined) in [(true, true), (false, false)] {
            let mut s = Script::new();
            s.world.cgroups.dying = Some(1800);
            let mem = s.world.cgroup_memory("/kubepods");
            (mem.limit_bytes, mem.usage_bytes, mem.kmem_bytes) = (Some(64 << 20), Some(64 << 20), Some(60 << 20));
            mem.oom = v1.then(OomState::default);
            s.world.cgroup("/kubepods").dying_descendants = Some(0);
            s.secs(3);
            assert_eq!(s.expect("cgroup.at_limit").explained_by.len(), usize::from(joined), "v1: {v1}");
        }
    }

    #[test]
    fn where_they_come_and_go_and_what_makes_them_is_named_while_it_goes_on() {
        let mut s = Script::new();
        let maker = s.world.task(50, "auth-retry");
        s.world.cgroup("/pods");
        s.world.in_cgroup(maker, "/pods/p0");
        for t in 0..6 {
            s.world.cgroups.dying = Some(20 + t * 40);
            s.world.cgroups.rows.retain(|c| !c.key.path.starts_with("/pods/"));
            s.world.cgroup(&format!("/pods/p{t}"));
            s.secs(1);
        }
        let message = &s.expect("cgroup.dying_pile").message;
        assert!(message.contains("; they come and go below /pods, likely by auth-retry(50); at 65,535"), "{message}");
    }

    #[test]
    fn the_lowest_cgroup_that_has_most_of_them_is_named() {
        let mut s = Script::new();
        s.world.cgroups.dying = Some(3000);
        for (path, below) in [("/", 3000), ("/pods", 2900), ("/pods/a", 2000), ("/pods/b", 900), ("/web", 100)] {
            s.world.cgroup(path).dying_descendants = Some(below);
        }
        s.secs(3);
        assert!(s.expect("cgroup.dying_pile").message.contains(", most below /pods/a; at 65,535"));
    }

    #[test]
    fn a_few_that_stay_and_unknown_are_silent_and_it_clears() {
        let mut s = Script::new();
        s.world.cgroups.dying = Some(84);
        s.secs(5);
        s.silent();
        s.world.cgroups.dying = None;
        s.secs(5);
        s.silent();
        s.world.cgroups.dying = Some(3000);
        s.secs(3);
        s.world.cgroups.dying = Some(10);
        s.secs(3);
        assert!(!s.expect("cgroup.dying_pile").active);
    }
}
