//! Where the kernel's trees are: injected, so that tests and `--proc` read other ones.

use std::path::{Path, PathBuf};

/// The trees to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// `/proc`, or another tree of its form.
    pub proc: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: PathBuf::from("/proc"), sys: PathBuf::from("/sys") }
    }
}

impl Roots {
    /// A file below `proc`.
    #[must_use]
    pub fn proc(&self, path: impl AsRef<Path>) -> PathBuf {
        self.proc.join(path)
    }

    /// A file below `sys`.
    #[must_use]
    pub fn sys(&self, path: impl AsRef<Path>) -> PathBuf {
        self.sys.join(path)
    }

    /// The root directory of the host that these trees show: `/`, or that of a foreign `/proc`'s first process.
    #[must_use]
    pub fn host_root(&self) -> PathBuf {
        if self.is_live() { PathBuf::from("/") } else { self.proc("1/root") }
    }

    /// Whether these are the running system's own trees: only then may netlink, `/dev/kmsg` and signals be used.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.proc == Path::new("/proc")
    }
}
