//! TCP: who holds which sockets, to whom, in which state.

use super::names::{address, home_name, local, netns_name, task_line, task_name, text_cell};
use super::Pane;
use crate::model::{Frame, StateTally, tally_of};
use crate::snapshot::{Listener, NetnsCounters, NetnsId, RemoteKey, Sockets, Subject, TaskKey, TcpState, Text};
use crate::view::{Cell, Column, Entry, Grid, Line, Target, Tree, num};
use rustc_hash::FxHashMap;

pub(super) static PANE: Pane = Pane {
    name: "tcp",
    title: "TCP",
    question: "Who holds which sockets, in which state, to whom?",
    lights: &["tcp."],
    views: &[&BY_PROCESS, &BY_REMOTE, &BY_LISTENER, &BY_NETNS],
};

fn tally(tally: &StateTally, state: TcpState) -> Cell {
    Cell::Count(tally_of(tally, state))
}

fn unsettled(tally: &StateTally) -> u64 {
    let calm = tally_of(tally, TcpState::Established) + tally_of(tally, TcpState::Listen);
    total(tally).saturating_sub(calm)
}

fn total(tally: &StateTally) -> u64 {
    tally.iter().copied().fold(0, u64::saturating_add)
}

/// The states' columns, the same in every view: those in which sockets pile up, then the passing ones.
macro_rules! states {
    ($row:ty, $field:ident; $($before:expr),*; $($after:expr),* $(,)?) => {
        &[
            $($before,)*
            Column::<$row>::number("established", "ESTAB", 6, "connections that stand", |_, r| tally(&r.$field, TcpState::Established)).keep(60),
            Column::<$row>::number("syn_sent", "SYN-S", 6, "attempts that nobody has answered", |_, r| tally(&r.$field, TcpState::SynSent)).keep(70).lights(&["tcp.syn_sent", "tcp.port"]),
            Column::<$row>::number("syn_recv", "SYN-R", 6, "attempts from outside, half open", |_, r| tally(&r.$field, TcpState::SynRecv)).keep(40).lights(&["tcp.listen"]),
            Column::<$row>::number("close_wait", "CLOSE-W", 7, "the peer has closed, this process has not", |_, r| tally(&r.$field, TcpState::CloseWait)).keep(68).lights(&["tcp.close_wait"]),
            Column::<$row>::number("time_wait", "TIME-W", 6, "closed, waiting out late packets", |_, r| tally(&r.$field, TcpState::TimeWait)).keep(66).lights(&["tcp.time_wait"]),
            Column::<$row>::number("fin_wait1", "FIN-1", 6, "closed here, not acknowledged", |_, r| tally(&r.$field, TcpState::FinWait1)).keep(30),
            Column::<$row>::number("fin_wait2", "FIN-2", 6, "closed here, the peer has not closed yet", |_, r| tally(&r.$field, TcpState::FinWait2)).keep(28),
            Column::<$row>::number("last_ack", "LAST-A", 6, "closed both ways, last word not acknowledged", |_, r| tally(&r.$field, TcpState::LastAck)).keep(26),
            Column::<$row>::number("closing", "CLOSING", 7, "closed both ways at once", |_, r| tally(&r.$field, TcpState::Closing)).keep(10),
            Column::<$row>::number("close", "CLOSE", 6, "made or bound, not connected", |_, r| tally(&r.$field, TcpState::Close)).keep(12),
            Column::<$row>::number("listen", "LISTEN", 6, "sockets that accept connections", |_, r| tally(&r.$field, TcpState::Listen)).keep(35),
            Column::<$row>::hidden("unsettled", "sockets that neither stand nor listen", |_, r| Cell::Count(unsettled(&r.$field))),
            $($after,)*
        ]
    };
}

