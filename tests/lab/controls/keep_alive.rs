//! Thousands of idle keep-alive connections, in a network namespace of their own.

use crate::actors::{forever, loopback, many_descriptors, name, number, ready};
use crate::kit::{Control, Stage};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

pub const CALM: Control = Control {
    name: "idle_keep_alive_connections",
    root: true,
    tools: &["ip", "unshare"],
    actors: &[("keep-alive", keep_alive)],
    load,
};

const PORT: u16 = 8081;

fn load() -> Stage {
    let mut stage = Stage::default();
    stage.pid = stage.actor_in(&["unshare", "-n"], &["keep-alive", "4000"]);
    stage
}

/// So many connections; both ends are in this process.
fn keep_alive(args: &[&str]) {
    let connections = number(args[0]);
    name("keep-alive");
    many_descriptors();
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip").success(), "lo up");
    let listener = TcpListener::bind(loopback(PORT)).expect("listen");
    // One after the other: a burst would overflow the accept queue, which is trouble.
    let pair = |_| (TcpStream::connect(loopback(PORT)).expect("connect"), listener.accept().expect("accept"));
    let held: Vec<_> = (0..connections).map(pair).collect();
    assert_eq!(held.len(), connections);
    ready();
    forever()
}
