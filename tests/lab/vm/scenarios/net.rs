//! Trouble with what the network shares machine-wide.

use crate::actors::{loopback, name, number, ready};
use crate::kit::{Expect, Scenario, Stage, may, must, until};
use rustix::net::{AddressFamily, Protocol, RawProtocol, SendFlags, SocketType, sockopt};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// SYNs from everywhere to one port, IPv4 and IPv6 at once, over a wire from another namespace.
pub const SYN_FLOOD: Scenario = Scenario {
    name: "syn_flood_v4_and_v6",
    root: true,
    tools: &["ip", "unshare"],
    actors: &[("listen-all", listen_all), ("flooder", flooder)],
    stage: syn_flood,
    expects: |stage| {
        let pid = stage.pid;
        let listener = move |s: &serde_json::Value| s["kind"] == "listener" && s["owner"]["pid"] == pid;
        // Cookies answer for the queue: legitimate clients still get in.
        vec![Expect::warning("tcp.listen_overflow").about(listener)]
    },
    ..Scenario::BASE
};

/// More neighbours than `gc_thresh3` of them.
pub const NEIGHBOURS: Scenario = Scenario {
    name: "neighbour_table_full",
    root: true,
    tools: &["ip", "unshare"],
    actors: &[("asks-all", asks_all)],
    stage: neighbours,
    expects: |_| vec![Expect::critical("net.neighbour_full").that("of its size", |f| f["limit"] == 128.0)],
    may_say: &["udp.sndbuf_errors"],
    gone: &["udp.sndbuf_errors"],
    ..Scenario::BASE
};

/// `tcp_mem` is used up by data that nobody reads, and sockets that are closed with data to send are reset for it.
pub const TCP_MEM: Scenario = Scenario {
    name: "tcp_mem_used_up",
    root: true,
    actors: &[("unread", unread), ("orphans", orphans)],
    stage: || {
        let mut stage = Stage::default();
        stage.pid = stage.actor(&["unread", "7200", "200"]);
        stage.actor(&["orphans", "7300"]);
        log_all(&mut stage);
        sysctl(&mut stage, "net/ipv4/tcp_mem", "60 90 120");
        stage
    },
    expects: |_| vec![Expect::critical("tcp.memory_pressure").host(), Expect::critical("kmsg.tcp_out_of_memory")],
    may_say: &["tcp.memory_pressure"],
    ..Scenario::BASE
};

/// More sockets without a process than `tcp_max_orphans`.
pub const ORPHANS: Scenario = Scenario {
    name: "too_many_orphans",
    root: true,
    stage: || {
        let mut stage = Stage::default();
        log_all(&mut stage);
        sysctl(&mut stage, "net/ipv4/tcp_max_orphans", "16");
        // Of little memory each: it is their number that counts.
        stage.pid = stage.actor(&["orphans", "7300", "8192"]);
        stage
    },
    expects: |_| vec![Expect::critical("tcp.memory_pressure"), Expect::critical("kmsg.tcp_orphans")],
    may_say: &["tcp.memory_pressure"],
    ..Scenario::BASE
};

/// A network card whose queue stands still: its far end takes nothing.
pub const CARD_STUCK: Scenario = Scenario {
    name: "network_card_stops_sending",
    root: true,
    tools: &["ip"],
    actors: &[("sends-all", sends_all)],
    stage: || {
        let mut stage = Stage::default();
        must("ip", &["link", "set", "eth0", "up"]);
        must("ip", &["addr", "add", "10.5.0.1/24", "dev", "eth0"]);
        must("ip", &["neigh", "add", "10.5.0.2", "lladdr", "02:00:00:00:00:02", "dev", "eth0", "nud", "permanent"]);
        stage.undo(|| may("ip", &["link", "set", "eth0", "down"]));
        stage.owns("eth0");
        stage.pid = stage.actor(&["sends-all", "10.5.0.2"]);
        stage.stands_when(|| must("dmesg", &[]).contains("NETDEV WATCHDOG"));
        stage
    },
    // The kernel looks at the queue every five seconds, and says so once it has stood for as long.
    look: "13s",
    expects: |_| vec![Expect::critical("kmsg.netdev_watchdog").about(|s| s["kind"] == "iface" && s["name"] == "eth0")],
    may_say: &["slab.unreclaimable", "net.qdisc_drops", "net.nic_drops", "udp.sndbuf_errors", "net.link_saturated"],
    ..Scenario::BASE
};

