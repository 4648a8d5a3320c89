//! The directories of every hierarchy as one tree of paths, kept between passes with descriptors.
//!
//! A directory's link count is 2 + its subdirectories. As long as every known child is still there under its inode and
//! there are as many as the count says, nothing has come or gone, and no directory is listed.

use super::pass::Pass;
use super::places::{Dir, Each, Open, Places, TREES};
use super::row::{ROTA, Row};
use crate::collect::io::gone_is_none;
use crate::snapshot::Text;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use std::ffi::{CStr, CString};

/// Cgroups nested deeper than this are left out, and said to be.
const DEPTH_MAX: usize = 48;

/// One path.
#[derive(Debug)]
pub struct Node {
    name: CString,
    fds: Each<Option<OwnedFd>>,
    dirs: Each<Option<Dir>>,
    /// Where a hierarchy's mounted root is.
    mounted: Each<bool>,
    children: Vec<Node>,
    /// Passes until its children are looked up in every hierarchy again, not only in the first that it stands in.
    until_all: u32,
    /// What is known of the cgroup.
    pub row: Row,
}

impl Node {
    /// The root of all hierarchies, without directories yet.
    pub fn root() -> Self {
        Self::named(CString::default(), "/".into(), 0)
    }

    fn named(name: CString, path: Text, turn: u32) -> Self {
        let row = Row::new(path, turn);
        Self {
            name,
            fds: Each::default(),
            dirs: Each::default(),
            mounted: Each::default(),
            children: Vec::new(),
            until_all: 0,
            row,
        }
    }

    /// Hangs the root directory of hierarchy `tree` in at `prefix`, which is empty for the hierarchy's own root.
    pub fn mount(&mut self, tree: usize, prefix: &[u8], fd: OwnedFd) {
        let mut node = self;
        for part in prefix.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
            let Ok(name) = CString::new(part) else { return };
            node = child(&mut node.children, &node.row.last.key.path, &name, 0);
        }
        let Ok(stat) = rustix::fs::fstat(&fd) else { return };
        if let Some(((slot, dir), mounted)) = node.fds.iter_mut().zip(&mut node.dirs).zip(&mut node.mounted).nth(tree) {
            (*slot, *dir, *mounted) = (Some(fd), Some(Dir::of(&stat)), true);
        }
    }

    /// Reads this cgroup and everything below it. `parents`: the directories that it stands in.
    pub fn visit(&mut self, parents: &Open<'_>, depth: usize, pass: &mut Pass<'_>) {
        let Self { name, fds, dirs, mounted, row, children, until_all } = self;
        for ((fd, dir), _) in fds.iter().zip(dirs.iter_mut()).zip(*mounted).filter(|(_, mounted)| *mounted) {
            // No parent of ours looks a hierarchy's root up.
            if let (Some(dir), Some(Ok(stat))) = (dir, fd.as_ref().map(rustix::fs::fstat)) {
                dir.subdirs = Dir::of(&stat).subdirs;
            }
        }
        pass.found.count(dirs);
        let stalls_above = pass.stalls;
        let mut places = Places::new(name, parents, fds, dirs, pass);
        if places.dirs.iter().any(Option::is_some) {
            row.read(&mut places, pass);
        }
        let found = look_below(children, until_all, &mut places, depth, pass);
        for (tree, name, dir) in found {
            pass.turn = pass.turn.wrapping_add(1);
            let child = child(children, &row.last.key.path, &name, pass.turn);
            if let Some(slot @ None) = child.dirs.get_mut(tree) {
                *slot = Some(dir);
            }
        }
        children.retain(|c| c.dirs.iter().any(Option::is_some) || !c.children.is_empty());
        pass.fds_left = places.fds_left;
        pass.found.fds_kept += places.kept_count();
        let open = places.all_open();
        for child in children {
            child.visit(&open, depth + 1, pass);
        }
        pass.stalls = stalls_above;
    }

    /// Gives out every row, parents before their children.
    pub fn rows(&mut self, give: &mut impl FnMut(&mut Row)) {
        if self.dirs.iter().any(Option::is_some) {
            give(&mut self.row);
        }
        for child in &mut self.children {
            child.rows(give);
        }
    }
}

/// Checks the children, and gives the directories that are new. Runtimes make and remove a cgroup in all hierarchies at
/// once: while nothing changes in the first one, the others are looked at in turn.
fn look_below(
    children: &mut [Node],
    until_all: &mut u32,
    places: &mut Places<'_>,
    depth: usize,
    pass: &mut Pass<'_>,
) -> Vec<(usize, CString, Dir)> {
    let mut found = Vec::new();
    let (mut changed, mut first) = (false, true);
    places.keep = true;
    for tree in 0..TREES {
        let Some(Some(Dir { subdirs, .. })) = places.dirs.get(tree).copied() else { continue };
        if !std::mem::take(&mut first) && *until_all > 0 && !changed && !pass.eager {
            continue;
        }
        let childless = !children.iter().any(|c| matches!(c.dirs.get(tree), Some(Some(_))));
        if childless && subdirs == Some(0) {
            continue;
        }
        let Some(fd) = places.open(tree) else { continue };
        let Recheck { complete, gone } = recheck(children, tree, fd, subdirs);
        changed |= gone || !complete;
        if complete {
            continue;
        }
        if depth < DEPTH_MAX {
            list(fd, pass, |name, dir| found.push((tree, name, dir)));
        } else {
            pass.found.too_deep = true;
        }
    }
    // After a change once more: the runtime may be at it still.
    *until_all = if changed { 0 } else { until_all.checked_sub(1).unwrap_or(ROTA) };
    found
}

