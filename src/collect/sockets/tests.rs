//! The parsers on bytes captured from Linux 6.18, attribution and folding on scripted sockets, owners on a scripted
//! `/proc`. The captured sockets are one set, told by `sock_diag` (`.hex`) and `/proc/net` (`.txt`) at one moment.

use super::wire::{Addr, Messages, Sock};
use super::{Owner, *};
use crate::snapshot::{Side, SockGroup, Task, TaskKey};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

const NONE: &str = "";
const CAPTURED: [(&str, Proto); 4] =
    [("tcp", Proto::Tcp), ("tcp6", Proto::Tcp), ("udp", Proto::Udp), ("udp6", Proto::Udp)];

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sockets").join(name)).unwrap()
}

fn bytes(name: &str) -> Vec<u8> {
    let text: Vec<u8> = fixture(&format!("{name}.hex")).into_iter().filter(u8::is_ascii_hexdigit).collect();
    let digit = |d: u8| u8::try_from(char::from(d).to_digit(16).unwrap()).unwrap();
    text.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn from_diag(name: &str, proto: Proto) -> Vec<Sock> {
    Messages(&bytes(name)).filter(|m| m.kind == 20).filter_map(|m| wire::parse(m.payload, proto)).collect()
}

fn from_text(name: &str, proto: Proto) -> Vec<Sock> {
    let text = fixture(&format!("{name}.txt"));
    text.split(|&b| b == b'\n').filter_map(|line| text::parse_line(line, proto)).collect()
}

fn addr(text: &str) -> Addr {
    Addr::from(text.parse::<std::net::IpAddr>().unwrap())
}

fn find(socks: &[Sock], local_port: u16, state: TcpState) -> Sock {
    *socks.iter().find(|s| s.local_port == local_port && s.state == state).unwrap()
}

#[test]
fn a_listener_of_each_family() {
    let v4 = find(&from_diag("tcp", Proto::Tcp), 8001, TcpState::Listen);
    assert_eq!((v4.local, v4.rqueue, v4.wqueue), (addr("127.0.0.1"), 1, 16));
    assert_eq!((v4.inode, v4.cookie, v4.cgroup_id), (295_292, 0x19b59, 1));
    assert_eq!(v4.mem.drops, Some(0));
    let full = find(&from_diag("tcp", Proto::Tcp), 8004, TcpState::Listen);
    assert_eq!((full.rqueue, full.wqueue, full.mem.drops), (1, 0, Some(6)));
    let v6 = from_diag("tcp6", Proto::Tcp);
    let (both, only) = (find(&v6, 8002, TcpState::Listen), find(&v6, 8003, TcpState::Listen));
    assert_eq!((both.local, both.v6_only), (Addr::ANY_V6, false));
    assert_eq!((only.local, only.v6_only), (addr("::1"), true));
}

#[test]
fn connections_in_every_captured_state() {
    let v4 = from_diag("tcp", Proto::Tcp);
    let syn_sent: Vec<_> = v4.iter().filter(|s| s.state == TcpState::SynSent).collect();
    assert_eq!(syn_sent.len(), 3);
    assert!(syn_sent.iter().all(|s| s.retransmitting && s.remote_port == 8004 && s.wqueue == 1 && s.inode != 0));
    assert_eq!(find(&v4, 8001, TcpState::Established).rqueue, 1000);
    let waiting = v4.iter().find(|s| s.local_port == 8001 && s.state == TcpState::Established && s.inode == 0);
    assert_eq!(waiting.unwrap().remote_port, 52_206, "established and not accepted: no inode");
    for mini in [TcpState::TimeWait, TcpState::FinWait2] {
        let sock = find(&v4, 8001, mini);
        assert_eq!((sock.inode, sock.cgroup_id, sock.mem.rcvbuf), (0, 0, None));
        assert_ne!(sock.cookie, 0);
    }
    let v6 = from_diag("tcp6", Proto::Tcp);
    let mapped = find(&v6, 8002, TcpState::Established);
    assert_eq!(mapped.local.ip(), "127.0.0.1".parse::<std::net::IpAddr>().unwrap());
    assert!(v6.iter().any(|s| s.state == TcpState::TimeWait && s.local == addr("::1")));
}

#[test]
fn udp_with_its_granted_buffer_and_its_drops() {
    let udp = find(&from_diag("udp", Proto::Udp), 9001, TcpState::Close);
    assert_eq!((udp.mem.rmem_alloc, udp.mem.rcvbuf, udp.mem.drops), (7680, Some(8192), Some(44)));
    let text = find(&from_text("udp", Proto::Udp), 9001, TcpState::Close);
    assert_eq!((text.mem.rmem_alloc, text.mem.rcvbuf, text.mem.drops), (7680, None, Some(44)));
}

#[test]
fn both_sources_tell_the_same() {
    for (name, proto) in CAPTURED {
        let same = |s: &Sock| {
            let queues = (s.rqueue, if s.state == TcpState::Listen { 0 } else { s.wqueue });
            (s.local, s.local_port, s.remote, s.remote_port, s.state as u8, s.inode, s.retransmitting, queues)
        };
        let mut diag: Vec<_> = from_diag(name, proto).iter().map(same).collect();
        let mut text: Vec<_> = from_text(name, proto).iter().map(same).collect();
        diag.sort_unstable();
        text.sort_unstable();
        assert!(!diag.is_empty());
        assert_eq!(diag, text, "{name}");
    }
}

#[test]
fn old_kernels_send_fewer_words_of_skmeminfo() {
    let mut message = bytes("udp")[16..16 + 72].to_vec();
    message.extend([4 + 28, 0, 7, 0]);
    message.extend((1u32..=7).flat_map(u32::to_ne_bytes));
    let sock = wire::parse(&message, Proto::Udp).unwrap();
    assert_eq!((sock.mem.rmem_alloc, sock.mem.rcvbuf, sock.mem.fwd_alloc, sock.mem.drops), (1, Some(2), 5, None));
}

#[test]
fn a_state_from_inside_the_kernel_and_one_nobody_knows() {
    let mut message = bytes("tcp")[16..16 + 72].to_vec();
    let state = |message: &[u8]| wire::parse(message, Proto::Tcp).map(|s| s.state);
    message[1] = 12;
    assert_eq!(state(&message), Some(TcpState::SynRecv));
    message[1] = 13;
    assert_eq!(state(&message), Some(TcpState::Close));
    message[1] = 77;
    assert_eq!(state(&message), None);
}

#[test]
fn a_cut_buffer_loses_only_its_last_message() {
    let whole = bytes("tcp");
    let count = |raw: &[u8]| Messages(raw).count();
    assert_eq!(count(&whole), 16, "15 sockets and the end");
    assert_eq!(count(&whole[..whole.len() - 1]), 15);
    let mut garbled = whole.clone();
    garbled[17] = 200; // the first socket's state
    let socks = Messages(&garbled).filter_map(|m| wire::parse(m.payload, Proto::Tcp)).count();
    assert_eq!(socks, 14);
}

#[test]
fn a_table_longer_than_the_buffer_is_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tcp");
    fs::write(&path, fixture("tcp.txt").repeat(9)).unwrap();
    for size in [180, 200, 333, 4096, 65_536] {
        let mut read = 0;
        text::read(&path, Proto::Tcp, &mut vec![0; size], |_| read += 1).unwrap();
        assert_eq!(read, 15 * 9, "buffer of {size}");
    }
}

