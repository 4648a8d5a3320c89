//! When a recording takes the engine's next checkpoint.

use crate::snapshot::Snapshot;

/// From one to the next so many keyframes at most.
const KEYS: u64 = 5;
/// And so many rows of samples: what a replay steps through in up to a tenth of a second.
const ROWS: usize = 50_000;

/// What has been recorded since the last checkpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckpointDue {
    /// Keyframes and rows; `None` before the first.
    since: Option<(u64, usize)>,
}

impl CheckpointDue {
    /// Takes a sample before it is recorded, `at_key` as a keyframe; whether a checkpoint belongs beside it.
    pub fn take(&mut self, snap: &Snapshot, at_key: bool) -> bool {
        let is_due = at_key && self.since.is_none_or(|(keys, rows)| keys + 1 >= KEYS || rows >= ROWS);
        match &mut self.since {
            _ if is_due => self.since = Some((0, rows_of(snap))),
            Some((keys, rows)) => {
                *keys += u64::from(at_key);
                *rows += rows_of(snap);
            }
            None => {}
        }
        is_due
    }
}

fn rows_of(snap: &Snapshot) -> usize {
    let tasks = snap.tasks.data().map_or(0, |tasks| tasks.rows.len());
    let sockets = snap.sockets.data().map_or(0, |sockets| sockets.groups.len());
    let cgroups = snap.cgroups.data().map_or(0, |cgroups| cgroups.rows.len());
    tasks + sockets + cgroups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Moment, Section, Task, Tasks};

    /// The minutes of an hour at which one is due on a host of so many tasks, a keyframe each minute.
    fn minutes(tasks: usize) -> Vec<u64> {
        let tasks = Tasks { rows: vec![Task::default(); tasks], ..Tasks::default() };
        let snap = Snapshot { tasks: Section::ok(Moment(1), tasks), ..Snapshot::default() };
        let mut due = CheckpointDue::default();
        (0..720_u64).filter(|second| due.take(&snap, second % 60 == 0)).map(|second| second / 60).collect()
    }

    #[test]
    fn a_crowd_has_them_more_often() {
        assert_eq!(minutes(100), [0, 5, 10]);
        assert_eq!(minutes(300), [0, 3, 6, 9]);
        assert_eq!(minutes(2000), (0..12).collect::<Vec<_>>());
    }
}
