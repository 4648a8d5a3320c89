//! Story D on a container host: OOM kills that can't finish, D tasks, zombies; beside it a kernel-memory leak, a
//! reconnect storm in the making and a UDP buffer that is too small.

use super::build::{Build, at, cgroup_key};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use whytop::model::{Evidence, EvidenceValue, Frame, IfaceRates, Metric, Model, Severity};
use whytop::snapshot::{
    Cgroup, Cgroups, Container, Counters, Cpu, CpuUse, Detail, FdSummary, Host, Iface, Limits, Listener, ListenerKey,
    LogValue, MemUse, Memory, Net, NetnsCounters, NetnsId, Own, PidsUse, Proto, Qdisc, Section, Side, SignalSets, Slab,
    Slabs, SockGroup, SockKey, Sockets, SoftnetCpu, Subject, Talker, Task, TaskDetail, TaskKey, TaskState, Tasks,
    TcpState, Thread, UdpSocket, Wait, WaitFor,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
pub const CHECKOUT: &str = "/kubepods/burstable/pod4c1e/checkout-7f9c";
const SEARCH: &str = "/kubepods/burstable/pod77aa/search-0";
const POD: &str = "/kubepods/burstable/pod4c1e";
pub const HOST_NS: NetnsId = NetnsId(4_026_531_992);
pub const POD_NS: NetnsId = NetnsId(4_026_532_611);

pub fn key(pid: u32) -> TaskKey {
    TaskKey { pid, start_ticks: u64::from(pid) * 10 }
}

/// The frame.
pub fn story_d() -> Arc<Frame> {
    build().done()
}

/// The frame before it is joined, for tests that change it.
pub fn build() -> Build {
    let mut b = Build::default();
    let now = at(3_553_920.0);
    b.snap.at = now;
    b.snap.wall_unix_ns = 1_700_000_047_000_000_000;
    b.frame.window_start = at(3_553_920.0 - 200.0);
    b.frame.log_in_window = 9;
    b.snap.host = Section::ok(now, host());
    b.snap.cpu = Section::ok(now, Cpu { load: [3012.0, 2480.0, 1203.0], ..Cpu::default() });
    b.snap.own = Own { rss_bytes: 14 * MIB, interval_ns: 1_000_000_000, max_cpu_pct: 10.0, ..Own::default() };
    b.snap.tasks = Section::ok(now, tasks());
    b.snap.sockets = Section::ok(now, sockets());
    b.snap.cgroups = Section::ok(now, cgroups());
    b.snap.memory = Section::ok(now, memory());
    b.snap.slab = Section::ok(now, slabs());
    b.snap.net = Section::ok(now, net());
    b.snap.pressure = Section::absent("PSI is off on this kernel (3.10)");
    b.snap.klog = Section::ok(now, whytop::snapshot::KernelLog::default());
    rates(&mut b);
    log(&mut b);
    findings(&mut b);
    b
}

fn host() -> Host {
    Host {
        name: "node-17".into(),
        kernel: "3.10.0-957.el7".into(),
        cpus: 56,
        ticks_per_sec: 100,
        mem_total_bytes: 377 * GIB,
        netns: HOST_NS,
        ..Host::default()
    }
}

fn tasks() -> Tasks {
    let mut rows = vec![
        named(
            Build::task(1, 0, "systemd", TaskState::Sleeping),
            "/usr/lib/systemd/systemd --switched-root --system",
            "/",
        ),
        named(Build::task(812, 1, "sshd", TaskState::Sleeping), "/usr/sbin/sshd -D", "/system.slice/sshd.service"),
        named(
            Build::task(1204, 1, "dockerd", TaskState::Sleeping),
            "/usr/bin/dockerd -H fd://",
            "/system.slice/docker.service",
        ),
        named(
            Build::task(4020, 1, "containerd-shim", TaskState::Sleeping),
            "containerd-shim -namespace moby -workdir …",
            "/system.slice/docker.service",
        ),
        named(Build::task(4698, 4020, "tini", TaskState::Sleeping), "/sbin/tini -- supervisord", CHECKOUT),
        named(
            Build::task(4711, 4698, "supervisord", TaskState::Sleeping),
            "/usr/bin/python /usr/bin/supervisord -n",
            CHECKOUT,
        ),
        named(
            Build::task(5200, 1, "redis-server", TaskState::Running),
            "/usr/bin/redis-server *:6379",
            "/system.slice/redis.service",
        ),
        named(
            Build::task(6310, 1, "agent", TaskState::Sleeping),
            "/opt/agent/bin/java -jar agent.jar --broker 10.0.0.9:61616",
            "/system.slice/agent.service",
        ),
        named(
            Build::task(7002, 1, "nginx", TaskState::Sleeping),
            "nginx: master process /usr/sbin/nginx",
            "/system.slice/nginx.service",
        ),
        named(
            Build::task(7003, 7002, "nginx", TaskState::Running),
            "nginx: worker process",
            "/system.slice/nginx.service",
        ),
        named(
            Build::task(8101, 1, "jgroups", TaskState::Sleeping),
            "java -Djgroups.bind_addr=10.2.0.4 -jar cache.jar",
            SEARCH,
        ),
    ];
    rows[4].inner_pid = Some(1);
    set(&mut rows, 6310, |t| {
        t.threads = 431;
        t.by_state.sleeping = 431;
        t.rss_bytes = 900 * MIB;
        t.fds = Some(980);
        t.fd_limit = Some(1024);
    });
    let mut victim = named(
        Build::task(16951, 4711, "java", TaskState::Blocked),
        "/usr/bin/java -Xmx3g -XX:+UseG1GC -jar /srv/checkout.jar --spring.profiles.active=prod",
        CHECKOUT,
    );
    victim.threads = 214;
    victim.by_state.blocked = 211;
    victim.by_state.sleeping = 3;
    victim.rss_bytes = 1_643 * MIB;
    victim.awake = (0..64)
        .map(|i| Thread {
            tid: 16951 + i,
            comm: "java".into(),
            state: TaskState::Blocked,
            wchan: Some(if i < 62 { "mem_cgroup_oom".into() } else { "filename_create".into() }),
            stack: ["mem_cgroup_oom_synchronize", "try_charge", "handle_mm_fault", "do_page_fault"]
                .map(Into::into)
                .to_vec(),
            sigkill_pending: Some(true),
            ..Thread::default()
        })
        .collect();
    victim.fds = Some(1204);
    victim.fd_limit = Some(65_536);
    victim.uid = Some(999);
    rows.push(victim);
    for i in 0..38 {
        let mut t = named(
            Build::task(17_000 + i, 4711, "java", TaskState::Blocked),
            "/usr/bin/java -Xmx3g -jar /srv/checkout.jar",
            CHECKOUT,
        );
        t.threads = 70;
        t.by_state.blocked = 70;
        t.rss_bytes = 11 * MIB;
        t.awake = vec![Thread {
            tid: t.key.pid,
            state: TaskState::Blocked,
            wchan: Some("mem_cgroup_oom".into()),
            ..Thread::default()
        }];
        rows.push(t);
    }
    for i in 0..312 {
        let mut t = Build::task(20_000 + i, 4711, "python3", TaskState::Zombie);
        t.cgroup = Some(CHECKOUT.into());
        rows.push(t);
    }
    for i in 0..40 {
        rows.push(named(
            Build::task(30_000 + i, 7002, "nginx", TaskState::Sleeping),
            "nginx: worker process",
            "/system.slice/nginx.service",
        ));
    }
    Tasks {
        rows,
        blocked_by_wchan: vec![("mem_cgroup_oom".into(), 2871), ("filename_create".into(), 2)],
        gaps: Vec::new(),
    }
}

fn named(mut task: Task, cmdline: &str, cgroup: &str) -> Task {
    task.cmdline = Some(cmdline.into());
    task.cgroup = Some(cgroup.into());
    task.rss_bytes = 24 * MIB;
    task.fds = Some(42);
    task.fd_limit = Some(1024);
    task
}

fn set(rows: &mut [Task], pid: u32, change: impl FnOnce(&mut Task)) {
    change(rows.iter_mut().find(|t| t.key.pid == pid).unwrap());
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn sock(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn group(netns: NetnsId, owner: Option<u32>, state: TcpState, remote: &str, port: u16, count: u64) -> SockGroup {
    SockGroup {
        netns,
        owner: owner.map(key),
        state,
        remote_addr: Some(ip(remote)),
        remote_port: Some(port),
        count,
        send_q_bytes: if state == TcpState::Established { count * 220 } else { 0 },
        mem_bytes: count * 2304,
        retransmitting: if state == TcpState::SynSent { count } else { 0 },
        ..SockGroup::default()
    }
}

fn sockets() -> Sockets {
    use TcpState::{CloseWait, Established, SynSent, TimeWait};
    let mut served = group(HOST_NS, Some(7003), Established, "10.0.3.7", 0, 612);
    served.side = Side::Server;
    served.local_port = Some(443);
    served.remote_port = None;
    let listener = |owner: u32, local: &str, queue, backlog| Listener {
        key: ListenerKey { netns: HOST_NS, local: sock(local) },
        owner: Some(key(owner)),
        shared_by: 1,
        queue,
        backlog,
        drops: Some(if queue > backlog { 312 } else { 0 }),
        syn_recv: 0,
        cookie: u64::from(owner),
        cgroup_id: 0,
    };
    let udp = |owner: u32, local: &str, rcvbuf, queue, drops, cookie| UdpSocket {
        key: SockKey { netns: HOST_NS, proto: Proto::Udp, local: sock(local), cookie },
        owner: Some(key(owner)),
        remote_addr: None,
        remote_port: None,
        recv_q_bytes: queue,
        rcvbuf_bytes: Some(rcvbuf),
        send_q_bytes: 0,
        sndbuf_bytes: Some(212_992),
        drops,
        cgroup_id: 0,
    };
    Sockets {
        groups: vec![
            served,
            group(HOST_NS, Some(6310), SynSent, "10.0.0.9", 61616, 412),
            group(HOST_NS, Some(6310), Established, "10.0.0.8", 8080, 4),
            group(HOST_NS, Some(5200), Established, "10.0.4.4", 6379, 31),
            group(HOST_NS, None, TimeWait, "10.0.4.4", 6379, 411),
            group(POD_NS, Some(16951), Established, "10.2.0.9", 5432, 41),
            group(POD_NS, Some(16951), CloseWait, "10.2.0.12", 443, 3),
        ],
        listeners: vec![
            listener(7002, "0.0.0.0:443", 0, 511),
            listener(7002, "0.0.0.0:80", 0, 511),
            listener(5200, "0.0.0.0:6379", 17, 16),
            listener(812, "[::]:22", 0, 128),
        ],
        udp: vec![
            udp(8101, "228.6.7.8:45588", 262_144, 261_900, 81_233, 7),
            udp(8101, "10.2.0.4:7800", 425_984, 0, 0, 8),
            udp(812, "127.0.0.1:323", 212_992, 0, 0, 9),
        ],
        udp_more: 0,
        talkers: vec![
            talker(Some(5200), [10, 0, 4, 4], 31, 8_800_000.0, 150_000.0),
            talker(None, [10, 0, 3, 7], 2, 12_000.0, 1_400_000.0),
        ],
        netns: vec![HOST_NS, POD_NS],
        source: "sock_diag".into(),
        gaps: Vec::new(),
    }
}

fn talker(owner: Option<u32>, remote: [u8; 4], count: u64, tx_bytes_per_s: f64, rx_bytes_per_s: f64) -> Talker {
    Talker { netns: HOST_NS, owner: owner.map(key), remote_addr: remote.into(), count, tx_bytes_per_s, rx_bytes_per_s }
}

fn cgroup(path: &str, usage: u64, limit: Option<u64>, hits: u64) -> Cgroup {
    Cgroup {
        key: cgroup_key(path),
        memory: Some(MemUse {
            usage_bytes: Some(usage),
            limit_bytes: limit,
            limit_hits: Some(hits),
            oom_kills: Some(u64::from(hits > 1000) * 3),
            kmem_bytes: Some(usage / 40),
            anon_bytes: Some(usage / 10 * 9),
            file_bytes: Some(usage / 50),
            inactive_file_bytes: Some(usage / 500),
            ..MemUse::default()
        }),
        pids: Some(PidsUse { current: usage / (20 * MIB), limit: limit.map(|_| 4096), limit_hits: Some(0) }),
        cpu: Some(CpuUse::default()),
        ..Cgroup::default()
    }
}

fn container(mut cgroup: Cgroup, name: &str, pod: &str) -> Cgroup {
    cgroup.container = Some(Container {
        runtime: "docker".into(),
        id: "4b1d2341943bc7ff488fddd07a84a15e132182b580c52262029357151ddf1fab".into(),
        name: Some(name.into()),
        image: Some("registry/shop/checkout:1.8.2".into()),
        pod: Some(pod.into()),
        pod_namespace: None,
        pod_uid: Some("4c1e".into()),
    });
    cgroup
}

fn unit(mut cgroup: Cgroup) -> Cgroup {
    cgroup.unit = cgroup.key.path.rsplit('/').next().map(Into::into);
    cgroup
}

fn cgroups() -> Cgroups {
    let rows = vec![
        cgroup("/", 44 * GIB, None, 0),
        cgroup("/kubepods", 9 * GIB, Some(300 * GIB), 0),
        cgroup("/kubepods/burstable", 9 * GIB, None, 0),
        cgroup(POD, 2 * GIB, Some(2 * GIB), 120),
        container(cgroup(CHECKOUT, 2 * GIB, Some(2 * GIB), 41_134), "checkout-7f9c", "web"),
        cgroup("/kubepods/burstable/pod77aa", 5 * GIB, Some(8 * GIB), 0),
        container(cgroup(SEARCH, 5 * GIB, Some(8 * GIB), 0), "search-0", "search"),
        cgroup("/system.slice", 3 * GIB, None, 0),
        unit(cgroup("/system.slice/agent.service", GIB, None, 0)),
        unit(cgroup("/system.slice/docker.service", 400 * MIB, None, 0)),
        unit(cgroup("/system.slice/nginx.service", 210 * MIB, Some(GIB), 0)),
        unit(cgroup("/system.slice/redis.service", 620 * MIB, None, 0)),
        unit(cgroup("/system.slice/sshd.service", 8 * MIB, None, 0)),
    ];
    Cgroups {
        rows,
        dying: Some(61_204),
        live: Some(240),
        dying_source: "/proc/cgroups:memory".into(),
        ..Cgroups::default()
    }
}

fn memory() -> Memory {
    let gib = |n: f64| (n * GIB as f64) as u64;
    Memory {
        meminfo: Counters::from_pairs([
            ("MemTotal", gib(377.0)),
            ("MemFree", gib(0.4)),
            ("MemAvailable", gib(2.1)),
            ("Buffers", gib(0.1)),
            ("Cached", gib(11.2)),
            ("Dirty", 40 * MIB),
            ("Writeback", 0),
            ("AnonPages", gib(31.0)),
            ("Mapped", gib(1.2)),
            ("Shmem", gib(0.3)),
            ("Slab", gib(332.0)),
            ("SReclaimable", gib(1.0)),
            ("SUnreclaim", gib(331.0)),
            ("KernelStack", 610 * MIB),
            ("PageTables", 380 * MIB),
            ("SwapTotal", 4 * GIB),
            ("SwapFree", 0),
        ]),
        limits: Limits {
            files: Some(214_000),
            files_max: Some(38_000_000),
            pid_max: Some(57_344),
            threads_max: Some(3_000_000),
            ..Limits::default()
        },
        swaps: vec![("/dev/sda2".into(), 4 * GIB, 4 * GIB)],
        ..Memory::default()
    }
}

fn slabs() -> Slabs {
    let slab = |name: &str, bytes: u64, obj: u64, reclaimable| Slab {
        name: name.into(),
        active_objs: bytes / obj,
        num_objs: bytes / obj,
        obj_bytes: obj,
        bytes,
        reclaimable: Some(reclaimable),
        ..Slab::default()
    };
    Slabs {
        rows: vec![
            slab("dentry", 141 * GIB, 192, true),
            slab("inode_cache", 96 * GIB, 592, true),
            slab("kmalloc-64", 41 * GIB, 64, false),
            slab("proc_inode_cache", 22 * GIB, 656, true),
            slab("kmalloc-1024", 11 * GIB, 1024, false),
            slab("xfs_inode", 9 * GIB, 960, true),
            slab("buffer_head", 1200 * MIB, 104, true),
            slab("task_struct", 190 * MIB, 4160, false),
            slab("TCP", 12 * MIB, 1984, false),
        ],
        gaps: Vec::new(),
    }
}

fn net() -> Net {
    let iface = |name: &str, speed| Iface {
        name: name.into(),
        up: true,
        speed_mbit: speed,
        rx_missed: Some(0),
        ..Iface::default()
    };
    let host = NetnsCounters {
        id: HOST_NS,
        pid: Some(1),
        tasks: 214,
        counters: Counters::from_pairs([
            ("UdpRcvbufErrors", 81_233),
            ("TcpExtListenDrops", 312),
            ("TcpExtListenOverflows", 312),
            ("TcpExtTCPTimeWaitOverflow", 0),
        ]),
        sockstat: Counters::from_pairs([("TCPorphan", 2), ("TCPtw", 411), ("TCPmem", 1200)]),
        sysctls: Counters::from_pairs([
            ("net.ipv4.tcp_max_tw_buckets", 131_072),
            ("net.core.rmem_max", 131_072),
            ("net.core.rmem_default", 212_992),
            ("net.netfilter.nf_conntrack_max", 262_144),
            ("net.ipv4.tcp_max_orphans", 262_144),
        ]),
        ifaces: vec![
            Iface { rx_bytes: 81 << 40, rx_dropped: 12, ..iface("eth0", Some(1000)) },
            iface("docker0", None),
            iface("lo", None),
        ],
        qdiscs: vec![Qdisc { iface: "eth0".into(), kind: "mq".into(), root: true, drops: 44, ..Qdisc::default() }],
        conntrack: Some(18_211),
        conntrack_drops: Some(0),
        ..NetnsCounters::default()
    };
    let pod = NetnsCounters {
        id: POD_NS,
        name: Some("web/checkout-7f9c".into()),
        pid: Some(4698),
        tasks: 355,
        ifaces: vec![iface("eth0", None)],
        ..NetnsCounters::default()
    };
    let softnet = (0..4)
        .map(|cpu| SoftnetCpu { cpu, processed: 1 << 30, dropped: 0, time_squeeze: 120, ..SoftnetCpu::default() })
        .collect();
    Net { netns: vec![host, pod], softnet, gaps: Vec::new() }
}

fn rates(b: &mut Build) {
    b.rates.push(Box::new(moved));
    b.spark(Subject::Task(key(16951)), Metric::Rss, &[1.0, 1.1, 1.3, 1.5, 1.6, 1.62, 1.63, 1.64]);
    b.spark(Subject::Task(key(16951)), Metric::Threads, &[60.0, 61.0, 80.0, 120.0, 160.0, 190.0, 210.0, 214.0]);
    b.spark(Subject::Task(key(16951)), Metric::Blocked, &[0.0, 0.0, 0.0, 0.0, 2.0, 90.0, 180.0, 211.0]);
    b.spark(Subject::Host, Metric::CpuPct, &[9.0, 12.0, 10.0, 8.0, 14.0, 11.0, 9.0, 9.0]);
    b.spark(
        Subject::Cgroup(cgroup_key(CHECKOUT)),
        Metric::Usage,
        &[1.1e9, 1.2e9, 1.6e9, 1.9e9, 2.1e9, 2.14e9, 2.14e9, 2.14e9],
    );
    b.spark(
        Subject::Slab("dentry".into()),
        Metric::SlabBytes,
        &[140.2e9, 140.6e9, 141.0e9, 141.3e9, 141.9e9, 142.4e9, 142.9e9, 143.0e9],
    );
}

fn moved(model: &mut Model) {
    let totals = &mut model.totals;
    totals.cpu_busy_pct = Some(9.2);
    totals.udp_drops_per_s = Some(650.0);
    totals.nic_drops_per_s = Some(0.0);
    totals.limited_cgroups = 240;
    totals.at_limit = 17;
    totals.oom_kills = Some(3);
    totals.oom_kills_in_window = 3;
    totals.own_cpu_pct = Some(0.8);
    let net = model.net_rates.entry(HOST_NS).or_default();
    net.insert("UdpRcvbufErrors".into(), 650.0);
    net.insert("TcpExtTCPTimeouts".into(), 41.0);
    net.insert("TcpExtListenDrops".into(), 3.0);
    net.insert("TcpExtListenOverflows".into(), 3.0);
    model.iface_rates.insert(
        (HOST_NS, "eth0".into()),
        IfaceRates {
            rx_bytes_per_s: 61.0e6,
            tx_bytes_per_s: 11.0e6,
            rx_packets_per_s: 48_000.0,
            tx_packets_per_s: 21_000.0,
            drops_per_s: 0.0,
        },
    );
    model.slab_bytes_per_s.insert("dentry".into(), 716_000.0);
    model.slab_bytes_per_s.insert("inode_cache".into(), 402_000.0);
    model.socket_drops_per_s.insert(udp_subject(), 650.0);
    for pid in std::iter::once(16_951).chain(17_000..17_038) {
        model.tasks.entry(key(pid)).or_default().blocked_since = Some(at(3_553_920.0 - 178.0));
    }
    model.tasks.entry(key(4711)).or_default().zombie_since = Some(at(3_553_920.0 - 181.0));
    for facts in model.tasks.values_mut() {
        facts.cpu_pct = Some(0.0);
    }
    let hit = cgroup_key(CHECKOUT).path;
    let row = model.cgroup_by_path[&hit];
    model.cgroups[row].limit_hits_per_s = Some(212.0);
    model.tasks.entry(key(5200)).or_default().cpu_pct = Some(88.0);
    model.tasks.entry(key(7003)).or_default().cpu_pct = Some(12.5);
}

fn log(b: &mut Build) {
    let text = |t: &str| LogValue::Text(t.into());
    b.event(
        "fs_error",
        9.0 * 60.0 + 3.0,
        &[
            ("fs", text("ext4")),
            ("device", text("sda3")),
            ("severity", text("error")),
            ("function", text("ext4_lookup")),
            ("inode", LogValue::Int(1_311_082)),
        ],
        "EXT4-fs error (device sda3): ext4_lookup:1441: inode #1311082: comm backup: checksum failed",
    );
    for i in 0..6 {
        b.event(
            "hung_task",
            150.0 - f64::from(i),
            &[
                ("comm", text("java")),
                ("pid", LogValue::Int(16_951)),
                ("seconds", LogValue::Int(120)),
                ("top_frame", text("mem_cgroup_oom")),
            ],
            "INFO: task java:16951 blocked for more than 120 seconds.",
        );
    }
    for (ago, pid) in [(64.0, 16_955), (31.0, 16_957), (12.0, 16_951)] {
        b.event(
            "oom_kill",
            ago,
            &[
                ("scope", text("memcg")),
                ("victim_comm", text("java")),
                ("victim_pid", LogValue::Int(pid)),
                ("task_memcg", text(CHECKOUT)),
                ("oom_memcg", text(CHECKOUT)),
                ("trigger_comm", text("java")),
                ("trigger_pid", LogValue::Int(16_960)),
                ("anon_rss_kb", LogValue::Int(1_604_000)),
                ("limit_kb", LogValue::Int(2_097_152)),
            ],
            "Memory cgroup out of memory: Kill process 16951 (java) score 823 or sacrifice child",
        );
    }
}

fn evidence(source: &str, field: &str, value: f64, rate: Option<f64>) -> Evidence {
    Evidence { source: source.into(), field: field.into(), value: EvidenceValue::Number(value), rate_per_s: rate }
}

fn findings(b: &mut Build) {
    use Severity::{Critical, Warning};
    let ago = |secs: f64| at(3_553_920.0 - secs);
    let checkout = Subject::Cgroup(cgroup_key(CHECKOUT));
    let growing = vec![1.0, 1.0, 2.0, 3.0, 5.0, 7.0, 8.0, 8.0];
    let f = b.finding(
        Critical,
        "cgroup.at_limit",
        checkout.clone(),
        "web/checkout-7f9c",
        "web/checkout-7f9c is at its memory limit of 2.0 GB, almost none of it reclaimable",
    );
    (f.value, f.limit, f.unit, f.since, f.rate_per_s) =
        (2.0 * GIB as f64, Some(2.0 * GIB as f64), "bytes", ago(192.0), None);
    f.evidence = vec![
        evidence("memory.usage_in_bytes", "memory.usage_in_bytes", 2_147_483_648.0, None),
        evidence("memory.limit_in_bytes", "memory.limit_in_bytes", 2_147_483_648.0, None),
        evidence("memory.failcnt", "memory.failcnt", 41_134.0, Some(212.0)),
        evidence("memory.stat", "total_inactive_file", 4_294_967.0, None),
    ];
    f.advice = vec![
        "raise the limit or stop the respawn: docker update --memory 4g checkout-7f9c; not kill -9 of java (already pending)".into(),
        "supervisord(4711) must reap its children; only pid 1 of the container, tini(4698), would have been restarted".into(),
    ];
    let f = b.finding(
        Critical,
        "cgroup.oom_kill",
        checkout,
        "web/checkout-7f9c",
        "java(16951) killed, not the container's pid 1; its supervisor starts more",
    );
    (f.value, f.since, f.explained_by) = (3.0, ago(64.0), vec![0]);
    f.evidence = vec![evidence("/dev/kmsg", "oom_kill", 3.0, None)];
    let f = b.finding(
        Critical,
        "task.d_state_pile",
        Subject::Wchan("mem_cgroup_oom".into()),
        "mem_cgroup_oom",
        "2,871 threads wait in mem_cgroup_oom",
    );
    (f.value, f.rate_per_s, f.since, f.explained_by, f.spark) =
        (2871.0, Some(14.2), ago(178.0), vec![0], growing.clone());
    f.evidence = vec![evidence("/proc/PID/task/TID/stat", "state D", 2871.0, Some(14.2))];
    let f = b.finding(
        Critical,
        "task.zombie_pile",
        Subject::Task(key(4711)),
        "supervisord(4711)",
        "312 children of supervisord(4711) are dead and not reaped",
    );
    (f.value, f.rate_per_s, f.since, f.explained_by, f.spark) =
        (312.0, Some(1.6), ago(181.0), vec![1], growing.clone());
    let f = b.finding(Warning, "host.load_blocked", Subject::Host, "node-17", "load is D, not CPU: 99 % of 3,012");
    (f.value, f.unit, f.since, f.explained_by) = (3012.0, "load", ago(170.0), vec![2]);
    let f = b.finding(
        Critical,
        "slab.unreclaimable",
        Subject::Host,
        "node-17",
        "331 GB of kernel memory can't be reclaimed: 88 % of RAM",
    );
    (f.value, f.limit, f.unit, f.since, f.rate_per_s) =
        (331.0 * GIB as f64, Some(377.0 * GIB as f64), "bytes", ago(2460.0), Some(700_000.0));
    f.rate_unit = "bytes";
    f.spark = vec![7.0, 7.1, 7.2, 7.3, 7.5, 7.7, 7.9, 8.0];
    let f =
        b.finding(Critical, "slab.growth", Subject::Slab("dentry".into()), "dentry", "dentry grows by 41 MB a minute");
    (f.value, f.unit, f.since, f.rate_per_s, f.explained_by) =
        (141.0 * GIB as f64, "bytes", ago(2460.0), Some(716_000.0), vec![7]);
    f.rate_unit = "bytes";
    let f = b.finding(
        Warning,
        "cgroup.dying_pile",
        Subject::Host,
        "node-17",
        "61,204 dead memory cgroups are kept alive (live: 240): kernel 3.10 leaks kmem per container",
    );
    (f.value, f.limit, f.unit, f.since, f.explained_by) = (61_204.0, Some(65_535.0), "cgroups", ago(2460.0), vec![5]);
    let f = b.finding(
        Critical,
        "udp.rcvbuf_drops",
        udp_subject(),
        "jgroups(8101) 228.6.7.8:45588",
        "jgroups(8101) drops 650 datagrams/s at its receive buffer of 256 kB",
    );
    (f.value, f.unit, f.since, f.rate_per_s) = (81_233.0, "drops", ago(95.0), Some(650.0));
    f.rate_unit = "drops";
    let f = b.finding(
        Warning,
        "tcp.syn_sent_pile",
        Subject::Task(key(6310)),
        "agent(6310)",
        "agent(6310) holds 412 SYN_SENT to 10.0.0.9:61616, which does not answer",
    );
    (f.value, f.unit, f.since, f.rate_per_s, f.spark) = (412.0, "sockets", ago(61.0), Some(3.1), growing);
    f.rate_unit = "sockets";
    f.remote = Some((ip("10.0.0.9"), 61616));
    b.story(
        Critical,
        "web/checkout-7f9c is at its memory limit; its tasks hang in D and zombies pile up",
        vec![0, 1, 2, 3, 4],
    );
    b.story(Critical, "", vec![5, 7, 6]);
    b.story(Critical, "", vec![8]);
    b.story(Warning, "", vec![9]);
}

/// The UDP socket that drops.
pub fn udp_subject() -> Subject {
    Subject::Socket(SockKey { netns: HOST_NS, proto: Proto::Udp, local: sock("228.6.7.8:45588"), cookie: 7 })
}

/// What a drill-down into java(16951) brings.
pub fn detail_of_java() -> Detail {
    let wait = |i: u32| Thread {
        tid: 16_951 + i,
        comm: "java".into(),
        state: if i < 211 { TaskState::Blocked } else { TaskState::Sleeping },
        wchan: Some(if i < 209 { "mem_cgroup_oom".into() } else { "filename_create".into() }),
        stack: if i < 209 {
            ["mem_cgroup_oom_synchronize", "try_charge", "handle_mm_fault", "do_page_fault"].map(Into::into).to_vec()
        } else {
            ["filename_create", "do_mkdirat"].map(Into::into).to_vec()
        },
        sigkill_pending: Some(true),
        ..Thread::default()
    };
    let task = TaskDetail {
        key: key(16_951),
        cgroups: vec![("memory".into(), CHECKOUT.into()), ("cpu,cpuacct".into(), CHECKOUT.into())],
        signals: Some(SignalSets {
            shared_pending: 1 << 8,
            ignored: 1 << 12,
            caught: (1 << 14) | 1,
            ..SignalSets::default()
        }),
        memory: Counters::from_pairs([
            ("RssAnon", 1_638 * MIB),
            ("RssFile", 5 * MIB),
            ("VmSwap", 0),
            ("VmHWM", 1_700 * MIB),
        ]),
        oom_score: Some(823),
        oom_score_adj: Some(0),
        limits: vec![
            ("Max processes".into(), Some(4096)),
            ("Max open files".into(), Some(65_536)),
            ("Max cpu time".into(), None),
        ],
        fds: Some(FdSummary {
            total: 1204,
            sockets: 48,
            pipes: 12,
            anon: 9,
            files: 1135,
            paths: vec![("/srv/data/orders.log".into(), 1090)],
            cut: false,
        }),
        threads: (0..214).map(wait).collect(),
        user: Some("app".into()),
        waits: waits_of_java(),
        ..TaskDetail::default()
    };
    Detail { at: at(3_553_920.0), task: Some(task) }
}

/// One wait of every kind that is told in words of its own.
fn waits_of_java() -> Vec<Wait> {
    let wait = |kind, threads, wchan: &str, stack: &[&str]| Wait {
        kind,
        threads,
        tid: 16_951,
        wchan: Some(wchan.into()),
        stack: stack.iter().map(|f| (*f).into()).collect(),
        ..Wait::default()
    };
    let oom = ["mem_cgroup_oom_synchronize", "try_charge", "handle_mm_fault", "do_page_fault"];
    vec![
        Wait { sigkill_pending: 209, ..wait(WaitFor::Memory, 209, "mem_cgroup_oom", &oom) },
        wait(WaitFor::Lock, 2, "filename_create", &["rwsem_down_write_slowpath", "filename_create", "do_mkdirat"]),
        Wait {
            file: Some("/srv/data/orders.log".into()),
            place: "ext4 /dev/sdb1 at /srv/data".into(),
            syscall: Some(74),
            ..wait(WaitFor::FrozenFs, 1, "percpu_rwsem_wait", &["__percpu_down_read", "ext4_sync_file"])
        },
        Wait {
            place: "fuse.sshfs app@files:/x at /srv/x".into(),
            on: Some((key(4711), "supervisord".into())),
            ..wait(WaitFor::Fuse, 1, "request_wait_answer", &["__fuse_simple_request"])
        },
        Wait { on: Some((key(17_000), "java".into())), ..wait(WaitFor::Vfork, 1, "kernel_clone", &[]) },
        wait(WaitFor::Unknown, 1, "mystery_reset", &[]),
    ]
}
