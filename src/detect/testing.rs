//! Scripted snapshots for rule tests: a small world that a test changes, and a script that looks at it once a second.

use super::{Look, RuleConfig, Watch, Window};
use crate::model::{Before, Finding, Frame, History, LogBook, Model};
use crate::snapshot::{
    Cgroup, CgroupKey, Cgroups, Counters, Cpu, Host, KernelLog, Listener, ListenerKey, LogEvent, LogValue, MemUse,
    Memory, Moment, Net, NetnsCounters, NetnsId, Own, Pressure, Proto, Section, Slab, Slabs, Snapshot, SockGroup,
    SockKey, Sockets, StateCounts, Task, TaskKey, TaskState, Tasks, TcpState, Text, Thread, UdpSocket,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// The host's own namespace.
pub(crate) const NETNS: NetnsId = NetnsId(4_026_531_840);
/// RAM of the scripted host: 16 GiB.
pub(crate) const RAM: u64 = 16 << 30;
const SECOND: u64 = 1_000_000_000;

/// What the next look will see. Sections are plain data to be changed; names in `hidden` are absent.
pub(crate) struct World {
    pub(crate) tasks: Tasks,
    pub(crate) sockets: Sockets,
    pub(crate) net: Net,
    pub(crate) cgroups: Cgroups,
    pub(crate) memory: Memory,
    pub(crate) slab: Slabs,
    pub(crate) pressure: Pressure,
    pub(crate) cpu: Cpu,
    pub(crate) log: Vec<LogEvent>,
    pub(crate) ram_bytes: u64,
    hidden: Vec<&'static str>,
    next_pid: u32,
    /// The pid of whytop itself; 0 = not on this host.
    pub(crate) own_pid: u32,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            tasks: Tasks::default(),
            sockets: Sockets::default(),
            net: Net::default(),
            cgroups: Cgroups::default(),
            memory: Memory::default(),
            slab: Slabs::default(),
            pressure: Pressure::default(),
            cpu: Cpu::default(),
            log: Vec::new(),
            ram_bytes: RAM,
            hidden: Vec::new(),
            next_pid: 20_000,
            own_pid: 0,
        };
        world.task(1, "systemd");
        world.cgroup("/");
        world.net.netns.push(NetnsCounters { id: NETNS, pid: Some(1), tasks: 1, ..NetnsCounters::default() });
        let mem =
            [("MemTotal", RAM), ("MemFree", RAM / 2), ("MemAvailable", RAM / 2), ("SwapTotal", 0), ("SwapFree", 0)];
        world.memory.meminfo = Counters::from_pairs(mem);
        world
    }

    pub(crate) fn task(&mut self, pid: u32, comm: &str) -> TaskKey {
        let key = TaskKey { pid, start_ticks: 1000 + u64::from(pid) };
        let by_state = StateCounts { sleeping: 1, ..StateCounts::default() };
        let netns = Some(NETNS);
        let task = Task { key, ppid: 1, comm: comm.into(), threads: 1, by_state, netns, ..Task::default() };
        self.tasks.rows.push(task);
        self.tasks.rows.sort_by_key(|t| t.key.pid);
        key
    }

    /// A task that was born `at_s` seconds after boot; looks begin at 1001 s.
    pub(crate) fn task_born(&mut self, pid: u32, comm: &str, at_s: u64) -> TaskKey {
        self.task(pid, comm);
        let row = self.tasks.rows.iter_mut().find(|t| t.key.pid == pid).unwrap();
        row.key.start_ticks = at_s * 100;
        row.key
    }

    pub(crate) fn child(&mut self, parent: TaskKey, pid: u32, comm: &str) -> TaskKey {
        let key = self.task(pid, comm);
        let cgroup = self.row(parent).cgroup.clone();
        let row = self.row(key);
        row.ppid = parent.pid;
        row.cgroup = cgroup;
        key
    }

    pub(crate) fn row(&mut self, key: TaskKey) -> &mut Task {
        self.tasks.rows.iter_mut().find(|t| t.key == key).unwrap()
    }

    pub(crate) fn zombies(&mut self, parent: TaskKey, count: u32) {
        for _ in 0..count {
            self.next_pid += 1;
            let key = self.child(parent, self.next_pid, "worker");
            let row = self.row(key);
            row.state = TaskState::Zombie;
            row.by_state = StateCounts { zombie: 1, ..StateCounts::default() };
        }
    }

    /// Puts `count` threads of a task into D.
    pub(crate) fn blocked(&mut self, key: TaskKey, wchan: &str, count: u32) {
        let row = self.row(key);
        row.threads = row.threads.max(count);
        row.by_state.blocked = count;
        row.state = TaskState::Blocked;
        let thread = |i| Thread {
            tid: key.pid + i,
            state: TaskState::Blocked,
            wchan: Some(wchan.into()),
            switches: Some(10),
            sigkill_pending: Some(false),
            ..Thread::default()
        };
        row.awake = (0..count.min(64)).map(thread).collect();
        self.tasks.blocked_by_wchan.push((wchan.into(), count));
    }

    pub(crate) fn unblock(&mut self, key: TaskKey) {
        let row = self.row(key);
        row.awake.clear();
        row.by_state.blocked = 0;
        row.state = TaskState::Sleeping;
        self.tasks.blocked_by_wchan.clear();
    }

    /// The cgroup of a path, made when there is none.
    pub(crate) fn cgroup(&mut self, path: &str) -> &mut Cgroup {
        if !self.cgroups.rows.iter().any(|c| &*c.key.path == path) {
            let inode = 100 + self.cgroups.rows.len() as u64;
            let key = CgroupKey { path: path.into(), inode };
            self.cgroups.rows.push(Cgroup { key, ..Cgroup::default() });
            self.cgroups.rows.sort_by(|a, b| a.key.path.cmp(&b.key.path));
        }
        self.cgroups.rows.iter_mut().find(|c| &*c.key.path == path).unwrap()
    }

    /// Its memory controller.
    pub(crate) fn cgroup_memory(&mut self, path: &str) -> &mut MemUse {
        self.cgroup(path).memory.get_or_insert_default()
    }

    pub(crate) fn in_cgroup(&mut self, key: TaskKey, path: &str) {
        self.cgroup(path);
        self.row(key).cgroup = Some(path.into());
    }

    pub(crate) fn tcp(&mut self, owner: impl Into<Option<TaskKey>>, state: &str, count: u64) -> &mut SockGroup {
        let state = TcpState::ALL.into_iter().find(|s| s.name() == state.to_lowercase()).unwrap();
        self.sockets.groups.push(SockGroup { netns: NETNS, owner: owner.into(), state, count, ..SockGroup::default() });
        self.sockets.groups.last_mut().unwrap()
    }

    pub(crate) fn tcp_client(&mut self, owner: TaskKey, state: &str, remote: &str, count: u64) {
        let far: SocketAddr = remote.parse().unwrap();
        let group = self.tcp(owner, state, count);
        group.remote_addr = Some(far.ip());
        group.remote_port = Some(far.port());
    }

    pub(crate) fn listener(&mut self, owner: impl Into<Option<TaskKey>>, local: &str) -> &mut Listener {
        self.sockets.listeners.push(Listener {
            key: ListenerKey { netns: NETNS, local: local.parse().unwrap() },
            owner: owner.into(),
            cookie: 7,
            shared_by: 1,
            queue: 0,
            backlog: 128,
            drops: Some(0),
            syn_recv: 0,
            cgroup_id: 0,
        });
        self.sockets.listeners.last_mut().unwrap()
    }

    pub(crate) fn udp(&mut self, owner: impl Into<Option<TaskKey>>, local: &str) -> &mut UdpSocket {
        let cookie = 1 + self.sockets.udp.len() as u64;
        self.sockets.udp.push(UdpSocket {
            key: SockKey { netns: NETNS, proto: Proto::Udp, local: local.parse().unwrap(), cookie },
            owner: owner.into(),
            remote_addr: None,
            remote_port: None,
            recv_q_bytes: 0,
            rcvbuf_bytes: Some(212_992),
            send_q_bytes: 0,
            sndbuf_bytes: Some(212_992),
            drops: 0,
            cgroup_id: 0,
        });
        self.sockets.udp.last_mut().unwrap()
    }

    pub(crate) fn netns(&mut self) -> &mut NetnsCounters {
        self.net.netns.first_mut().unwrap()
    }

    pub(crate) fn slab(&mut self, name: &str, bytes: u64, reclaimable: bool) {
        let row = Slab { name: name.into(), bytes, reclaimable: Some(reclaimable), ..Slab::default() };
        match self.slab.rows.iter_mut().find(|s| &*s.name == name) {
            Some(old) => *old = row,
            None => self.slab.rows.push(row),
        }
    }

    /// Adds an event to the kernel log of the next look. `fields`: `name=value`, whole numbers as such.
    pub(crate) fn log(&mut self, kind: &str, fields: &[(&str, &str)]) {
        let value = |v: &str| v.parse().map_or_else(|_| LogValue::Text(v.into()), LogValue::Int);
        let fields: BTreeMap<Text, LogValue> = fields.iter().map(|(n, v)| (Text::from(*n), value(v))).collect();
        let text = format!("a line about {kind}").into();
        self.log.push(LogEvent { kind: kind.into(), line: 1, at: None, fields, text });
    }

    pub(crate) fn hide(&mut self, section: &'static str) {
        self.hidden.push(section);
    }

    pub(crate) fn show(&mut self, section: &'static str) {
        self.hidden.retain(|s| *s != section);
    }

    fn look(&mut self, at: Moment) -> Snapshot {
        let host = Host {
            name: "node-1".into(),
            cpus: 4,
            page_bytes: 4096,
            ticks_per_sec: 100,
            mem_total_bytes: self.ram_bytes,
            netns: NETNS,
            ..Host::default()
        };
        let log = KernelLog { events: std::mem::take(&mut self.log), ..KernelLog::default() };
        Snapshot {
            at,
            own: Own { pid: self.own_pid, ..Own::default() },
            wall_unix_ns: i64::try_from(at.0).unwrap(),
            host: self.section("host", at, host),
            cpu: self.section("cpu", at, self.cpu.clone()),
            tasks: self.section("tasks", at, self.tasks.clone()),
            sockets: self.section("sockets", at, self.sockets.clone()),
            net: self.section("net", at, self.net.clone()),
            cgroups: self.section("cgroups", at, self.cgroups.clone()),
            memory: self.section("memory", at, self.memory.clone()),
            pressure: self.section("pressure", at, self.pressure.clone()),
            slab: self.section("slab", at, self.slab.clone()),
            klog: self.section("klog", at, log),
            ..Snapshot::default()
        }
    }

    fn section<T>(&self, name: &str, at: Moment, data: T) -> Section<T> {
        if self.hidden.contains(&name) { Section::absent("hidden by the test") } else { Section::ok(at, data) }
    }
}

