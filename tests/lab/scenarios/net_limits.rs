//! Trouble below the sockets: links, queues, backlogs and tables. Each stands in network namespaces of its own.

use crate::actors::{ip, name, number, ready, sysctl};
use crate::kit::{Expect, Scenario, Stage, must};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::thread::{self, sleep};
use std::time::Duration;

const LINKS: Scenario = Scenario {
    name: "links_full_and_queues_that_drop",
    root: true,
    tools: &["unshare", "nsenter", "ip", "tc"],
    actors: &[
        ("sink", sink),
        ("full-link", full_link),
        ("queue-drops", queue_drops),
        ("send-buffer", send_buffer),
        ("mtu-mismatch", mtu_mismatch),
    ],
    stage: links,
    expects: links_say,
    // The same seen from the other end, or from the socket.
    may_say: &["net.link_saturated", "net.nic_drops", "udp.sndbuf_errors"],
    apart: true,
    ..Scenario::BASE
};

const TABLES: Scenario = Scenario {
    name: "backlog_and_connection_tracking_full",
    root: true,
    tools: &["unshare", "nsenter", "ip", "nft"],
    actors: &[("sink", sink), ("backlog-bursts", backlog_bursts), ("tracked-flows", tracked_flows)],
    cannot: || {
        let missing = [BACKLOG, CONNTRACK].into_iter().find(|path| !std::path::Path::new(path).exists());
        missing.map(|path| format!("this kernel has no {path}"))
    },
    stage: tables,
    expects: tables_say,
    // What the backlog has no room for a virtual interface counts as its own; the log says it too, in the first namespace.
    may_say: &["net.nic_drops", "udp.sndbuf_errors"],
    ..Scenario::BASE
};

pub const ALL: &[Scenario] = &[LINKS, TABLES];

fn links() -> Stage {
    let mut stage = Stage::default();
    for actor in ["full-link", "queue-drops", "send-buffer", "mtu-mismatch"] {
        stage.actor_in(&["unshare", "-n"], &[actor]);
    }
    stage
}

fn says(part: &'static str) -> impl Fn(&Value) -> bool {
    move |f| f["message"].as_str().is_some_and(|m| m.contains(part))
}

fn iface(name: &'static str) -> impl Fn(&Value) -> bool {
    move |s| s["kind"] == "iface" && s["name"] == name
}

fn rate(least: f64) -> impl Fn(&Value) -> bool {
    move |f| f["rate_per_s"].as_f64() >= Some(least)
}

fn links_say(_: &Stage) -> Vec<Expect> {
    vec![
        Expect::warning("net.link_saturated")
            .about(iface("full0"))
            .leads()
            .that("the shaper's rate is the limit", |f| f["limit"] == 2_500_000.0)
            .that("who sends what to whom", |f| {
                let message = f["message"].as_str().unwrap_or_default();
                message.contains("most of it by TCP: backup-job(") && message.contains(") sends ") && message.contains(&format!(" Mbit/s to {THERE}"))
            })
            .that("where the limit is told", |f| f["evidence"].to_string().contains("RTM_GETQDISC")),
        Expect::warning("net.qdisc_drops")
            .about(iface("queue0"))
            .that("hundreds a second", rate(100.0))
            .that("the kind of queue", says("(tbf)")),
        Expect::critical("udp.sndbuf_errors")
            .about(|s| s["kind"] == "netns")
            .that("hundreds a second", rate(100.0))
            .that("who can't send", says("jgroups-send("))
            .that("it may ask for more", |f| f["advice"].to_string().contains("SO_SNDBUF")),
        Expect::critical("net.nic_drops")
            .about(iface("mtu1"))
            .leads()
            .that("the end that drops what is too long", says("no use for them"))
            .that("what to look at", |f| f["advice"].to_string().contains("MTU of mtu1")),
    ]
}

