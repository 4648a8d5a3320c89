//! Cgroups joined with their tree, their tasks, and the limit that really holds them.

use super::before::{Before, Span, per_second, span};
use super::{CgroupFacts, Model};
use crate::snapshot::{Cgroup, Cgroups, MemUse, Snapshot, Text};
use rustc_hash::FxHashMap;

/// Share of its limit from which a cgroup counts as being at it: v1 charges in per-CPU batches of 32 pages, so usage
/// rarely shows the limit itself.
pub const AT_LIMIT: f64 = 0.99;

/// The paths, needed before the tasks are joined.
pub(super) fn index(m: &mut Model, now: &Snapshot) {
    let Some(cgroups) = now.cgroups.data() else { return };
    m.cgroup_by_path.extend(cgroups.rows.iter().enumerate().map(|(row, c)| (c.key.path.clone(), row)));
}

pub(super) fn join(m: &mut Model, now: &Snapshot, before: &Before) {
    let Some(cgroups) = now.cgroups.data() else { return };
    let span = span(&now.cgroups, &before.cgroups);
    let at = now.cgroups.at().unwrap_or(now.at);
    let old: FxHashMap<&Text, &Cgroup> =
        span.map(|s| s.old.rows.iter().map(|c| (&c.key.path, c)).collect()).unwrap_or_default();
    m.cgroups = cgroups
        .rows
        .iter()
        .map(|cgroup| {
            let earlier = old.get(&cgroup.key.path).filter(|o| o.key.inode == cgroup.key.inode);
            let mut facts = CgroupFacts { oom_kills: own_kills(cgroup), ..CgroupFacts::default() };
            match (earlier, span) {
                (Some(old), Some(span)) => rates(&mut facts, old, cgroup, span),
                (None, Some(_)) => facts.new_since = before.cgroups.before(at).map(|s| s.at),
                (_, None) => {}
            }
            facts.parent = parent_row(m, &cgroup.key.path);
            facts
        })
        .collect();
    count_tasks(m, now);
    let mut order: Vec<usize> = (0..cgroups.rows.len()).collect();
    order.sort_by_key(|&row| cgroups.rows.get(row).map_or(0, |c| depth(&c.key.path)));
    let mem_total = now.host.data().map(|h| h.mem_total_bytes).filter(|&b| b > 0);
    own_limits(m, cgroups, &order, mem_total);
    sum_upwards(m, cgroups, &order);
}

fn own_kills(cgroup: &Cgroup) -> u64 {
    cgroup.memory.as_ref().and_then(|mem| mem.oom_kills).unwrap_or(0)
}

/// Times a cgroup hit its memory limit: v1 counts those of memory + swap apart, and tries that limit first.
#[must_use]
pub fn limit_hits(mem: &MemUse) -> Option<u64> {
    match (mem.limit_hits, mem.swap_limit_hits) {
        // v2, which alone has `memory.high`: swap that was refused says nothing of the memory limit.
        (hits, _) if mem.high_hits.is_some() => hits,
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (a, b) => a.or(b),
    }
}

fn depth(path: &str) -> usize {
    if path == "/" { 0 } else { path.bytes().filter(|&b| b == b'/').count() }
}

/// The nearest ancestor that is in the snapshot.
fn parent_row(m: &Model, path: &str) -> Option<usize> {
    let mut rest = path;
    while let Some((up, _)) = rest.rsplit_once('/') {
        if rest == "/" {
            return None;
        }
        rest = if up.is_empty() { "/" } else { up };
        if let Some(&row) = m.cgroup_by_path.get(rest) {
            return Some(row);
        }
    }
    None
}

fn rates(facts: &mut CgroupFacts, old: &Cgroup, now: &Cgroup, span: Span<'_, Cgroups>) {
    let secs = span.secs;
    let both = |get: fn(&Cgroup) -> Option<u64>| per_second(get(old)?, get(now)?, secs);
    facts.limit_hits_per_s = both(|c| limit_hits(c.memory.as_ref()?));
    facts.cpu_pct = both(|c| c.cpu?.usage_usec).map(|usec| usec / 1e4);
    facts.psi_memory_pct = both(|c| Some(c.psi_memory?.some_usec)).map(|usec| (usec / 1e4).min(100.0));
    let throttled = both(|c| c.cpu?.throttled_periods);
    let periods = both(|c| c.cpu?.periods);
    facts.throttled_pct = throttled.zip(periods).filter(|&(_, p)| p > 0.0).map(|(t, p)| (t / p * 100.0).min(100.0));
}

fn count_tasks(m: &mut Model, now: &Snapshot) {
    let Some(tasks) = now.tasks.data() else { return };
    for task in &tasks.rows {
        let row = m.tasks.get(&task.key).and_then(|facts| facts.cgroup_row);
        let Some(facts) = row.and_then(|row| m.cgroups.get_mut(row)) else { continue };
        facts.tasks = facts.tasks.saturating_add(1);
        facts.blocked = facts.blocked.saturating_add(task.by_state.blocked);
        facts.zombies = facts.zombies.saturating_add(u32::from(task.is_zombie()));
    }
}

