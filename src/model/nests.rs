//! Cgroups below which others come and go. The kernel does not say who made a cgroup, least of all a dead one; while it
//! goes on it can be seen.

use super::before::{Before, span};
use super::{Model, TaskFacts};
use crate::snapshot::{Moment, Snapshot, Task, TaskKey, Text};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// So long after the last change a nest is forgotten.
const KEEP_S: f64 = 60.0;
/// Fewer changes are no loop: somebody started a container.
const CHANGES_MIN: u32 = 4;
/// Parents above a process that are looked at.
const ANCESTORS_MAX: usize = 8;

/// A cgroup below which others come and go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nest {
    /// When the first change was seen.
    pub since: Moment,
    /// When the last was.
    pub last: Moment,
    /// Cgroups directly below it that were made or removed; those that came and went between two looks are not among them.
    pub changes: u32,
    /// What likely makes them: it goes from one to another, has started what lives in them, or is all that lives below.
    pub maker: Option<TaskKey>,
}

impl Nest {
    /// Whether so many came and went that something does it in a loop.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.changes >= CHANGES_MIN
    }
}

pub(super) fn watch(m: &mut Model, now: &Snapshot, before: &Before) {
    let Some(at) = now.cgroups.at() else { return };
    let mut nests = before.nests.clone();
    if !before.cgroups.has(at) {
        count(&mut nests, m, now, before, at);
    }
    nests.retain(|path, nest| at.since(nest.last) <= KEEP_S && m.cgroup_by_path.contains_key(path));
    // What was made after the sample before is younger than it.
    let young = before.cgroups.before(at).map_or(at, |sample| sample.at);
    if nests.values().any(Nest::is_busy) {
        find_makers(&mut nests, m, now, young);
    }
    m.nests = nests;
}

fn count(nests: &mut FxHashMap<Text, Nest>, m: &Model, now: &Snapshot, before: &Before, at: Moment) {
    let Some(span) = span(&now.cgroups, &before.cgroups) else { return };
    let row = |path: &Text| span.now.rows.get(*m.cgroup_by_path.get(path)?);
    let made = span.now.rows.iter().zip(&m.cgroups).filter(|(_, facts)| facts.new_since.is_some()).map(|(c, _)| c);
    let gone = span.old.rows.iter().filter(|old| row(&old.key.path).is_none_or(|c| c.key != old.key));
    for path in made.chain(gone).filter_map(|c| parent(&c.key.path)) {
        let first = || Nest { since: at, last: at, changes: 0, maker: None };
        let nest = nests.entry(path.into()).or_insert_with(first);
        (nest.last, nest.changes) = (at, nest.changes.saturating_add(1));
    }
}

fn parent(path: &str) -> Option<&str> {
    let (up, name) = path.rsplit_once('/')?;
    (!name.is_empty()).then_some(if up.is_empty() { "/" } else { up })
}

fn find_makers(nests: &mut FxHashMap<Text, Nest>, m: &Model, now: &Snapshot, young: Moment) {
    let Some(tasks) = now.tasks.data() else { return };
    for (path, nest) in nests.iter_mut().filter(|(_, nest)| nest.is_busy()) {
        let below = |task: &&Task| {
            let rest = task.cgroup.as_deref().and_then(|own| own.strip_prefix(&**path));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || &**path == "/")
        };
        let inside: Vec<&Task> =
            tasks.rows.iter().filter(|task| !task.kthread && !task.is_zombie()).filter(below).collect();
        let mut passing = inside.iter().filter(|task| is_passing(m, task, path));
        let seen = passing.find_map(|task| lasting(m, now, task, young));
        let known = nest.maker.filter(|key| m.tasks.contains_key(key));
        let alone = || match inside.as_slice() {
            [task] if &**path != "/" && is_older(now, task.key, nest.since) => Some(task.key),
            _ => None,
        };
        nest.maker = seen.or(known).or_else(alone);
    }
}

/// Whether a task is in a cgroup directly below `nest` that was just made, or is not there any more.
fn is_passing(m: &Model, task: &Task, nest: &str) -> bool {
    let Some(path) = task.cgroup.as_ref().filter(|path| parent(path) == Some(nest)) else { return false };
    let facts = m.cgroup_by_path.get(path).and_then(|row| m.cgroups.get(*row));
    facts.is_none_or(|facts| facts.new_since.is_some())
}