static BY_PROCESS: Grid<Holder> = Grid {
    name: "process",
    question: "Sockets by the process that holds them; those of a listener without a holder count for its process.",
    columns: states!(Holder, tcp;
        Column::number("pid", "PID", 7, "process id", |_, r: &Holder| r.owner.map_or(Cell::Unknown("no owner known"), |k| Cell::text(k.pid.to_string())))
            .keep(80);
        Column::number("recv_q", "RECV-Q", 6, "bytes received and not read", |_, r: &Holder| Cell::Bytes(r.recv_q_bytes)).keep(34),
        Column::number("send_q", "SEND-Q", 6, "bytes sent and not acknowledged", |_, r: &Holder| Cell::Bytes(r.send_q_bytes)).keep(33),
        Column::number("retrans", "RETRY", 5, "sockets that are retransmitting", |_, r: &Holder| Cell::Count(r.retransmitting)).keep(32),
        Column::text("busiest", "MOSTLY WITH", 20, 32, "the remote it holds most sockets to", busiest).keep(45),
        Column::text("container", "CONTAINER", 12, 24, "container or unit", |f, r: &Holder| {
            r.owner.and_then(|k| f.task(k)).map_or(Cell::Blank, |t| text_cell(home_name(f, t)))
        }).keep(42),
        Column::text("netns", "NETNS", 6, 14, "network namespace", |f, r: &Holder| Cell::text(netns_name(f, r.netns))).keep(15),
        Column::hidden("remote", "remotes it holds sockets to", |f, r: &Holder| remotes(f, r)),
        Column::hidden("port", "ports of its sockets, near and far", |f, r: &Holder| ports(f, r)),
        Column::text("process", "PROCESS", 14, u16::MAX, "the process", |f, r: &Holder| match r.owner.map(|k| (k, f.task(k))) {
            Some((_, Some(task))) => Cell::Text(task.comm.clone()),
            Some((key, None)) => Cell::text(format!("pid {} (gone)", key.pid)),
            None => Cell::text("(unowned)"),
        }).keep(90).names(),
    ),
    rows: holders,
    id: |_, r| r.owner.map_or_else(|| Subject::Netns(r.netns), Subject::Task).into(),
    also: |_, _| Vec::new(),
    own_severity: None,
    target: |_, r| Some(Target::Subject(r.owner.map_or_else(|| Subject::Netns(r.netns), Subject::Task))),
    sort: "unsettled",
    tree: Tree::Never,
    section: |f| (&f.snap.sockets).into(),
    summary,
    footer: |f, r| match r.owner {
        Some(key) => vec![task_line(f, key)],
        None => vec![Line::of("SOCKETS").text("of network namespace ").text(netns_name(f, r.netns)).dim(
            " whose owner can't be named: closed by their process, or of other users (root sees those)",
        )],
    },
    footer_rows: 1,
    empty: |_| vec![Line::plain(crate::view::Role::Dim, "No TCP sockets in any network namespace that can be seen.")],
};

/// A process, or the ownerless sockets of a namespace.
struct Holder {
    owner: Option<TaskKey>,
    netns: NetnsId,
    tcp: StateTally,
    recv_q_bytes: u64,
    send_q_bytes: u64,
    retransmitting: u64,
    groups: Vec<u32>,
}

impl Holder {
    fn new(owner: Option<TaskKey>, netns: NetnsId) -> Self {
        let tcp = StateTally::default();
        Self { owner, netns, tcp, recv_q_bytes: 0, send_q_bytes: 0, retransmitting: 0, groups: Vec::new() }
    }
}

fn holders(frame: &Frame) -> Vec<Entry<Holder>> {
    let Some(sockets) = frame.snap.sockets.data() else { return Vec::new() };
    let mut by: FxHashMap<(Option<TaskKey>, NetnsId), Holder> = FxHashMap::default();
    // A process that joins several namespaces has one row: the identity of a row is its process.
    let key = |owner: Option<TaskKey>, netns| (owner, if owner.is_some() { NetnsId(0) } else { netns });
    for (at, group) in sockets.groups.iter().enumerate() {
        let row = by.entry(key(group.owner, group.netns)).or_insert_with(|| Holder::new(group.owner, group.netns));
        add(&mut row.tcp, group.state, group.count);
        row.recv_q_bytes += group.recv_q_bytes;
        row.send_q_bytes += group.send_q_bytes;
        row.retransmitting += group.retransmitting;
        row.groups.push(u32::try_from(at).unwrap_or(u32::MAX));
    }
    for listener in &sockets.listeners {
        let netns = listener.key.netns;
        let row = by.entry(key(listener.owner, netns)).or_insert_with(|| Holder::new(listener.owner, netns));
        add(&mut row.tcp, TcpState::Listen, 1);
    }
    by.into_values().map(Entry::flat).collect()
}

fn add(tally: &mut StateTally, state: TcpState, count: u64) {
    if let Some(slot) = tally.get_mut(state as usize) {
        *slot += count;
    }
}

