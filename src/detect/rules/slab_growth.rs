//! One kernel object cache that grows without end (story C).

use super::cgroup_dying_pile::growth;
use super::slab_unreclaimable::{DYING, SLOW_S, is_held_by_the_dead, steady_growth};
use crate::detect::{Case, Knob, Look, Measures, Rule, Verdict, earlier, words};
use crate::model::{Metric, Severity};
use crate::snapshot::Subject;

pub(super) static RULES: &[Rule] = &[Rule {
    id: "slab.growth",
    about: "a kernel object cache that grows steadily",
    effect: "a kernel cache grows",
    knobs: &[
        Knob { key: "per_min", default: 0.01, unit: "of RAM a minute", about: "steady growth that is a finding" },
        Knob { key: "slow_per_min", default: 0.001, unit: "of RAM a minute", about: "the same over 10 minutes" },
    ],
    explains: &[],
    hold_s: 0.0,
    measure,
    judge,
}];

fn measure(look: &Look<'_>, out: &mut Measures) {
    let Some(slabs) = look.snap.slab.data() else { return };
    let from = earlier(look.at(), SLOW_S);
    let held = is_held_by_the_dead(look, DYING) && [look.trend_from(), from].iter().any(|&at| growth(look, at).is_some());
    for slab in slabs.rows.iter().filter(|s| held || s.reclaimable != Some(true)) {
        let subject = Subject::Slab(slab.name.clone());
        if look.rise(&subject, Metric::SlabBytes, from).is_some_and(|(rise, _)| rise > 0.0) {
            out.put(subject, slab.bytes as f64);
        }
    }
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let ram = case.look.ram_bytes()?;
    let trend = |from| case.look.trend_of(&case.now.subject, Metric::SlabBytes, from);
    let per_s = steady_growth(case, ram, trend)?;
    let Subject::Slab(name) = &case.now.subject else { return None };
    let slab = case.look.snap.slab.data()?.rows.iter().find(|s| s.name == *name)?;
    let n = case.value();
    let message = format!(
        "kernel cache {name} grows {}/min and holds {} ({} of RAM)",
        words::bytes(per_s * 60.0),
        words::bytes(n),
        words::percent(n / ram)
    );
    let users = if slab.aliases.is_empty() { None } else { Some(slab.aliases.join(", ")) };
    let verdict = case
        .verdict(Severity::Warning, "bytes", message)
        .rate(per_s)
        .draw(Metric::SlabBytes)
        .rated("/proc/slabinfo", name.clone(), n, Some(per_s))
        .number("/proc/slabinfo", format!("{name} objects"), slab.num_objs as f64);
    let verdict = match users {
        Some(users) => verdict.text("/sys/kernel/slab", "merged with", users),
        None => verdict,
    };
    Some(verdict.advise(format!(
        "what makes {name} grow is often named by it (sockets, inodes, dentries, a driver); stop that load and see whether it falls"
    )))
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{RAM, Script};

    #[test]
    fn an_unreclaimable_cache_that_grows_is_found_and_ends_with_its_growth() {
        let mut s = Script::new();
        for t in 0..10 {
            s.world.slab("kmalloc-256", (50 + t * 10) << 20, false);
            s.world.slab("dentry", (50 + t * 10) << 20, true);
            s.secs(1);
        }
        let f = s.expect("slab.growth");
        assert_eq!(&*f.label.name, "kmalloc-256");
        assert!((f.rate_per_s.unwrap() - f64::from(10 << 20)).abs() < 1e6);
        assert_eq!(s.last().findings.len(), 1);
        s.secs(40);
        assert!(!s.expect("slab.growth").active);
    }

    #[test]
    fn a_cache_that_holds_still_or_cannot_be_read_is_silent() {
        let mut s = Script::new();
        s.world.slab("kmalloc-256", RAM / 20, false);
        s.secs(10);
        s.silent();
        s.world.hide("slab");
        s.secs(3);
        s.silent();
    }
}