proptest! {
    #[test]
    fn never_panics_on_garbage(raw: Vec<u8>) {
        for message in Messages(&raw) {
            let _ = wire::parse(message.payload, Proto::Tcp);
            let _ = wire::errno_of(message.payload);
        }
        let _ = wire::parse(&raw, Proto::Udp);
        let _ = text::parse_line(&raw, Proto::Udp);
    }

    #[test]
    fn never_panics_on_what_is_nearly_right(cut in 0usize..2000, at in 0usize..2000, with: u8) {
        for (name, proto) in CAPTURED {
            let mut raw = bytes(name);
            raw.truncate(cut);
            if let Some(byte) = raw.get_mut(at) {
                *byte = with;
            }
            for message in Messages(&raw) {
                let _ = wire::parse(message.payload, proto);
            }
            let mut raw = fixture(&format!("{name}.txt"));
            raw.truncate(cut);
            if let Some(byte) = raw.get_mut(at) {
                *byte = with;
            }
            raw.split(|&b| b == b'\n').for_each(|line| { let _ = text::parse_line(line, proto); });
        }
    }
}

const PORTS: RangeInclusive<u16> = 32_768..=60_999;

fn sock(state: TcpState, local: (&str, u16), remote: (&str, u16), inode: u32) -> Sock {
    Sock {
        state,
        local: addr(local.0),
        local_port: local.1,
        remote: if remote.0 == NONE { Addr::default() } else { addr(remote.0) },
        remote_port: remote.1,
        inode,
        rqueue: 1,
        wqueue: 2,
        ..Sock::default()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "stands for a look-up")]
