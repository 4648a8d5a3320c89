//! Story B, TIME_WAIT overflow: a scheduler that connects to redis for every job, in a namespace with few TIME_WAIT
//! buckets. Where the server closes first the sockets stay at its port, where the client does at the far end's.

use crate::actors::{forever, name, number, ready};
use crate::kit::{Expect, Look, Scenario, Stage, must};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::thread::sleep;
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "story_b_time_wait_overflow",
        actors: &[("redis", redis), ("jobs", jobs)],
        stage: || overflow("127.0.0.1", "server"),
        expects: |stage| vec![full(stage).that("the port and its process", names(stage, "local port 6379 (redis-server("))],
        text: true,
        ..OVERFLOW
    },
    Scenario {
        name: "story_b_ipv6_client_closes_first",
        stage: || overflow("::1", "client"),
        expects: |stage| vec![full(stage).that("the far end", |f| said(f, "connections to [::1]:6379"))],
        ..OVERFLOW
    },
];

const OVERFLOW: Scenario = Scenario {
    root: true,
    tools: &["ip", "unshare", "nsenter"],
    check: counts_only,
    apart: true,
    ..Scenario::BASE
};

const BUCKETS: u64 = 300;

fn overflow(at: &str, first: &str) -> Stage {
    let mut stage = Stage::default();
    stage.pid = stage.actor_in(&["unshare", "-n"], &["redis", at, first]);
    let door = stage.pid.to_string();
    stage.inode = std::fs::metadata(format!("/proc/{door}/ns/net")).expect("its namespace").ino();
    stage.actor_in(&["nsenter", "-t", &door, "-n"], &["jobs", at, first]);
    stage
}

fn redis(args: &[&str]) {
    let [at, first] = args else { panic!("redis ADDR server|client") };
    name("redis-server");
    must("ip", &["link", "set", "lo", "up"]);
    std::fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", BUCKETS.to_string()).expect("few buckets");
    let listener = TcpListener::bind((at.parse::<IpAddr>().expect("an address"), 6379)).expect("listen");
    ready();
    for peer in listener.incoming() {
        let Ok(mut peer) = peer else { continue };
        if *first == "client" {
            // The client waits for it: its next connection finds this one accepted, however slow this machine is.
            peer.write_all(b"+").ok();
            peer.read_to_end(&mut Vec::new()).ok();
        }
    }
    forever();
}

fn jobs(args: &[&str]) {
    let [at, first] = args else { panic!("jobs ADDR server|client") };
    name("scheduler");
    let to = SocketAddr::new(at.parse().expect("an address"), number("6379"));
    let job = || {
        let mut connection = TcpStream::connect(to).expect("connect");
        if *first == "server" {
            connection.read_to_end(&mut Vec::new()).ok();
        } else {
            connection.read_exact(&mut [0]).expect("an answer");
        }
    };
    (0..BUCKETS + 50).for_each(|_| job());
    ready();
    loop {
        (0..20).for_each(|_| job());
        sleep(Duration::from_millis(100));
    }
}

fn said(f: &serde_json::Value, words: &str) -> bool {
    f["message"].as_str().is_some_and(|m| m.contains(words))
}

fn names(stage: &Stage, words: &str) -> impl Fn(&serde_json::Value) -> bool + 'static {
    let words = format!("{words}{})", stage.pid);
    move |f| said(f, &words)
}

fn full(stage: &Stage) -> Expect {
    let advises = |f: &serde_json::Value, words: &str| f["advice"].to_string().contains(words);
    let from_to = |name: &str| format!("sysctl -w {name}=");
    let (buckets, backlog) = (from_to("net.ipv4.tcp_max_tw_buckets"), from_to("net.ipv4.tcp_max_syn_backlog"));
    Expect::critical("tcp.time_wait_full")
        .netns(stage.inode)
        .leads()
        .that("the buckets", |f| f["limit"] == BUCKETS && f["value"].as_f64() >= Some(200.0))
        .that("connections closed without it, a second", |f| said(f, "are closed without it") && f["rate_per_s"].as_f64() > Some(1.0))
        .that("the sysctl from what to what", move |f| advises(f, &buckets) && advises(f, &format!("# now {BUCKETS}")))
        .that("tcp_max_syn_backlog beside it", move |f| advises(f, &backlog))
        .that("never tcp_tw_recycle", move |f| !advises(f, "tcp_tw_recycle"))
}

/// It says what the kernel counts, and nothing of lost replies.
fn counts_only(look: &Look, _: &Stage) -> Result<(), String> {
    let said = look.json["stories"].to_string();
    if said.contains("lost") { Err(format!("blames it for losses: {said}")) } else { Ok(()) }
}
