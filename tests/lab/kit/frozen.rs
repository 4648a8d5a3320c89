//! A file system that can be frozen: whoever writes to it then hangs in D.

use super::stage::{Cleanup, Stage, may, must, scratch};
use std::path::Path;

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

/// Why this kernel never says that a task hangs, where it doesn't.
pub fn never_tells() -> Option<String> {
    let there = Path::new("/proc/sys/kernel/hung_task_timeout_secs").exists();
    (!there).then(|| "this kernel does not look for hung tasks (CONFIG_DETECT_HUNG_TASK)".into())
}

/// Lets the kernel say after `seconds` that a task in D hangs, until the stage ends. Such lines are rationed (ten since
/// the boot, by default), and what a scenario uses up is given back.
pub fn told_as_hung_after(stage: &mut Stage, seconds: u32) {
    let patience = [
        ("hung_task_timeout_secs", seconds.to_string()),
        ("hung_task_check_interval_secs", "1".into()),
        ("hung_task_warnings", "10".into()),
    ];
    for (key, value) in patience {
        let file = Path::new("/proc/sys/kernel").join(key);
        let before = std::fs::read_to_string(&file).expect("khungtaskd's settings");
        std::fs::write(&file, value).expect("set them");
        stage.undo(move || std::fs::write(file, before.trim()).expect("put them back"));
    }
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
