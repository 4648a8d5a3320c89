//! Host-wide sums for the header.

use super::before::{Before, per_second, span};
use super::cgroups::{AT_LIMIT, memory_limit};
use super::sockets::add;
use super::{Model, Totals};
use crate::snapshot::{Cpu, CpuTimes, Pressure, Psi, Snapshot, StateCounts, TcpState};

/// UDP loss at sockets: counters of the kernel that do not include one another.
pub const UDP_DROPS: [&str; 6] =
    ["UdpRcvbufErrors", "UdpSndbufErrors", "UdpMemErrors", "Udp6RcvbufErrors", "Udp6SndbufErrors", "Udp6MemErrors"];

pub(super) fn sum(m: &mut Model, now: &Snapshot, before: &Before) {
    let mut t = Totals::default();
    sum_tasks(&mut t, now);
    sum_network(&mut t, m, now, before);
    sum_cgroups(&mut t, m, now);
    t.cpu_busy_pct = span(&now.cpu, &before.cpu).and_then(|s| busy_pct(s.old, s.now));
    t.oom_kills = now.memory.data().and_then(|mem| mem.vmstat.get("oom_kill"));
    if let Some(s) = span(&now.pressure, &before.pressure) {
        let pct = |get: fn(&Pressure) -> Option<Psi>| {
            per_second(get(s.old)?.some_usec, get(s.now)?.some_usec, s.secs).map(|usec| (usec / 1e4).min(100.0))
        };
        t.psi_memory_pct = pct(|p| p.memory);
        t.psi_io_pct = pct(|p| p.io);
        t.psi_cpu_pct = pct(|p| p.cpu);
    }
    t.own_cpu_pct = before.own_cpu_pct(now);
    m.totals = t;
}

fn sum_tasks(t: &mut Totals, now: &Snapshot) {
    let Some(tasks) = now.tasks.data() else { return };
    t.tasks = u32::try_from(tasks.rows.len()).unwrap_or(u32::MAX);
    let mut threads = StateCounts::default();
    for task in &tasks.rows {
        threads.merge(&task.by_state);
        t.zombies = t.zombies.saturating_add(u32::from(task.is_zombie()));
    }
    t.threads = threads;
}

fn sum_network(t: &mut Totals, m: &Model, now: &Snapshot, before: &Before) {
    for tally in m.tcp_by_netns.values() {
        for (&state, &count) in TcpState::ALL.iter().zip(tally) {
            add(&mut t.tcp, state, count);
        }
    }
    if span(&now.net, &before.net).is_some() {
        let udp = |rates: &rustc_hash::FxHashMap<_, f64>| UDP_DROPS.iter().filter_map(|n| rates.get(*n)).sum::<f64>();
        t.udp_drops_per_s = Some(m.net_rates.values().map(udp).sum());
        t.nic_drops_per_s = Some(m.iface_rates.values().map(|r| r.drops_per_s).sum());
    }
}

fn sum_cgroups(t: &mut Totals, m: &Model, now: &Snapshot) {
    let Some(cgroups) = now.cgroups.data() else { return };
    let mem_total = now.host.data().map(|h| h.mem_total_bytes).filter(|&b| b > 0);
    for (cgroup, facts) in cgroups.rows.iter().zip(&m.cgroups) {
        let Some(limit) = memory_limit(cgroup, mem_total) else { continue };
        t.limited_cgroups = t.limited_cgroups.saturating_add(1);
        let usage = cgroup.memory.as_ref().and_then(|mem| mem.usage_bytes).unwrap_or(0);
        let full = limit > 0 && usage as f64 >= limit as f64 * AT_LIMIT;
        let hitting = facts.limit_hits_per_s.is_some_and(|r| r > 0.0);
        t.at_limit = t.at_limit.saturating_add(u32::from(full || hitting));
    }
}

fn busy_pct(old: &Cpu, now: &Cpu) -> Option<f64> {
    let all = |t: &CpuTimes| {
        [t.user, t.nice, t.system, t.idle, t.iowait, t.irq, t.softirq, t.steal]
            .iter()
            .copied()
            .fold(0, u64::saturating_add)
    };
    let idle = |t: &CpuTimes| t.idle.saturating_add(t.iowait);
    let spent = all(&now.total).checked_sub(all(&old.total)).filter(|&n| n > 0)?;
    // iowait may go back on some kernels; that is no reset.
    let rested = idle(&now.total).saturating_sub(idle(&old.total)).min(spent);
    Some((spent - rested) as f64 / spent as f64 * 100.0)
}
