//! Which histories a frame carries: those that some screen shows.

use crate::model::{Finding, History, Metric, Model};
use crate::snapshot::{Snapshot, Subject, Task};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

/// Points of a spark.
const POINTS: usize = 16;
/// Largest tasks by each of memory, CPU and threads.
const TASKS: usize = 40;
/// Limited cgroups, slab caches.
const CGROUPS: usize = 300;
const SLABS: usize = 60;

const TASK_METRICS: [Metric; 5] = [Metric::Rss, Metric::Threads, Metric::CpuPct, Metric::Blocked, Metric::Sockets];
const CGROUP_METRICS: [Metric; 3] = [Metric::Usage, Metric::CpuPct, Metric::Blocked];
const HOST_METRICS: [Metric; 6] =
    [Metric::CpuPct, Metric::Load, Metric::Blocked, Metric::Sockets, Metric::Drops, Metric::Usage];

type Sparks = FxHashMap<(Subject, Metric), Vec<f32>>;

pub(super) fn collect(
    history: &History,
    snap: &Snapshot,
    model: &Model,
    findings: &[Finding],
    focus: Option<&Subject>,
) -> Sparks {
    let mut sparks = Sparks::default();
    let mut put = |subject: Subject, metrics: &[Metric]| {
        for &metric in metrics {
            let Some(series) = history.series(&subject, metric) else { continue };
            sparks.insert((subject.clone(), metric), series.spark(snap.at, POINTS));
        }
    };
    put(Subject::Host, &HOST_METRICS);
    for task in largest_tasks(snap, model) {
        put(Subject::Task(task.key), &TASK_METRICS);
    }
    let cgroups = snap.cgroups.data().map(|c| c.rows.as_slice()).unwrap_or_default();
    let limited = |c: &&crate::snapshot::Cgroup| c.memory.as_ref().is_some_and(|m| m.limit_bytes.is_some());
    for cgroup in cgroups.iter().filter(limited).take(CGROUPS) {
        put(Subject::Cgroup(cgroup.key.clone()), &CGROUP_METRICS);
    }
    for slab in snap.slab.data().map(|s| s.rows.as_slice()).unwrap_or_default().iter().take(SLABS) {
        put(Subject::Slab(slab.name.clone()), &[Metric::SlabBytes]);
    }
    for subject in findings.iter().map(|f| &f.subject).chain(focus) {
        put(subject.clone(), metrics_of(subject));
    }
    sparks
}

fn metrics_of(subject: &Subject) -> &'static [Metric] {
    match subject {
        Subject::Task(_) => &TASK_METRICS,
        Subject::Cgroup(_) => &CGROUP_METRICS,
        Subject::Slab(_) => &[Metric::SlabBytes],
        _ => &[],
    }
}

fn largest_tasks<'a>(snap: &'a Snapshot, model: &Model) -> impl Iterator<Item = &'a Task> {
    let tasks = snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    let cpu = |t: &Task| model.tasks.get(&t.key).and_then(|f| f.cpu_pct).unwrap_or(0.0).to_bits();
    let mut rows = top(tasks, |t| t.rss_bytes);
    rows.extend(top(tasks, |t| u64::from(t.threads)));
    rows.extend(top(tasks, cpu));
    rows.sort_unstable();
    rows.dedup();
    rows.into_iter().filter_map(|row| tasks.get(row))
}

/// Rows of the tasks with the largest `size`; those of size 0 are left out.
fn top(tasks: &[Task], size: impl Fn(&Task) -> u64) -> Vec<usize> {
    let mut rows: Vec<(Reverse<u64>, usize)> =
        tasks.iter().enumerate().map(|(row, t)| (Reverse(size(t)), row)).filter(|(s, _)| s.0 > 0).collect();
    if rows.len() > TASKS {
        rows.select_nth_unstable(TASKS);
        rows.truncate(TASKS);
    }
    rows.into_iter().map(|(_, row)| row).collect()
}
