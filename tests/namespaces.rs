//! Network namespaces on the real kernel: a veth pair between two, a shaping qdisc that drops, TIME_WAIT overflow.

use std::process::{Child, Command, Stdio};
use std::time::Duration;
use whytop::collect::{Collector, Context, Roots, net::NetCollector};
use whytop::snapshot::{Net, NetnsCounters};

/// A namespace that only its process keeps, and the process.
struct Nameless(Child);

impl Nameless {
    fn start() -> Option<Self> {
        let child = Command::new("unshare").args(["-n", "sleep", "60"]).stderr(Stdio::null()).spawn().ok()?;
        let nameless = Self(child);
        let ours = std::fs::read_link("/proc/self/ns/net").ok()?;
        for _ in 0..2000 {
            // The link is another once unshare(2) is done; then it runs sleep.
            match std::fs::read_link(format!("/proc/{}/ns/net", nameless.pid())) {
                Ok(link) if link != ours => return Some(nameless),
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        None
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Runs a line of shell inside; whether it went well.
    fn run(&self, line: &str) -> bool {
        let pid = self.pid().to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid, "-n", "sh", "-c", line]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Nameless {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn look(collector: &mut NetCollector) -> Net {
    collector.collect(&Context { eager: true, ..Context::default() }).data().cloned().unwrap_or_default()
}

fn of(net: &Net, pid: u32) -> Option<&NetnsCounters> {
    net.netns.iter().find(|n| n.pid == Some(pid))
}

#[test]
fn a_namespace_without_a_name_is_read_whole_and_let_go() {
    let (Some(near), Some(far)) = (Nameless::start(), Nameless::start()) else {
        println!("SKIPPED: no network namespace can be made: needs root and unshare");
        return;
    };
    let staged = near.run(&format!(
        "ip link add wnear type veth peer name wfar && ip link set wfar netns {} && ip link set lo up &&
         ip addr add 10.98.0.1/24 dev wnear && ip link set wnear up &&
         sysctl -qw net.ipv4.tcp_max_tw_buckets=3 &&
         tc qdisc add dev wnear root handle 1: tbf rate 800kbit burst 2kb limit 4kb",
        far.pid()
    )) && far.run("ip addr add 10.98.0.2/24 dev wfar && ip link set wfar up");
    if !staged {
        println!("SKIPPED: ip, tc or sysctl of the namespace failed");
        return;
    }
    let mut collector = NetCollector::new(&Roots::default());
    let before = look(&mut collector);
    let before = of(&before, near.pid()).expect("the namespace is seen");
    assert_eq!(before.sysctls.get("net.ipv4.tcp_max_tw_buckets"), Some(3));
    assert_eq!(before.counters.get("TcpExtTCPTimeWaitOverflow"), Some(0));

    let pid = near.pid();
    std::thread::spawn(move || enter_and_make_trouble(pid)).join().expect("no panic").expect("trouble was made");
    let after = look(&mut collector);
    let (near_row, far_row) = (of(&after, near.pid()).expect("near"), of(&after, far.pid()).expect("far"));
    assert_eq!(near_row.sockstat.get("TCPtw"), Some(3));
    assert!(near_row.counters.get("TcpExtTCPTimeWaitOverflow") >= Some(10), "{:?}", near_row.counters);
    let tbf = near_row.qdiscs.iter().find(|q| &*q.kind == "tbf").expect("the qdisc");
    assert_eq!((&*tbf.iface, tbf.root, tbf.rate_bytes_per_sec), ("wnear", true, Some(100_000)));
    assert!(tbf.drops > 100, "{tbf:?}");
    let veth = near_row.ifaces.iter().find(|i| &*i.name == "wnear").expect("the interface");
    assert!(veth.up && veth.tx_packets > 0 && veth.speed_mbit.is_none(), "{veth:?}");
    assert!(far_row.ifaces.iter().any(|i| &*i.name == "wfar" && i.rx_packets > 0));

    // Our sockets must not keep the namespace: when it goes, the far end of the pair goes with it.
    drop(near);
    let gone = (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        look(&mut collector);
        far.run("! ip link show wfar >/dev/null 2>&1")
    });
    assert!(gone, "the namespace is still pinned");
}

/// In the namespace: datagrams faster than the qdisc lets out, and connections closed by the near side.
fn enter_and_make_trouble(pid: u32) -> std::io::Result<()> {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    let door = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
    rustix::thread::move_into_link_name_space(door.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network))?;
    let socket = UdpSocket::bind("10.98.0.1:0")?;
    for _ in 0..500 {
        let _ = socket.send_to(&[b'x'; 1000], "10.98.0.2:9");
    }
    let listener = TcpListener::bind("127.0.0.1:7777")?;
    for _ in 0..20 {
        let near = TcpStream::connect("127.0.0.1:7777")?;
        let (far, _) = listener.accept()?;
        drop(near);
        drop(far);
    }
    Ok(())
}
