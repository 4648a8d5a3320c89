//! One cgroup between passes: its last row, and which of its files are read now.
//!
//! Every pass reads what is cheap and tells whether anything moved: usage, CPU time, and the hit counters where there
//! is a limit to hit. The rest is read when that moved, when the cgroup is at its limit, and in turn.

use super::files::{File, Reading};
use super::pass::Pass;
use super::places::Places;
use super::{v1, v2};
use crate::collect::{containers, now};
use crate::snapshot::{Cgroup, CgroupKey, PidsUse, Text};

/// A cgroup between passes.
#[derive(Debug)]
pub struct Row {
    /// As last given out.
    pub last: Cgroup,
    /// Passes since everything but `memory.stat` was read; `None` before the first time.
    age: Option<u32>,
    /// Passes from one such reading to the next.
    period: u32,
    /// Whether anything moved since the last one.
    moved: bool,
    /// Passes since `memory.stat` was read.
    stat_age: u32,
    /// Whether its container's name is known, or it has none.
    pub named: bool,
    /// Its place in the rota.
    turn: u32,
}

/// How many passes go by before everything is read again of a cgroup that is not near a limit.
pub const ROTA: u32 = 10;

/// The same for one that has not moved since several such turns.
const ROTA_MAX: u32 = 80;

/// The part of a limit at which a cgroup is watched closely.
const NEAR: (u64, u64) = (9, 10);

impl Row {
    /// A cgroup not read yet. `turn` spreads the rota.
    pub fn new(path: Text, turn: u32) -> Self {
        let meaning = containers::of_path(&path);
        let last = Cgroup {
            key: CgroupKey { path, inode: 0 },
            container: meaning.container,
            unit: meaning.unit,
            pod_uid: meaning.pod_uid,
            ..Cgroup::default()
        };
        Self {
            named: last.container.is_none(),
            last,
            age: None,
            period: ROTA,
            moved: true,
            stat_age: 0,
            turn: turn % ROTA,
        }
    }

    /// Reads what is due.
    pub fn read(&mut self, places: &mut Places<'_>, pass: &mut Pass<'_>) {
        let inode = places.dirs.iter().flatten().next().map_or(0, |d| d.inode);
        if inode != self.last.key.inode {
            // Removed and made again under the same name: nothing of the old one holds.
            *self = Self::new(self.last.key.path.clone(), self.turn);
            self.last.key.inode = inode;
        }
        let new = self.age.is_none();
        let stalled = self.stalled();
        let due = pass.eager || self.age.is_none_or(|age| age >= self.period);
        let before = self.signs();
        places.keep = true;
        self.probe(due, places, pass.reading);
        places.keep = false;
        let signs = self.signs();
        self.moved |= signs != before;
        let hot = self.near_limit() || signs.hits != before.hits;
        if due || hot {
            self.period = if self.moved { ROTA } else { (self.period * 2).min(ROTA_MAX) };
            self.age = Some(if new { self.turn } else { 0 });
            self.moved = false;
            self.read_all(places, pass);
        } else {
            self.age = self.age.map(|age| age + 1);
            if pass.kills_moved {
                self.read_kills(places, pass.reading);
            }
            // Without cpuacct beside it nothing shows that a cgroup of the cpu hierarchy moves.
            let unseen = self.last.cpu.is_some_and(|cpu| cpu.quota_usec.is_some() && cpu.usage_usec.is_none());
            if signs == before && signs.pids != Some(0) {
                self.read_frozen(places, pass.reading);
            }
            if signs != before || unseen {
                self.read_moving(places, pass.reading);
            } else if pass.stalls && signs.pids != Some(0) {
                self.read_pressure(places, pass.reading);
            }
        }
        // Pressure is hierarchical: where a cgroup's did not move, none below did.
        if let Some(now) = self.stalled() {
            pass.stalls = stalled != Some(now);
        }
        self.read_stat(places, hot, new, pass);
    }