/// The child `name` of the cgroup at `parent`, made if it is new.
fn child<'a>(children: &'a mut Vec<Node>, parent: &str, name: &CStr, turn: u32) -> &'a mut Node {
    let at = match children.binary_search_by(|c| c.name.as_c_str().cmp(name)) {
        Ok(at) => at,
        Err(at) => {
            let parent = if parent == "/" { "" } else { parent };
            let path = format!("{parent}/{}", name.to_string_lossy());
            children.insert(at, Node::named(name.to_owned(), path.into(), turn));
            at
        }
    };
    #[expect(clippy::indexing_slicing, reason = "found or inserted there")]
    &mut children[at]
}

/// What looking every known child up again says of a directory.
struct Recheck {
    /// Whether nothing else can be in it. Otherwise it must be listed.
    complete: bool,
    /// Whether a child has gone or was made again.
    gone: bool,
}

fn recheck(children: &mut [Node], tree: usize, parent: BorrowedFd<'_>, subdirs: Option<u64>) -> Recheck {
    let (mut alive, mut gone) = (0, false);
    for child in children {
        let (Some(slot), Some(fd)) = (child.dirs.get_mut(tree), child.fds.get_mut(tree)) else { continue };
        let Some(known) = slot else { continue };
        let Ok(stat) = rustix::fs::statat(parent, &child.name, AtFlags::SYMLINK_NOFOLLOW) else {
            (*slot, *fd, gone) = (None, None, true);
            continue;
        };
        let now = Dir::of(&stat);
        alive += 1;
        if now.inode == known.inode {
            known.subdirs = now.subdirs;
        } else {
            (*slot, *fd, gone) = (Some(now), None, true);
        }
    }
    Recheck { complete: subdirs == Some(alive), gone }
}

/// Gives the subdirectories of `dir`. One that can't be listed is counted.
fn list(dir: BorrowedFd<'_>, pass: &mut Pass<'_>, mut give: impl FnMut(CString, Dir)) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = match gone_is_none(rustix::fs::openat(dir, c".", flags, Mode::empty())) {
        Ok(Some(fd)) => fd,
        Ok(None) => return,
        Err(_) => {
            pass.found.unlisted += 1;
            return;
        }
    };
    pass.listing.clear();
    pass.listing.reserve(32 * 1024);
    let mut entries = RawDir::new(&fd, pass.listing.spare_capacity_mut());
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name();
        let may_be_dir = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
        if !may_be_dir || name == c"." || name == c".." {
            continue;
        }
        if let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            && FileType::from_raw_mode(stat.st_mode) == FileType::Directory
        {
            give(name.to_owned(), Dir::of(&stat));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::collect::cgroups::CgroupsCollector;
    use crate::collect::{Collector, Context, Roots};
    use crate::snapshot::Cgroups;
    use std::path::Path;

    const MOUNTINFO: &str = "30 1 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    fn tree() -> (tempfile::TempDir, CgroupsCollector) {
        let dir = tempfile::tempdir().unwrap();
        let path = |p: &str| dir.path().join(p);
        std::fs::create_dir_all(path("proc/self")).unwrap();
        std::fs::write(path("proc/self/mountinfo"), MOUNTINFO).unwrap();
        std::fs::create_dir_all(path("sys/fs/cgroup/memory")).unwrap();
        let collector = super::super::tests::reading(&Roots { proc: path("proc"), sys: path("sys") });
        (dir, collector)
    }

    fn group(dir: &Path, name: &str, usage: u64) {
        let path = dir.join("sys/fs/cgroup/memory").join(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("memory.usage_in_bytes"), format!("{usage}\n")).unwrap();
    }

    fn usages(cgroups: &Cgroups) -> Vec<(&str, Option<u64>)> {
        cgroups.rows.iter().map(|r| (&*r.key.path, r.memory.as_ref().and_then(|m| m.usage_bytes))).collect()
    }

    #[test]
    fn comings_and_goings_are_seen_though_the_number_stays() {
        let (dir, mut collector) = tree();
        let dir = dir.path();
        group(dir, "a", 1);
        group(dir, "b", 2);
        let first = collector.collect(&Context::default());
        let first = first.data().unwrap();
        assert_eq!(usages(first), [("/", None), ("/a", Some(1)), ("/b", Some(2))]);
        std::fs::remove_dir_all(dir.join("sys/fs/cgroup/memory/a")).unwrap();
        group(dir, "c", 3);
        let second = collector.collect(&Context::default());
        assert_eq!(usages(second.data().unwrap()), [("/", None), ("/b", Some(2)), ("/c", Some(3))]);
    }

    #[test]
    fn a_name_made_again_is_another_cgroup() {
        let (dir, mut collector) = tree();
        let dir = dir.path();
        group(dir, "a", 1);
        let of = |s: &crate::snapshot::Section<Cgroups>| s.data().unwrap().rows[1].clone();
        let before = of(&collector.collect(&Context::default()));
        std::fs::rename(dir.join("sys/fs/cgroup/memory/a"), dir.join("old")).unwrap();
        group(dir, "a", 5);
        let after = of(&collector.collect(&Context::default()));
        assert_ne!(before.key.inode, after.key.inode);
        assert_eq!(after.memory.and_then(|m| m.usage_bytes), Some(5));
    }

    #[test]
    fn the_deepest_nest_fits_a_lane_s_stack_and_is_told() {
        let (dir, mut collector) = tree();
        group(dir.path(), &"d/".repeat(super::DEPTH_MAX + 5), 1);
        let run = move || collector.collect(&Context::default());
        let section = std::thread::Builder::new().stack_size(256 * 1024).spawn(run).unwrap().join().unwrap();
        let data = section.data().unwrap();
        assert_eq!(data.rows.len(), super::DEPTH_MAX + 1);
        assert!(data.gaps.iter().any(|g| g.what.contains("nested")), "{:?}", data.gaps);
    }
}