/// Counters of a file, by name.
pub(crate) fn counters(pairs: &[(&str, u64)]) -> Counters {
    Counters::from_pairs(pairs.iter().copied())
}

/// A world looked at once a second.
pub(crate) struct Script {
    pub(crate) world: World,
    pub(crate) window: Window,
    watch: Watch,
    before: Before,
    history: History,
    log: LogBook,
    first: Option<Moment>,
    at: Moment,
    frame: Frame,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::with(RuleConfig::default())
    }

    pub(crate) fn with(config: RuleConfig) -> Self {
        Self {
            world: World::new(),
            window: Window::default(),
            watch: Watch::new(config),
            before: Before::default(),
            history: History::default(),
            log: LogBook::default(),
            first: None,
            at: Moment(1000 * SECOND),
            frame: Frame::default(),
        }
    }

    /// Looks at the world as it stands once a second, `n` times.
    pub(crate) fn secs(&mut self, n: u32) {
        for _ in 0..n {
            self.millis(1000);
        }
    }

    /// Looks at the world as it stands so much later.
    pub(crate) fn millis(&mut self, ms: u64) {
        self.at = Moment(self.at.0 + ms * SECOND / 1000);
        let snap = self.world.look(self.at);
        let first = *self.first.get_or_insert(snap.at);
        let model = Model::build(&snap, &self.before);
        self.history.record(&snap, &model);
        self.log.take(&snap, &model, &self.before, first);
        let window_start = self.window.start(snap.at, first);
        self.log.look_back_to(window_start);
        let look = Look {
            snap: &snap,
            model: &model,
            before: &self.before,
            history: &self.history,
            log: &self.log,
            window_start,
            worst_from: self.window.worst_from(snap.at, first),
        };
        let (findings, stories) = self.watch.step(&look);
        self.before.advance(&snap, &model);
        self.frame = Frame { snap: Arc::new(snap), model, findings, stories, ..Frame::default() };
    }

    pub(crate) fn last(&self) -> &Frame {
        &self.frame
    }

    pub(crate) fn found(&self, id: &str) -> Option<&Finding> {
        self.frame.findings.iter().find(|f| f.id == id)
    }

    #[track_caller]
    pub(crate) fn expect(&self, id: &str) -> &Finding {
        self.found(id).unwrap_or_else(|| panic!("no {id} among {:#?}", self.messages()))
    }

    /// The value of a finding, which must be there, rounded.
    #[track_caller]
    #[expect(clippy::cast_possible_truncation, reason = "values of tests are small")]
    pub(crate) fn value(&self, id: &str) -> i64 {
        self.expect(id).value.round() as i64
    }

    pub(crate) fn messages(&self) -> Vec<(&str, &str)> {
        self.frame.findings.iter().map(|f| (f.id, f.message.as_str())).collect()
    }

    #[track_caller]
    pub(crate) fn silent(&self) {
        assert!(self.frame.findings.is_empty(), "{:#?}", self.messages());
    }

    #[track_caller]
    pub(crate) fn without(&self, id: &str) {
        assert!(self.found(id).is_none(), "{:#?}", self.found(id));
    }
}
