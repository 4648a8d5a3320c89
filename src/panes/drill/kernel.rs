//! Slab caches, interfaces, wait channels.

use super::super::names::{cgroup_name, home_name, netns_name, task_name};
use super::{block, facts, history};
use crate::model::{Frame, Metric, iface_drops};
use crate::snapshot::{Cgroup, NetnsId, Subject, Talker, Task, TaskState, Text};
use crate::view::{Line, Target, num};

/// Lines of one kind at most.
const LINES_MAX: usize = 30;
/// Cgroups below a slab cache.
const HOLDERS_MAX: usize = 8;

type Known = (String, Vec<Line>);

/// A slab cache.
pub(super) fn slab(frame: &Frame, name: &Text) -> Option<Known> {
    let slab = frame.snap.slab.data()?.rows.iter().find(|s| s.name == *name)?;
    let growth = frame.model.slab_bytes_per_s.get(name).copied().unwrap_or(0.0);
    let total = frame.snap.host.data().map(|h| h.mem_total_bytes).filter(|b| *b > 0);
    let mut lines = vec![
        facts(
            "size",
            [
                ("", Some(num::prose_bytes(slab.bytes))),
                ("of RAM", total.map(|t| num::percent(slab.bytes as f64 * 100.0 / t as f64))),
                ("a minute", Some(num::byte_growth(growth * 60.0))),
            ],
        ),
        facts(
            "objects",
            [
                ("", Some(num::grouped(slab.num_objs))),
                ("in use", Some(num::grouped(slab.active_objs))),
                ("bytes each", Some(num::grouped(slab.obj_bytes))),
            ],
        ),
    ];
    lines.push(match slab.reclaimable {
        Some(true) => Line::of("labelled").text("reclaimable").dim(", which objects of dead memory cgroups are not"),
        Some(false) => Line::of("labelled").text("unreclaimable").dim(": freed only by what holds it"),
        None => Line::of("labelled").dim("the kernel shows no flags (/sys/kernel/slab)"),
    });
    if !slab.aliases.is_empty() {
        lines.push(Line::of("merged").dim("also counts ").text(slab.aliases.join(" ")));
    }
    if slab.per_cgroup > 0 {
        lines.push(
            Line::of("copies")
                .text(num::grouped(slab.per_cgroup.into()))
                .dim(" for single memory cgroups are counted in it"),
        );
    }
    if let Some(dying) = frame.snap.cgroups.data().and_then(|c| c.dying).filter(|n| *n > 0) {
        lines.push(Line::of("beside").text(num::grouped(dying)).dim(" dead memory cgroups that are kept alive"));
    }
    lines.extend(slab_holders(frame));
    lines.extend(history(frame, &Subject::Slab(name.clone()), [("size", Metric::SlabBytes)]));
    Some((num::bytes(slab.bytes), lines))
}

/// The cgroups that kernel memory is charged to; no kernel tells it by cache (3.10 to 5.8 in `memory.kmem.slabinfo`
/// alone, one file a cgroup).
fn slab_holders(frame: &Frame) -> Vec<Line> {
    let rows = frame.snap.cgroups.data().map(|c| c.rows.as_slice()).unwrap_or_default();
    let charged = |c: &Cgroup| {
        let memory = c.memory.as_ref()?;
        memory.slab_bytes.or(memory.kmem_bytes).filter(|n| *n > 0)
    };
    let below_root = rows.iter().filter(|c| &*c.key.path != "/");
    let mut holders: Vec<(&Cgroup, u64)> = below_root.filter_map(|c| Some((c, charged(c)?))).collect();
    holders.sort_by_key(|(c, bytes)| (std::cmp::Reverse(*bytes), &c.key));
    let lines = holders.into_iter().take(HOLDERS_MAX).map(|(c, bytes)| {
        let line = Line::default().text(format!("{:>6}  {}", num::bytes(bytes), cgroup_name(c)));
        line.dim(" kernel memory, all caches").to(Target::Subject(Subject::Cgroup(c.key.clone())))
    });
    block("holders", lines)
}

/// Who talks most by TCP, in the interface's namespace and then elsewhere, for what it forwards is others'; looked for
/// while a link is busy.
fn talkers(frame: &Frame, netns: NetnsId) -> Vec<Line> {
    let all = frame.snap.sockets.data().map(|s| s.talkers.as_slice()).unwrap_or_default();
    let rate = |bytes: f64| format!("{:>6}/s", num::bytes(num::whole(bytes)));
    let (here, elsewhere): (Vec<&Talker>, Vec<&Talker>) = all.iter().partition(|t| t.netns == netns);
    let lines = here.into_iter().chain(elsewhere).map(|t| {
        let line = Line::default().dim("out ").text(rate(t.tx_bytes_per_s)).dim("  in ").text(rate(t.rx_bytes_per_s));
        let who = t.owner.map_or_else(|| "nobody known".into(), |key| task_name(frame, key));
        let place = if t.netns == netns { String::new() } else { format!(" · netns {}", netns_name(frame, t.netns)) };
        let with = format!(" with {} · sockets {}{place}", t.remote_addr, num::grouped(t.count));
        let line = line.text(format!("  {who}")).dim(with);
        match t.owner {
            Some(key) => line.to(Target::Subject(Subject::Task(key))),
            None => line,
        }
    });
    block("talkers", lines.take(LINES_MAX))
}