fn groups<'f>(frame: &'f Frame, row: &'f Holder) -> impl Iterator<Item = &'f crate::snapshot::SockGroup> {
    let all = frame.snap.sockets.data().map(|s| s.groups.as_slice()).unwrap_or_default();
    row.groups.iter().filter_map(move |at| all.get(usize::try_from(*at).ok()?))
}

fn busiest(frame: &Frame, row: &Holder) -> Cell {
    let mut by: FxHashMap<(std::net::IpAddr, Option<u16>), u64> = FxHashMap::default();
    for group in groups(frame, row) {
        if let Some(addr) = group.remote_addr {
            *by.entry((addr, group.remote_port)).or_default() += group.count;
        }
    }
    let most = by.into_iter().max_by_key(|(end, n)| (*n, std::cmp::Reverse(*end)));
    most.map_or(Cell::Blank, |((addr, port), n)| Cell::text(format!("{} × {}", num::short(n), address(addr, port))))
}

fn remotes(frame: &Frame, row: &Holder) -> Cell {
    let mut all: Vec<Text> =
        groups(frame, row).filter_map(|g| Some(address(g.remote_addr?, g.remote_port).into())).collect();
    all.sort_unstable();
    all.dedup();
    Cell::Many(all)
}

fn ports(frame: &Frame, row: &Holder) -> Cell {
    let listeners = frame.snap.sockets.data().map(|s| s.listeners.as_slice()).unwrap_or_default();
    let heard = listeners.iter().filter(|l| l.owner.is_some() && l.owner == row.owner).map(|l| l.key.local.port());
    let mut all: Vec<u16> =
        groups(frame, row).flat_map(|g| [g.remote_port, g.local_port]).flatten().chain(heard).collect();
    all.sort_unstable();
    all.dedup();
    Cell::Many(all.iter().map(|p| Text::from(p.to_string())).collect())
}

static BY_REMOTE: Grid<Far> = Grid {
    name: "remote",
    question: "Sockets by the far end they go to.",
    columns: states!(Far, tcp;
        Column::text("remote", "REMOTE", 15, 40, "far address and port; without port: clients of a service here", |_, r: &Far| Cell::text(address(r.key.addr, r.key.port)))
            .keep(95).names();
        Column::number("tasks", "PROCS", 5, "processes that hold sockets to it", |f, r: &Far| Cell::Count(facts(f, r).map_or(0, |x| x.tasks.len() as u64))).keep(44),
        Column::text("netns", "NETNS", 6, 14, "near network namespace", |f, r: &Far| Cell::text(netns_name(f, r.key.netns))).keep(15),
        Column::hidden("port", "far port", |_, r: &Far| r.key.port.map_or(Cell::Blank, |p| Cell::text(p.to_string()))),
        Column::text("held_by", "HELD BY", 12, u16::MAX, "the process that holds most of them", |f, r: &Far| {
            let first = facts(f, r).and_then(|x| x.tasks.first());
            first.map_or(Cell::Blank, |(key, n)| Cell::text(format!("{} by {}", num::short(*n), task_name(f, *key))))
        }).keep(50),
    ),
    rows: |f| f.model.remotes.iter().map(|(k, x)| Entry::flat(Far { key: *k, tcp: x.tcp })).collect(),
    id: |_, r| Subject::Remote(r.key).into(),
    also: |f, r| f.findings.iter().filter(|x| x.remote == r.key.port.map(|p| (r.key.addr, p))).map(|x| x.subject.clone()).collect(),
    own_severity: None,
    target: |_, r| Some(Target::Subject(Subject::Remote(r.key))),
    sort: "unsettled",
    tree: Tree::Never,
    section: |f| (&f.snap.sockets).into(),
    summary,
    footer: |f, r| {
        let holders = facts(f, r).map(|x| x.tasks.as_slice()).unwrap_or_default();
        let names: Vec<_> = holders.iter().take(6).map(|(k, n)| format!("{} × {}", num::short(*n), task_name(f, *k))).collect();
        vec![Line::of("HELD BY").text(names.join(" · "))]
    },
    footer_rows: 1,
    empty: |_| vec![Line::plain(crate::view::Role::Dim, "No TCP connections.")],
};

struct Far {
    key: RemoteKey,
    tcp: StateTally,
}