    /// The cheapest files that show whether anything goes on. `due`: all of them, as the rest will be read too.
    fn probe(&mut self, due: bool, places: &mut Places<'_>, reading: &mut Reading) {
        let used = self.last.cpu.and_then(|cpu| cpu.usage_usec);
        if let Some(mut files) = places.get(places.roles.cpuacct_v1) {
            let cpu = self.last.cpu.get_or_insert_default();
            cpu.usage_usec = files.number(File::CpuacctUsage, reading).map(|ns| ns / 1000);
        } else if let Some(mut files) = places.get(places.roles.unified) {
            v2::read_cpu_stat(&mut self.last.cpu, &mut files, reading);
        }
        let idle = used.is_some() && self.last.cpu.and_then(|cpu| cpu.usage_usec) == used;
        if idle && !due && self.last.pids.is_some_and(|pids| pids.current == 0) && !self.near_limit() {
            // Nobody is in it and nobody was: its memory changes by reclaim only, and is read in turn.
            return;
        }
        if let Some(mut files) = places.get(places.roles.memory_v1) {
            v1::probe_memory(self.last.memory.get_or_insert_default(), due, &mut files, reading);
        } else if let Some(mut files) = places.get(places.roles.memory_v2) {
            v2::probe_memory(&mut self.last.memory, due, &mut files, reading);
        }
        if self.last.pids.is_some_and(|pids| pids.limit.is_some()) {
            self.read_pids_current(places, reading);
        }
    }

    fn read_pids_current(&mut self, places: &mut Places<'_>, reading: &mut Reading) {
        let Some(mut files) = places.get(places.roles.pids()) else { return };
        match files.number(File::PidsCurrent, reading) {
            Some(current) => self.last.pids.get_or_insert_default().current = current,
            None => self.last.pids = None,
        }
    }

    /// What changes only when the cgroup does something.
    fn read_moving(&mut self, places: &mut Places<'_>, reading: &mut Reading) {
        if self.last.pids.is_none_or(|pids| pids.limit.is_none()) {
            self.read_pids_current(places, reading);
        }
        if let Some(cpu) = self.last.cpu.as_mut().filter(|cpu| cpu.quota_usec.is_some())
            && let Some(mut files) = places.get(places.roles.cpu_v1)
        {
            v1::read_throttling(cpu, &mut files, reading);
        }
        self.read_pressure(places, reading);
    }

    /// What is frozen stands still, and on v1 its tasks show as D: others must know why before they call them stuck.
    fn read_frozen(&mut self, places: &mut Places<'_>, reading: &mut Reading) {
        if let Some(mut files) = places.get(places.roles.freezer_v1) {
            self.last.frozen = v1::frozen(&mut files, reading).or(self.last.frozen);
        }
    }

    /// What waits in D moves nothing else: no CPU time, no memory.
    fn read_pressure(&mut self, places: &mut Places<'_>, reading: &mut Reading) {
        if let Some(mut files) = places.get(places.roles.unified) {
            v2::read_pressure(&mut self.last, &mut files, reading);
        }
    }

    /// Time that tasks waited for memory and for I/O.
    fn stalled(&self) -> Option<(u64, u64)> {
        Some((self.last.psi_memory?.some_usec, self.last.psi_io?.some_usec))
    }

    /// The counters of OOM kills alone: some cgroup of the host has had one.
    fn read_kills(&mut self, places: &mut Places<'_>, reading: &mut Reading) {
        let Some(memory) = &mut self.last.memory else { return };
        if let Some(mut files) = places.get(places.roles.memory_v1) {
            v1::read_oom_control(memory, &mut files, reading);
        } else if let Some(mut files) = places.get(places.roles.memory_v2) {
            v2::read_events(memory, &mut files, reading);
        }
    }

