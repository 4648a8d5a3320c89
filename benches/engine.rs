//! A step of the engine on a crowded host: 5,000 tasks, 2,000 socket groups, 500 cgroups, 200 slab caches.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench that can't prepare stops")]

use divan::Bencher;
use std::net::IpAddr;
use std::sync::Arc;
use whytop::engine::{Engine, EngineOptions};
use whytop::snapshot::{
    Cgroup, CgroupKey, Cgroups, Counters, Cpu, Host, MemUse, Memory, Moment, Net, NetnsCounters, NetnsId, Section,
    Slab, Slabs, Snapshot, SockGroup, Sockets, StateCounts, Task, TaskKey, TaskState, Tasks, TcpState, Thread,
};

const NETNS: NetnsId = NetnsId(1);

fn main() {
    divan::main();
}

/// One in ten tasks is busy; the others stand as most do.
fn task(n: u32, t: u64) -> Task {
    let busy = n.is_multiple_of(10);
    let moved = if busy { t * 4096 } else { 0 };
    Task {
        key: TaskKey { pid: n + 1, start_ticks: u64::from(n) },
        ppid: n / 50,
        comm: "worker".into(),
        threads: 4,
        by_state: StateCounts { sleeping: 4, ..StateCounts::default() },
        utime_ticks: moved / 4096,
        rss_bytes: (20 << 20) + u64::from(n) * 4096 + moved,
        cgroup: Some(format!("/pods/pod{:03}", n % 499).into()),
        netns: Some(NETNS),
        ..Task::default()
    }
}

/// A sick one: 200 tasks hang, 300 are zombies of a few parents.
fn sick(mut task: Task) -> Task {
    match task.key.pid {
        1000..1200 => {
            task.state = TaskState::Blocked;
            task.by_state = StateCounts { blocked: 1, sleeping: 3, ..StateCounts::default() };
            let tid = task.key.pid;
            let wchan = Some("mem_cgroup_oom".into());
            task.awake = vec![Thread { tid, state: TaskState::Blocked, wchan, switches: Some(7), ..Thread::default() }];
        }
        2000..2300 => {
            task.state = TaskState::Zombie;
            task.threads = 1;
        }
        _ => {}
    }
    task
}

fn group(n: u32, t: u64) -> SockGroup {
    SockGroup {
        netns: NETNS,
        owner: Some(TaskKey { pid: n % 400 + 1, start_ticks: u64::from(n % 400) }),
        state: TcpState::ALL[n as usize % 9],
        remote_addr: Some(IpAddr::from([10, 0, 0, u8::try_from(n % 200).unwrap()])),
        remote_port: Some(443),
        count: u64::from(n % 70) + t % 3,
        ..SockGroup::default()
    }
}

fn cgroup(n: u64, t: u64) -> Cgroup {
    let memory = MemUse {
        usage_bytes: Some((50 << 20) + t * 4096 * (n % 7)),
        limit_bytes: Some(100 << 20),
        limit_hits: Some(if n < 10 { t * 50 } else { 0 }),
        oom_kills: Some(0),
        ..MemUse::default()
    };
    let path = format!("/pods/pod{n:03}").into();
    Cgroup { key: CgroupKey { path, inode: n + 2 }, memory: Some(memory), ..Cgroup::default() }
}

fn look(t: u64, ill: bool) -> Snapshot {
    let at = Moment((100 + t) * 1_000_000_000);
    let tasks = (0..5000).map(|n| task(n, t)).map(|task| if ill { sick(task) } else { task });
    let tasks: Vec<Task> = tasks.collect();
    let blocked: u32 = tasks.iter().map(|t| t.by_state.blocked).sum();
    let tasks = Tasks { rows: tasks, blocked_by_wchan: vec![("mem_cgroup_oom".into(), blocked)], ..Tasks::default() };
    let counters = Counters::from_pairs((0..350).map(|n| (format!("Counter{n:03}"), n * t)));
    let netns = NetnsCounters { id: NETNS, counters, ..NetnsCounters::default() };
    let slab = |n: u64| Slab { name: format!("cache-{n}").into(), bytes: (1 << 20) + n * t * 4096, ..Slab::default() };
    let meminfo = Counters::from_pairs([("MemTotal", 64 << 30), ("MemAvailable", 30 << 30), ("SUnreclaim", 1 << 30)]);
    Snapshot {
        at,
        host: Section::ok(at, Host { cpus: 16, mem_total_bytes: 64 << 30, netns: NETNS, ..Host::default() }),
        cpu: Section::ok(at, Cpu::default()),
        tasks: Section::ok(at, tasks),
        sockets: Section::ok(at, Sockets { groups: (0..2000).map(|n| group(n, t)).collect(), ..Sockets::default() }),
        net: Section::ok(at, Net { netns: vec![netns], ..Net::default() }),
        cgroups: Section::ok(at, Cgroups { rows: (0..500).map(|n| cgroup(n, t)).collect(), ..Cgroups::default() }),
        memory: Section::ok(at, Memory { meminfo, ..Memory::default() }),
        slab: Section::ok(at, Slabs { rows: (0..200).map(slab).collect(), ..Slabs::default() }),
        ..Snapshot::default()
    }
}

/// Steps a warm engine through 30 s of looks, over and over in fresh engines that have seen 60 s.
#[divan::bench(args = [false, true], sample_count = 40, sample_size = 1)]
fn step(bencher: Bencher<'_, '_>, ill: bool) {
    let looks: Vec<Arc<Snapshot>> = (0..100).map(|t| Arc::new(look(t, ill))).collect();
    let mut engine = Engine::new(EngineOptions::default());
    let mut next = 0;
    while next < 60 {
        engine.step_shared(Arc::clone(&looks[next]));
        next += 1;
    }
    bencher.bench_local(|| {
        let frame = engine.step_shared(Arc::clone(&looks[next]));
        next = (next + 1).min(99);
        frame
    });
    eprintln!("sick {ill}: series take {} kB", engine.series_bytes() / 1024);
}