fn task_key(pid: u32) -> Option<TaskKey> {
    Some(TaskKey { pid, start_ticks: 1 })
}

/// Folds `socks`, the listeners among them first; inode n is held by process n.
fn folded(socks: &[Sock]) -> (Vec<SockGroup>, Listeners) {
    let mut listeners = Listeners::default();
    let mut fold = Fold::default();
    let (listening, others): (Vec<&Sock>, Vec<&Sock>) = socks.iter().partition(|s| s.state == TcpState::Listen);
    for s in listening {
        listeners.push(*s);
    }
    for s in others {
        fold.add(s, (s.inode != 0).then_some(s.inode), &mut listeners, &PORTS);
    }
    let by_listener = |at| listeners.get(at).map(|l| l.inode);
    (fold.finish(&[NetnsId(7)], by_listener, task_key), listeners)
}

#[test]
fn an_exact_address_goes_before_a_wildcard_and_that_before_the_other_family() {
    let mut listeners = Listeners::default();
    listeners.push(sock(TcpState::Listen, ("::", 80), (NONE, 0), 1));
    listeners.push(sock(TcpState::Listen, ("0.0.0.0", 80), (NONE, 0), 2));
    listeners.push(sock(TcpState::Listen, ("10.0.0.1", 80), (NONE, 0), 3));
    listeners.push(sock(TcpState::Listen, ("::", 81), (NONE, 0), 4));
    listeners.push(Sock { v6_only: true, ..sock(TcpState::Listen, ("::", 82), (NONE, 0), 5) });
    let of = |local, netns| {
        let end = Sock { netns, ..sock(TcpState::TimeWait, local, ("10.9.9.9", 40_000), 0) };
        listeners.of(&end).and_then(|at| listeners.get(at)).map_or(0, |l| l.inode)
    };
    assert_eq!(of(("10.0.0.1", 80), 0), 3);
    assert_eq!(of(("10.0.0.2", 80), 0), 2);
    assert_eq!(of(("fe80::1", 80), 0), 1);
    assert_eq!(of(("10.0.0.1", 81), 0), 4, ":: takes IPv4");
    assert_eq!(of(("::ffff:10.0.0.1", 81), 0), 4);
    assert_eq!(of(("10.0.0.1", 82), 0), 0, "but for one that is IPv6 only");
    assert_eq!(of(("10.0.0.1", 83), 0), 0);
    assert_eq!(of(("10.0.0.1", 80), 1), 0, "another namespace");
}

