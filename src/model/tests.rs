//! Joins and rates over scripted snapshots.

use super::{Before, Model, tally_of};
use crate::snapshot::{
    Cgroup, CgroupKey, Cgroups, Counters, Cpu, CpuTimes, Host, MemUse, Moment, Net, NetnsCounters, NetnsId, Own,
    RemoteKey, Section, Snapshot, SockGroup, Sockets, StateCounts, Task, TaskKey, TaskState, Tasks, TcpState, Thread,
};

const SECOND: u64 = 1_000_000_000;
const NETNS: NetnsId = NetnsId(1);

fn key(pid: u32) -> TaskKey {
    TaskKey { pid, start_ticks: 1 }
}

fn task(pid: u32, parent: u32) -> Task {
    Task { key: key(pid), ppid: parent, threads: 1, netns: Some(NETNS), ..Task::default() }
}

fn at(secs: u64) -> Moment {
    Moment(secs * SECOND)
}

/// Two looks; the second model.
fn second(first: &Snapshot, next: &Snapshot) -> Model {
    let mut before = Before::default();
    before.advance(first, &Model::build(first, &before));
    Model::build(next, &before)
}

fn tasks(secs: u64, rows: Vec<Task>) -> Snapshot {
    let host = Host { ticks_per_sec: 100, mem_total_bytes: 1 << 30, ..Host::default() };
    Snapshot {
        at: at(secs),
        host: Section::ok(at(secs), host),
        tasks: Section::ok(at(secs), Tasks { rows, ..Tasks::default() }),
        ..Snapshot::default()
    }
}

#[test]
fn cpu_of_a_task_uses_the_sections_time_and_a_new_start_time_has_none() {
    let busy = |ticks| Task { utime_ticks: ticks, ..task(5, 1) };
    let m = second(&tasks(10, vec![busy(100)]), &tasks(12, vec![busy(200)]));
    assert_eq!(m.tasks[&key(5)].cpu_pct, Some(50.0));
    let recycled = Task { key: TaskKey { pid: 5, start_ticks: 9 }, ..busy(900) };
    let m = second(&tasks(10, vec![busy(100)]), &tasks(12, vec![recycled]));
    assert_eq!(m.tasks[&TaskKey { pid: 5, start_ticks: 9 }].cpu_pct, None);
    let m = second(&tasks(10, vec![busy(100)]), &tasks(12, vec![busy(50)]));
    assert_eq!(m.tasks[&key(5)].cpu_pct, None, "a counter that went back has no rate");
}

#[test]
fn a_late_section_keeps_its_rates() {
    let busy = |ticks| Task { utime_ticks: ticks, ..task(5, 1) };
    let mut before = Before::default();
    let looks = [tasks(10, vec![busy(100)]), tasks(12, vec![busy(200)])];
    for look in &looks {
        before.advance(look, &Model::build(look, &before));
    }
    let late = Snapshot { at: at(20), tasks: looks[1].tasks.clone().grown_stale("late"), ..looks[1].clone() };
    assert_eq!(Model::build(&late, &before).tasks[&key(5)].cpu_pct, Some(50.0));
}

#[test]
fn a_thread_in_d_is_blocked_since_it_was_first_seen_without_waking() {
    let stuck = |switches| {
        let thread = Thread { tid: 6, state: TaskState::Blocked, switches: Some(switches), ..Thread::default() };
        Task { awake: vec![thread], ..task(5, 1) }
    };
    let m = second(&tasks(10, vec![stuck(7)]), &tasks(15, vec![stuck(7)]));
    assert_eq!(m.tasks[&key(5)].blocked_since, Some(at(10)));
    let m = second(&tasks(10, vec![stuck(7)]), &tasks(15, vec![stuck(8)]));
    assert_eq!(m.tasks[&key(5)].blocked_since, Some(at(15)));
}

#[test]
fn zombies_belong_to_their_parent_since_they_were_first_seen() {
    let zombie = |pid| Task { state: TaskState::Zombie, ..task(pid, 5) };
    let m = second(&tasks(10, vec![task(5, 1), zombie(6)]), &tasks(15, vec![task(5, 1), zombie(6), zombie(7)]));
    let parent = &m.tasks[&key(5)];
    assert_eq!((parent.zombie_children, parent.zombie_since, parent.children.len()), (2, Some(at(10)), 2));
    assert_eq!(m.totals.zombies, 2);
}

fn cgroup(path: &str, limit: Option<u64>, usage: u64, hits: u64) -> Cgroup {
    let memory = MemUse { usage_bytes: Some(usage), limit_bytes: limit, limit_hits: Some(hits), ..MemUse::default() };
    Cgroup { key: CgroupKey { path: path.into(), inode: 1 }, memory: Some(memory), ..Cgroup::default() }
}

