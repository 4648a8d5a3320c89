//! A busy web server in a network namespace of its own: short connections that the server closes, thousands of them in
//! TIME_WAIT, far below every limit.

use crate::actors::{forever, loopback, name, ready};
use crate::kit::{Control, Stage};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, sleep};
use std::time::Duration;

pub const CALM: Control = Control {
    name: "web_server_short_connections",
    root: true,
    tools: &["ip", "unshare"],
    actors: &[("web", web)],
    load,
};

const PORT: u16 = 8080;
/// Table of TIME_WAIT in the namespace: the load fills less than half of it.
const BUCKETS: &str = "20000";
const SERVERS: usize = 8;
const CLIENTS: usize = 6;

fn load() -> Stage {
    let mut stage = Stage::default();
    stage.pid = stage.actor_in(&["unshare", "-n"], &["web"]);
    stage
}

fn web(_: &[&str]) {
    name("web");
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip").success(), "lo up");
    std::fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", BUCKETS).expect("set the table's size");
    let listener = Arc::new(TcpListener::bind(loopback(PORT)).expect("listen"));
    for _ in 0..SERVERS {
        let listener = Arc::clone(&listener);
        thread::spawn(move || {
            for mut peer in listener.incoming().flatten() {
                let mut request = [0; 512];
                if peer.read(&mut request).is_ok() {
                    peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n").ok();
                }
            }
        });
    }
    for _ in 0..CLIENTS {
        thread::spawn(|| {
            loop {
                ask().ok();
                sleep(Duration::from_millis(8));
            }
        });
    }
    ready();
    forever()
}

fn ask() -> std::io::Result<()> {
    let mut server = TcpStream::connect(loopback(PORT))?;
    server.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    server.read_to_end(&mut Vec::with_capacity(128)).map(drop)
}