fn facts<'f>(frame: &'f Frame, row: &Far) -> Option<&'f crate::model::RemoteFacts> {
    frame.model.remotes.get(&row.key)
}

static BY_LISTENER: Grid<Door> = Grid {
    name: "listener",
    question: "Listening sockets: is the accept queue full, are SYNs dropped?",
    columns: &[
        Column::text("local", "LISTENS ON", 12, 40, "local address and port", |f, r| door(f, r, |l| Cell::text(local(l.key.local)))).keep(95).names(),
        Column::number("queue", "ACCEPT QUEUE", 12, "connections waiting for accept, of the backlog", |f, r| {
            door(f, r, |l| Cell::Usage { used: l.queue, limit: Some(l.backlog), bytes: false })
        }).up_to(22).keep(80).lights(&["tcp.listen"]),
        Column::number("syn_recv", "SYN-RECV", 8, "half-open attempts that belong to it", |f, r| door(f, r, |l| Cell::Count(l.syn_recv))).keep(60).lights(&["tcp.listen"]),
        Column::number("drops", "DROPS", 7, "connections and SYNs dropped since it listens", |f, r| {
            door(f, r, |l| Cell::count(l.drops, "this kernel does not send it"))
        }).keep(55),
        Column::number("drops_per_s", "DROPS/S", 7, "dropped now, a second", |f, r| {
            door(f, r, |l| Cell::Rate(f.model.socket_drops_per_s.get(&Subject::Listener(l.key)).copied().unwrap_or(0.0)))
        }).keep(70).lights(&["tcp.listen"]),
        Column::number("shared", "SHARED", 6, "processes that share it", |f, r| door(f, r, |l| Cell::Count(l.shared_by.into()))).keep(20),
        Column::number("pid", "PID", 7, "process id", |f, r| {
            door(f, r, |l| l.owner.map_or(Cell::Unknown("no owner known"), |k| Cell::text(k.pid.to_string())))
        }).keep(50),
        Column::text("container", "CONTAINER", 12, 24, "container or unit", |f, r| {
            door(f, r, |l| l.owner.and_then(|k| f.task(k)).map_or(Cell::Blank, |t| text_cell(home_name(f, t))))
        }).keep(30),
        Column::text("netns", "NETNS", 6, 14, "network namespace", |f, r| door(f, r, |l| Cell::text(netns_name(f, l.key.netns)))).keep(25),
        Column::hidden("port", "local port", |f, r| door(f, r, |l| Cell::text(l.key.local.port().to_string()))),
        Column::text("process", "PROCESS", 14, u16::MAX, "the process", |f, r| {
            door(f, r, |l| match l.owner {
                Some(key) => Cell::text(f.task(key).map_or_else(|| "(gone)".into(), |t| t.comm.clone())),
                None => Cell::Unknown("no owner known"),
            })
        }).keep(90).names(),
    ],
    rows: |f| {
        let count = f.snap.sockets.data().map_or(0, |s| s.listeners.len());
        (0..count).map(|at| Entry::flat(Door { at })).collect()
    },
    id: |f, r| listener(f, r).map_or(Subject::Host, |l| Subject::Listener(l.key)).into(),
    also: |_, _| Vec::new(),
    own_severity: None,
    target: |f, r| listener(f, r).map(|l| Target::Subject(Subject::Listener(l.key))),
    sort: "queue",
    tree: Tree::Never,
    section: |f| (&f.snap.sockets).into(),
    summary,
    footer: |f, r| listener(f, r).and_then(|l| l.owner).map(|k| vec![task_line(f, k)]).unwrap_or_default(),
    footer_rows: 1,
    empty: |_| vec![Line::plain(crate::view::Role::Dim, "Nothing listens on TCP.")],
};

struct Door {
    at: usize,
}

fn listener<'f>(frame: &'f Frame, row: &Door) -> Option<&'f Listener> {
    frame.snap.sockets.data()?.listeners.get(row.at)
}

fn door(frame: &Frame, row: &Door, cell: impl FnOnce(&Listener) -> Cell) -> Cell {
    listener(frame, row).map_or(Cell::Blank, cell)
}

