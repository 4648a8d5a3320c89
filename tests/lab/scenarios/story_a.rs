//! Story A, the reconnect storm: an agent keeps connecting to a broker that never answers, with a socket, a thread and
//! a buffer for each attempt, until its memory cgroup is full and the OOM killer takes it. The JVM's file system hangs
//! besides, and with it the threads that keep its log.

use crate::actors::{name, number, ready};
use crate::kit::cgroup::{below, enter, kills, limited, usage};
use crate::kit::frozen::{ext4, freeze, never_tells, told_as_hung_after};
use crate::kit::veth::{NOBODY, NOBODY6, wire_into_nothing};
use crate::kit::{Expect, Look, Scenario, Stage, must, one_story, scratch, until, uptime_s};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::thread::{self, sleep};
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "story_a_jvm_reconnect_storm",
        tools: &["ip", "unshare", "java", "javac", "mkfs.ext4", "fsfreeze", "mount", "umount", "truncate"],
        actors: &[("agent-jvm", jvm), ("agent", native)],
        cannot: never_tells,
        stage: || storm(&Agent { jvm: true, limit_mb: 280, start_mb: 200, ..Agent::default() }),
        expects: |stage| expects(stage).into_iter().chain(of_a_jvm(stage)).collect(),
        check: |look, stage| {
            one_story(look, &expects(stage).into_iter().take(1).chain(of_a_jvm(stage)).collect::<Vec<_>>())?;
            story(look, stage)
        },
        may_say: &["cgroup.at_limit", "task.memory_growth", "task.d_state_long"],
        look: "14s",
        text: true,
        // What the kernel says of hung tasks is everyone's.
        apart: false,
        ..STORM
    },
    Scenario {
        name: "story_a_ipv6_limit_on_the_parent",
        stage: || storm(&Agent { to: NOBODY6, parent: true, ..Agent::default() }),
        ..STORM
    },
    Scenario {
        name: "story_a_leader_has_ended",
        stage: || storm(&Agent { leaderless: true, ..Agent::default() }),
        ..STORM
    },
];

const STORM: Scenario = Scenario {
    root: true,
    tools: &["ip", "unshare"],
    expects,
    check: story,
    may_say: &["task.thread_growth", "cgroup.at_limit", "task.memory_growth"],
    look: "11s",
    stays: &["cgroup.oom_kill"],
    apart: true,
    ..Scenario::BASE
};

const PORT: u16 = 61616;

struct Agent {
    jvm: bool,
    to: &'static str,
    limit_mb: u64,
    /// What it holds when the look begins.
    start_mb: u64,
    /// Whether the limit is on the parent of its cgroup.
    parent: bool,
    /// Whether the process's first thread ends while the others go on.
    leaderless: bool,
}

impl Default for Agent {
    fn default() -> Self {
        Self { jvm: false, to: NOBODY, limit_mb: 110, start_mb: 60, parent: false, leaderless: false }
    }
}

/// Without a JVM.
pub fn without_a_jvm() -> Stage {
    storm(&Agent::default())
}

fn storm(agent: &Agent) -> Stage {
    let mut stage = Stage::default();
    let limit = limited(&mut stage, "storm", agent.limit_mb << 20);
    let cgroup = if agent.parent { below(&limit, "agent") } else { limit.clone() };
    let log = if agent.jvm { ext4(&mut stage) } else { String::new() };
    stage.path = limit.file_name().expect("a name").to_str().expect("utf-8").into();
    let cgroup_of = cgroup.clone();
    let cgroup = cgroup.to_str().expect("utf-8");
    let port = PORT.to_string();
    stage.pid = if agent.jvm {
        let classes = scratch(&mut stage, "java");
        let classes = classes.to_str().expect("utf-8").to_owned();
        let source = format!("{classes}/Agent.java");
        std::fs::write(&source, include_str!("java/Agent.java")).expect("write the source");
        must("javac", &["-d", &classes, &source]);
        stage.actor_in(&["unshare", "-n"], &["agent-jvm", cgroup, agent.to, &port, &classes, &log])
    } else {
        let leader = if agent.leaderless { "ends" } else { "stays" };
        stage.actor_in(&["unshare", "-n"], &["agent", cgroup, agent.to, &port, leader])
    };
    let holds = limit.clone();
    until("it holds enough", || usage(&holds) >= agent.start_mb << 20);
    if agent.jvm {
        told_as_hung_after(&mut stage, 2);
        freeze(&mut stage, &log);
    }
    stage.stands_when(move || kills(&cgroup_of) > 0);
    stage
}

/// Attempts a second, and kB that each of them keeps: 10 MB a second. Threads of a program count as growing when it has
/// run for 10 s.
const PER_S: u32 = 50;
const KEPT_KB: usize = 200;

fn jvm(args: &[&str]) {
    let [cgroup, far, port, classes, log] = args else { panic!("agent-jvm CGROUP ADDR PORT CLASSES LOG") };
    wire_into_nothing();
    enter(Path::new(cgroup));
    let failed = Command::new("java")
        .args(["-Xmx1g", "-Xss256k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classes, "Agent"])
        .args([*far, *port, &PER_S.to_string(), &KEPT_KB.to_string(), *log])
        .exec();
    panic!("java: {failed}");
}

fn native(args: &[&str]) {
    let [cgroup, far, port, leader] = args else { panic!("agent CGROUP ADDR PORT stays|ends") };
    wire_into_nothing();
    enter(Path::new(cgroup));
    name("agent");
    let far = SocketAddr::new(far.parse::<IpAddr>().expect("an address"), number(port));
    let storm = move || {
        let mut unsent: Vec<Vec<u8>> = Vec::new();
        let started = uptime_s();
        loop {
            unsent.push(vec![1; KEPT_KB << 10]);
            let attempt = move || TcpStream::connect(far).map(drop).ok();
            thread::Builder::new().stack_size(64 << 10).spawn(attempt).expect("a thread");
            // A busy machine catches up: when the limit is reached must not depend on it.
            let due = started + f64::from(u32::try_from(unsent.len()).unwrap_or(u32::MAX)) / f64::from(PER_S);
            sleep(Duration::from_secs_f64((due - uptime_s()).max(0.001)));
            assert!(unsent.len() < 10_000, "killed before");
        }
    };
    if *leader == "ends" {
        thread::spawn(storm);
        ready();
        crate::actors::end_this_thread();
    }
    ready();
    storm();
}

fn expects(stage: &Stage) -> Vec<Expect> {
    let pid = stage.pid;
    vec![
        Expect::critical("tcp.syn_sent_pile")
            .task(pid)
            .to(PORT)
            .leads()
            .that("hundreds of sockets, growing", |f| f["value"].as_f64() >= Some(100.0)),
        Expect::critical("cgroup.oom_kill").cgroup(&stage.path).that("the victim", move |f| f["message"].to_string().contains(&pid.to_string())),
    ]
}

/// What takes longer than the others run.
fn of_a_jvm(stage: &Stage) -> [Expect; 2] {
    [Expect::warning("task.thread_growth").task(stage.pid), Expect::critical("task.hung").task(stage.pid)]
}

/// The sentence names the process and where it connects to.
fn story(look: &Look, stage: &Stage) -> Result<(), String> {
    one_story(look, &expects(stage))?;
    let summary = look.json["stories"].to_string();
    let wanted = [format!("({})", stage.pid), format!(":{PORT}"), "OOM killer strikes".into()];
    match wanted.iter().find(|w| !summary.contains(w.as_str())) {
        None => Ok(()),
        Some(word) => Err(format!("no {word} in: {summary}")),
    }
}
