//! A path that loses every fifth packet.

use crate::actors::{ip, loopback, name, ready};
use crate::kit::{Expect, Scenario, Stage, must};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::thread;

pub const ALL: &[Scenario] = &[Scenario {
    name: "path_that_loses_every_fifth_packet",
    root: true,
    tools: &["unshare", "ip", "nft"],
    actors: &[("loses", loses)],
    stage,
    expects,
    // Handshakes are lost on it too.
    may_say: &["tcp.listen_overflow"],
    apart: true,
    ..Scenario::BASE
}];

fn stage() -> Stage {
    let mut stage = Stage::default();
    stage.actor_in(&["unshare", "-n"], &["loses"]);
    stage
}

fn expects(_: &Stage) -> Vec<Expect> {
    let again = Expect::warning("tcp.retransmits").about(|s| s["kind"] == "netns").leads();
    vec![
        again
            .that("a hundred a second or more", |f| f["rate_per_s"].as_f64() >= Some(100.0))
            .that("how much of all", |f| f["message"].as_str().is_some_and(|m| m.contains("% of all"))),
    ]
}

/// Sends through many connections over a link that drops packets as they arrive.
fn loses(_: &[&str]) {
    ip(&["link", "set", "lo", "mtu", "1500", "up"]);
    must("nft", &["add table ip lab; add chain ip lab in { type filter hook input priority 0; }; add rule ip lab in numgen random mod 5 == 0 drop"]);
    name("replicator");
    let listener = TcpListener::bind(loopback(8086)).expect("listen");
    thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            thread::spawn(move || std::io::copy(&mut peer, &mut std::io::sink()));
        }
    });
    for _ in 0..100 {
        thread::spawn(|| {
            let mut s = TcpStream::connect(loopback(8086)).expect("connect");
            while s.write_all(&[0; 4096]).is_ok() {}
        });
    }
    ready();
    loop {
        thread::park();
    }
}