#[test]
fn sockets_without_a_holder_go_to_their_listener() {
    let (groups, listeners) = folded(&[
        sock(TcpState::Listen, ("0.0.0.0", 80), (NONE, 0), 10),
        sock(TcpState::TimeWait, ("10.0.0.1", 80), ("10.0.0.9", 40_000), 0),
        sock(TcpState::TimeWait, ("10.0.0.1", 80), ("10.0.0.9", 40_001), 0),
        sock(TcpState::SynRecv, ("10.0.0.1", 80), ("10.0.0.9", 40_002), 0),
        sock(TcpState::Established, ("10.0.0.1", 80), ("10.0.0.9", 40_003), 0),
        sock(TcpState::Established, ("10.0.0.1", 80), ("10.0.0.9", 40_004), 10),
    ]);
    let seen: Vec<_> = groups.iter().map(|g| (g.state, g.by_listener, g.count, g.owner)).collect();
    let owner = task_key(10);
    assert_eq!(
        seen,
        [
            (TcpState::Established, false, 1, owner),
            (TcpState::Established, true, 1, owner),
            (TcpState::SynRecv, true, 1, owner),
            (TcpState::TimeWait, true, 2, owner),
        ]
    );
    assert!(groups.iter().all(|g| g.side == Side::Server && g.local_port == Some(80) && g.remote_port.is_none()));
    assert_eq!(listeners.rows[0].1, 1, "SYN_RECV");
    assert_eq!((groups[3].recv_q_bytes, groups[3].send_q_bytes), (2, 4));
}

#[test]
fn without_a_listener_the_ports_tell_the_side() {
    let (groups, _) = folded(&[
        sock(TcpState::TimeWait, ("10.0.0.1", 40_000), ("10.0.0.9", 61_616), 0),
        sock(TcpState::TimeWait, ("10.0.0.1", 40_001), ("10.0.0.9", 61_616), 0),
        sock(TcpState::TimeWait, ("10.0.0.1", 6379), ("10.0.0.9", 40_000), 0),
        sock(TcpState::SynSent, ("10.0.0.1", 6379), ("10.0.0.9", 40_000), 3),
    ]);
    let seen: Vec<_> =
        groups.iter().map(|g| (g.state, g.side, g.local_port, g.remote_port, g.count, g.owner)).collect();
    assert_eq!(
        seen,
        [
            (TcpState::TimeWait, Side::Client, None, Some(61_616), 2, None),
            (TcpState::TimeWait, Side::Server, Some(6379), None, 1, None),
            (TcpState::SynSent, Side::Client, None, Some(40_000), 1, task_key(3)),
        ]
    );
}

#[test]
fn mapped_and_plain_addresses_are_one_group() {
    let (groups, _) = folded(&[
        sock(TcpState::Established, ("10.0.0.1", 40_000), ("1.2.3.4", 443), 3),
        sock(TcpState::Established, ("::ffff:10.0.0.1", 40_001), ("::ffff:1.2.3.4", 443), 3),
    ]);
    assert_eq!(groups.len(), 1);
    assert_eq!((groups[0].count, groups[0].remote_addr), (2, Some("1.2.3.4".parse().unwrap())));
}

#[test]
fn a_crowd_of_remotes_is_bounded_and_the_pile_in_it_stays() {
    let far = |n: u32| std::net::Ipv4Addr::from_bits(0x0b00_0000 + n).to_string();
    let mut socks: Vec<_> =
        (0..50_000).map(|n| sock(TcpState::SynSent, ("10.0.0.1", 40_000), (&far(n), 80), 3)).collect();
    socks.extend((0..90).map(|_| sock(TcpState::SynSent, ("10.0.0.1", 40_000), ("10.0.0.9", 80), 3)));
    let (groups, _) = folded(&socks);
    assert_eq!(groups.len(), Sockets::REMOTES_MAX + 1);
    assert_eq!(groups.iter().map(|g| g.count).sum::<u64>(), 50_090);
    let pile = groups.iter().find(|g| g.remote_addr == Some("10.0.0.9".parse().unwrap())).unwrap();
    assert_eq!((pile.count, pile.remote_port), (90, Some(80)));
    let rest: Vec<_> = groups.iter().filter(|g| g.remote_addr.is_none()).collect();
    assert_eq!((rest.len(), rest[0].remote_port), (1, Some(80)));
}