#[test]
fn the_tightest_limit_on_the_way_up_holds_and_sums_go_up() {
    let cgroups = |hits| {
        let rows = vec![
            cgroup("/", None, 0, 0),
            cgroup("/pod", Some(100), 50, 0),
            cgroup("/pod/app", Some(200), 10, hits),
            cgroup("/pod/app/deep", Some(u64::MAX / 2), 0, 0),
            cgroup("/pod2", Some(100), 100, 0),
        ];
        Section::ok(at(if hits > 0 { 12 } else { 10 }), Cgroups { rows, ..Cgroups::default() })
    };
    let blocked = StateCounts { blocked: 3, ..StateCounts::default() };
    let deep = Task { cgroup: Some("/pod/app/deep".into()), by_state: blocked, ..task(5, 1) };
    let first = Snapshot { cgroups: cgroups(0), ..tasks(10, vec![deep.clone()]) };
    let next = Snapshot { cgroups: cgroups(8), ..tasks(12, vec![deep]) };
    let m = second(&first, &next);
    let rows: Vec<_> = m.cgroups.iter().map(|f| (f.limit_row, f.tasks, f.blocked)).collect();
    let up = (Some(1), 1, 3);
    assert_eq!(rows, [(None, 1, 3), up, up, up, (Some(4), 0, 0)]);
    assert_eq!(m.cgroups[2].limit_hits_per_s, Some(4.0));
    assert_eq!((m.totals.limited_cgroups, m.totals.at_limit), (3, 2), "one hits its limit, one is full");
    assert_eq!(m.cgroups[1].children, [2]);
}

#[test]
fn a_cgroup_made_anew_has_no_rate_and_is_known_as_new() {
    let one = |inode, hits, secs| {
        let mut row = cgroup("/a", Some(9), 1, hits);
        row.key.inode = inode;
        Snapshot {
            cgroups: Section::ok(at(secs), Cgroups { rows: vec![row], ..Cgroups::default() }),
            ..tasks(secs, vec![])
        }
    };
    let m = second(&one(1, 5, 10), &one(2, 9, 12));
    assert_eq!((m.cgroups[0].limit_hits_per_s, m.cgroups[0].new_since), (None, Some(at(10))));
}

#[test]
fn sockets_are_summed_by_task_far_end_and_namespace_and_time_wait_comes_from_sockstat() {
    let far = std::net::IpAddr::from([10, 0, 0, 9]);
    let group = |owner: Option<u32>, state, count| SockGroup {
        netns: NETNS,
        owner: owner.map(key),
        state,
        remote_addr: Some(far),
        remote_port: Some(80),
        count,
        ..SockGroup::default()
    };
    let groups = vec![
        group(Some(5), TcpState::SynSent, 3),
        group(Some(6), TcpState::Established, 9),
        group(None, TcpState::TimeWait, 2),
    ];
    let net = NetnsCounters { id: NETNS, sockstat: Counters::from_pairs([("TCPtw", 50)]), ..NetnsCounters::default() };
    let snap = Snapshot {
        sockets: Section::ok(at(1), Sockets { groups, ..Sockets::default() }),
        net: Section::ok(at(1), Net { netns: vec![net], ..Net::default() }),
        ..tasks(1, vec![task(5, 1), task(6, 1)])
    };
    let m = Model::build(&snap, &Before::default());
    assert_eq!(tally_of(&m.tasks[&key(5)].tcp, TcpState::SynSent), 3);
    assert_eq!(tally_of(&m.totals.tcp, TcpState::TimeWait), 50);
    assert_eq!(tally_of(&m.tcp_unowned[&NETNS], TcpState::TimeWait), 50);
    let remote = &m.remotes[&RemoteKey { netns: NETNS, addr: far, port: Some(80) }];
    assert_eq!(remote.tasks, [(key(6), 9), (key(5), 3)]);
}

#[test]
fn counters_that_rose_have_rates_others_are_left_out() {
    let net = |secs, drops: u64, reset: u64| {
        let counters = Counters::from_pairs([("UdpRcvbufErrors", drops), ("TcpInErrs", reset), ("IpInDiscards", 4)]);
        let row = NetnsCounters { id: NETNS, counters, ..NetnsCounters::default() };
        let net = Net { netns: vec![row], ..Net::default() };
        Snapshot { net: Section::ok(at(secs), net), ..tasks(secs, vec![]) }
    };
    let m = second(&net(10, 100, 7), &net(14, 140, 2));
    let rates: Vec<_> = m.net_rates[&NETNS].iter().collect();
    assert_eq!(rates, [(&"UdpRcvbufErrors".into(), &10.0)]);
    assert_eq!(m.totals.udp_drops_per_s, Some(10.0));
}

#[test]
fn busy_time_and_own_cost() {
    let cpu = |secs, user, idle| {
        let total = CpuTimes { user, idle, ..CpuTimes::default() };
        let own = Own { cpu_ns: user * 1_000_000, ..Own::default() };
        Snapshot { cpu: Section::ok(at(secs), Cpu { total, ..Cpu::default() }), own, ..tasks(secs, vec![]) }
    };
    let m = second(&cpu(10, 0, 0), &cpu(12, 100, 300));
    assert_eq!((m.totals.cpu_busy_pct, m.totals.own_cpu_pct), (Some(25.0), Some(5.0)));
}