/// The kernel logs ten lines in five seconds, then none: after a burst a look might meet none. Ten in every second it is.
fn log_all(stage: &mut Stage) {
    sysctl(stage, "net/core/message_cost", "1");
}

fn sysctl(stage: &mut Stage, key: &str, value: &str) {
    let path = Path::new("/proc/sys").join(key);
    let before = std::fs::read_to_string(&path).expect("a sysctl");
    std::fs::write(&path, value).expect("set it");
    stage.undo(move || std::fs::write(path, before).expect("set it back"));
}

/// This end `v0` with 10.9.0.1 and fd00:9::1, the other in the namespace of `pid`; all else is routed to it.
fn wire_to(pid: u32) {
    let ip = |args: &str| must("ip", &args.split(' ').collect::<Vec<_>>());
    ip(&format!("link add v0 address 02:00:00:00:00:01 type veth peer name v1 address 02:00:00:00:00:02 netns {pid}"));
    ip("link set v0 up");
    ip("addr add 10.9.0.1/24 dev v0");
    ip("addr add fd00:9::1/64 dev v0 nodad");
    ip("neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev v0 nud permanent");
    ip("neigh add fd00:9::2 lladdr 02:00:00:00:00:02 dev v0 nud permanent");
    ip("route add default via 10.9.0.2");
    ip("-6 route add default via fd00:9::2");
}

fn syn_flood() -> Stage {
    let mut stage = Stage::default();
    let flooder = stage.actor_in(&["unshare", "-n"], &["flooder", "8080"]);
    wire_to(flooder);
    stage.undo(|| may("ip", &["link", "del", "v0"]));
    stage.pid = stage.actor(&["listen-all", "8080"]);
    stage
}

fn listen_all(args: &[&str]) {
    name("victim-server");
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, number(args[0]))).expect("listen");
    ready();
    while listener.accept().is_ok() {}
}

/// The ones' complement sum that TCP and IP use.
fn checksum(parts: &[&[u8]]) -> u16 {
    let sum: u32 = parts.iter().flat_map(|p| p.chunks(2)).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).expect("folded to 16 bits")
}

/// A SYN to `port` with its checksum.
fn syn(from: &[u8], to: &[u8], n: u32, port: u16) -> [u8; 20] {
    let mut tcp = [0_u8; 20];
    let source = u16::try_from(1024 + n % 60_000).expect("a port");
    tcp[0..2].copy_from_slice(&source.to_be_bytes());
    tcp[2..4].copy_from_slice(&port.to_be_bytes());
    tcp[4..8].copy_from_slice(&n.to_be_bytes());
    tcp[12..16].copy_from_slice(&[0x50, 0x02, 0xff, 0xff]);
    let sum = checksum(&[from, to, &[0, 6, 0, 20], &tcp]);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    tcp
}

/// Sends SYNs with invented senders, half of them IPv4, as soon as it is given its end of the wire.
fn flooder(args: &[&str]) {
    name("flooder");
    let port = number::<u16>(args[0]);
    let raw = |family| {
        let protocol = Protocol::from_raw(RawProtocol::new(libc::IPPROTO_RAW.unsigned_abs()).expect("not 0"));
        rustix::net::socket(family, SocketType::RAW, Some(protocol)).expect("a raw socket")
    };
    let (v4, v6) = (raw(AddressFamily::INET), raw(AddressFamily::INET6));
    ready();
    until("the wire is there", || Path::new("/proc/sys/net/ipv6/conf/v1").exists());
    let ip = |args: &str| must("ip", &args.split(' ').collect::<Vec<_>>());
    ip("link set v1 up");
    ip("addr add 10.9.0.2/24 dev v1");
    ip("addr add fd00:9::2/64 dev v1 nodad");
    ip("neigh add 10.9.0.1 lladdr 02:00:00:00:00:01 dev v1 nud permanent");
    ip("neigh add fd00:9::1 lladdr 02:00:00:00:00:01 dev v1 nud permanent");
    let (to4, to6) = (Ipv4Addr::new(10, 9, 0, 1), Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 1));
    for n in 0_u32.. {
        let [_, a, b, c] = n.to_be_bytes();
        let from4 = Ipv4Addr::new(172, 16 + a % 16, b, c);
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
        packet.extend(from4.octets().into_iter().chain(to4.octets()));
        packet.extend(syn(&from4.octets(), &to4.octets(), n, port));
        rustix::net::sendto(&v4, &packet, SendFlags::empty(), &SocketAddr::new(IpAddr::V4(to4), 0)).ok();
        let from6 = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, u16::from(a), u16::from_be_bytes([b, c]));
        let mut packet = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
        packet.extend(from6.octets().into_iter().chain(to6.octets()));
        packet.extend(syn(&from6.octets(), &to6.octets(), n, port));
        rustix::net::sendto(&v6, &packet, SendFlags::empty(), &SocketAddr::new(IpAddr::V6(to6), 0)).ok();
        if n % 50 == 0 {
            sleep(Duration::from_millis(50));
        }
    }
}