#[test]
fn a_crowd_of_services_is_bounded_too() {
    let mut socks: Vec<_> =
        (1..=60_000u16).map(|port| sock(TcpState::Established, ("10.0.0.1", 61_000), ("10.0.0.9", port), 3)).collect();
    socks.extend((0..5).map(|_| sock(TcpState::Established, ("10.0.0.1", 61_000), ("10.0.0.9", 7), 3)));
    let (groups, _) = folded(&socks);
    assert!(groups.len() <= 2 * 257, "{}", groups.len());
    assert_eq!(groups.iter().map(|g| g.count).sum::<u64>(), 60_005);
    assert!(groups.iter().any(|g| g.count == 6 && g.side == Side::Client && g.remote_port == Some(7)));
}

#[test]
fn udp_rows_with_drops_come_first_and_the_rest_is_counted() {
    let mut udp = Udp::default();
    for n in 0..10_000u32 {
        let mem =
            wire::Mem { drops: Some(u32::from(n == 9_000)), rmem_alloc: u32::from(n == 3), ..wire::Mem::default() };
        let row =
            Sock { proto: Proto::Udp, cookie: n.into(), inode: n, rqueue: u32::from(n == 3), mem, ..Sock::default() };
        udp.add(&row, Some(n));
    }
    let (rows, more) = udp.finish(&[NetnsId(7)], task_key);
    assert_eq!((rows.len(), more), (Sockets::UDP_MAX, 10_000 - Sockets::UDP_MAX as u64));
    assert_eq!((rows[0].drops, rows[0].owner), (1, task_key(9_000)));
    assert_eq!(rows[1].recv_q_bytes, 1);
}

/// A `/proc` of scripted processes: pid, start time, parent, and (descriptor, inode).
struct Tree {
    dir: tempfile::TempDir,
    tasks: Tasks,
}

impl Tree {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), tasks: Tasks::default() }
    }

    fn task(&mut self, pid: u32, start_ticks: u64, parent: u32, sockets: &[(u32, u32)]) {
        self.tasks.rows.retain(|t| t.key.pid != pid);
        let row = Task {
            key: TaskKey { pid, start_ticks },
            ppid: parent,
            netns: Some(NetnsId(7)),
            threads: 1,
            ..Task::default()
        };
        self.tasks.rows.push(row);
        self.tasks.rows.sort_by_key(|t| t.key.pid);
        self.descriptors(&format!("{pid}/fd"), sockets);
    }

    fn descriptors(&self, folder: &str, sockets: &[(u32, u32)]) {
        let folder = self.dir.path().join(folder);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        symlink("/dev/null", folder.join("0")).unwrap();
        for (fd, inode) in sockets {
            symlink(format!("socket:[{inode}]"), folder.join(fd.to_string())).unwrap();
        }
    }

    /// One pass over `inodes` (the first `listeners` of them listen); who holds each.
    fn pass(&self, owners: &mut Owners, inodes: &[u32], listeners: usize) -> Vec<Option<u32>> {
        let mut fds = Fds::open(self.dir.path()).unwrap();
        owners.begin(&self.tasks, &fds);
        for (n, &inode) in inodes.iter().enumerate() {
            owners.look(inode, u64::from(inode) + 1000, NetnsId(7), n < listeners);
        }
        owners.search(&self.tasks, &mut fds, false);
        let held = inodes.iter().map(|&inode| owners.holder(inode)).collect();
        owners.end(true);
        held
    }
}

