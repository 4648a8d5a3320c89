//! Descriptors by what they point to.

use super::Look;
use crate::collect::tasks::files::{self, Decimal};
use crate::snapshot::{FdSummary, Text};
use rustc_hash::FxHashMap;
use rustix::fd::AsFd;

/// Descriptors whose target is read at most: listing makes an inode and a dentry (1 kB of slab) for each.
const FDS_MAX: u64 = 2048;
/// Paths in [`FdSummary::paths`] at most.
const PATHS_MAX: usize = 32;

impl Look<'_> {
    /// Counts first; the targets of some.
    pub(super) fn descriptors(&mut self) -> Option<FdSummary> {
        let counted = self.files.size(&[&self.base, b"/fd"]).unwrap_or(0);
        let dir = match self.files.open_dir(&[&self.base, b"/fd"]) {
            Ok(dir) => dir,
            Err(error) => {
                self.refused(error, "descriptors", "CAP_SYS_PTRACE");
                return None;
            }
        };
        let mut fds = Vec::new();
        let mut cut = false;
        let listed = files::list_while(dir.as_fd(), self.names, |name| {
            cut = fds.len() as u64 >= FDS_MAX;
            if !cut {
                fds.extend(files::id(name));
            }
            !cut
        });
        if let Err(error) = listed {
            self.refused(error, "descriptors", "CAP_SYS_PTRACE");
            return None;
        }
        let total = counted.max(fds.len() as u64);
        let mut sorted = Sorted::of(total, cut);
        for fd in fds {
            if let Ok(link) = self.files.link(&[&self.base, b"/fd/", Decimal::new(fd).bytes()], self.text) {
                sort_link(&mut sorted, link);
            }
        }
        Some(sorted.finish(PATHS_MAX, |path| self.text(path)))
    }
}

/// Descriptors counted so far.
pub(super) struct Sorted {
    summary: FdSummary,
    paths: FxHashMap<Vec<u8>, u64>,
}

impl Sorted {
    /// Of so many descriptors in all.
    pub fn of(total: u64, cut: bool) -> Self {
        Self { summary: FdSummary { total, cut, ..FdSummary::default() }, paths: FxHashMap::default() }
    }

    /// The counts, and the paths that are open most often.
    pub fn finish(mut self, most: usize, mut text: impl FnMut(&[u8]) -> Text) -> FdSummary {
        let mut paths: Vec<(Vec<u8>, u64)> = self.paths.into_iter().collect();
        paths.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        paths.truncate(most);
        self.summary.paths = paths.into_iter().map(|(path, count)| (text(&path), count)).collect();
        self.summary
    }
}

/// Counts one descriptor by what it points to.
pub(super) fn sort_link(Sorted { summary, paths }: &mut Sorted, link: &[u8]) {
    if link.starts_with(b"socket:[") {
        summary.sockets += 1;
    } else if link.starts_with(b"pipe:[") {
        summary.pipes += 1;
    } else if link.starts_with(b"anon_inode:") {
        summary.anon += 1;
    } else {
        summary.files += 1;
        *paths.entry(link.to_vec()).or_default() += 1;
    }
}
