//! The directories of one cgroup in every hierarchy, opened when something of them is read.

use super::files::{Files, Lacks};
use super::pass::{Pass, Roles};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, Stat};
use std::ffi::CStr;

/// How many hierarchies are read at most: v2 and the five v1 controllers that could each be on their own.
pub const TREES: usize = 6;

/// One of something for each hierarchy.
pub type Each<T> = [T; TREES];

/// Open directories, one level of the walk.
pub type Open<'f> = Each<Option<BorrowedFd<'f>>>;

/// What is known of a cgroup's directory in one hierarchy.
#[derive(Clone, Copy, Debug)]
pub struct Dir {
    /// `st_ino`.
    pub inode: u64,
    /// `st_nlink − 2`; `None` on a file system that does not count so.
    pub subdirs: Option<u64>,
    /// Files that are not there.
    pub lacks: Lacks,
}

impl Dir {
    /// A directory as `stat` shows it.
    #[allow(clippy::useless_conversion, reason = "st_nlink has 32 bits on other architectures")]
    pub fn of(stat: &Stat) -> Self {
        Self { inode: stat.st_ino, subdirs: u64::from(stat.st_nlink).checked_sub(2), lacks: Lacks::default() }
    }
}

/// One cgroup's directories.
pub struct Places<'a> {
    name: &'a CStr,
    parents: &'a Open<'a>,
    kept: &'a mut Each<Option<OwnedFd>>,
    /// Open until the walk leaves the cgroup.
    opened: Each<Option<OwnedFd>>,
    /// What is known of them.
    pub dirs: &'a mut Each<Option<Dir>>,
    /// Which hierarchy has what.
    pub roles: Roles,
    /// Whether what is opened now should stay open: it is read in every pass.
    pub keep: bool,
    /// How many more may stay open.
    pub fds_left: usize,
}

impl<'a> Places<'a> {
    /// The directories `dirs` called `name` below `parents`; those of `kept` are open already.
    pub fn new(
        name: &'a CStr,
        parents: &'a Open<'a>,
        kept: &'a mut Each<Option<OwnedFd>>,
        dirs: &'a mut Each<Option<Dir>>,
        pass: &Pass<'_>,
    ) -> Self {
        Self {
            name,
            parents,
            kept,
            opened: Each::default(),
            dirs,
            roles: pass.roles,
            keep: true,
            fds_left: pass.fds_left,
        }
    }

    /// The files of its directory in hierarchy `tree`.
    pub fn get(&mut self, tree: Option<usize>) -> Option<Files<'_>> {
        let tree = tree?;
        self.open(tree)?;
        let fd = self.kept.get(tree)?.as_ref().or(self.opened.get(tree)?.as_ref())?;
        Some(Files { dir: fd.as_fd(), lacks: &mut self.dirs.get_mut(tree)?.as_mut()?.lacks })
    }

    /// Its directory in hierarchy `tree`.
    pub fn open(&mut self, tree: usize) -> Option<BorrowedFd<'_>> {
        self.dirs.get(tree)?.as_ref()?;
        let (kept, opened) = (self.kept.get_mut(tree)?, self.opened.get_mut(tree)?);
        if kept.is_none() && opened.is_none() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let parent = (*self.parents.get(tree)?)?;
            let fd = Some(rustix::fs::openat(parent, self.name, flags, Mode::empty()).ok()?);
            if self.keep && self.fds_left > 0 {
                self.fds_left -= 1;
                *kept = fd;
            } else {
                *opened = fd;
            }
        }
        kept.as_ref().or(opened.as_ref()).map(AsFd::as_fd)
    }

    /// Those that are open.
    pub fn all_open(&self) -> Open<'_> {
        let mut open = Open::default();
        for (slot, (kept, opened)) in open.iter_mut().zip(self.kept.iter().zip(&self.opened)) {
            *slot = kept.as_ref().or(opened.as_ref()).map(AsFd::as_fd);
        }
        open
    }

    /// How many stay open.
    pub fn kept_count(&self) -> usize {
        self.kept.iter().flatten().count()
    }
}