const BACKLOG: &str = "/proc/sys/net/core/netdev_max_backlog";
const CONNTRACK: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// Sets a limit of the whole host until the stage ends.
fn limit(stage: &mut Stage, path: &'static str, value: u64) {
    let before = std::fs::read_to_string(path).expect("read the limit");
    std::fs::write(path, value.to_string()).expect("set the limit");
    stage.undo(move || std::fs::write(path, before).expect("put the limit back"));
}

fn tables() -> Stage {
    let mut stage = Stage::default();
    // Connections are counted in each namespace: the host's own must go on having room.
    let own = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap_or_default();
    let own: u64 = own.trim().parse().unwrap_or(0);
    limit(&mut stage, CONNTRACK, own * 2 + 3000);
    limit(&mut stage, BACKLOG, 64);
    stage.inode = own * 2 + 3000;
    stage.actor_in(&["unshare", "-n"], &["backlog-bursts"]);
    stage.actor_in(&["unshare", "-n"], &["tracked-flows", &(stage.inode * 2).to_string()]);
    stage
}

fn tables_say(stage: &Stage) -> Vec<Expect> {
    let max = stage.inode.to_string();
    vec![
        Expect::critical("net.softnet_drops")
            .about(|s| s["kind"] == "cpu")
            .leads()
            .that("the limit as it is", |f| f["advice"].to_string().contains("netdev_max_backlog=4096   # now 64")),
        Expect::critical("net.conntrack_full")
            .about(|s| s["kind"] == "netns")
            .leads()
            .that("full", |f| f["value"].as_f64() >= f["limit"].as_f64())
            .that("the limit as it is", move |f| f["advice"].to_string().contains(&format!("# now {max}"))),
    ]
}

const HERE: &str = "10.8.0.1";
const THERE: &str = "10.8.0.2";

