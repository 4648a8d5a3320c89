//! A file system that can be frozen: whoever writes to it then hangs in D.

use super::stage::{Cleanup, Stage, may, must, scratch};

/// Programs that it calls.
pub const TOOLS: &[&str] = &["mkfs.ext4", "fsfreeze", "mount", "umount", "truncate"];

/// Mounts a small ext4 of its own and gives the mount point.
pub fn ext4(stage: &mut Stage) -> String {
    let dir = scratch(stage, "frozen");
    let (image, mount) = (dir.join("image"), dir.join("mnt"));
    let (image, mount) = (image.to_str().expect("utf-8").to_owned(), mount.to_str().expect("utf-8").to_owned());
    std::fs::create_dir(&mount).expect("mount point");
    must("truncate", &["-s", "64M", &image]);
    must("mkfs.ext4", &["-q", "-F", &image]);
    must("mount", &["-o", "loop", &image, &mount]);
    let gone = mount.clone();
    stage.undo(move || may("umount", &[&gone]));
    mount
}

/// Freezes it until the stage ends: what is in D ends only after the thaw.
pub fn freeze(stage: &mut Stage, mount: &str) {
    must("fsfreeze", &["-f", mount]);
    let mount = mount.to_owned();
    stage.release.push(Cleanup(Some(Box::new(move || may("fsfreeze", &["-u", &mount])))));
}

/// Tasks of these processes that are in D.
pub fn blocked_threads(pid: u32) -> usize {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    tasks
        .flatten()
        .filter_map(|t| std::fs::read_to_string(t.path().join("stat")).ok())
        .filter(|s| s.rsplit(')').next().is_some_and(|r| r.trim_start().starts_with('D')))
        .count()
}