#[test]
fn owners_are_found_kept_and_forgotten() {
    let mut tree = Tree::new();
    tree.task(10, 1, 1, &[(3, 100), (4, 101)]);
    tree.task(20, 2, 1, &[(3, 200)]);
    let mut owners = Owners::default();
    assert_eq!(tree.pass(&mut owners, &[100, 101, 200, 999], 0), [Some(10), Some(10), Some(20), None]);
    fs::remove_dir_all(tree.dir.path().join("10/fd")).unwrap();
    let fds = Fds::open(tree.dir.path()).unwrap();
    owners.begin(&tree.tasks, &fds);
    assert_eq!(owners.look(200, 1200, NetnsId(7), false), Owner::Held(20), "no scan: it is known");
    assert_eq!(owners.look(200, 1200, NetnsId(7), false), Owner::Duplicate);
    assert_eq!(owners.look(200, 5, NetnsId(7), false), Owner::Unknown, "the inode is another socket's now");
    owners.end(true);
    assert_eq!(owners.holder(101), None, "the kernel no longer tells of it");
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut tree = Tree::new();
    tree.task(10, 1, 1, &[(3, 100)]);
    let mut owners = Owners::default();
    assert_eq!(tree.pass(&mut owners, &[100], 0), [Some(10)]);
    tree.task(10, 50, 1, &[]);
    tree.task(30, 2, 1, &[(9, 100)]);
    assert_eq!(tree.pass(&mut owners, &[100], 0), [Some(30)]);
}

#[test]
fn the_oldest_of_several_holders_is_named_but_not_init() {
    let mut tree = Tree::new();
    tree.task(1, 0, 0, &[(40, 100)]);
    tree.task(10, 90, 1, &[(3, 100)]);
    tree.task(20, 80, 1, &[(3, 100)]);
    let mut owners = Owners::default();
    assert_eq!(tree.pass(&mut owners, &[100], 1), [Some(20)]);
    assert_eq!(owners.shared_by(100), 3);
    // A worker forked later shares it too; when the oldest dies the next one is named at once.
    tree.task(30, 99, 20, &[(3, 100)]);
    assert_eq!(tree.pass(&mut owners, &[100], 1), [Some(20)]);
    assert_eq!(owners.shared_by(100), 4);
    tree.tasks.rows.retain(|t| t.key.pid != 20);
    assert_eq!(tree.pass(&mut owners, &[100], 1), [Some(10)]);
    assert_eq!(owners.shared_by(100), 3);
}

#[test]
fn a_server_that_gave_its_socket_to_a_child_is_not_named_for_long() {
    let mut tree = Tree::new();
    tree.task(10, 1, 1, &[(3, 100)]);
    tree.task(20, 2, 10, &[(3, 100)]);
    let mut owners = Owners::default();
    assert_eq!(tree.pass(&mut owners, &[100], 0), [Some(10)]);
    tree.task(10, 1, 1, &[]);
    assert_eq!(tree.pass(&mut owners, &[100], 0), [Some(20)]);
}

#[test]
fn an_exited_leader_leaves_its_table_to_its_threads() {
    let mut tree = Tree::new();
    tree.task(10, 1, 1, &[]);
    tree.descriptors("10/task/10/fd", &[]);
    tree.descriptors("10/task/12/fd", &[(3, 100)]);
    fs::remove_dir_all(tree.dir.path().join("10/fd")).unwrap();
    tree.tasks.rows[0].state = crate::snapshot::TaskState::Zombie;
    tree.tasks.rows[0].threads = 2;
    assert_eq!(tree.pass(&mut Owners::default(), &[100], 0), [Some(10)]);
}

#[test]
fn a_socket_in_the_place_of_another_is_found_there() {
    let mut tree = Tree::new();
    tree.task(10, 1, 1, &[(3, 100), (7, 101), (9, 102)]);
    let mut owners = Owners::default();
    assert_eq!(tree.pass(&mut owners, &[100, 101, 102], 0), [Some(10); 3]);
    // One closed and its number taken by the next one, one added at the end, one where nothing says to look.
    tree.task(10, 1, 1, &[(3, 100), (7, 201), (9, 102), (10, 202), (50, 203)]);
    let inodes = [100, 102, 201, 202, 203];
    assert_eq!(tree.pass(&mut owners, &inodes, 0), [Some(10), Some(10), Some(10), Some(10), None]);
    assert_eq!(owners.still_unknown(), 1);
    assert_eq!(tree.pass(&mut owners, &inodes, 0), [Some(10); 5], "a scan, for it lasts");
}

