//! Processes that grow into their limits: threads, memory, descriptors, tasks of a user.

use crate::actors::{forever, name, number, ready};
use crate::kit::{Expect, Scenario, Stage, cgroup};
use serde_json::Value;
use std::thread::{self, sleep};
use std::time::Duration;

pub const ALL: &[Scenario] = &[Scenario {
    name: "tasks_that_grow_into_their_limits",
    root: true,
    actors: &[
        ("thread-leak", thread_leak),
        ("memory-leak", memory_leak),
        ("descriptors", descriptors),
        ("user-tasks", user_tasks),
    ],
    stage,
    expects,
    // A leak that nobody stops.
    may_say: &["cgroup.at_limit", "cgroup.oom_kill"],
    ..Scenario::BASE
}];

fn stage() -> Stage {
    let mut stage = Stage::default();
    stage.actor(&["thread-leak"]);
    let group = cgroup(&mut stage, "memory", "leak");
    let limit = ["memory.limit_in_bytes", "memory.max"].map(|f| group.join(f)).into_iter().find(|f| f.exists());
    std::fs::write(limit.expect("a memory controller"), "400M").expect("set the limit");
    let procs = group.join("cgroup.procs");
    stage.actor(&["memory-leak", procs.to_str().expect("utf-8")]);
    stage.actor(&["descriptors", "950", "1000"]);
    stage.actor(&["user-tasks", "54321", "60"]);
    stage
}

fn task(comm: &'static str) -> impl Fn(&Value) -> bool {
    move |s| s["kind"] == "task" && s["comm"] == comm
}

fn expects(_: &Stage) -> Vec<Expect> {
    let says = |part: &'static str| move |f: &Value| f["message"].as_str().is_some_and(|m| m.contains(part));
    let advises = |part: &'static str| move |f: &Value| f["advice"].to_string().contains(part);
    vec![
        Expect::warning("task.thread_growth")
            .about(task("thread-leak"))
            .leads()
            .that("some 40 a second", |f| f["rate_per_s"].as_f64().is_some_and(|r| (15.0..60.0).contains(&r))),
        Expect::warning("task.memory_growth")
            .about(task("memory-leak"))
            .leads()
            .that("whose limit, and when", says("reaches the 400 MB limit of /"))
            .that("megabytes a second", |f| f["rate_per_s"].as_f64() > Some(1e6)),
        Expect::warning("host.fd_exhaustion")
            .about(task("fd-leak"))
            .leads()
            .that("of its own limit", |f| f["value"].as_f64() >= Some(950.0) && f["limit"] == 1000.0)
            .that("how to raise it", advises("--nofile=4000")),
        Expect::critical("task.pid_exhaustion")
            .about(task("nproc-hit"))
            .leads()
            .that("of its user's tasks", |f| f["value"] == 60.0 && f["limit"] == 60.0)
            .that("how to raise it", advises("--nproc=")),
    ]
}

/// Starts 40 threads a second that never end, once the time is over in which programs fill their pools.
fn thread_leak(_: &[&str]) {
    name("thread-leak");
    sleep(Duration::from_secs(10));
    ready();
    for _ in 0..4000 {
        thread::Builder::new().stack_size(64 << 10).spawn(|| forever()).expect("thread");
        sleep(Duration::from_millis(25));
    }
    forever()
}

/// Enters a memory cgroup, takes 210 MB at once, then 4 MB a second.
fn memory_leak(args: &[&str]) {
    enter(args[0]);
    name("memory-leak");
    let mut held: Vec<Vec<u8>> = (0..210).map(|_| vec![1; 1 << 20]).collect();
    ready();
    loop {
        held.push(vec![1; 1 << 20]);
        sleep(Duration::from_millis(250));
    }
}

fn enter(procs: &str) {
    std::fs::write(procs, std::process::id().to_string()).expect("enter the cgroup");
}

/// Opens files until so many descriptors are taken, of a limit that is set first.
fn descriptors(args: &[&str]) {
    name("fd-leak");
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = Some(number(args[1]));
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).expect("set the limit");
    let held: Vec<_> = (3..number(args[0])).map(|_: u32| std::fs::File::open("/dev/null").expect("open")).collect();
    ready();
    while !held.is_empty() {
        sleep(Duration::from_hours(1));
    }
}

/// As a user of its own with at most so many tasks, starts threads until a start fails, and goes on trying.
fn user_tasks(args: &[&str]) {
    // Its name is root's to set.
    name("nproc-hit");
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nproc);
    (limit.current, limit.maximum) = (Some(number(args[1])), Some(number(args[1])));
    rustix::process::setrlimit(rustix::process::Resource::Nproc, limit).expect("set the limit");
    // Each thread has its own ids: there is only this one.
    let id: u32 = number(args[0]);
    rustix::thread::set_thread_groups(&[]).expect("drop groups");
    rustix::thread::set_thread_gid(rustix::process::Gid::from_raw(id)).expect("set the group");
    rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(id)).expect("set the user");
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).expect("die with the parent");
    let start = || thread::Builder::new().stack_size(64 << 10).spawn(|| forever()).is_ok();
    while start() {}
    ready();
    loop {
        start();
        sleep(Duration::from_millis(200));
    }
}
