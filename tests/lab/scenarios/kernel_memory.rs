//! Kernel memory that grows without any dead cgroup, and tasks that stall for memory.

use crate::actors::{name, number, ready};
use crate::kit::{Expect, Scenario, Stage, cgroup, scratch};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread::{self, sleep};
use std::time::Duration;

pub const ALL: &[Scenario] = &[MESSAGES, STALLS];

const MESSAGES: Scenario = Scenario {
    name: "messages_nobody_reads_fill_the_kernel",
    root: true,
    actors: &[("unread-messages", unread_messages)],
    stage: messages,
    expects: messages_say,
    ..Scenario::BASE
};

const STALLS: Scenario = Scenario {
    name: "page_cache_thrash_stalls_tasks",
    root: true,
    actors: &[("thrash", thrash)],
    cannot: || (std::fs::read("/proc/pressure/memory").is_err()).then(|| "this kernel counts no pressure (psi=1)".into()),
    stage: stalls,
    expects: stalls_say,
    may_say: &["task.d_state_long", "cgroup.at_limit"],
    ..Scenario::BASE
};

fn ram_bytes() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").expect("read meminfo");
    let kb = meminfo.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
    kb.expect("MemTotal") * 1024
}

fn messages() -> Stage {
    let mut stage = Stage::default();
    // Each message takes an object of 512 bytes and one of 256. Twice what a cache may grow in a minute.
    let per_s = ram_bytes() / 100 * 2 / 60 / 512;
    stage.pid = stage.actor(&["unread-messages", &per_s.to_string()]);
    stage
}

fn messages_say(_: &Stage) -> Vec<Expect> {
    let cache = |s: &Value| s["kind"] == "slab" && s["name"].as_str().is_some_and(|n| n.contains("512"));
    let grows = |f: &Value| f["rate_per_s"].as_f64() > Some(0.0);
    vec![
        Expect::warning("slab.growth").about(cache).that("by its rate", grows),
        Expect::warning("slab.unreclaimable").host().leads().that("by its rate", grows),
    ]
}

/// Sends so many messages a second that nobody reads: each lies in the kernel's memory.
fn unread_messages(args: &[&str]) {
    name("queue-leak");
    let per_s: u64 = number(args[0]);
    let (mut to, from) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    rustix::net::sockopt::set_socket_send_buffer_size_force(&to, 1 << 30).expect("a large buffer");
    ready();
    // The buffer bounds it: at most 2 GB.
    loop {
        for _ in 0..per_s / 20 {
            to.write_all(b"x").expect("send");
        }
        sleep(Duration::from_millis(50));
        assert!(from.peer_addr().is_ok(), "the receiver stays open");
    }
}

fn stalls() -> Stage {
    let mut stage = Stage::default();
    let group = cgroup(&mut stage, "memory", "thrash");
    let limit = ["memory.limit_in_bytes", "memory.max"].map(|f| group.join(f)).into_iter().find(|f| f.exists());
    std::fs::write(limit.expect("a memory controller"), "30M").expect("set the limit");
    let dir = scratch(&mut stage, "thrash");
    let procs = group.join("cgroup.procs");
    let words = ["thrash", procs.to_str().expect("utf-8"), dir.to_str().expect("utf-8")];
    stage.pid = stage.actor(&words);
    stage
}

fn stalls_say(_: &Stage) -> Vec<Expect> {
    let often = |f: &Value| f["value"].as_f64() >= Some(9.0);
    vec![Expect::warning("host.pressure").host().leads().that("percent of the time", often)]
}

/// Reads files, in many threads, that its cgroup has no room for.
fn thrash(args: &[&str]) {
    std::fs::write(args[0], std::process::id().to_string()).expect("enter the cgroup");
    name("thrasher");
    let file = Path::new(args[1]).join("file");
    // Its pages are charged to who brings them in first.
    std::fs::write(&file, vec![0; 120 << 20]).expect("write the file");
    for _ in 0..8 {
        let file = file.clone();
        thread::spawn(move || read_for_ever(&file));
    }
    ready();
    read_for_ever(&file)
}

fn read_for_ever(file: &PathBuf) -> ! {
    let mut buffer = vec![0; 128 << 10];
    loop {
        let mut file = std::fs::File::open(file).expect("open the file");
        while file.read(&mut buffer).expect("read") > 0 {}
    }
}