/// An interface.
pub(super) fn iface(frame: &Frame, netns: NetnsId, name: &Text) -> Option<Known> {
    let space = frame.snap.net.data()?.netns.iter().find(|n| n.id == netns)?;
    let iface = space.ifaces.iter().find(|i| i.name == *name)?;
    let count = |n: u64| Some(num::grouped(n));
    let mut lines = Vec::new();
    if let Some(r) = frame.model.iface_rates.get(&(netns, name.clone())) {
        let bits =
            |bytes: f64| format!("{}/s ({} Mbit/s)", num::bytes(num::whole(bytes)), num::number(bytes / 125_000.0));
        lines.push(facts(
            "in",
            [("", Some(bits(r.rx_bytes_per_s))), ("packets/s", Some(num::number(r.rx_packets_per_s)))],
        ));
        lines.push(facts(
            "out",
            [("", Some(bits(r.tx_bytes_per_s))), ("packets/s", Some(num::number(r.tx_packets_per_s)))],
        ));
        lines.push(facts(
            "lost",
            [("drops/s", Some(num::number(r.drops_per_s))), ("since it was made", count(iface_drops(iface)))],
        ));
    }
    lines.push(facts(
        "speed",
        [("Mbit/s", Some(iface.speed_mbit.map_or_else(|| "the driver does not know".into(), num::grouped)))],
    ));
    lines.push(facts(
        "received",
        [
            ("dropped", count(iface.rx_dropped)),
            ("ring missed", iface.rx_missed.map(num::grouped)),
            ("fifo", count(iface.rx_fifo)),
            ("errors", count(iface.rx_errors)),
        ],
    ));
    lines.push(facts("sent", [("dropped", count(iface.tx_dropped)), ("errors", count(iface.tx_errors))]));
    let queues = space.qdiscs.iter().filter(|q| q.iface == *name).map(|q| {
        Line::default()
            .text(q.kind.to_string())
            .dim(if q.root { " root" } else { "" })
            .dim(" · drops ")
            .text(num::grouped(q.drops))
            .dim(" · waiting ")
            .text(num::bytes(q.backlog_bytes))
            .dim(" · held back ")
            .text(num::grouped(q.overlimits))
    });
    lines.extend(block("queues", queues));
    lines.extend(talkers(frame, netns));
    lines.push(Line::of("netns").text(netns_name(frame, netns)).to(Target::Subject(Subject::Netns(netns))));
    Some((if iface.up { "up".into() } else { "down".into() }, lines))
}

/// A wait channel: who sleeps in it.
pub(super) fn wchan(frame: &Frame, name: &Text) -> Option<Known> {
    let tasks = frame.snap.tasks.data()?;
    let count = tasks.blocked_by_wchan.iter().find(|(n, _)| n == name).map_or(0, |(_, n)| *n);
    let waiting =
        |t: &Task| t.awake.iter().filter(|t| t.state == TaskState::Blocked && t.wchan.as_ref() == Some(name)).count();
    let mut rows: Vec<(&Task, usize)> = tasks.rows.iter().map(|t| (t, waiting(t))).filter(|(_, n)| *n > 0).collect();
    rows.sort_by_key(|(t, n)| (std::cmp::Reverse(*n), t.key));
    let mut lines = vec![
        Line::of("threads")
            .text(num::grouped(count.into()))
            .dim(format!(" in D sleep here, of {} processes", rows.len())),
    ];
    let sample =
        rows.iter().flat_map(|(t, _)| &t.awake).find(|t| t.wchan.as_ref() == Some(name) && !t.stack.is_empty());
    if let Some(thread) = sample {
        let stack: Vec<&str> = thread.stack.iter().map(|s| &**s).collect();
        lines.push(Line::of("stack").text(stack.join(" ← ")).dim(format!("  (thread {})", thread.tid)));
    }
    if let Some(syscall) = sample.and_then(|t| t.syscall) {
        lines.push(Line::of(" ").dim(format!("in system call {syscall}")));
    }
    let more = rows.len().saturating_sub(LINES_MAX);
    let shown = rows.into_iter().take(LINES_MAX).map(|(t, n)| {
        let at_least = if t.awake.len() >= Task::AWAKE_MAX { "+" } else { "" };
        let since = frame.model.tasks.get(&t.key).and_then(|x| x.blocked_since);
        let since = since.map_or_else(String::new, |at| num::span(frame.snap.at.since(at)));
        Line::default()
            .text(format!("{:>6}  {since:>6}  {}", format!("{n}{at_least}"), task_name(frame, t.key)))
            .dim(format!("  {}", home_name(frame, t)))
            .to(Target::Subject(Subject::Task(t.key)))
    });
    lines.extend(block("tasks", shown));
    if more > 0 {
        lines.push(Line::of(" ").dim(format!("and {more} more")));
    }
    (count > 0 || lines.len() > 1).then(|| (format!("{} threads in D", num::grouped(count.into())), lines))
}
