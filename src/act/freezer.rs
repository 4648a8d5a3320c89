//! Where a process's cgroups are, and whether one of them is frozen.

use super::facts::Freezer;
use crate::collect::cgroups::mounts::{Mount, Mounts, discover};
use crate::collect::tasks::status;
use crate::collect::{Roots, io};
use crate::snapshot::Text;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The hierarchies that are mounted.
#[derive(Debug, Default)]
pub struct Trees(Mounts);

impl Trees {
    /// Those of the host.
    pub fn discover(roots: &Roots) -> Self {
        Self(discover(roots).unwrap_or_default())
    }

    /// The v2 tree.
    pub fn v2(&self) -> Option<&Mount> {
        self.0.trees.iter().find(|mount| mount.controllers.is_none())
    }

    /// The tree of a v1 controller.
    pub fn v1(&self, controller: &str) -> Option<&Mount> {
        self.0.trees.iter().find(|mount| mount.has(controller))
    }

    /// Every tree that is read.
    pub fn all(&self) -> impl Iterator<Item = &Mount> {
        self.0.trees.iter()
    }

    /// Whether a cgroup of the process is frozen, by its `/proc/PID/cgroup`.
    pub fn freezer(&self, lines: &[u8]) -> Freezer {
        for (controllers, path) in status::cgroup_lines(lines) {
            if controllers.split(|b| *b == b',').any(|c| c == b"freezer")
                && let Some(mount) = self.v1("freezer")
                && word(mount, path, "freezer.state").is_some_and(|state| state != b"THAWED")
            {
                return Freezer::V1(frozen_at(mount, path, "freezer.self_freezing").unwrap_or_else(|| text(path)));
            }
            if controllers.is_empty()
                && let Some(mount) = self.v2()
                && let Some(at) = frozen_at(mount, path, "cgroup.freeze")
            {
                return Freezer::V2(at);
            }
        }
        Freezer::Free
    }
}

fn text(path: &[u8]) -> Text {
    String::from_utf8_lossy(path).as_ref().into()
}

/// The directory of a cgroup; `None` for a path outside of what is mounted.
pub fn dir(mount: &Mount, path: &[u8]) -> Option<PathBuf> {
    let below = path.strip_prefix(&*mount.prefix)?;
    let inside = below.is_empty() || below.starts_with(b"/");
    if !inside || below.split(|b| *b == b'/').any(|part| part == b"..") {
        return None;
    }
    Some(mount.point.join(OsStr::from_bytes(below.trim_ascii_start().strip_prefix(b"/").unwrap_or(below))))
}

/// The nearest of a cgroup and those above it whose own switch `file` says 1.
fn frozen_at(mount: &Mount, path: &[u8], file: &str) -> Option<Text> {
    let mut path = path;
    loop {
        if word(mount, path, file).is_some_and(|value| value == b"1") {
            return Some(text(path));
        }
        let cut = path.iter().rposition(|b| *b == b'/').filter(|at| *at > 0)?;
        path = path.get(..cut)?;
    }
}

fn word(mount: &Mount, path: &[u8], file: &str) -> Option<Vec<u8>> {
    read(&dir(mount, path)?.join(file)).ok()
}

/// A small file, its blanks cut off.
pub fn read(path: &Path) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    io::read_path(path, &mut bytes)?;
    Ok(bytes.trim_ascii().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(point: &Path, prefix: &str) -> Mount {
        let controllers = Some(["freezer".to_owned()].into());
        Mount { point: point.into(), prefix: prefix.into(), device: "0:34".into(), controllers }
    }

    #[test]
    fn directories_stay_inside_the_mount() {
        let at = |prefix: &str, path: &str| dir(&mount(Path::new("/f"), prefix), path.as_bytes());
        assert_eq!(at("", "/a/b"), Some("/f/a/b".into()));
        assert_eq!(at("", "/"), Some("/f".into()));
        assert_eq!(at("/docker/ab", "/docker/ab/c"), Some("/f/c".into()));
        assert_eq!(at("/docker/ab", "/docker/abc"), None);
        assert_eq!(at("", "/../x"), None);
        assert_eq!(at("", "/a/../../x"), None);
    }

    #[test]
    fn frozen_from_above() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        for (file, value) in [
            ("a/freezer.self_freezing", "1\n"),
            ("a/b/freezer.self_freezing", "0\n"),
            ("a/b/freezer.state", "FROZEN\n"),
        ] {
            std::fs::write(root.path().join(file), value).unwrap();
        }
        let mount = mount(root.path(), "");
        let trees = Trees(Mounts { trees: vec![mount], ..Mounts::default() });
        assert_eq!(trees.freezer(b"7:freezer:/a/b\n0::/x\n"), Freezer::V1("/a".into()));
        assert_eq!(trees.freezer(b"7:freezer:/\n"), Freezer::Free);
        assert_eq!(trees.freezer(b""), Freezer::Free);
    }
}
