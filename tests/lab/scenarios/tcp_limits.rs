//! TCP at its limits: queues, ports, buffers, sockets that nobody closes. Each stands in a network namespace of its own, so
//! that ports and counters are its own too.

use crate::actors::{ip, loopback, many_descriptors, name, number, ready, stream, sysctl};
use crate::kit::{Expect, Scenario, Stage};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::thread::{self, sleep};
use std::time::Duration;

pub const ALL: &[Scenario] = &[Scenario {
    name: "tcp_queues_ports_and_buffers",
    root: true,
    tools: &["unshare", "ip"],
    actors: &[
        ("close-wait", close_wait),
        ("deaf-listener", deaf_listener),
        ("syn-flood", syn_flood),
        ("ports", ports),
        ("shrunk-buffers", shrunk_buffers),
    ],
    stage,
    expects,
    // Those who try to reach a server that does not accept; and a burst of connections that a busy machine accepts late.
    may_say: &["tcp.syn_sent_pile", "tcp.listen_overflow", "tcp.retransmits"],
    ..Scenario::BASE
}];

fn stage() -> Stage {
    let mut stage = Stage::default();
    let apart = ["unshare", "-n"];
    stage.actor_in(&apart, &["close-wait", "60", "20"]);
    stage.actor_in(&apart, &["ports", "40000 40299", "285"]);
    stage.actor_in(&apart, &["deaf-listener"]);
    stage.actor_in(&apart, &["syn-flood", "1"]);
    stage.actor_in(&apart, &["syn-flood", "0"]);
    stage.actor_in(&apart, &["shrunk-buffers"]);
    stage
}

fn expects(_: &Stage) -> Vec<Expect> {
    let at = |name: &'static str| move |s: &serde_json::Value| s["comm"] == name || s["owner"]["comm"] == name;
    let says = |part: &'static str| move |f: &serde_json::Value| f["message"].as_str().is_some_and(|m| m.contains(part));
    let advises = |part: &'static str| move |f: &serde_json::Value| f["advice"].to_string().contains(part);
    vec![
        Expect::warning("tcp.close_wait_pile")
            .about(at("crm-app"))
            .leads()
            .that("50 or more, growing", |f| f["value"].as_f64() >= Some(50.0) && f["rate_per_s"].as_f64() > Some(5.0)),
        Expect::warning("tcp.port_exhaustion")
            .about(|s| s["kind"] == "remote" && s["port"] == 8083)
            .that("285 of 300", |f| f["value"] == 285.0 && f["limit"] == 300.0)
            .that("who holds them", says("proxy("))
            .that("the range as it is, in its own namespace", advises("ip_local_port_range=\\\"10240 65535\\\"   # now 40000 40299")),
        Expect::critical("tcp.listen_overflow")
            .about(at("deaf-server"))
            .leads()
            .that("queue and backlog", |f| f["value"] == 9.0 && f["limit"] == 8.0)
            .that("it does not accept", says("does not accept fast enough")),
        Expect::warning("tcp.listen_overflow")
            .about(at("attacked"))
            .that("cookies are sent", says("the kernel answers with SYN cookies")),
        Expect::critical("tcp.listen_overflow")
            .about(at("undefended"))
            .that("half-open connections, and connections dropped", says("half-open connections fill the SYN queue"))
            .that("cookies are off", advises("net.ipv4.tcp_syncookies=1   # now 0")),
        Expect::warning("tcp.memory_pressure")
            .about(|s| s["kind"] == "netns")
            .that("who does not read", says("waits for slow-reader("))
            .that("segments dropped at a receive queue", |f| f["evidence"].to_string().contains("RcvPruned")),
    ]
}

/// Holds `count` connections that the peer has closed, and opens `per_s` more a second.
fn close_wait(args: &[&str]) {
    let (count, per_s) = (number(args[0]), number(args[1]));
    many_descriptors();
    ip(&["link", "set", "lo", "up"]);
    let listener = TcpListener::bind(loopback(8080)).expect("listen");
    thread::spawn(move || listener.incoming().for_each(drop));
    name("crm-app");
    let mut held = Vec::new();
    let mut open = |n: u32| (0..n).for_each(|_| held.push(TcpStream::connect(loopback(8080)).expect("connect")));
    open(count);
    ready();
    loop {
        sleep(Duration::from_secs(1));
        open(per_s);
    }
}

/// A listener with a backlog of 8 that never accepts, and clients that go on trying.
fn deaf_listener(_: &[&str]) {
    ip(&["link", "set", "lo", "up"]);
    let listener = stream(SocketFlags::empty());
    rustix::net::bind(&listener, &loopback(8081)).expect("bind");
    rustix::net::listen(&listener, 8).expect("listen");
    name("deaf-server");
    let mut held = std::collections::VecDeque::new();
    for n in 0_u64.. {
        let s = stream(SocketFlags::NONBLOCK);
        rustix::net::connect(&s, &loopback(8081)).ok();
        held.push_back(s);
        // The first nine stand in its queue.
        if held.len() > 60 {
            held.remove(9);
        }
        if n == 30 {
            ready();
        }
        sleep(Duration::from_millis(50));
    }
    drop(listener);
}

