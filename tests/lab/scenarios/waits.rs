//! Waits in D that must be told apart: for a vfork child, for a FUSE server by what was killed, in a frozen cgroup.

use crate::actors::{forever, name, ready};
use crate::kit::{Cleanup, Expect, Look, Scenario, Stage, may, must, scratch, until};
use serde_json::Value;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;

pub const ALL: &[Scenario] = &[Scenario {
    name: "waits_in_d_told_apart",
    root: true,
    tools: &["mount", "umount"],
    actors: &[("silent-fuse", silent_fuse), ("spawns", spawns), ("stats", stats), ("writes", writes)],
    cannot: || (!Path::new("/dev/fuse").exists()).then(|| "this kernel has no FUSE".into()),
    stage,
    expects,
    check,
    // The child of the vfork waits for the same server.
    may_say: &["task.d_state_long"],
    ..Scenario::BASE
}];

fn stage() -> Stage {
    let mut stage = Stage::default();
    let dir = scratch(&mut stage, "fuse");
    let dir = dir.to_str().expect("utf-8").to_owned();
    let mounted = dir.clone();
    stage.undo(move || may("umount", &["-l", &mounted]));
    let server = stage.actor(&["silent-fuse", &dir]);
    // Its end answers all who wait for it: they are ended before it, so it must go first.
    stage.release.push(Cleanup(Some(Box::new(move || may("kill", &["-9", &server.to_string()])))));
    stage.inode = u64::from(stage.actor(&["spawns", &format!("{dir}/program")]));
    // The root itself: a look-up below it would wait for the launcher's, which holds the directory.
    let stuck = stage.actor(&["stats", &dir]);
    until("it waits for the server", || wchan(stuck) == "request_wait_answer");
    must("kill", &["-9", &stuck.to_string()]);
    until("what was killed waits in D", || state(stuck) == Some('D'));
    stage.pid = stuck;
    freeze(&mut stage);
    stage
}

/// A v1-frozen cgroup's tasks are in D, and all is well with them.
fn freeze(stage: &mut Stage) {
    let root = Path::new("/sys/fs/cgroup/freezer");
    if !root.is_dir() {
        return;
    }
    let group = crate::kit::cgroup(stage, "freezer", "frozen");
    // A container is in one cgroup of every hierarchy.
    let beside = crate::kit::cgroup(stage, "memory", "frozen");
    let frozen = stage.actor(&["writes"]);
    for dir in [&group, &beside] {
        std::fs::write(dir.join("cgroup.procs"), frozen.to_string()).expect("enter the cgroup");
    }
    std::fs::write(group.join("freezer.state"), "FROZEN").expect("freeze it");
    let freezer = group.join("freezer.state");
    stage.release.push(Cleanup(Some(Box::new(move || std::fs::write(freezer, "THAWED").expect("thaw it")))));
    until("its task is frozen", || state(frozen) == Some('D'));
}

fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

fn wchan(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default()
}

fn expects(stage: &Stage) -> Vec<Expect> {
    let says = |part: &'static str| move |f: &Value| f["message"].as_str().is_some_and(|m| m.contains(part));
    let advises = |part: &'static str| move |f: &Value| f["advice"].to_string().contains(part);
    let launcher = u32::try_from(stage.inode).expect("a pid");
    vec![
        Expect::warning("task.d_state_long")
            .task(launcher)
            .that("its child by name", says("for its vfork child launcher("))
            .that("it can be killed", says("it can be killed")),
        Expect::critical("task.d_state_long")
            .task(stage.pid)
            .that("where it waits, and that it was killed", says("at request_wait_answer for at least"))
            .that("that a kill is pending", says("SIGKILL pending"))
            .that("how to end the wait", advises("/sys/fs/fuse/connections"))
            .that("its stack", |f| f["evidence"].to_string().contains("request_wait_answer ←")),
    ]
}

/// Frozen tasks are not stuck.
fn check(look: &Look, _: &Stage) -> Result<(), String> {
    let frozen = look.findings().iter().find(|f| f["subject"]["comm"] == "frozen-job");
    frozen.map_or(Ok(()), |f| Err(format!("said of a frozen task: {f}")))
}

/// `FUSE_INIT` of `linux/fuse.h`.
const INIT: u32 = 26;

/// A FUSE server that answers the first question and no other: every access to its mount waits for ever.
fn silent_fuse(args: &[&str]) {
    name("dead-fuse");
    let mut device = File::options().read(true).write(true).open("/dev/fuse").expect("open /dev/fuse");
    rustix::io::fcntl_setfd(&device, rustix::io::FdFlags::empty()).expect("let mount(8) have it");
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    must("mount", &["-i", "-t", "fuse", "-o", &options, "whytop-lab", args[0]]);
    let mut request = vec![0; 64 << 10];
    let n = device.read(&mut request).expect("read the first request");
    let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().expect("four bytes"));
    assert!(n >= 56 && word(4) == INIT, "not FUSE_INIT");
    // fuse_out_header: len, error, unique; then fuse_init_out: the kernel's own version, and zeroes.
    let mut answer = vec![0; 16 + 64];
    answer[0..4].copy_from_slice(&80_u32.to_ne_bytes());
    answer[8..16].copy_from_slice(&request[8..16]);
    answer[16..24].copy_from_slice(&request[40..48]);
    // Requests must fit the buffer: at most so much is written at once.
    answer[36..40].copy_from_slice(&4096_u32.to_ne_bytes());
    device.write_all(&answer).expect("answer it");
    ready();
    while device.read(&mut request).is_ok() {}
}

/// Runs a program by way of `vfork`: where the program can't be read, the child never gets to run it.
fn spawns(args: &[&str]) {
    name("launcher");
    ready();
    Command::new(args[0]).spawn().ok();
    forever()
}

/// Asks for a file that never comes.
fn stats(args: &[&str]) {
    name("ls-dead-mount");
    ready();
    std::fs::metadata(args[0]).ok();
    forever()
}

/// Runs until it is frozen.
fn writes(_: &[&str]) {
    name("frozen-job");
    ready();
    forever()
}
