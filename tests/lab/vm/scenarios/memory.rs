//! A machine that runs out of memory, of swap, of pids.

use crate::actors::{forever, name, number, ready};
use crate::kit::{Expect, Scenario, Stage, may, must};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

const MB: usize = 1 << 20;

/// Nearly all memory is one task's; what is left goes up and down with what else runs.
pub const EXHAUSTED: Scenario = Scenario {
    name: "memory_exhausted_by_one_task",
    root: true,
    actors: &[("leave", leave)],
    stage: || {
        let mut stage = Stage::default();
        stage.pid = stage.actor(&["leave", "25"]);
        stage
    },
    expects: |stage| {
        let pid = stage.pid;
        let names_it =
            move |f: &serde_json::Value| f["message"].as_str().is_some_and(|m| m.contains(&format!("({pid})")));
        vec![Expect::warning("host.memory_exhausted").host().that("the largest is named", names_it)]
    },
    may_say: &["task.memory_growth", "host.pressure"],
    ..Scenario::BASE
};

/// Swap is full of one task's memory, and little RAM is left.
pub const SWAP_FULL: Scenario = Scenario {
    name: "swap_full",
    root: true,
    tools: &["mkswap", "swapon", "swapoff"],
    actors: &[("fill-swap", fill_swap)],
    stage: || {
        let mut stage = Stage::default();
        must("mkswap", &["/dev/vdb"]);
        must("swapon", &["/dev/vdb"]);
        stage.undo(|| may("swapoff", &["/dev/vdb"]));
        stage.pid = stage.actor(&["fill-swap"]);
        stage
    },
    expects: |_| vec![Expect::warning("host.swap_full").host()],
    may_say: &["host.memory_exhausted", "host.pressure", "task.memory_growth"],
    gone: &["host.memory_exhausted"],
    ..Scenario::BASE
};

/// The OOM killer strikes again and again for the whole machine.
pub const OOM: Scenario = Scenario {
    name: "oom_kill_of_the_whole_machine",
    root: true,
    actors: &[("leak-again", leak_again), ("leak", leak)],
    stage: || {
        let mut stage = Stage::default();
        stage.pid = stage.actor(&["leak-again"]);
        stage
    },
    expects: |_| vec![Expect::critical("host.oom_kill").about(|s| s["kind"] == "task" && s["comm"] == "leak")],
    may_say: &["host.memory_exhausted", "host.pressure", "task.memory_growth", "task.respawn_loop"],
    stays: &["host.oom_kill"],
    look: "6s",
    ..Scenario::BASE
};

/// Threads of one task take nearly all pids there are.
pub const PIDS: Scenario = Scenario {
    name: "pid_max_nearly_reached",
    root: true,
    stage: || {
        let mut stage = Stage::default();
        std::fs::write("/proc/sys/kernel/threads-max", "10000").expect("room for more threads than pids");
        std::fs::write("/proc/sys/kernel/pid_max", "4096").expect("fewer pids");
        stage.undo(|| std::fs::write("/proc/sys/kernel/pid_max", "32768").expect("the pids back"));
        stage.pid = stage.actor(&["threads", "3750"]);
        stage
    },
    expects: |stage| {
        let pid = stage.pid;
        let names_it =
            move |f: &serde_json::Value| f["message"].as_str().is_some_and(|m| m.contains(&format!("({pid})")));
        let pids = Expect::warning("task.pid_exhaustion").host();
        vec![pids.that("of pid_max", |f| f["limit"] == 4096.0).that("who has them", names_it)]
    },
    may_say: &["task.thread_growth", "slab.growth", "slab.unreclaimable"],
    ..Scenario::BASE
};

fn meminfo_mb(key: &str) -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").expect("meminfo");
    let line = text.lines().find(|l| l.starts_with(key)).expect("a field of meminfo");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<usize>().ok()).expect("a number") / 1024
}

/// So many megabytes of pages that differ.
fn touched(mb: usize) -> Vec<u8> {
    let mut pages = vec![1; mb * MB];
    for (n, page) in pages.chunks_mut(4096).enumerate() {
        page[..8].copy_from_slice(&n.to_le_bytes());
    }
    pages
}

/// Holds so much that `args[0]` MB are available, and gives back when others need some.
fn leave(args: &[&str]) {
    name("hoarder");
    let target = number::<usize>(args[0]);
    let mut held = Vec::new();
    let mut said = false;
    loop {
        let available = meminfo_mb("MemAvailable");
        if available < target {
            held.pop();
        } else if available > target + 4 {
            held.push(vec![1_u8; 2 * MB]);
        } else {
            if !said {
                ready();
                said = true;
            }
            sleep(Duration::from_millis(5));
        }
    }
}

/// Takes memory until swap is full, then gives back what is still in RAM.
fn fill_swap(_: &[&str]) {
    name("swapped-out");
    let mut held = Vec::new();
    while meminfo_mb("SwapFree") > 5 {
        held.push(touched(1));
    }
    while meminfo_mb("MemAvailable") < meminfo_mb("MemTotal") / 6 {
        held.pop();
    }
    ready();
    forever()
}

/// Starts children that take all memory there is; each is the first choice of the OOM killer.
fn leak_again(_: &[&str]) {
    let exe = std::env::current_exe().expect("own path");
    ready();
    loop {
        Command::new(&exe).args(["--actor", "leak"]).stdout(Stdio::null()).status().ok();
        sleep(Duration::from_millis(1500));
    }
}

fn leak(_: &[&str]) {
    name("leak");
    std::fs::write("/proc/self/oom_score_adj", "1000").expect("the first choice");
    let mut held = Vec::new();
    loop {
        held.push(vec![1_u8; 16 * MB]);
    }
}