/// A process that is older than `young`: itself, or the nearest above it that is no init.
fn lasting(m: &Model, now: &Snapshot, task: &Task, young: Moment) -> Option<TaskKey> {
    let up = |key: &TaskKey| {
        let row = m.tasks.get(key).map(|facts: &TaskFacts| facts.row)?;
        m.by_pid.get(&now.tasks.data()?.rows.get(row)?.ppid).copied()
    };
    let line = std::iter::successors(Some(task.key), up).take(ANCESTORS_MAX);
    line.take_while(|key| key.pid > 2).find(|key| is_older(now, *key, young))
}

fn is_older(now: &Snapshot, key: TaskKey, than: Moment) -> bool {
    let per_second = now.host.data().map_or(100, |h| h.ticks_per_sec.max(1)) as f64;
    key.start_ticks as f64 / per_second < than.0 as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Cgroup, CgroupKey, Cgroups, Section, Tasks};

    const SECOND: u64 = 1_000_000_000;

    /// A look at second `n`: `/pods` with the cgroups of these names, and these tasks: pid, parent, born, cgroup.
    fn look(n: u64, pods: &[&str], tasks: &[(u32, u32, u64, &str)]) -> Snapshot {
        let at = Moment(n * SECOND);
        let cgroup =
            |path: String, inode| Cgroup { key: CgroupKey { path: path.as_str().into(), inode }, ..Cgroup::default() };
        let mut rows = vec![cgroup("/".into(), 1), cgroup("/pods".into(), 2), cgroup("/web".into(), 3)];
        rows.extend(pods.iter().map(|name| cgroup(format!("/pods/{name}"), 100)));
        let tasks = tasks.iter().map(|(pid, ppid, born, path)| Task {
            key: TaskKey { pid: *pid, start_ticks: born * 100 },
            ppid: *ppid,
            cgroup: Some((*path).into()),
            ..Task::default()
        });
        Snapshot {
            at,
            cgroups: Section::ok(at, Cgroups { rows, ..Cgroups::default() }),
            tasks: Section::ok(at, Tasks { rows: tasks.collect(), ..Tasks::default() }),
            ..Snapshot::default()
        }
    }

    fn nests(looks: &[Snapshot]) -> FxHashMap<Text, Nest> {
        let mut before = Before::default();
        for snap in looks {
            let model = Model::build(snap, &before);
            before.advance(snap, &model);
        }
        before.nests
    }

    fn maker(looks: &[Snapshot]) -> Option<u32> {
        nests(looks).get("/pods").filter(|nest| nest.is_busy())?.maker.map(|key| key.pid)
    }

    #[test]
    fn who_goes_from_one_to_another_makes_them() {
        // Where the process is was read once: the cgroup is gone since.
        let tasks = [(50, 1, 10, "/pods/p100"), (60, 1, 10, "/pods/home"), (70, 1, 10, "/web")];
        let looks: Vec<_> = (100..104).map(|n| look(n, &["home", &format!("p{n}")], &tasks)).collect();
        assert_eq!(maker(&looks), Some(50));
        let nests = nests(&looks);
        assert_eq!((nests.len(), nests["/pods"].changes), (1, 6));
        assert_eq!(nests["/pods"].since, Moment(101 * SECOND));
        assert_eq!(maker(&looks[..2]), None, "one that came and one that went are no loop");
    }

    #[test]
    fn who_has_started_what_lives_in_them_makes_them_but_init_does_not() {
        let started = |by: u32| {
            let looks = (100..104).map(|n| {
                let pod = format!("p{n}");
                let child = (u32::try_from(n).unwrap(), by, n, &*format!("/pods/{pod}"));
                look(n, &[&pod], &[child, (50, 1, 10, "/web")])
            });
            maker(&looks.collect::<Vec<_>>())
        };
        assert_eq!(started(50), Some(50));
        assert_eq!(started(1), None);
    }

    #[test]
    fn a_look_at_the_same_sample_counts_nothing_and_rest_is_forgotten() {
        let mut looks: Vec<_> = (100..104).map(|n| look(n, &[&format!("p{n}")], &[])).collect();
        let again = Snapshot { at: Moment(104 * SECOND), ..looks[3].clone() };
        looks.push(again);
        assert_eq!(nests(&looks)["/pods"].changes, 6);
        assert_eq!(maker(&looks), None);
        looks.push(look(190, &["p103"], &[]));
        assert!(nests(&looks).is_empty());
    }
}
