//! What a look at the sockets costs beside what the kernel alone charges for the same dump.
//!
//! 8,000 loopback connections (16,000 sockets) of this process, and what else the namespace holds. As root, also
//! those of the other namespaces.

#![expect(clippy::expect_used, reason = "a bench that can't go on ends")]

use divan::Bencher;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use whytop::collect::readers::{Readers, TrafficAsk};
use whytop::collect::sockets::SocketsCollector;
use whytop::collect::{Collector, Context, Roots, now};
use whytop::snapshot::{NetnsId, Task, TaskKey, Tasks};

const PAIRS: usize = 8_000;

fn main() {
    let crowd = crowd().expect("8,000 loopback connections: 16,010 descriptors are needed (ulimit -n)");
    divan::main();
    drop(crowd);
}

/// Connections that are reset at the end, so that none is left in `TIME_WAIT`.
fn crowd() -> std::io::Result<(TcpListener, Vec<TcpStream>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut held = Vec::with_capacity(2 * PAIRS);
    for _ in 0..PAIRS {
        held.push(TcpStream::connect(listener.local_addr()?)?);
        held.push(listener.accept()?.0);
    }
    for stream in &held {
        rustix::net::sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO))?;
    }
    Ok((listener, held))
}

fn this_task() -> Context {
    let key = TaskKey { pid: std::process::id(), start_ticks: 1 };
    let row = Task { key, comm: "sockets".into(), ..Task::default() };
    Context { tasks: Some(Arc::new(Tasks { rows: vec![row], ..Tasks::default() })), eager: true, ..Context::default() }
}

fn dump(socket: &Socket, family: u8, protocol: u8, extensions: ExtensionFlags, buf: &mut [u8]) -> usize {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(
        header,
        SockDiagMessage::InetRequest(InetRequest {
            family,
            protocol,
            extensions,
            states: StateFlags::all(),
            socket_id: SocketId::new_v4(),
        })
        .into(),
    );
    message.finalize();
    let mut request = vec![0; message.buffer_len()];
    message.serialize(&mut request);
    socket.send(&request, 0).expect("sock_diag takes requests");
    let mut total = 0;
    loop {
        let (len, _) = rustix::net::recv(socket, &mut *buf, rustix::net::RecvFlags::empty()).expect("a reply");
        total += len;
        // NLMSG_DONE (3) and NLMSG_ERROR (2) come in a message of their own here.
        if matches!(buf.get(4), Some(2 | 3)) {
            return total;
        }
    }
}

/// The floor: the kernel's dump of four tables into a buffer that nobody reads.
#[divan::bench(sample_count = 20)]
fn kernel_dump_alone(bencher: Bencher) {
    let socket = Socket::new(NETLINK_SOCK_DIAG).expect("a netlink socket");
    let mut buf = vec![0; 64 * 1024];
    bencher.bench_local(|| {
        [IPPROTO_TCP, IPPROTO_UDP]
            .iter()
            .flat_map(|&protocol| [(AF_INET, protocol), (AF_INET6, protocol)])
            .map(|(family, protocol)| dump(&socket, family, protocol, ExtensionFlags::SKMEMINFO, &mut buf))
            .sum::<usize>()
    });
}

/// A pass that knows the owners already.
#[divan::bench(sample_count = 20)]
fn pass_with_owners_known(bencher: Bencher) {
    let mut collector = SocketsCollector::new(&Roots::default(), None);
    let cx = this_task();
    collector.collect(&cx);
    bencher.bench_local(|| collector.collect(&cx));
}

/// The first pass, which looks at every descriptor of the one process.
#[divan::bench(sample_count = 20)]
fn first_pass(bencher: Bencher) {
    let cx = this_task();
    bencher.with_inputs(|| SocketsCollector::new(&Roots::default(), None)).bench_local_refs(|c| c.collect(&cx));
}

/// The floor of the next: `tcp_info` of TCP alone, into a buffer that nobody reads.
#[divan::bench(sample_count = 20)]
fn kernel_tcp_info_alone(bencher: Bencher) {
    let socket = Socket::new(NETLINK_SOCK_DIAG).expect("a netlink socket");
    let mut buf = vec![0; 64 * 1024];
    let mut both =
        || [AF_INET, AF_INET6].map(|family| dump(&socket, family, IPPROTO_TCP, ExtensionFlags::INFO, &mut buf));
    bencher.bench_local(|| both().iter().sum::<usize>());
}

/// What a reader takes to tell who talks: asked only where a link is busy, and a tenth of the time.
#[divan::bench(sample_count = 20)]
fn tcp_info_by_a_reader(bencher: Bencher) {
    let mut readers = Readers::start_few(Path::new("/proc"), 1).expect("a reader");
    let ask = TrafficAsk { netns: NetnsId(1), door: Path::new("/proc/self/ns/net").into() };
    bencher.bench_local(|| {
        assert!(readers.ask(ask.clone(), now()), "it takes the request");
        let mut answers = Vec::new();
        while answers.is_empty() {
            readers.turn(now(), &mut answers);
        }
        answers
    });
}
