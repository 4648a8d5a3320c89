//! The directories of every hierarchy as one tree of paths, kept between passes with descriptors.
//!
//! A directory's link count is 2 + its subdirectories. As long as every known child is still there under its inode and
//! there are as many as the count says, nothing has come or gone, and no directory is listed.

use super::files::Lacks;
use super::pass::Pass;
use super::row::{Dir, Each, Row, TREES};
use crate::collect::io::gone_is_none;
use crate::snapshot::Text;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
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
        Self { name, fds: Each::default(), dirs: Each::default(), mounted: Each::default(), children: Vec::new(), row }
    }

    /// Hangs the root directory of hierarchy `tree` in at `prefix`, which is empty for the hierarchy's own root.
    pub fn mount(&mut self, tree: usize, prefix: &[u8], fd: OwnedFd) {
        let mut node = self;
        for part in prefix.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
            let Ok(name) = CString::new(part) else { return };
            node = node.child(&name, 0);
        }
        let Ok(stat) = rustix::fs::fstat(&fd) else { return };
        if let Some(((slot, dir), mounted)) = node.fds.iter_mut().zip(&mut node.dirs).zip(&mut node.mounted).nth(tree) {
            (*slot, *dir, *mounted) = (Some(fd), Some(dir_of(&stat)), true);
        }
    }

    fn child(&mut self, name: &CStr, turn: u32) -> &mut Self {
        let at = match self.children.binary_search_by(|c| c.name.as_c_str().cmp(name)) {
            Ok(at) => at,
            Err(at) => {
                let parent = if &*self.row.last.key.path == "/" { "" } else { &self.row.last.key.path };
                let path = format!("{parent}/{}", name.to_string_lossy());
                self.children.insert(at, Self::named(name.to_owned(), path.into(), turn));
                at
            }
        };
        #[expect(clippy::indexing_slicing, reason = "found or inserted there")]
        &mut self.children[at]
    }

    /// Reads this cgroup and everything below it. `opened`: its directories that are open for this pass only.
    pub fn visit(&mut self, opened: &Each<Option<OwnedFd>>, depth: usize, pass: &mut Pass<'_>) {
        let Self { fds, dirs, mounted, row, children, .. } = self;
        for ((fd, dir), _) in fds.iter().zip(dirs.iter_mut()).zip(*mounted).filter(|(_, mounted)| *mounted) {
            // No parent of ours looks a hierarchy's root up.
            if let (Some(dir), Some(Ok(stat))) = (dir, fd.as_ref().map(rustix::fs::fstat)) {
                dir.subdirs = dir_of(&stat).subdirs;
            }
        }
        let mut open: Each<Option<BorrowedFd<'_>>> = Each::default();
        for (slot, (kept, opened)) in open.iter_mut().zip(fds.iter().zip(opened)) {
            *slot = kept.as_ref().or(opened.as_ref()).map(AsFd::as_fd);
        }
        if open.iter().any(Option::is_some) {
            pass.found.count(dirs, fds);
            row.read(&open, dirs, pass);
        }
        let mut found = Vec::new();
        for (tree, (fd, dir)) in open.iter().zip(dirs.iter()).enumerate() {
            let (Some(fd), Some(dir)) = (fd, dir) else { continue };
            if recheck(children, tree, *fd, dir.subdirs) {
                continue;
            }
            if depth < DEPTH_MAX {
                list(*fd, pass, |name, dir| found.push((tree, name, dir)));
            } else {
                pass.found.too_deep = true;
            }
        }
        self.adopt(found, pass);
        self.descend(opened, depth, pass);
    }

    fn adopt(&mut self, found: Vec<(usize, CString, Dir)>, pass: &mut Pass<'_>) {
        for (tree, name, dir) in found {
            pass.turn = pass.turn.wrapping_add(1);
            let child = self.child(&name, pass.turn);
            if let Some(slot) = child.dirs.get_mut(tree)
                && slot.is_none()
            {
                *slot = Some(dir);
            }
        }
        self.children.retain(|c| c.dirs.iter().any(Option::is_some) || !c.children.is_empty());
    }

    fn descend(&mut self, opened: &Each<Option<OwnedFd>>, depth: usize, pass: &mut Pass<'_>) {
        for child in &mut self.children {
            let mut transient: Each<Option<OwnedFd>> = Each::default();
            for tree in 0..TREES {
                let parent = self.fds.get(tree).and_then(Option::as_ref).or(opened.get(tree).and_then(Option::as_ref));
                child.open(tree, parent, &mut transient, pass);
            }
            child.visit(&transient, depth + 1, pass);
        }
    }

    /// Opens its directory in `tree` where it isn't: to keep, while there is room for descriptors, else for this pass.
    fn open(
        &mut self,
        tree: usize,
        parent: Option<&OwnedFd>,
        transient: &mut Each<Option<OwnedFd>>,
        pass: &mut Pass<'_>,
    ) {
        let (Some(kept), Some(Some(_)), Some(parent)) = (self.fds.get_mut(tree), self.dirs.get(tree), parent) else {
            return;
        };
        if kept.is_some() {
            return;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(fd) = rustix::fs::openat(parent, &self.name, flags, Mode::empty()) else { return };
        if pass.fds_left > 0 {
            pass.fds_left -= 1;
            *kept = Some(fd);
        } else if let Some(slot) = transient.get_mut(tree) {
            *slot = Some(fd);
        }
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

/// Looks every known child up again in one hierarchy. `false`: the directory must be listed.
fn recheck(children: &mut [Node], tree: usize, parent: BorrowedFd<'_>, subdirs: Option<u64>) -> bool {
    let mut alive = 0;
    for child in children {
        let (Some(slot), Some(fd)) = (child.dirs.get_mut(tree), child.fds.get_mut(tree)) else { continue };
        let Some(known) = slot else { continue };
        let Ok(stat) = rustix::fs::statat(parent, &child.name, AtFlags::SYMLINK_NOFOLLOW) else {
            (*slot, *fd) = (None, None);
            continue;
        };
        let now = dir_of(&stat);
        alive += 1;
        if now.inode == known.inode {
            known.subdirs = now.subdirs;
        } else {
            (*slot, *fd) = (Some(now), None);
        }
    }
    subdirs == Some(alive)
}

#[allow(clippy::useless_conversion, reason = "st_nlink has 32 bits on other architectures")]
fn dir_of(stat: &Stat) -> Dir {
    Dir { inode: stat.st_ino, subdirs: u64::from(stat.st_nlink).checked_sub(2), lacks: Lacks::default() }
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
            give(name.to_owned(), dir_of(&stat));
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
        let collector = CgroupsCollector::new(&Roots { proc: path("proc"), sys: path("sys") });
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