/// A veth pair: `NAME0` in this namespace, `NAME1` in another one that lives as long as `pid`.
fn pair(name: &str, pid: u32) {
    let (here, there, pid) = (format!("{name}0"), format!("{name}1"), pid.to_string());
    ip(&["link", "set", "lo", "up"]);
    ip(&["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &pid]);
    ip(&["addr", "add", &format!("{HERE}/24"), "dev", &here]);
    ip(&["link", "set", &here, "up"]);
    over_there(&pid, &["ip", "link", "set", "lo", "up"]);
    over_there(&pid, &["ip", "addr", "add", &format!("{THERE}/24"), "dev", &there]);
    over_there(&pid, &["ip", "link", "set", &there, "up"]);
}

fn over_there(pid: &str, words: &[&str]) {
    let words: Vec<&str> = ["-t", pid, "-n"].into_iter().chain(words.iter().copied()).collect();
    must("nsenter", &words);
}

/// Another namespace, held by a process that reads what comes by TCP and dies with this one.
fn other_end() -> u32 {
    let exe = std::env::current_exe().expect("own path");
    let mut child = Command::new("unshare")
        .args(["-n", exe.to_str().expect("utf-8"), "--actor", "sink"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare");
    let mut line = String::new();
    let out = child.stdout.as_mut().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("the other end");
    assert_eq!(line.trim(), "READY");
    let pid = child.id();
    thread::spawn(move || child.wait());
    pid
}

/// A link `NAME0` shaped to `rate` by `tbf`, with room for `limit` bytes, in front of another namespace.
fn shaped(name: &str, rate: &str, limit: &str) {
    pair(name, other_end());
    let dev = format!("{name}0");
    must("tc", &["qdisc", "add", "dev", &dev, "root", "tbf", "rate", rate, "burst", "16k", "limit", limit]);
}

/// One TCP stream fills a link of 20 Mbit/s.
fn full_link(_: &[&str]) {
    shaped("full", "20mbit", "1m");
    name("backup-job");
    let mut s = TcpStream::connect((THERE, 8085)).expect("connect");
    let data = vec![0; 64 << 10];
    ready();
    while s.write_all(&data).is_ok() {}
}

/// Datagrams, more than a link of 2 Mbit/s lets out: its queue drops them.
fn queue_drops(_: &[&str]) {
    shaped("queue", "2mbit", "30k");
    name("metrics-agent");
    let s = UdpSocket::bind((HERE, 0)).expect("bind");
    ready();
    loop {
        for _ in 0..5 {
            s.send_to(&[0; 1000], (THERE, 9)).ok();
        }
        sleep(Duration::from_millis(5));
    }
}

/// Datagrams sent without waiting through a slow link, with a send buffer smaller than its queue.
fn send_buffer(_: &[&str]) {
    shaped("send", "1mbit", "4m");
    name("jgroups-send");
    let s = UdpSocket::bind((HERE, 0)).expect("bind");
    s.set_nonblocking(true).expect("nonblocking");
    rustix::net::sockopt::set_socket_send_buffer_size(&s, 32 << 10).expect("a small buffer");
    ready();
    loop {
        for _ in 0..20 {
            s.send_to(&[0; 1000], (THERE, 9)).ok();
        }
        sleep(Duration::from_millis(10));
    }
}

/// The far end of a pair takes packets of at most 1,000 bytes: what is longer is dropped there.
fn mtu_mismatch(_: &[&str]) {
    let there = other_end();
    pair("mtu", there);
    over_there(&there.to_string(), &["ip", "link", "set", "mtu1", "mtu", "1000"]);
    name("mtu-sender");
    let s = UdpSocket::bind((HERE, 0)).expect("bind");
    ready();
    for n in 0_u64.. {
        s.send_to(&[0; 1400][..if n % 4 == 0 { 1400 } else { 100 }], (THERE, 9)).ok();
        sleep(Duration::from_millis(2));
    }
}

/// Bursts of packets that are cut up only at the device: more at once than a CPU's backlog takes.
fn backlog_bursts(_: &[&str]) {
    let there = other_end();
    pair("burst", there);
    // Segments are cut at the device then, all of one send at once.
    ip(&["link", "set", "burst0", "gso_max_segs", "1"]);
    name("burst-sender");
    let s = UdpSocket::bind((HERE, 0)).expect("bind");
    segment(&s, 100);
    ready();
    loop {
        s.send_to(&[0; 12_000], (THERE, 9)).ok();
        sleep(Duration::from_millis(10));
    }
}

/// One send becomes datagrams of `bytes` each (`UDP_SEGMENT`).
#[expect(unsafe_code, reason = "no safe wrapper sets UDP_SEGMENT")]
fn segment(s: &UdpSocket, bytes: libc::c_int) {
    use std::os::fd::AsRawFd as _;
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("four bytes");
    // SAFETY: the pointer is to a live c_int of the size that is given.
    let set = unsafe {
        libc::setsockopt(s.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, (&raw const bytes).cast(), size)
    };
    assert_eq!(set, 0, "UDP_SEGMENT");
}

/// Opens `at_once` tracked flows, then a thousand a second more, each to a port of its own.
fn tracked_flows(args: &[&str]) {
    let at_once: usize = number(args[0]);
    ip(&["link", "set", "lo", "up"]);
    must("nft", &["add table ip lab; add chain ip lab out { type filter hook output priority 0; }; add rule ip lab out ct state new counter"]);
    sysctl("net/netfilter/nf_conntrack_udp_timeout", "600");
    name("dns-client");
    let from = |n: u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, 20_000 + n)).expect("bind");
    let sockets: Vec<UdpSocket> = (0..40).map(from).collect();
    for n in 0.. {
        let to = 25_000 + u16::try_from(n % 40_000).expect("below 2^16");
        sockets[n / 40_000 % sockets.len()].send_to(b"?", (Ipv4Addr::LOCALHOST, to)).ok();
        if n == at_once {
            ready();
        }
        if n > at_once && n % 10 == 0 {
            sleep(Duration::from_millis(10));
        }
    }
}

/// Accepts, and reads what comes.
fn sink(_: &[&str]) {
    name("sink");
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8085)).expect("listen");
    ready();
    for mut s in listener.incoming().flatten() {
        thread::spawn(move || std::io::copy(&mut s, &mut std::io::sink()));
    }
}