    fn read_all(&mut self, places: &mut Places<'_>, pass: &mut Pass<'_>) {
        for dir in places.dirs.iter_mut().flatten() {
            dir.lacks.forget();
        }
        self.last.frozen = None;
        if let Some(mut files) = places.get(places.roles.memory_v1) {
            let memory = self.last.memory.get_or_insert_default();
            v1::read_memory(memory, pass.bounds, &mut files, pass.reading);
        }
        if let Some(memory) = &mut self.last.memory
            && let Some(mut files) = places.get(places.roles.memory_v2)
        {
            v2::read_memory(memory, &mut files, pass.reading);
        }
        if let Some(mut files) = places.get(places.roles.freezer_v1) {
            self.last.frozen = v1::frozen(&mut files, pass.reading);
        }
        if let Some(mut files) = places.get(places.roles.cpu_v1) {
            v1::read_quota(self.last.cpu.get_or_insert_default(), &mut files, pass.reading);
        }
        if let Some(mut files) = places.get(places.roles.cpu_v2) {
            v2::read_quota(&mut self.last.cpu, &mut files, pass.reading);
        }
        if let Some(mut files) = places.get(places.roles.unified) {
            v2::read_core(&mut self.last, &mut files, pass.reading);
        }
        self.read_pids_current(places, pass.reading);
        if let Some(pids) = &mut self.last.pids
            && let Some(mut files) = places.get(places.roles.pids())
        {
            *pids = PidsUse {
                current: pids.current,
                limit: files.limit(File::PidsMax, pass.reading),
                limit_hits: files.read(File::PidsEvents, pass.reading).and_then(|raw| super::parse::value(raw, "max")),
            };
        }
        self.read_moving(places, pass.reading);
    }

    /// `memory.stat`: thousands of dying cgroups below make it take seconds, so it has a budget of its own.
    fn read_stat(&mut self, places: &mut Places<'_>, hot: bool, new: bool, pass: &mut Pass<'_>) {
        let period = if hot { 1 } else { self.period };
        let Some(memory) = &mut self.last.memory else { return };
        self.stat_age = self.stat_age.saturating_add(1);
        let (age, period) = if pass.eager || new { (u32::MAX, 1) } else { (self.stat_age, period) };
        if !pass.stat.allows(age, period) {
            return;
        }
        let began = now();
        if let Some(mut files) = places.get(places.roles.memory_v1) {
            v1::read_stat(memory, &mut files, pass.reading);
        } else if let Some(mut files) = places.get(places.roles.memory_v2) {
            v2::read_stat(memory, &mut files, pass.reading);
        }
        self.stat_age = if new { self.turn } else { 0 };
        pass.stat.spend(now().0.saturating_sub(began.0));
    }

    fn near_limit(&self) -> bool {
        let near =
            |value: u64, limit: u64| u128::from(value) * u128::from(NEAR.1) >= u128::from(limit) * u128::from(NEAR.0);
        let memory = self.last.memory.as_ref().is_some_and(|m| {
            let limits = [m.limit_bytes, m.high_bytes];
            m.usage_bytes.is_some_and(|usage| limits.into_iter().flatten().any(|limit| near(usage, limit)))
                || m.oom.is_some_and(|oom| oom.under_oom)
        });
        memory || self.last.pids.is_some_and(|p| p.limit.is_some_and(|limit| near(p.current, limit)))
    }

    fn signs(&self) -> Signs {
        let memory = self.last.memory.as_ref();
        Signs {
            usage: memory.and_then(|m| m.usage_bytes),
            hits: memory.map(|m| [m.limit_hits, m.high_hits, m.swap_limit_hits]),
            cpu: self.last.cpu.and_then(|c| c.usage_usec),
            pids: self.last.pids.map(|p| p.current),
        }
    }
}

/// What moves when a cgroup does anything.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Signs {
    usage: Option<u64>,
    hits: Option<[Option<u64>; 3]>,
    cpu: Option<u64>,
    pids: Option<u64>,
}