static BY_NETNS: Grid<Space> = Grid {
    name: "netns",
    question: "Network namespaces: sockets by state, and what their tables have left.",
    columns: states!(Space, tcp;
        Column::text("netns", "NETNS", 8, 28, "its name, its container's, or its inode", |f, r: &Space| Cell::text(netns_name(f, r.id))).keep(95).names(),
        Column::number("procs", "PROCS", 5, "processes in it", |f, r: &Space| space(f, r).map_or(Cell::Blank, |n| Cell::Count(n.tasks.into()))).keep(30);
        Column::number("tw_buckets", "TW / MAX", 11, "TIME_WAIT of tcp_max_tw_buckets", |f, r: &Space| {
            Cell::Usage { used: count_of(r, TcpState::TimeWait), limit: space(f, r).and_then(|n| n.sysctls.get("net.ipv4.tcp_max_tw_buckets")), bytes: false }
        }).up_to(18).keep(65).lights(&["tcp.time_wait"]),
        Column::number("orphans", "ORPHANS", 7, "sockets without a process, still closing", |f, r: &Space| {
            Cell::count(space(f, r).and_then(|n| n.sockstat.get("TCPorphan")), "no sockstat")
        }).keep(31).lights(&["tcp.memory"]),
        Column::number("conntrack", "CONNTRACK", 11, "entries of the connection-tracking table", |f, r: &Space| {
            space(f, r).and_then(|n| n.conntrack.map(|used| (n, used))).map_or(Cell::Unknown("no conntrack"), |(n, used)| {
                Cell::Usage { used, limit: n.sysctls.get("net.netfilter.nf_conntrack_max"), bytes: false }
            })
        }).up_to(18).keep(36).lights(&["net.conntrack"]),
        Column::text("of", "OF", 8, u16::MAX, "a process in it", |f, r: &Space| {
            let pid = space(f, r).and_then(|n| n.pid);
            pid.and_then(|p| f.model.by_pid.get(&p)).map_or(Cell::Blank, |k| Cell::text(task_name(f, *k)))
        }).keep(40),
    ),
    rows: |f| {
        let mut ids: Vec<NetnsId> = f.snap.sockets.data().map(|s| s.netns.clone()).unwrap_or_default();
        ids.extend(f.model.tcp_by_netns.keys());
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(|id| Entry::flat(Space { id, tcp: f.model.tcp_by_netns.get(&id).copied().unwrap_or_default() })).collect()
    },
    id: |_, r| Subject::Netns(r.id).into(),
    also: |_, _| Vec::new(),
    own_severity: None,
    target: |_, r| Some(Target::Subject(Subject::Netns(r.id))),
    sort: "established",
    tree: Tree::Never,
    section: |f| (&f.snap.sockets).into(),
    summary,
    footer: |f, r| {
        let counters = f.model.net_rates.get(&r.id);
        let mut moved: Vec<_> = counters.into_iter().flatten().filter(|(n, _)| n.starts_with("TcpExt")).collect();
        moved.sort_by(|a, b| b.1.total_cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let words: Vec<_> = moved.iter().take(6).map(|(n, v)| format!("{n} {}/s", num::number(**v))).collect();
        vec![Line::of("MOVES").text(words.join(" · "))]
    },
    footer_rows: 1,
    empty: |_| vec![Line::plain(crate::view::Role::Dim, "No network namespace could be entered.")],
};

struct Space {
    id: NetnsId,
    tcp: StateTally,
}

fn space<'f>(frame: &'f Frame, row: &Space) -> Option<&'f NetnsCounters> {
    frame.snap.net.data()?.netns.iter().find(|n| n.id == row.id)
}

fn count_of(row: &Space, state: TcpState) -> u64 {
    tally_of(&row.tcp, state)
}

fn summary(frame: &Frame) -> Vec<Line> {
    let Some(sockets) = frame.snap.sockets.data() else { return Vec::new() };
    let spaces = sockets.netns.len();
    let line = Line::default()
        .text(num::grouped(total(&frame.model.totals.tcp)))
        .dim(format!(" sockets in {spaces} network namespace{}, read by {}", if spaces == 1 { "" } else { "s" }, source(sockets)));
    vec![line]
}

fn source(sockets: &Sockets) -> &str {
    if sockets.source.is_empty() { "sock_diag" } else { &sockets.source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_column_in_every_view_of_states() {
        for view in [&BY_PROCESS as &dyn crate::view::View, &BY_REMOTE, &BY_NETNS] {
            for state in TcpState::ALL {
                assert!(view.heads().iter().any(|h| h.id == state.name()), "{} {}", view.name(), state.name());
            }
        }
    }
}
