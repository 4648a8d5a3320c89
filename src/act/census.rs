//! One pass over every process: who is whose child, who is in which session, who is new.

use crate::collect::tasks::files::{Decimal, Files, Interned, id};
use crate::collect::tasks::stat;
use crate::snapshot::{TaskKey, TaskState, Text};
use rustc_hash::FxHashSet;
use rustix::io::Errno;
use std::path::Path;

/// One process in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub key: TaskKey,
    /// Parent's pid.
    pub ppid: u32,
    /// Session id.
    pub session: u32,
    /// State of its leader.
    pub state: TaskState,
    /// Threads, dead leader included.
    pub threads: u32,
    /// A kernel thread.
    pub kthread: bool,
    /// Name.
    pub comm: Text,
}

/// Every process that `/proc` shows.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// By pid.
    pub people: Vec<Person>,
}

impl Census {
    /// Counts now.
    ///
    /// # Errors
    /// When `/proc` can't be listed.
    pub fn take(proc: &Path) -> Result<Self, Errno> {
        let mut files = Files::open(proc)?;
        let (mut names, mut pids, mut text) = (Vec::new(), Vec::new(), Vec::new());
        files.list(&mut names, |name| pids.extend(id(name)))?;
        let mut interned = Interned::default();
        let mut people = Vec::with_capacity(pids.len());
        for pid in pids {
            let Ok(line) = files.read(&[Decimal::new(pid).bytes(), b"/stat"], &mut text) else { continue };
            let Some(stat) = stat::parse(line) else { continue };
            people.push(Person {
                key: TaskKey { pid, start_ticks: stat.start },
                ppid: stat.ppid,
                session: stat.session,
                state: stat.state,
                threads: stat.threads,
                kthread: stat.kthread,
                comm: interned.get(stat.comm),
            });
        }
        people.sort_unstable_by_key(|person| person.key);
        Ok(Self { people })
    }

    /// The process with this pid.
    #[must_use]
    pub fn get(&self, pid: u32) -> Option<&Person> {
        let at = self.people.binary_search_by_key(&pid, |person| person.key.pid).ok()?;
        self.people.get(at)
    }

    /// Its children.
    pub fn children(&self, pid: u32) -> impl Iterator<Item = &Person> {
        self.people.iter().filter(move |person| person.ppid == pid && pid != 0)
    }

    /// The processes above `pid`, the parent first.
    pub fn ancestors(&self, pid: u32) -> impl Iterator<Item = &Person> {
        let parent = |person: &&Person| self.get(person.ppid).filter(|above| above.key.pid != person.key.pid);
        let first = self.get(pid).and_then(|person| parent(&person));
        // A pid that changes hands in the middle of the pass could make a ring.
        std::iter::successors(first, move |person| parent(person)).take(self.people.len())
    }

    /// `root` and everything below it, parents before their children.
    #[must_use]
    pub fn tree(&self, root: u32) -> Vec<TaskKey> {
        let Some(top) = self.get(root) else { return Vec::new() };
        let mut tree = vec![top.key];
        let mut seen: FxHashSet<u32> = tree.iter().map(|key| key.pid).collect();
        let mut at = 0;
        while let Some(key) = tree.get(at).copied() {
            at += 1;
            tree.extend(self.children(key.pid).map(|child| child.key).filter(|child| seen.insert(child.pid)));
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(people: &[(u32, u32)]) -> Census {
        let person = |&(pid, ppid): &(u32, u32)| Person {
            key: TaskKey { pid, start_ticks: 1 },
            ppid,
            session: 1,
            state: TaskState::Sleeping,
            threads: 1,
            kthread: false,
            comm: "x".into(),
        };
        Census { people: people.iter().map(person).collect() }
    }

    #[test]
    fn trees_and_ancestors() {
        let census = census(&[(1, 0), (2, 0), (5, 1), (6, 5), (7, 5), (8, 6), (9, 1)]);
        let pids = |keys: Vec<TaskKey>| keys.into_iter().map(|key| key.pid).collect::<Vec<_>>();
        assert_eq!(pids(census.tree(5)), [5, 6, 7, 8]);
        assert!(census.tree(4).is_empty());
        assert_eq!(census.ancestors(8).map(|p| p.key.pid).collect::<Vec<_>>(), [6, 5, 1]);
        assert_eq!(census.ancestors(1).count(), 0);
    }

    #[test]
    fn a_ring_ends() {
        let census = census(&[(5, 6), (6, 5), (7, 7)]);
        assert_eq!(census.tree(5).len(), 2);
        assert!(census.ancestors(5).count() <= 3);
        assert_eq!((census.tree(7).len(), census.ancestors(7).count()), (1, 0));
    }

    #[test]
    fn this_process_has_its_real_parent() {
        let census = Census::take(Path::new("/proc")).unwrap();
        let own = census.get(std::process::id()).unwrap();
        assert_eq!(own.ppid, std::os::unix::process::parent_id());
        assert_eq!(census.ancestors(own.key.pid).next().unwrap().key.pid, own.ppid);
    }
}