/// Not a loopback address: nothing may leave from those.
const ATTACKED: Ipv4Addr = Ipv4Addr::new(10, 9, 255, 1);

/// SYNs from addresses that never answer, to a listener that would accept.
fn syn_flood(args: &[&str]) {
    ip(&["link", "set", "lo", "up"]);
    // What goes to these addresses ends at an interface that nobody reads.
    ip(&["link", "add", "void", "type", "veth", "peer", "name", "nobody"]);
    for dev in ["void", "nobody"] {
        ip(&["link", "set", dev, "arp", "off", "up"]);
    }
    ip(&["addr", "add", "10.9.255.1/32", "dev", "lo"]);
    ip(&["route", "add", "10.9.0.0/16", "dev", "void"]);
    for conf in ["all", "lo", "void"] {
        sysctl(&format!("net/ipv4/conf/{conf}/rp_filter"), "0");
    }
    sysctl("net/ipv4/tcp_syncookies", args[0]);
    let listener = stream(SocketFlags::empty());
    rustix::net::bind(&listener, &SocketAddrV4::new(ATTACKED, 8082)).expect("bind");
    rustix::net::listen(&listener, 64).expect("listen");
    let listener = TcpListener::from(listener);
    thread::spawn(move || listener.incoming().for_each(drop));
    name(if args[0] == "0" { "undefended" } else { "attacked" });
    let raw = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)).expect("a raw socket");
    for n in 0_u32.. {
        let from = Ipv4Addr::from(0x0a09_0001 + n % 60_000);
        let port = 1024 + u16::try_from(n % 50_000).expect("below 2^16");
        let packet = syn(from, port, ATTACKED, 8082);
        rustix::net::sendto(&raw, &packet, rustix::net::SendFlags::empty(), &SocketAddrV4::new(ATTACKED, 0)).expect("send a SYN");
        if n == 200 {
            ready();
        }
        sleep(Duration::from_millis(2));
    }
}

/// An IPv4 packet with one SYN.
fn syn(from: Ipv4Addr, from_port: u16, to: Ipv4Addr, to_port: u16) -> Vec<u8> {
    let mut tcp = Vec::new();
    tcp.extend(from_port.to_be_bytes());
    tcp.extend(to_port.to_be_bytes());
    tcp.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    let mut pseudo = [from.octets(), to.octets()].concat();
    pseudo.extend([0, 6, 0, 20]);
    pseudo.extend(&tcp);
    let mut sum: u32 = pseudo.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    tcp[16..18].copy_from_slice(&(!u16::try_from(sum).expect("folded")).to_be_bytes());
    // The kernel fills in length, id and checksum of the IP header.
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(tcp);
    packet
}

/// Connects to one far end until nearly every local port of a small range is taken.
fn ports(args: &[&str]) {
    ip(&["link", "set", "lo", "up"]);
    sysctl("net/ipv4/ip_local_port_range", args[0]);
    let listener = TcpListener::bind(loopback(8083)).expect("listen");
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    name("proxy");
    many_descriptors();
    let held: Vec<_> = (0..number(args[1])).map(|_| TcpStream::connect(loopback(8083)).expect("connect")).collect();
    ready();
    while !held.is_empty() {
        sleep(Duration::from_hours(1));
    }
}

/// Receivers that shrink their buffer after they have advertised a large window: what was allowed is dropped.
fn shrunk_buffers(_: &[&str]) {
    ip(&["link", "set", "lo", "mtu", "1500", "up"]);
    let listener = TcpListener::bind(loopback(8084)).expect("listen");
    name("slow-reader");
    let client = || {
        let mut s = TcpStream::connect(loopback(8084)).expect("connect");
        s.read_exact(&mut [0]).expect("the word to go");
        s.write_all(&vec![0; 40_000]).expect("send what the window allows");
        s
    };
    let mut held = std::collections::VecDeque::new();
    for n in 0_u64.. {
        let sender = thread::spawn(client);
        let (mut receiver, _) = listener.accept().expect("accept");
        sockopt::set_socket_recv_buffer_size(&receiver, 1024).expect("shrink the buffer");
        receiver.write_all(b"g").expect("say go");
        held.push_back((receiver, sender.join().expect("the sender")));
        if held.len() > 100 {
            held.pop_front();
        }
        if n == 20 {
            ready();
        }
        sleep(Duration::from_millis(50));
    }
}
