//! Story E, UDP loss: a cluster node that asks for a large receive buffer, is capped, and loses datagrams of its
//! multicast group; it keeps what was not acknowledged, and what is sent again fills the link.

use crate::actors::{forever, name, ready};
use crate::kit::cgroup::{enter, limited};
use crate::kit::veth::{HERE, wire_into_nothing};
use crate::kit::{Expect, Scenario, Stage, may, must, one_story};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::thread::{self, sleep};
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "story_e_udp_loss",
        tools: &["ip", "tc", "unshare", "nsenter"],
        actors: &[("node", node), ("flood", flood), ("deaf6", deaf6)],
        stage: cluster,
        expects,
        may_say: &["net.qdisc_drops", "udp.sndbuf_errors", "cgroup.at_limit", "cgroup.oom_kill"],
        check: |look, stage| one_story(look, &expects(stage)),
        text: true,
        look: "6s",
        ..LOSS
    },
    Scenario {
        name: "story_e_ipv6_never_asked_in_a_named_namespace",
        tools: &["ip"],
        stage: named,
        expects: never_asked,
        check: |look, stage| {
            let told = look.text.contains(&format!("network namespace {}", stage.path));
            if told { Ok(()) } else { Err(format!("the namespace {} is not named: {}", stage.path, look.text)) }
        },
        text: true,
        apart: true,
        ..LOSS
    },
];

const LOSS: Scenario = Scenario { root: true, ..Scenario::BASE };

const GROUP: Ipv4Addr = Ipv4Addr::new(228, 8, 8, 8);
const PORT: u16 = 45588;
const LIMIT_MB: u64 = 240;

fn cluster() -> Stage {
    let mut stage = Stage::default();
    let cgroup = limited(&mut stage, "node", LIMIT_MB << 20);
    stage.pid = stage.actor_in(&["unshare", "-n"], &["node", cgroup.to_str().expect("utf-8")]);
    let door = stage.pid.to_string();
    stage.actor_in(&["nsenter", "-t", &door, "-n"], &["flood", &format!("{GROUP}:{PORT}")]);
    stage
}

/// Does not read what comes, and keeps ever more.
fn node(args: &[&str]) {
    let [cgroup] = args else { panic!("node CGROUP") };
    wire_into_nothing();
    must("ip", &["route", "add", "224.0.0.0/4", "dev", "v0"]);
    must("tc", &["qdisc", "add", "dev", "v0", "root", "tbf", "rate", "8mbit", "burst", "32kb", "latency", "50ms"]);
    enter(Path::new(cgroup));
    name("jgroups");
    let group = UdpSocket::bind((GROUP, PORT)).expect("bind to the group");
    // Older kernels show it in the first namespace alone.
    let cap = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap_or_default();
    let max: usize = cap.trim().parse().unwrap_or(0);
    set_socket_recv_buffer_size(&group, max.max(5_000_000) + 1_000_000).expect("ask for more than there is");
    group.join_multicast_v4(&GROUP, &HERE.parse().expect("an address")).expect("join");
    // Of a process that has just started only what fills its limit soon counts as growth.
    let mut unacknowledged = vec![vec![1_u8; 150 << 20]];
    ready();
    loop {
        unacknowledged.push(vec![1; 200 << 10]);
        sleep(Duration::from_millis(100));
        assert!(group.local_addr().is_ok() && unacknowledged.len() < 100_000, "killed before");
    }
}

fn flood(args: &[&str]) {
    let [to] = args else { panic!("flood ADDR:PORT") };
    name("sender");
    let to: SocketAddr = to.parse().expect("an address");
    let sender = UdpSocket::bind(if to.is_ipv6() { "[::1]:0" } else { "0.0.0.0:0" }).expect("bind");
    ready();
    loop {
        for _ in 0..40 {
            sender.send_to(&[0; 1400], to).ok();
        }
        sleep(Duration::from_millis(10));
    }
}

fn expects(stage: &Stage) -> Vec<Expect> {
    let said = |f: &serde_json::Value, words: &str| f["message"].as_str().is_some_and(|m| m.contains(words));
    vec![
        Expect::critical("udp.rcvbuf_drops")
            .task(stage.pid)
            .leads()
            .that("datagrams a second", |f| f["rate_per_s"].as_f64() > Some(100.0))
            .that("the group", move |f| said(f, "228.8.8.8:45588 (a multicast group)") && f["evidence"].to_string().contains("228.8.8.8 on v0"))
            .that("that it was capped", move |f| said(f, "capped by net.core.rmem_max"))
            .that("the sysctl, which is the host's", |f| f["advice"].to_string().contains("\"sysctl -w net.core.rmem_max=")),
        Expect::warning("task.memory_growth").task(stage.pid),
        Expect::warning("net.link_saturated").about(|s| s["kind"] == "iface" && s["name"] == "v0"),
    ]
}

fn named() -> Stage {
    let mut stage = Stage::default();
    let netns = format!("whytop-lab-{}", std::process::id());
    must("ip", &["netns", "add", &netns]);
    let gone = netns.clone();
    stage.undo(move || may("ip", &["netns", "del", &gone]));
    stage.pid = stage.actor_in(&["ip", "netns", "exec", &netns], &["deaf6"]);
    stage.path = netns;
    stage
}

fn deaf6(_: &[&str]) {
    name("jgroups6");
    must("ip", &["link", "set", "lo", "up"]);
    let deaf = UdpSocket::bind(("::1", PORT)).expect("bind");
    let to = format!("[::1]:{PORT}");
    thread::spawn(move || flood(&[&to]));
    sleep(Duration::from_millis(200));
    name("jgroups6");
    while deaf.local_addr().is_ok() {
        sleep(Duration::from_secs(1));
    }
    forever();
}

fn never_asked(stage: &Stage) -> Vec<Expect> {
    let said = |f: &serde_json::Value, words: &str| f["message"].as_str().is_some_and(|m| m.contains(words));
    let lost = Expect::critical("udp.rcvbuf_drops").task(stage.pid).leads();
    vec![
        lost.that("where, and why", move |f| said(f, "UDP [::1]:45588") && said(f, "the default, it never asked for more"))
            .that("that the cap does not help", |f| f["advice"].to_string().contains("alone won't help")),
    ]
}
