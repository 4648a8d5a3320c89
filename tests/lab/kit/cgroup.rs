//! Memory cgroups with a limit, on either version.

use super::stage::{Stage, memory_cgroup_root, own_name};
use std::path::{Path, PathBuf};

/// Makes a memory cgroup of this run's own, with a limit; it is removed, with those below it, when the stage ends.
pub fn limited(stage: &mut Stage, name: &str, bytes: u64) -> PathBuf {
    let name = own_name(name);
    let dir = memory_cgroup_root().join(&name);
    std::fs::create_dir_all(&dir).expect("make a memory cgroup");
    limit(&dir, bytes);
    stage.owns(name);
    let left = dir.clone();
    stage.undo(move || remove(&left));
    dir
}

/// Sets the limit of a memory cgroup.
pub fn limit(dir: &Path, bytes: u64) {
    let v1 = dir.join("memory.limit_in_bytes");
    let file = if v1.exists() { v1 } else { dir.join("memory.max") };
    std::fs::write(file, bytes.to_string()).expect("set its limit");
}

/// Makes a memory cgroup below another, which then holds no process itself.
pub fn below(parent: &Path, name: &str) -> PathBuf {
    let control = parent.join("cgroup.subtree_control");
    if control.exists() {
        std::fs::write(control, "+memory").expect("hand the memory controller down");
    }
    let dir = parent.join(name);
    std::fs::create_dir_all(&dir).expect("make a memory cgroup");
    dir
}

/// What a memory cgroup holds, bytes.
pub fn usage(dir: &Path) -> u64 {
    let file = |name: &str| std::fs::read_to_string(dir.join(name)).ok()?.trim().parse().ok();
    file("memory.usage_in_bytes").or_else(|| file("memory.current")).unwrap_or(0)
}

/// Tasks of a memory cgroup, not of those below it, that the OOM killer took.
pub fn kills(dir: &Path) -> u64 {
    let text = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
    let text = text("memory.oom_control").or_else(|| text("memory.events")).unwrap_or_default();
    text.lines().find_map(|l| l.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
}

/// Moves this process into a cgroup.
pub fn enter(dir: &Path) {
    std::fs::write(dir.join("cgroup.procs"), std::process::id().to_string()).expect("enter a cgroup");
}

/// What was killed may take a moment to leave.
fn remove(dir: &Path) {
    for _ in 0..200 {
        for below in std::fs::read_dir(dir).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
            std::fs::remove_dir(below.path()).ok();
        }
        if std::fs::remove_dir(dir).is_ok() || !dir.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
