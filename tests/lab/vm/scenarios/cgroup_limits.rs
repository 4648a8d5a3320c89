//! Cgroups at their limits, on the unified tree alone and on v1 hierarchies alone.

use crate::actors::{forever, ready};
use crate::kit::{Expect, Scenario, Stage};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// The pod's limit is hit by what runs in one of its containers.
pub const PARENT_OOM: Scenario = Scenario {
    name: "oom_at_the_parents_limit",
    root: true,
    actors: &[("eaters-in", eaters_in), ("eat", eat)],
    stage: parent_oom,
    expects: |stage| {
        let at_limit =
            Expect::critical("cgroup.at_limit").cgroup(&stage.path).that("its limit", |f| f["limit"] == 33_554_432.0);
        let kill = Expect::critical("cgroup.oom_kill").cgroup(&stage.path);
        vec![at_limit.leads(), kill]
    },
    may_say: &["task.respawn_loop", "host.pressure", "task.memory_growth"],
    stays: &["cgroup.oom_kill"],
    ..Scenario::BASE
};

/// A controller's tree: the unified one where there is one.
fn tree(controller: &str) -> PathBuf {
    let root = Path::new("/sys/fs/cgroup");
    if is_v2() { root.into() } else { root.join(controller) }
}

fn is_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|e| panic!("{} to {}: {e}", text, path.display()));
}

/// A cgroup of a controller with a limit, removed at the end.
fn group(stage: &mut Stage, controller: &str, name: &str) -> PathBuf {
    let dir = tree(controller).join(name);
    std::fs::create_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let gone = dir.clone();
    stage.undo(move || {
        std::fs::remove_dir(gone).ok();
    });
    dir
}

fn parent_oom() -> Stage {
    let mut stage = Stage::default();
    let pod = group(&mut stage, "memory", "pod");
    if is_v2() {
        write(&pod.join("cgroup.subtree_control"), "+memory");
    }
    write(&pod.join(if is_v2() { "memory.max" } else { "memory.limit_in_bytes" }), "32M");
    let app = group(&mut stage, "memory", "pod/app");
    stage.path = "/pod".into();
    stage.pid = stage.actor(&["eaters-in", app.to_str().expect("utf-8")]);
    stage
}

/// Enters a cgroup and starts children there, one after another, that take more than it may have.
fn eaters_in(args: &[&str]) {
    write(&Path::new(args[0]).join("cgroup.procs"), &std::process::id().to_string());
    let exe = std::env::current_exe().expect("own path");
    ready();
    loop {
        Command::new(&exe).args(["--actor", "eat", "200"]).stdout(Stdio::null()).status().ok();
        sleep(Duration::from_millis(300));
    }
}

/// Takes so many megabytes, and holds them.
fn eat(args: &[&str]) {
    let held = vec![1_u8; crate::actors::number::<usize>(args[0]) << 20];
    assert!(!held.is_empty(), "held");
    ready();
    forever()
}