fn neighbours() -> Stage {
    let mut stage = Stage::default();
    for (key, value) in [("gc_thresh1", "16"), ("gc_thresh2", "64"), ("gc_thresh3", "128")] {
        sysctl(&mut stage, &format!("net/ipv4/neigh/default/{key}"), value);
    }
    stage.pid = stage.actor_in(&["unshare", "-n"], &["asks-all"]);
    stage
}

/// Sends to every address of a big network: each is a neighbour to be asked for.
fn asks_all(_: &[&str]) {
    name("scanner");
    let ip = |args: &str| must("ip", &args.split(' ').collect::<Vec<_>>());
    ip("link add v0 type veth peer name v1");
    ip("link set v0 up");
    ip("link set v1 up");
    ip("addr add 10.8.0.1/16 dev v0");
    let socket = UdpSocket::bind("0.0.0.0:0").expect("bind");
    ready();
    for n in 0_u16.. {
        let [a, b] = (n % 4096 + 2).to_be_bytes();
        socket.send_to(b"?", (Ipv4Addr::new(10, 8, a, b), 9)).ok();
        if n % 20 == 0 {
            sleep(Duration::from_millis(20));
        }
    }
}

/// Connections whose one end writes as much as it may, and whose other end never reads.
fn unread(args: &[&str]) {
    name("never-reads");
    let listener = TcpListener::bind(loopback(number(args[0]))).expect("listen");
    let mut ends: Vec<(TcpStream, TcpStream)> = Vec::new();
    for _ in 0..number::<usize>(args[1]) {
        let (Ok(near), Ok((far, _))) = (TcpStream::connect(loopback(number(args[0]))), listener.accept()) else {
            break;
        };
        near.set_nonblocking(true).expect("never waits");
        ends.push((near, far));
    }
    ready();
    loop {
        for (near, _) in &mut ends {
            near.write_all(&[0; 16 << 10]).ok();
        }
        sleep(Duration::from_millis(50));
    }
}

/// Closes connections that still have data to send, to a peer that takes none: nobody owns them from then on.
fn orphans(args: &[&str]) {
    name("closes-early");
    let at = loopback(number(args[0]));
    let listener = TcpListener::bind(at).expect("listen");
    let mut deaf = Vec::new();
    ready();
    loop {
        let (Ok(mut near), Ok((far, _))) = (TcpStream::connect(at), listener.accept()) else { continue };
        near.set_nonblocking(true).expect("never waits");
        if let [_, bytes] = args {
            sockopt::set_socket_send_buffer_size(&near, number(bytes)).expect("a small buffer");
            sockopt::set_socket_recv_buffer_size(&far, number(bytes)).expect("a small buffer");
        }
        while near.write_all(&[0; 16 << 10]).is_ok() {}
        deaf.push(far);
        drop(near);
        if deaf.len() > 200 {
            deaf.clear();
        }
        sleep(Duration::from_millis(50));
    }
}

/// Many sockets that send as much as they may, and the kernel told to warn anew of what it warns of once.
fn sends_all(args: &[&str]) {
    name("sender");
    for _ in 0..40 {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("bind");
        let to: Ipv4Addr = args[0].parse().expect("an address");
        std::thread::spawn(move || {
            loop {
                socket.send_to(&[0; 1400], (to, 9)).ok();
            }
        });
    }
    ready();
    loop {
        std::fs::write("/sys/kernel/debug/clear_warn_once", "1").expect("debugfs");
        sleep(Duration::from_secs(1));
    }
}
