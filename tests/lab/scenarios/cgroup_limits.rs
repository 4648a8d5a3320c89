//! Cgroups at their limits: of tasks, of CPU time, of memory that nobody may be killed for; and a supervisor that
//! starts what is killed there again and again.

use crate::actors::{name, number, ready};
use crate::kit::{Expect, Scenario, Stage, cgroup};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, sleep};
use std::time::Duration;

pub const ALL: &[Scenario] = &[LIMITS, RESPAWN];

const LIMITS: Scenario = Scenario {
    name: "cgroups_at_their_limits",
    root: true,
    actors: &[("forks-in", forks_in), ("burns-in", burns_in), ("eats-in", eats_in)],
    stage: limits,
    expects: limits_say,
    may_say: &["task.d_state_long", "host.pressure", "kmsg.fork_rejected"],
    gone: &["task.d_state_long", "host.pressure"],
    ..Scenario::BASE
};

const RESPAWN: Scenario = Scenario {
    name: "supervisor_restarts_what_is_killed",
    root: true,
    actors: &[("respawns-in", respawns_in), ("eats", eats)],
    stage: respawn,
    expects: respawn_says,
    may_say: &["task.memory_growth"],
    // Kills stay true of the window, and the loop with them.
    stays: &["cgroup.oom_kill"],
    apart: true,
    ..Scenario::BASE
};

/// Writes to the file of a limit, as v1 or v2 calls it; which of the two it was.
fn write_limit(group: &Path, v1: (&str, &str), v2: (&str, &str)) -> bool {
    let old = group.join(v1.0);
    let (file, value) = if old.exists() { (old, v1.1) } else { (group.join(v2.0), v2.1) };
    let is_v1 = file.ends_with(v1.0);
    std::fs::write(&file, value).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    is_v1
}

fn procs(group: &Path) -> String {
    group.join("cgroup.procs").to_str().expect("utf-8").to_owned()
}

fn memory(stage: &mut Stage, name: &str, limit: &str) -> PathBuf {
    let group = cgroup(stage, "memory", name);
    write_limit(&group, ("memory.limit_in_bytes", limit), ("memory.max", limit));
    group
}

fn limits() -> Stage {
    let mut stage = Stage::default();
    let pids = cgroup(&mut stage, "pids", "forks");
    std::fs::write(pids.join("pids.max"), "20").expect("set the limit");
    // A container is in one cgroup of every hierarchy.
    let beside = cgroup(&mut stage, "memory", "forks");
    let cpu = cgroup(&mut stage, "cpu", "burns");
    write_limit(&cpu, ("cpu.cfs_quota_us", "20000"), ("cpu.max", "20000 100000"));
    // v1 can be told not to kill at the limit; on v2 it is memory.high that holds tasks back.
    let full = cgroup(&mut stage, "memory", "full");
    let is_v1 = write_limit(&full, ("memory.limit_in_bytes", "100M"), ("memory.high", "100M"));
    if is_v1 {
        std::fs::write(full.join("memory.oom_control"), "1").expect("let nothing be killed");
        // Tasks that hang there can't be ended before it is lifted.
        let control = full.join("memory.oom_control");
        stage.release.push(crate::kit::Cleanup(Some(Box::new(move || std::fs::write(control, "0").expect("lift it")))));
    }
    stage.actor(&["forks-in", &procs(&pids), &procs(&beside)]);
    stage.actor(&["burns-in", &procs(&cpu), "2"]);
    stage.actor(&["eats-in", &procs(&full)]);
    stage.pid = u32::from(is_v1);
    stage
}

fn says(part: &'static str) -> impl Fn(&Value) -> bool {
    move |f| f["message"].as_str().is_some_and(|m| m.contains(part))
}

fn limits_say(stage: &Stage) -> Vec<Expect> {
    let full = Expect::critical("cgroup.at_limit").cgroup("-full");
    let full = if stage.pid == 1 {
        full.that("nothing may be killed", says("may not kill: its tasks hang"))
            .that("what to do by hand", |f| f["advice"].to_string().contains("oom_kill_disable=1"))
    } else {
        Expect::warning("cgroup.at_limit").cgroup("-full").that("it is held back", says("slowed down at its memory.high"))
    };
    vec![
        Expect::critical("cgroup.pids_limit")
            .cgroup("-forks")
            .leads()
            .that("20 of 20", |f| f["value"] == 20.0 && f["limit"] == 20.0)
            .that("what fills it", says("of sleep")),
        Expect::warning("cgroup.cpu_throttled")
            .cgroup("-burns")
            .leads()
            .that("nearly always", |f| f["value"].as_f64() > Some(80.0))
            .that("its quota", says("its quota of 0.20 CPUs")),
        full,
    ]
}

fn respawn() -> Stage {
    let mut stage = Stage::default();
    let group = memory(&mut stage, "respawn", "100M");
    stage.pid = stage.actor(&["respawns-in", &procs(&group)]);
    stage
}

fn respawn_says(stage: &Stage) -> Vec<Expect> {
    vec![
        Expect::critical("task.respawn_loop")
            .task(stage.pid)
            .that("what it starts, beside what", says("starts eater again and again"))
            .that("the kills", says("beside OOM kills")),
        Expect::critical("cgroup.at_limit").cgroup("-respawn").leads(),
        Expect::critical("cgroup.oom_kill").cgroup("-respawn").that("who was killed", says("eater(")),
    ]
}

fn enter(procs: &str) {
    std::fs::write(procs, std::process::id().to_string()).expect("enter the cgroup");
}

/// Forks until it is refused, and goes on trying.
fn forks_in(args: &[&str]) {
    args.iter().copied().for_each(enter);
    name("fork-storm");
    let fork = || Command::new("sleep").arg("1000").spawn();
    let mut children = Vec::new();
    while let Ok(child) = fork() {
        children.push(child);
    }
    ready();
    loop {
        children.extend(fork());
        sleep(Duration::from_millis(100));
    }
}

/// Computes without end in so many threads.
fn burns_in(args: &[&str]) {
    enter(args[0]);
    name("burner");
    for _ in 1..number(args[1]) {
        thread::spawn(|| burn());
    }
    ready();
    burn()
}

fn burn() -> ! {
    let mut n = 1_u64;
    loop {
        n = std::hint::black_box(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// Takes memory without end in a cgroup that it enters first.
fn eats_in(args: &[&str]) {
    enter(args[0]);
    eats(&[]);
}

/// Takes memory without end.
fn eats(_: &[&str]) {
    name("eater");
    ready();
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        held.push(vec![1; 1 << 20]);
        sleep(Duration::from_millis(5));
    }
}

/// Starts a child that eats until it is killed, again and again.
fn respawns_in(args: &[&str]) {
    enter(args[0]);
    name("supervisor");
    let exe = std::env::current_exe().expect("own path");
    // The victim is to be the child.
    std::fs::write("/proc/self/oom_score_adj", "-900").ok();
    ready();
    loop {
        let mut child = Command::new("/bin/sh");
        child.args(["-c", "echo 500 > /proc/self/oom_score_adj; exec \"$0\" --actor eats"]).arg(&exe);
        child.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("spawn a child").wait().ok();
        sleep(Duration::from_millis(200));
    }
}
