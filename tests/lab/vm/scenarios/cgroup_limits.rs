//! Cgroups at their limits, on the unified tree alone and on v1 hierarchies alone.

use crate::actors::{forever, ready};
use crate::kit::{Cleanup, Expect, Scenario, Stage, whytop};
use serde_json::Value;
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

/// At once: a cgroup at `memory.high` (v2), one that a fork bomb fills, one held back by its CPU quota, and a frozen one, of
/// which nothing may be said. The bomb ends by `whytop kill`.
pub const LIMITS: Scenario = Scenario {
    name: "throttled_out_of_pids_and_frozen",
    root: true,
    actors: &[("guest-eats-in", eats_in), ("bomb-in", bomb_in), ("spins-in", spins_in), ("sleeps-in", sleeps_in)],
    stage: limits,
    expects: |_| {
        let refused = |f: &Value| f["limit"] == 20.0;
        let mut all = vec![
            Expect::warning("cgroup.pids_limit").cgroup("lab-pids").that("its limit", refused),
            Expect::warning("cgroup.cpu_throttled").cgroup("lab-cpu"),
        ];
        if is_v2() {
            all.push(Expect::warning("cgroup.at_limit").cgroup("lab-high"));
        }
        all
    },
    may_say: &["host.pressure", "kmsg.fork_rejected", "task.d_state_long"],
    gone: &["host.pressure"],
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

fn limits() -> Stage {
    let mut stage = Stage::default();
    let (high, pids) =
        (is_v2().then(|| group(&mut stage, "memory", "lab-high")), group(&mut stage, "pids", "lab-pids"));
    let (cpu, frozen) = (group(&mut stage, "cpu,cpuacct", "lab-cpu"), group(&mut stage, "freezer", "lab-frozen"));
    stage.path = "lab-".into();
    write(&pids.join("pids.max"), "20");
    if is_v2() {
        write(&cpu.join("cpu.max"), "10000 100000");
    } else {
        write(&cpu.join("cpu.cfs_period_us"), "100000");
        write(&cpu.join("cpu.cfs_quota_us"), "10000");
    }
    stage.actor(&["spins-in", cpu.to_str().expect("utf-8")]);
    stage.actor(&["bomb-in", pids.to_str().expect("utf-8")]);
    stage.release.push(Cleanup(Some(Box::new(move || kill_all(&pids)))));
    stage.actor(&["sleeps-in", frozen.to_str().expect("utf-8")]);
    let (file, freeze, thaw) =
        if is_v2() { ("cgroup.freeze", "1", "0") } else { ("freezer.state", "FROZEN", "THAWED") };
    write(&frozen.join(file), freeze);
    let file = frozen.join(file);
    stage.release.push(Cleanup(Some(Box::new(move || write(&file, thaw)))));
    if let Some(high) = high {
        write(&high.join("memory.high"), "20M");
        stage.actor(&["guest-eats-in", high.to_str().expect("utf-8")]);
    }
    stage
}

fn enter(dir: &str) {
    write(&Path::new(dir).join("cgroup.procs"), &std::process::id().to_string());
}

fn spins_in(args: &[&str]) {
    enter(args[0]);
    ready();
    while std::hint::black_box(true) {}
}

/// Forks, as its children do, whatever its cgroup allows.
#[expect(unsafe_code, reason = "no wrapper forks")]
fn bomb_in(args: &[&str]) {
    enter(args[0]);
    ready();
    // SAFETY: this process has one thread; it and its children do nothing from here on but these system calls.
    unsafe {
        loop {
            libc::fork();
            libc::usleep(100_000);
        }
    }
}

/// Nothing in a cgroup outlives `whytop kill`, though all in it fork.
fn kill_all(group: &Path) {
    let path = group.to_str().expect("utf-8");
    let out = whytop(&["kill", "--cgroup", path, "--yes", "--json"]).output().expect("run whytop");
    let said: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
    let procs = std::fs::read_to_string(group.join("cgroup.procs")).expect("a cgroup");
    let way = if is_v2() { "cgroup.kill" } else { "stop, kill, until empty" };
    let planned = said["plans"][0]["reasons"].to_string().contains(way);
    let done = out.status.success() && planned && said["plans"][0]["outcome"]["result"] == "exited";
    if !done || !procs.is_empty() {
        let text = format!("a fork bomb was killed: {}\n{said:#}\nleft: {procs}", out.status);
        // The stage may be ending for another failure, and only one can be told.
        if std::thread::panicking() { println!("{text}") } else { panic!("{text}") }
    }
}

fn sleeps_in(args: &[&str]) {
    enter(args[0]);
    ready();
    forever()
}

/// Takes memory in a cgroup that is slowed down for it.
fn eats_in(args: &[&str]) {
    enter(args[0]);
    ready();
    let mut held = Vec::new();
    loop {
        held.push(vec![1_u8; 1 << 20]);
    }
}