/// The tightest limit on the way up; of equal ones the nearest.
fn own_limits(m: &mut Model, cgroups: &Cgroups, order: &[usize], mem_total: Option<u64>) {
    let limit_of = |row: usize| memory_limit(cgroups.rows.get(row)?, mem_total);
    for &row in order {
        let inherited = m.cgroups.get(row).and_then(|f| f.parent).and_then(|p| m.cgroups.get(p)?.limit_row);
        let own = limit_of(row).map(|_| row);
        let tightest = match (own, inherited) {
            (Some(own), Some(up)) => Some(if limit_of(up) < limit_of(own) { up } else { own }),
            (own, inherited) => own.or(inherited),
        };
        let parent = m.cgroups.get(row).and_then(|f| f.parent);
        if let Some(facts) = m.cgroups.get_mut(row) {
            facts.limit_row = tightest;
        }
        if let Some(facts) = parent.and_then(|p| m.cgroups.get_mut(p)) {
            facts.children.push(row);
        }
    }
}

/// A cgroup's own memory limit, bytes; one above the host's memory holds nothing.
#[must_use]
pub fn memory_limit(cgroup: &Cgroup, mem_total: Option<u64>) -> Option<u64> {
    cgroup.memory.as_ref()?.limit_bytes.filter(|&limit| mem_total.is_none_or(|total| limit <= total))
}

fn sum_upwards(m: &mut Model, cgroups: &Cgroups, order: &[usize]) {
    for &row in order.iter().rev() {
        let Some(facts) = m.cgroups.get_mut(row) else { continue };
        // The first victim of a group kill counts twice, where it was; the group kill counts here.
        let twice = cgroups.rows.get(row).and_then(|c| c.memory.as_ref()?.oom_group_kills).unwrap_or(0);
        facts.oom_kills = facts.oom_kills.saturating_sub(twice);
        let (tasks, blocked, zombies, kills) = (facts.tasks, facts.blocked, facts.zombies, facts.oom_kills);
        let parent = facts.parent;
        let Some(up) = parent.and_then(|p| m.cgroups.get_mut(p)) else { continue };
        up.tasks = up.tasks.saturating_add(tasks);
        up.blocked = up.blocked.saturating_add(blocked);
        up.zombies = up.zombies.saturating_add(zombies);
        let counted = parent.and_then(|p| cgroups.rows.get(p)?.memory.as_ref()).is_some_and(|mem| mem.counts_subtree);
        if !counted {
            up.oom_kills = up.oom_kills.saturating_add(kills);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_kill_counts_its_victims_once() {
        // 6.1: five tasks in two children killed at once; `memory.oom.group` and the limit are the parent's.
        let rows = [("/pod", 0, 1), ("/pod/a", 4, 0), ("/pod/b", 2, 0)].map(|(path, kills, groups)| Cgroup {
            key: crate::snapshot::CgroupKey { path: path.into(), inode: 0 },
            memory: Some(MemUse { oom_kills: Some(kills), oom_group_kills: Some(groups), ..MemUse::default() }),
            ..Cgroup::default()
        });
        let cgroups = Cgroups { rows: rows.into(), ..Cgroups::default() };
        let facts = |kills, parent| CgroupFacts { oom_kills: kills, parent, ..CgroupFacts::default() };
        let mut m = Model { cgroups: vec![facts(0, None), facts(4, Some(0)), facts(2, Some(0))], ..Model::default() };
        sum_upwards(&mut m, &cgroups, &[0, 1, 2]);
        assert_eq!(m.cgroups.iter().map(|f| f.oom_kills).collect::<Vec<_>>(), [5, 4, 2]);
    }

    #[test]
    fn counts_of_a_subtree_are_not_added_up_again() {
        let rows = [("/", None), ("/pod", Some(3)), ("/pod/a", Some(2))].map(|(path, kills)| Cgroup {
            key: crate::snapshot::CgroupKey { path: path.into(), inode: 0 },
            memory: kills.map(|_| MemUse { oom_kills: kills, counts_subtree: true, ..MemUse::default() }),
            ..Cgroup::default()
        });
        let cgroups = Cgroups { rows: rows.into(), ..Cgroups::default() };
        let facts = |kills, parent| CgroupFacts { oom_kills: kills, parent, ..CgroupFacts::default() };
        let mut m = Model { cgroups: vec![facts(0, None), facts(3, Some(0)), facts(2, Some(1))], ..Model::default() };
        sum_upwards(&mut m, &cgroups, &[0, 1, 2]);
        assert_eq!(m.cgroups.iter().map(|f| f.oom_kills).collect::<Vec<_>>(), [3, 3, 2]);
    }

    #[test]
    fn refused_swap_is_a_hit_of_the_limit_in_v1_only() {
        let v1 = MemUse { limit_hits: Some(3), swap_limit_hits: Some(5), ..MemUse::default() };
        assert_eq!(limit_hits(&v1), Some(8));
        // As the pod of a container with a swap limit of its own shows on 6.1.
        let v2 = MemUse { limit_hits: Some(35), high_hits: Some(0), swap_limit_hits: Some(484), ..MemUse::default() };
        assert_eq!(limit_hits(&v2), Some(35));
    }
}