#[test]
fn what_nobody_holds_does_not_cost_a_scan_each_pass() {
    let mut tree = Tree::new();
    tree.task(10, 1, 1, &[(3, 100)]);
    let mut owners = Owners::default();
    tree.pass(&mut owners, &[100, 999], 0);
    // Were process 10 scanned again, its new socket would be noted; it is not, for nothing says that it changed.
    tree.task(10, 1, 1, &[(3, 100), (9, 999)]);
    assert_eq!(tree.pass(&mut owners, &[100, 999], 0), [Some(10), None]);
    // Its descriptor count does.
    tree.tasks.rows[0].fds = Some(3);
    let found = (0..4).map(|_| tree.pass(&mut owners, &[100, 999], 0)[1]).find_map(|held| held);
    assert_eq!(found, Some(10));
}

#[test]
fn a_budget_bounds_a_pass_and_the_next_ones_go_on() {
    let mut tree = Tree::new();
    let sockets = |pid: u32| (3..4003).map(|fd| (fd, pid * 10_000 + fd)).collect::<Vec<_>>();
    for pid in 10..16 {
        tree.task(pid, pid.into(), 1, &sockets(pid));
    }
    let inodes: Vec<_> = (10..16).flat_map(|pid| sockets(pid).into_iter().map(|(_, inode)| inode)).collect();
    let mut owners = Owners::default();
    let named = |held: Vec<Option<u32>>| held.into_iter().flatten().count();
    let first = named(tree.pass(&mut owners, &inodes, 0));
    assert!((8_000..=16_000).contains(&first), "{first}");
    assert_eq!((0..3).map(|_| named(tree.pass(&mut owners, &inodes, 0))).max(), Some(24_000));
}

#[test]
fn a_foreign_proc_is_read_as_text_with_owners() {
    let mut tree = Tree::new();
    tree.task(10, 1, 1, &[(3, 295_292), (4, 295_297), (5, 295_315)]);
    fs::create_dir_all(tree.dir.path().join("10/net")).unwrap();
    for (table, _) in CAPTURED {
        fs::write(tree.dir.path().join("10/net").join(table), fixture(&format!("{table}.txt"))).unwrap();
    }
    let roots = Roots { proc: tree.dir.path().to_path_buf(), ..Roots::default() };
    let cx = Context { tasks: Some(Arc::new(tree.tasks)), eager: true, ..Context::default() };
    let section = SocketsCollector::new(&roots, None).collect(&cx);
    let data = section.data().unwrap();
    assert_eq!((&*data.source, &data.netns[..]), ("/proc/net", &[NetnsId(7)][..]));
    assert_eq!(data.groups.iter().map(|g| g.count).sum::<u64>(), 13 + 5);
    assert_eq!((data.listeners.len(), data.udp.len()), (4, 3));
    let owner = Some(TaskKey { pid: 10, start_ticks: 1 });
    let http = data.listeners.iter().find(|l| l.key.local.port() == 8001).unwrap();
    assert_eq!((http.owner, http.shared_by, http.queue, http.drops), (owner, 1, 1, None));
    let waiting = data.groups.iter().find(|g| g.by_listener && g.state == TcpState::TimeWait && g.owner == owner);
    assert_eq!(waiting.map(|g| (g.count, g.local_port)), Some((1, Some(8001))));
    assert_eq!((data.udp[0].owner, data.udp[0].drops, data.udp[0].rcvbuf_bytes), (owner, 44, None));
    assert!(data.gaps.iter().any(|g| g.what.contains("/proc/net")), "{:?}", data.gaps);
}

#[test]
fn nothing_to_read_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let roots = Roots { proc: dir.path().to_path_buf(), ..Roots::default() };
    assert_eq!(SocketsCollector::new(&roots, None).collect(&Context::default()).word(), "absent");
}
