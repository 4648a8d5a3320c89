//! Listeners, remotes, UDP sockets, network namespaces.

use super::super::names::{local, netns_name, task_line, task_name};
use super::{block, facts};
use crate::model::{Frame, StateTally, tally_of};
use crate::snapshot::{
    Counters, ListenerKey, NetnsCounters, NetnsId, RemoteKey, Side, SockKey, Subject, TaskKey, TcpState,
};
use crate::view::line::severity_role;
use crate::view::{Line, Role, Target, num};

/// Lines of one kind at most.
const LINES_MAX: usize = 20;

type Known = (String, Vec<Line>);

fn space(frame: &Frame, id: NetnsId) -> Option<&NetnsCounters> {
    frame.snap.net.data()?.netns.iter().find(|n| n.id == id)
}

/// Limits of the namespace, those of the host where it has none of its own.
fn sysctl(frame: &Frame, id: NetnsId, name: &str) -> Option<u64> {
    let of = |counters: &Counters| counters.get(name);
    let own = space(frame, id).and_then(|n| of(&n.sysctls));
    own.or_else(|| frame.snap.net.data()?.netns.iter().find_map(|n| of(&n.sysctls)))
}

fn sysctls(frame: &Frame, id: NetnsId, names: &[&'static str]) -> Line {
    facts("limits", names.iter().map(|n| (*n, sysctl(frame, id, n).map(num::grouped))))
}

fn by_state(label: &'static str, tally: &StateTally) -> Line {
    let mut line = Line::of(label);
    for state in TcpState::ALL {
        let count = tally_of(tally, state);
        if count > 0 {
            let gap = if line.spans.is_empty() { "" } else { " · " };
            line = line.dim(format!("{gap}{} ", state.name().replace('_', "-"))).text(num::grouped(count));
        }
    }
    if line.spans.is_empty() { line.dim("no sockets") } else { line }
}

fn owner_line(frame: &Frame, owner: Option<TaskKey>) -> Line {
    match owner {
        Some(key) => {
            let line = task_line(frame, key).to(Target::Subject(Subject::Task(key)));
            Line { label: "held by", ..line }
        }
        None => Line::of("held by").dim("no process can be named (root sees all)"),
    }
}

fn netns_line(frame: &Frame, id: NetnsId) -> Line {
    Line::of("netns")
        .text(netns_name(frame, id))
        .dim(format!(" (inode {})", id.0))
        .to(Target::Subject(Subject::Netns(id)))
}

/// A listener.
pub(super) fn listener(frame: &Frame, key: &ListenerKey) -> Option<Known> {
    let sockets = frame.snap.sockets.data()?;
    let same: Vec<_> = sockets.listeners.iter().filter(|l| l.key == *key).collect();
    let mut lines = Vec::new();
    let lit = frame.severity_of(&Subject::Listener(*key));
    for l in &same {
        let full = l.queue > l.backlog;
        let role = if full { severity_role(lit, Role::Text) } else { Role::Text };
        lines.push(
            Line::of("queue")
                .with(role, format!("{}/{}", l.queue, l.backlog))
                .dim(if full { " connections wait for accept: it is full" } else { " connections wait for accept" })
                .dim(" · half open ")
                .text(num::grouped(l.syn_recv))
                .dim(" · dropped ")
                .text(l.drops.map_or_else(|| "–".into(), num::grouped)),
        );
        lines.push(owner_line(frame, l.owner));
        if l.shared_by > 1 {
            lines.push(Line::of(" ").dim(format!("shared by {} processes", l.shared_by)));
        }
    }
    if let Some(rate) = frame.model.socket_drops_per_s.get(&Subject::Listener(*key)) {
        lines.push(Line::of("drops").text(format!("{}/s", num::number(*rate))));
    }
    let mut tally = StateTally::default();
    let served = |g: &&crate::snapshot::SockGroup| {
        g.netns == key.netns && g.side == Side::Server && g.local_port == Some(key.local.port())
    };
    for group in sockets.groups.iter().filter(served) {
        if let Some(slot) = tally.get_mut(group.state as usize) {
            *slot += group.count;
        }
    }
    lines.push(by_state("serves", &tally));
    lines.push(netns_line(frame, key.netns));
    lines.push(sysctls(
        frame,
        key.netns,
        &["net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_syncookies"],
    ));
    (!same.is_empty()).then(|| (format!("listens on {}", local(key.local)), lines))
}

/// A far end.
pub(super) fn remote(frame: &Frame, key: &RemoteKey) -> Option<Known> {
    let known = frame.model.remotes.get(key)?;
    let mut lines = vec![by_state("sockets", &known.tcp)];
    let holders = known.tasks.iter().take(LINES_MAX).map(|(task, count)| {
        let lit = frame.severity_of(&Subject::Task(*task));
        Line::default()
            .marked(lit)
            .text(format!("{:>6}  ", num::grouped(*count)))
            .text(task_name(frame, *task))
            .dim(format!("  {}", frame.task(*task).and_then(|t| t.cmdline.as_deref()).unwrap_or("")))
            .to(Target::Subject(Subject::Task(*task)))
    });
    lines.extend(block("held by", holders));
    let more = known.tasks.len().saturating_sub(LINES_MAX);
    if more > 0 {
        lines.push(Line::of(" ").dim(format!("and {more} more")));
    }
    lines.push(netns_line(frame, key.netns));
    lines.push(sysctls(frame, key.netns, &["net.ipv4.ip_local_port_range.0", "net.ipv4.ip_local_port_range.1"]));
    Some((format!("{} processes", known.tasks.len()), lines))
}

/// A UDP socket.
pub(super) fn udp(frame: &Frame, key: &SockKey) -> Option<Known> {
    let socket = frame.snap.sockets.data()?.udp.iter().find(|s| s.key == *key)?;
    let subject = Subject::Socket(*key);
    let role = severity_role(frame.severity_of(&subject), Role::Text);
    let granted = socket.rcvbuf_bytes.map_or_else(|| "–".into(), num::bytes);
    let mut lines = vec![
        Line::of("buffer")
            .text(format!("{}/{granted}", num::bytes(socket.recv_q_bytes)))
            .dim(" of unread datagrams; the kernel grants twice what was asked, at most 2 × rmem_max"),
    ];
    let rate = frame.model.socket_drops_per_s.get(&subject).copied().unwrap_or(0.0);
    lines.push(
        Line::of("drops")
            .with(role, num::grouped(socket.drops))
            .dim(" since it was made · ")
            .with(role, format!("{}/s", num::number(rate)))
            .dim(" now"),
    );
    lines.push(facts(
        "send",
        [("queue", Some(num::bytes(socket.send_q_bytes))), ("buffer", socket.sndbuf_bytes.map(num::bytes))],
    ));
    if key.local.ip().is_multicast() {
        lines.push(Line::of("group").dim("its local address is a multicast group"));
    }
    if let Some(addr) = socket.remote_addr {
        lines.push(Line::of("to").text(super::super::names::address(addr, socket.remote_port)));
    }
    lines.push(owner_line(frame, socket.owner));
    lines.push(netns_line(frame, key.netns));
    lines.push(sysctls(frame, key.netns, &["net.core.rmem_max", "net.core.rmem_default", "net.core.wmem_max"]));
    Some((format!("udp {}", local(key.local)), lines))
}

/// A network namespace.
pub(super) fn netns(frame: &Frame, id: NetnsId) -> Option<Known> {
    let known = space(frame, id)?;
    let tally = frame.model.tcp_by_netns.get(&id).copied().unwrap_or_default();
    let mut lines = vec![by_state("tcp", &tally)];
    let unowned = frame.model.tcp_unowned.get(&id).copied().unwrap_or_default();
    if unowned.iter().sum::<u64>() > 0 {
        lines.push(by_state("unowned", &unowned));
    }
    let used = |used: Option<u64>, limit: &str| {
        let limit = sysctl(frame, id, limit).map_or_else(|| "–".into(), num::grouped);
        used.map(|n| format!("{}/{limit}", num::grouped(n)))
    };
    lines.push(facts(
        "tables",
        [
            ("TIME_WAIT", used(Some(tally_of(&tally, TcpState::TimeWait)), "net.ipv4.tcp_max_tw_buckets")),
            ("orphans", used(known.sockstat.get("TCPorphan"), "net.ipv4.tcp_max_orphans")),
            ("conntrack", used(known.conntrack, "net.netfilter.nf_conntrack_max")),
            ("neighbours", used(known.neigh4, "net.ipv4.neigh.default.gc_thresh3")),
        ],
    ));
    let mut moved: Vec<_> = frame.model.net_rates.get(&id).into_iter().flatten().collect();
    moved.sort_by(|a, b| b.1.total_cmp(a.1).then_with(|| a.0.cmp(b.0)));
    let lost = |name: &str| {
        ["Drop", "Overflow", "Err", "Discard", "Fail", "Prune", "Abort", "Timeout", "Retrans"]
            .iter()
            .any(|w| name.contains(w))
    };
    let moved = moved.into_iter().filter(|(name, _)| lost(name)).take(LINES_MAX);
    lines.extend(block(
        "moves",
        moved.map(|(name, rate)| Line::default().text(format!("{:>7}/s  ", num::number(*rate))).dim(name.to_string())),
    ));
    let ifaces = known.ifaces.iter().take(LINES_MAX).map(|i| {
        Line::default()
            .text(i.name.to_string())
            .dim(if i.up { "" } else { " down" })
            .to(Target::Subject(Subject::Iface(id, i.name.clone())))
    });
    lines.extend(block("interfaces", ifaces));
    let heard = frame.snap.sockets.data().map(|s| s.listeners.as_slice()).unwrap_or_default();
    let heard = heard.iter().filter(|l| l.key.netns == id).take(LINES_MAX).map(|l| {
        let owner = l.owner.map(|k| task_name(frame, k)).unwrap_or_default();
        Line::default()
            .text(format!("{:<22}", local(l.key.local)))
            .dim(owner)
            .to(Target::Subject(Subject::Listener(l.key)))
    });
    lines.extend(block("listeners", heard));
    lines.extend(residents(frame, id));
    Some((format!("{} processes · inode {}", known.tasks, id.0), lines))
}

/// The processes in a namespace, those with most sockets first.
fn residents(frame: &Frame, id: NetnsId) -> Vec<Line> {
    let rows = frame.snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    let held = |key: TaskKey| frame.model.tasks.get(&key).map_or(0, |x| x.tcp.iter().sum::<u64>() + x.udp);
    let mut inside: Vec<(u64, TaskKey)> =
        rows.iter().filter(|t| t.netns == Some(id)).map(|t| (held(t.key), t.key)).collect();
    inside.sort_by_key(|(sockets, key)| (std::cmp::Reverse(*sockets), *key));
    let more = inside.len().saturating_sub(LINES_MAX);
    let shown = inside.into_iter().take(LINES_MAX).map(|(sockets, key)| {
        let line = Line::default().text(format!("{:>6}  {}", num::grouped(sockets), task_name(frame, key)));
        line.dim(" sockets").to(Target::Subject(Subject::Task(key)))
    });
    let mut lines = block("processes", shown);
    if more > 0 {
        lines.push(Line::of(" ").dim(format!("and {more} more")));
    }
    lines
}
