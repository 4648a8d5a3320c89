//! Where the hierarchies are mounted: `mountinfo`, re-rooted below the injected roots.

use crate::collect::mountinfo::{mounts, unescape};
use crate::collect::{Roots, io};
use procfs::process::MountInfo;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The trees that are read, in the order in which they give a row its inode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// Each hierarchy once.
    pub trees: Vec<Mount>,
    /// Whether a v1 controller is mounted.
    pub v1: bool,
    /// Whether the v2 tree is.
    pub v2: bool,
    /// Whether the reader sees the whole of each hierarchy, not a part through a cgroup namespace.
    pub whole: bool,
}

/// One hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where to open it.
    pub point: PathBuf,
    /// Path of its mounted root inside the hierarchy; empty for the root itself.
    pub prefix: Vec<u8>,
    /// `major:minor`: two mounts with the same one are the same hierarchy.
    pub device: String,
    /// v1 controllers, among other options; `None` for v2.
    pub controllers: Option<BTreeSet<String>>,
}

impl Mount {
    /// Whether it is the v1 hierarchy of `controller`.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.as_ref().is_some_and(|all| all.contains(controller))
    }
}

/// v1 controllers of which something is read; the first one's tree gives a row its inode.
const CONTROLLERS: [&str; 5] = ["memory", "pids", "cpu", "cpuacct", "freezer"];

/// `PROC_CGROUP_INIT_INO`: the cgroup namespace of the host.
const INIT_CGROUP_NS: &[u8] = b"cgroup:[4026531835]";

/// Finds the hierarchies of the host that `roots` shows.
///
/// # Errors
/// When no `mountinfo` can be read.
pub fn discover(roots: &Roots) -> Result<Mounts, Errno> {
    // A foreign /proc has no meaningful `self`: pid 1 speaks for its host.
    let readers: &[&str] = if roots.is_live() { &["self"] } else { &["1", "self"] };
    let mut raw = Vec::new();
    let mut result = Err(Errno::NOENT);
    for reader in readers {
        result = io::read_path(&roots.proc(format!("{reader}/mountinfo")), &mut raw).map(|()| *reader);
        if result.is_ok() {
            break;
        }
    }
    let reader = result?;
    let namespace = rustix::fs::readlink(roots.proc(format!("{reader}/ns/cgroup")), Vec::new());
    let whole = namespace.map_or(true, |link| link.as_bytes() == INIT_CGROUP_NS);
    let mut mounts = choose(parse(&raw));
    mounts.whole = whole && mounts.trees.iter().all(|m| m.prefix.is_empty());
    for mount in &mut mounts.trees {
        mount.point = reroot(roots, &mount.point);
    }
    Ok(mounts)
}

/// Every cgroup mount of a `mountinfo` text, in its order.
fn parse(raw: &[u8]) -> Vec<Mount> {
    mounts(raw, "cgroup").filter_map(mount).collect()
}

fn mount(info: MountInfo) -> Option<Mount> {
    let controllers = match info.fs_type.as_str() {
        "cgroup2" => None,
        "cgroup" => Some(info.super_options.into_keys().collect()),
        _ => return None,
    };
    let root = unescape(info.root);
    // `/..` is the root of a namespace outside of the reader's own: nothing is known of its place.
    let prefix = if root == b"/" || root.starts_with(b"/..") { Vec::new() } else { root };
    let point = OsString::from_vec(unescape(info.mount_point.as_os_str().as_bytes())).into();
    Some(Mount { point, prefix, device: info.majmin, controllers })
}

/// One mount a hierarchy, those of no interest left out: the mount that shows most of it, then the first.
fn choose(all: Vec<Mount>) -> Mounts {
    let mut best: Vec<Mount> = Vec::new();
    for mount in all {
        if mount.controllers.is_some() && !CONTROLLERS.iter().any(|c| mount.has(c)) {
            continue;
        }
        match best.iter_mut().find(|b| b.device == mount.device) {
            Some(known) if mount.prefix.len() < known.prefix.len() => *known = mount,
            Some(_) => {}
            None => best.push(mount),
        }
    }
    let rank = |m: &Mount| match m.controllers {
        Some(_) if m.has("memory") => 0,
        None => 1,
        Some(_) => 2 + CONTROLLERS.iter().position(|c| m.has(c)).unwrap_or(CONTROLLERS.len()),
    };
    best.sort_by_key(rank);
    let v1 = best.iter().any(|m| m.controllers.is_some());
    let v2 = best.iter().any(|m| m.controllers.is_none());
    Mounts { trees: best, v1, v2, whole: false }
}

/// Where a mount point of the host is for us: below `roots.sys`, or below the root directory of a foreign pid 1.
fn reroot(roots: &Roots, point: &Path) -> PathBuf {
    match point.strip_prefix("/sys") {
        Ok(below) => roots.sys(below),
        Err(_) => roots.host_root().join(point.strip_prefix("/").unwrap_or(point)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Captured on a 6.18 host with every v1 controller on its own and an empty v2 tree.
    const HYBRID: &[u8] = b"\
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn points(mounts: &Mounts) -> Vec<&str> {
        mounts.trees.iter().filter_map(|m| m.point.to_str()).collect()
    }

    #[test]
    fn hybrid_puts_memory_first_and_leaves_named_trees_out() {
        let mounts = choose(parse(HYBRID));
        assert!(mounts.v1 && mounts.v2);
        assert_eq!(
            points(&mounts),
            ["memory", "unified", "pids", "cpu", "cpuacct", "freezer"].map(|d| format!("/sys/fs/cgroup/{d}"))
        );
    }

    #[test]
    fn el7_comounts_under_any_name_are_one_tree() {
        let raw = b"\
27 24 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/usr/lib/systemd/systemd-cgroups-agent,name=systemd
30 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpuacct,cpu
31 24 0:28 / /sys/fs/cgroup/mem\\040ory rw,nosuid shared:10 master:3 - cgroup cgroup rw,memory
90 80 0:28 /docker/ab /var/lib/x/sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
";
        let mounts = choose(parse(raw));
        assert!(mounts.v1 && !mounts.v2);
        assert_eq!(points(&mounts), ["/sys/fs/cgroup/mem ory", "/sys/fs/cgroup/cpu,cpuacct"]);
        assert!(mounts.trees[1].has("cpu") && mounts.trees[1].has("cpuacct"));
    }

    #[test]
    fn a_container_without_namespace_knows_its_place() {
        let mounts = choose(parse(b"31 24 0:28 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"));
        assert_eq!(mounts.trees[0].prefix, b"/docker/ab");
        let mounts = choose(parse(b"31 24 0:28 /../.. /sys/fs/cgroup ro - cgroup2 cgroup rw,nsdelegate\n"));
        assert_eq!(mounts.trees[0].prefix, b"");
    }

    #[test]
    fn points_move_below_the_injected_roots() {
        let roots = Roots { proc: "/host/proc".into(), sys: "/host/sys".into() };
        assert_eq!(reroot(&roots, Path::new("/sys/fs/cgroup")), Path::new("/host/sys/fs/cgroup"));
        assert_eq!(reroot(&roots, Path::new("/cgroup/memory")), Path::new("/host/proc/1/root/cgroup/memory"));
        assert_eq!(reroot(&Roots::default(), Path::new("/cgroup/memory")), Path::new("/cgroup/memory"));
    }

    proptest! {
        #[test]
        fn never_panics(raw in "([0-9]{1,3}| |/|-|cgroup2?|\\\\0[0-9]{2}|,|memory|\n|\\PC){0,80}") {
            let _ = choose(parse(raw.as_bytes()));
        }
    }
}
