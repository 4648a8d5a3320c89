//! What every screen's sparklines and the growth rules look back on: a few quantities of every task, cgroup and slab
//! cache, and of the host.

use super::{Metric, Model, Series, StateTally, tally_of};
use crate::snapshot::{CgroupKey, Moment, Snapshot, Subject, TaskKey, TcpState, Text};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// Series of a gone subject are kept so long.
const KEEP_GONE_S: f64 = 60.0;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct TaskSeries {
    rss: Series,
    threads: Series,
    cpu: Series,
    blocked: Series,
    sockets: Series,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct CgroupSeries {
    usage: Series,
    cpu: Series,
    blocked: Series,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct HostSeries {
    cpu: Series,
    load: Series,
    blocked: Series,
    sockets: Series,
    drops: Series,
    usage: Series,
    slab: Series,
    dying: Series,
}

/// The histories of all subjects.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct History {
    tasks: FxHashMap<TaskKey, TaskSeries>,
    cgroups: FxHashMap<CgroupKey, CgroupSeries>,
    slabs: FxHashMap<Text, Series>,
    host: HostSeries,
    /// Times of the sections that were recorded last: tasks, cgroups, slab.
    recorded: [Option<Moment>; 3],
}

/// Sockets that are not idle: neither ESTABLISHED nor LISTEN.
fn restless(tally: &StateTally) -> f64 {
    let all = tally.iter().copied().fold(0, u64::saturating_add);
    let idle = tally_of(tally, TcpState::Established).saturating_add(tally_of(tally, TcpState::Listen));
    all.saturating_sub(idle) as f64
}

/// Whether a section has moved since it was recorded.
fn moved(recorded: &mut Option<Moment>, at: Option<Moment>) -> Option<Moment> {
    let at = at.filter(|&at| recorded.is_none_or(|last| last < at))?;
    *recorded = Some(at);
    Some(at)
}

/// To a tenth: jitter below that would cost a point a sample.
fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

impl History {
    /// Takes the numbers of one look.
    pub fn record(&mut self, now: &Snapshot, m: &Model) {
        let [tasks, cgroups, slab] = &mut self.recorded;
        let moved = [moved(tasks, now.tasks.at()), moved(cgroups, now.cgroups.at()), moved(slab, now.slab.at())];
        if let ([Some(at), ..], Some(tasks)) = (moved, now.tasks.data()) {
            for task in &tasks.rows {
                let s = self.tasks.entry(task.key).or_default();
                s.rss.push(at, task.rss_bytes as f64);
                s.threads.push(at, f64::from(task.threads));
                s.blocked.push(at, f64::from(task.by_state.blocked));
                let Some(facts) = m.tasks.get(&task.key) else { continue };
                s.sockets.push(at, restless(&facts.tcp));
                if let Some(pct) = facts.cpu_pct {
                    s.cpu.push(at, tenth(pct));
                }
            }
            self.host.blocked.push(at, f64::from(m.totals.threads.blocked));
        }
        if let ([_, Some(at), _], Some(cgroups)) = (moved, now.cgroups.data()) {
            for (cgroup, facts) in cgroups.rows.iter().zip(&m.cgroups) {
                let s = self.cgroups.entry(cgroup.key.clone()).or_default();
                if let Some(usage) = cgroup.memory.as_ref().and_then(|mem| mem.usage_bytes) {
                    s.usage.push(at, usage as f64);
                }
                s.blocked.push(at, f64::from(facts.blocked));
                if let Some(pct) = facts.cpu_pct {
                    s.cpu.push(at, tenth(pct));
                }
            }
        }
        if let ([.., Some(at)], Some(slabs)) = (moved, now.slab.data()) {
            for slab in &slabs.rows {
                if let Some(series) = self.slabs.get_mut(&slab.name) {
                    series.push(at, slab.bytes as f64);
                } else {
                    self.slabs.entry(slab.name.clone()).or_default().push(at, slab.bytes as f64);
                }
            }
        }
        self.record_host(now, m);
    }

    fn record_host(&mut self, now: &Snapshot, m: &Model) {
        let h = &mut self.host;
        if let (Some(at), Some(cpu)) = (now.cpu.at(), now.cpu.data()) {
            h.load.push(at, cpu.load[0]);
            if let Some(pct) = m.totals.cpu_busy_pct {
                h.cpu.push(at, tenth(pct));
            }
        }
        if let Some(at) = now.sockets.at() {
            h.sockets.push(at, restless(&m.totals.tcp));
        }
        if let (Some(at), Some(udp)) = (now.net.at(), m.totals.udp_drops_per_s) {
            h.drops.push(at, tenth(udp + m.totals.nic_drops_per_s.unwrap_or(0.0)));
        }
        if let (Some(at), Some(memory)) = (now.memory.at(), now.memory.data()) {
            let bytes = |name: &str| memory.meminfo.get(name);
            if let (Some(total), Some(free)) = (bytes("MemTotal"), bytes("MemAvailable")) {
                h.usage.push(at, total.saturating_sub(free) as f64);
            }
            if let (Some(stuck), Some(cached)) = (bytes("SUnreclaim"), bytes("SReclaimable")) {
                h.slab.push(at, stuck.saturating_add(cached) as f64);
            }
        }
        if let (Some(at), Some(dying)) = (now.cgroups.at(), now.cgroups.data().and_then(|c| c.dying)) {
            h.dying.push(at, dying as f64);
        }
    }

    /// The history of a subject's metric.
    #[must_use]
    pub fn series(&self, subject: &Subject, metric: Metric) -> Option<&Series> {
        let series = match subject {
            Subject::Task(key) => {
                let s = self.tasks.get(key)?;
                match metric {
                    Metric::Rss => &s.rss,
                    Metric::Threads => &s.threads,
                    Metric::CpuPct => &s.cpu,
                    Metric::Blocked => &s.blocked,
                    Metric::Sockets => &s.sockets,
                    _ => return None,
                }
            }
            Subject::Cgroup(key) => {
                let s = self.cgroups.get(key)?;
                match metric {
                    Metric::Usage => &s.usage,
                    Metric::CpuPct => &s.cpu,
                    Metric::Blocked => &s.blocked,
                    _ => return None,
                }
            }
            Subject::Slab(name) if metric == Metric::SlabBytes => self.slabs.get(name)?,
            Subject::Host => match metric {
                Metric::CpuPct => &self.host.cpu,
                Metric::Load => &self.host.load,
                Metric::Blocked => &self.host.blocked,
                Metric::Sockets => &self.host.sockets,
                Metric::Drops => &self.host.drops,
                Metric::Usage => &self.host.usage,
                Metric::SlabBytes => &self.host.slab,
                Metric::Dying => &self.host.dying,
                _ => return None,
            },
            _ => return None,
        };
        series.first_at().map(|_| series)
    }

    /// Drops the series of what has been gone for a minute.
    pub fn forget_gone(&mut self) {
        let [tasks, cgroups, slab] = self.recorded;
        let stays = |seen: Moment, at: Option<Moment>| at.is_none_or(|at| at.since(seen) <= KEEP_GONE_S);
        self.tasks.retain(|_, s| stays(s.threads.seen(), tasks));
        self.cgroups.retain(|_, s| stays(s.blocked.seen(), cgroups));
        self.slabs.retain(|_, s| stays(s.seen(), slab));
    }

    /// Bytes it takes, without the hash tables' own.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.all().map(Series::bytes).sum()
    }

    /// Gives up everything older than two minutes, of tasks and cgroups: what is left is bounded by their number.
    pub fn forget_older(&mut self) {
        for s in self.tasks.values_mut() {
            let all = [&mut s.rss, &mut s.threads, &mut s.cpu, &mut s.blocked, &mut s.sockets];
            all.into_iter().for_each(Series::forget_older);
        }
        for s in self.cgroups.values_mut() {
            [&mut s.usage, &mut s.cpu, &mut s.blocked].into_iter().for_each(Series::forget_older);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Series> {
        let tasks = self.tasks.values().flat_map(|s| [&s.rss, &s.threads, &s.cpu, &s.blocked, &s.sockets]);
        let cgroups = self.cgroups.values().flat_map(|s| [&s.usage, &s.cpu, &s.blocked]);
        tasks.chain(cgroups).chain(self.slabs.values())
    }
}
