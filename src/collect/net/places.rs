//! Which network namespaces there are: those of processes, and those that only a bind mount keeps.

use crate::collect::Roots;
use crate::snapshot::{NetnsId, Tasks, Text};
use rustc_hash::FxHashMap;
use std::path::{Path, PathBuf};

/// A network namespace and how to get there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub id: NetnsId,
    /// Name of its bind mount.
    pub name: Option<Text>,
    /// The bind mount.
    pub bind: Option<PathBuf>,
    /// A process in it, the lowest pid.
    pub pid: Option<u32>,
    /// Processes in it.
    pub tasks: u32,
}

/// Folders of bind mounts, `ip netns`'s names first: docker's are hashes.
const BINDS: [&str; 2] = ["/run/netns", "/run/docker/netns"];

/// Every namespace, `own` first, the others by their id.
pub(super) fn find(roots: &Roots, own: NetnsId, tasks: Option<&Tasks>) -> Vec<Place> {
    let mut places: FxHashMap<NetnsId, Place> = FxHashMap::default();
    places.insert(own, Place { id: own, ..Place::default() });
    match tasks {
        Some(tasks) => tasks
            .rows
            .iter()
            .filter(|task| !task.is_zombie())
            .filter_map(|task| Some((task.netns?, task.key.pid)))
            .for_each(|(id, pid)| add(&mut places, id, pid)),
        None => scan(roots).for_each(|(id, pid)| add(&mut places, id, pid)),
    }
    if roots.is_live() {
        let nsfs = rustix::fs::stat(roots.proc("self/ns/net")).map(|stat| stat.st_dev).ok();
        for dir in BINDS {
            for (id, path) in binds(Path::new(dir), nsfs) {
                let place = places.entry(id).or_insert_with(|| Place { id, ..Place::default() });
                if place.bind.is_none() {
                    place.name = path.file_name().map(|name| name.to_string_lossy().into());
                    place.bind = Some(path);
                }
            }
        }
    }
    let mut places: Vec<Place> = places.into_values().collect();
    places.sort_by_key(|place| (place.id != own, place.id));
    places
}

fn add(places: &mut FxHashMap<NetnsId, Place>, id: NetnsId, pid: u32) {
    let place = places.entry(id).or_insert_with(|| Place { id, ..Place::default() });
    place.tasks = place.tasks.saturating_add(1);
    place.pid = Some(place.pid.map_or(pid, |lowest| lowest.min(pid)));
}

/// The first look, before the tasks are known: every process's namespace by its link.
fn scan(roots: &Roots) -> impl Iterator<Item = (NetnsId, u32)> {
    let proc = roots.proc.clone();
    std::fs::read_dir(&roots.proc).into_iter().flatten().flatten().filter_map(move |entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = rustix::fs::stat(proc.join(pid.to_string()).join("ns/net")).ok()?;
        Some((NetnsId(stat.st_ino), pid))
    })
}

/// Bind mounts of namespaces; what `ip netns` left behind unmounted is a plain file of another filesystem.
fn binds(dir: &Path, nsfs: Option<u64>) -> Vec<(NetnsId, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let stat = rustix::fs::stat(entry.path()).ok()?;
            (Some(stat.st_dev) == nsfs).then(|| (NetnsId(stat.st_ino), entry.path()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Task, TaskKey, TaskState};

    fn task(pid: u32, netns: Option<u64>, state: TaskState) -> Task {
        let key = TaskKey { pid, start_ticks: 1 };
        Task { key, netns: netns.map(NetnsId), state, threads: 1, ..Task::default() }
    }

    #[test]
    fn ours_first_then_by_id_with_their_lowest_pid() {
        let rows = vec![
            task(900, Some(7), TaskState::Sleeping),
            task(30, Some(9), TaskState::Zombie),
            task(40, Some(9), TaskState::Sleeping),
            task(31, Some(9), TaskState::Sleeping),
            task(5, Some(3), TaskState::Sleeping),
            task(6, None, TaskState::Sleeping),
        ];
        let roots = Roots { proc: "/nonexistent".into(), sys: "/nonexistent".into() };
        let places = find(&roots, NetnsId(7), Some(&Tasks { rows, ..Tasks::default() }));
        let seen: Vec<_> = places.iter().map(|p| (p.id.0, p.pid, p.tasks)).collect();
        assert_eq!(seen, [(7, Some(900), 1), (3, Some(5), 1), (9, Some(31), 2)]);
    }

    #[test]
    fn without_tasks_the_links_tell() {
        let roots = Roots::default();
        let own = NetnsId(rustix::fs::stat("/proc/self/ns/net").unwrap().st_ino);
        let places = find(&roots, own, None);
        assert_eq!(places[0].id, own);
        assert!(places[0].tasks > 0);
    }

    #[test]
    fn a_plain_file_is_no_namespace() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("stale"), "").unwrap();
        let nsfs = rustix::fs::stat("/proc/self/ns/net").unwrap().st_dev;
        assert!(binds(dir.path(), Some(nsfs)).is_empty());
        let same = rustix::fs::stat(dir.path()).unwrap().st_dev;
        assert_eq!(binds(dir.path(), Some(same)).len(), 1);
    }
}
