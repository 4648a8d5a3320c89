//! Net: where packets are lost, from the wire to the socket.

use super::Pane;
use super::names::{home_name, local, netns_name, task_line, text_cell};
use crate::model::{Frame, IfaceRates, iface_drops};
use crate::snapshot::{Iface, NetnsCounters, NetnsId, Qdisc, Subject, UdpSocket};
use crate::view::{Cell, Column, Entry, Grid, Line, Role, RowId, Target, Tree, num};

pub(super) static PANE: Pane = Pane {
    name: "net",
    title: "Net",
    question: "Where are packets lost on their way from the wire to the socket?",
    lights: &["net.", "udp."],
    views: &[&PLACES, &IFACES, &UDP],
};

/// A place where packets can be lost, with the counters that tell.
struct Place {
    name: &'static str,
    counters: &'static [&'static str],
    source: Source,
    help: &'static str,
    lights: &'static [&'static str],
}

/// Where a place's counters are.
enum Source {
    /// Summed over interfaces.
    Iface(fn(&Iface) -> u64),
    /// Summed over CPUs.
    Softnet(fn(&crate::snapshot::SoftnetCpu) -> u64),
    /// Root queueing disciplines.
    Qdisc,
    /// Connection tracking.
    Conntrack,
    /// Neighbour tables.
    Neighbour,
    /// Counters of the namespaces.
    Netns,
}

const fn place(
    name: &'static str, counters: &'static [&'static str], source: Source, help: &'static str, lights: &'static [&'static str],
) -> Place {
    Place { name, counters, source, help, lights }
}

/// The way in from the wire, then the way out.
static WAY: &[Place] = &[
    place("wire", &["rx_errors"], Source::Iface(|i| i.rx_errors), "broken frames: cable, optics, duplex", &["net.nic"]),
    place("NIC ring", &["rx_missed_errors", "rx_fifo_errors"], Source::Iface(|i| i.rx_missed.unwrap_or(0).saturating_add(i.rx_fifo)), "the ring was full: ethtool -G, more queues", &["net.nic"]),
    place("driver", &["rx_dropped"], Source::Iface(|i| i.rx_dropped), "no memory, or a protocol nobody takes", &["net.nic"]),
    place("CPU backlog", &["softnet_stat dropped"], Source::Softnet(|c| c.dropped), "net.core.netdev_max_backlog was full", &["net.softnet"]),
    place("CPU budget", &["softnet_stat time_squeeze"], Source::Softnet(|c| c.time_squeeze), "work was left when the budget ended: not yet a loss", &[]),
    place("conntrack", &["nf_conntrack drop"], Source::Conntrack, "the table was full: net.netfilter.nf_conntrack_max", &["net.conntrack"]),
    place("IP in", &["IpInDiscards", "Ip6InDiscards", "IpReasmFails", "Ip6ReasmFails"], Source::Netns, "no memory, or fragments that never met", &[]),
    place("TCP accept", &["TcpExtListenDrops"], Source::Netns, "the accept queue was full: the process is slow, or its backlog short", &["tcp.listen"]),
    place("TCP SYN", &["TcpExtTCPReqQFullDrop"], Source::Netns, "the SYN queue was full: tcp_max_syn_backlog", &["tcp.listen"]),
    place("TCP receive", &["TcpExtTCPBacklogDrop", "TcpExtTCPRcvQDrop", "TcpExtRcvPruned", "TcpExtOfoPruned", "TcpExtTCPZeroWindowDrop"], Source::Netns, "the process reads too slowly, or tcp_rmem is small", &["tcp.memory"]),
    place("TCP memory", &["TcpExtTCPAbortOnMemory"], Source::Netns, "tcp_mem or orphans at their limit", &["tcp.memory"]),
    place("TIME_WAIT", &["TcpExtTCPTimeWaitOverflow"], Source::Netns, "tcp_max_tw_buckets was full", &["tcp.time_wait"]),
    place("UDP receive", &["UdpRcvbufErrors", "Udp6RcvbufErrors", "UdpMemErrors", "Udp6MemErrors"], Source::Netns, "a socket's buffer was full: see view udp", &["udp.rcvbuf"]),
    place("UDP send", &["UdpSndbufErrors", "Udp6SndbufErrors"], Source::Netns, "the send buffer was full: net.core.wmem_max", &["udp.sndbuf"]),
    place("neighbours", &["table_fulls"], Source::Neighbour, "the ARP/ND table was full: gc_thresh3", &["net.neighbour"]),
    place("IP out", &["IpOutDiscards", "IpOutNoRoutes", "Ip6OutDiscards", "Ip6OutNoRoutes"], Source::Netns, "no route, or no memory", &[]),
    place("queue out", &["qdisc drops"], Source::Qdisc, "the queueing discipline was full: the link is", &["net.qdisc"]),
    place("NIC out", &["tx_dropped", "tx_errors"], Source::Iface(|i| i.tx_dropped.saturating_add(i.tx_errors)), "the driver could not send", &["net.nic"]),
];

static PLACES: Grid<Row> = Grid {
    name: "places",
    question: "Every place a packet can be lost, in the order it passes them.",
    columns: &[
        Column::text("place", "PLACE", 12, 12, "where", |_, r| at(r, |p| Cell::text(p.name))).keep(100).names(),
        Column::number("per_s", "LOST/S", 7, "lost now, a second", rate).keep(90).names(),
        Column::number("total", "SINCE BOOT", 11, "lost since boot, or since the namespace was made", |f, r| total(f, r).map_or(Cell::Unknown("not read"), Cell::Count)).keep(80),
        Column::text("most", "MOST OF IT IN", 13, 24, "the interface or namespace that lost most of it", |f, r| text_cell(most(f, r))).keep(60),
        Column::text("counters", "COUNTERS", 16, 30, "the kernel's counters, those that rose first", |f, r| Cell::text(counters(f, r))).keep(50),
        Column::text("means", "MEANS", 40, u16::MAX, "what it means", |_, r| at(r, |p| Cell::text(p.help))).keep(70),
    ],
    rows: |_| (0..WAY.len()).map(|at| Entry::flat(Row { at })).collect(),
    id: |_, r| RowId::part(Subject::Host, WAY.get(r.at).map_or("", |p| p.name)),
    also: |_, _| Vec::new(),
    own_severity: Some(|f, r| {
        total(f, r).filter(|n| *n > 0)?;
        let ids = WAY.get(r.at)?.lights;
        f.findings.iter().filter(|x| x.active && ids.iter().any(|id| x.id.starts_with(id))).map(|x| x.severity).max()
    }),
    target: |f, r| {
        let ids = WAY.get(r.at)?.lights;
        let found = f.findings.iter().find(|x| x.active && ids.iter().any(|id| x.id.starts_with(id)))?;
        Some(Target::Finding(found.id, found.subject.clone()))
    },
    sort: "",
    tree: Tree::Fixed,
    section: |f| (&f.snap.net).into(),
    summary,
    footer: |f, r| vec![Line::of("COUNTERS").dim(counters(f, r))],
    footer_rows: 1,
    empty: |_| Vec::new(),
};

/// A row of one of the tables: a place, or an interface or socket by its place in the snapshot.
struct Row {
    at: usize,
}

fn at(row: &Row, cell: impl FnOnce(&'static Place) -> Cell) -> Cell {
    WAY.get(row.at).map_or(Cell::Blank, cell)
}

fn spaces(frame: &Frame) -> &[NetnsCounters] {
    frame.snap.net.data().map(|n| n.netns.as_slice()).unwrap_or_default()
}

fn ifaces(frame: &Frame) -> impl Iterator<Item = (&NetnsCounters, &Iface)> {
    spaces(frame).iter().flat_map(|n| n.ifaces.iter().map(move |i| (n, i)))
}

/// Who lost something.
enum Loser<'f> {
    Iface(&'f NetnsCounters, &'f Iface),
    Cpu(u32),
    Queue(&'f Qdisc),
    Netns(NetnsId),
}

impl Loser<'_> {
    fn name(&self, frame: &Frame) -> String {
        match self {
            Self::Iface(n, i) if frame.snap.host.data().is_some_and(|h| h.netns == n.id) => i.name.to_string(),
            Self::Iface(n, i) => format!("{} of {}", i.name, netns_name(frame, n.id)),
            Self::Cpu(cpu) => format!("cpu {cpu}"),
            Self::Queue(q) => format!("{} ({})", q.iface, q.kind),
            Self::Netns(id) => netns_name(frame, *id),
        }
    }
}

/// What each interface, CPU, queue or namespace lost at a place; those that do not tell are left out.
fn lost<'f>(frame: &'f Frame, place: &Place) -> Vec<(Loser<'f>, u64)> {
    let by_netns = |value: &dyn Fn(&NetnsCounters) -> Option<u64>| -> Vec<(Loser<'f>, u64)> {
        spaces(frame).iter().filter_map(|n| Some((Loser::Netns(n.id), value(n)?))).collect()
    };
    match place.source {
        Source::Iface(value) => ifaces(frame).map(|(n, i)| (Loser::Iface(n, i), value(i))).collect(),
        Source::Softnet(value) => {
            let cpus = frame.snap.net.data().map(|n| n.softnet.as_slice()).unwrap_or_default();
            cpus.iter().map(|c| (Loser::Cpu(c.cpu), value(c))).collect()
        }
        Source::Qdisc => {
            let roots = spaces(frame).iter().flat_map(|n| n.qdiscs.iter().filter(|q| q.root));
            roots.map(|q| (Loser::Queue(q), q.drops)).collect()
        }
        Source::Conntrack => by_netns(&|n| n.conntrack_drops),
        Source::Neighbour => by_netns(&|n| n.neigh_table_fulls),
        // A counter that this kernel does not have is no 0.
        Source::Netns => by_netns(&|n| place.counters.iter().filter_map(|c| n.counters.get(c)).reduce(u64::saturating_add)),
    }
}

fn total(frame: &Frame, row: &Row) -> Option<u64> {
    lost(frame, WAY.get(row.at)?).iter().map(|(_, n)| *n).reduce(u64::saturating_add)
}

fn most(frame: &Frame, row: &Row) -> String {
    let parts = WAY.get(row.at).map(|p| lost(frame, p)).unwrap_or_default();
    let most = parts.into_iter().filter(|(_, n)| *n > 0).max_by_key(|(_, n)| *n);
    most.map(|(loser, _)| loser.name(frame)).unwrap_or_default()
}

/// The rate at a place.
fn rate(frame: &Frame, row: &Row) -> Cell {
    let Some(place) = WAY.get(row.at) else { return Cell::Blank };
    if total(frame, row).is_none() {
        return Cell::Unknown("not read, or this kernel does not count it");
    }
    if let Source::Netns = place.source {
        let of = |c: &&str| frame.model.net_rates.values().filter_map(|r| r.get(*c)).sum::<f64>();
        return Cell::Rate(place.counters.iter().map(of).sum());
    }
    let name = place.counters.first().copied().unwrap_or_default();
    Cell::Rate(frame.model.drop_rates.get(name).copied().unwrap_or(0.0))
}

fn counters(frame: &Frame, row: &Row) -> String {
    let Some(place) = WAY.get(row.at) else { return String::new() };
    let rate = |c: &str| frame.model.net_rates.values().filter_map(|r| r.get(c)).sum::<f64>();
    let mut names: Vec<(&str, f64)> = place.counters.iter().map(|c| (*c, rate(c))).collect();
    names.sort_by(|a, b| b.1.total_cmp(&a.1));
    let words = names.iter().map(|(name, rate)| if *rate > 0.0 { format!("{name} {}/s", num::number(*rate)) } else { (*name).to_owned() });
    words.collect::<Vec<_>>().join(" · ")
}

static IFACES: Grid<Port> = Grid {
    name: "interfaces",
    question: "Interfaces of every namespace: how full, and what they drop.",
    columns: &[
        Column::text("iface", "INTERFACE", 9, 16, "its name", |f, r| iface(f, r, |_, i| Cell::Text(i.name.clone()))).keep(100).names(),
        Column::text("up", "UP", 4, 4, "whether it is up", |f, r| iface(f, r, |_, i| Cell::text(if i.up { "up" } else { "down" }))).keep(40),
        Column::number("speed", "SPEED", 6, "link speed, Mbit a second", |f, r| iface(f, r, |_, i| Cell::count(i.speed_mbit, "the driver does not know"))).keep(50),
        Column::number("load", "LOAD", 5, "the busier direction, percent of the link's speed", load).keep(75).lights(&["net.link"]),
        Column::number("rx", "RX/S", 6, "bytes received a second", |f, r| rates(f, r, |x| Cell::ByteRate(x.rx_bytes_per_s))).keep(80),
        Column::number("tx", "TX/S", 6, "bytes sent a second", |f, r| rates(f, r, |x| Cell::ByteRate(x.tx_bytes_per_s))).keep(79),
        Column::number("rx_packets", "RX PKT/S", 8, "packets received a second", |f, r| rates(f, r, |x| Cell::Rate(x.rx_packets_per_s))).keep(45),
        Column::number("tx_packets", "TX PKT/S", 8, "packets sent a second", |f, r| rates(f, r, |x| Cell::Rate(x.tx_packets_per_s))).keep(44),
        Column::number("drops_per_s", "DROPS/S", 7, "dropped and missed a second, both ways", |f, r| rates(f, r, |x| Cell::Rate(x.drops_per_s))).keep(85).lights(&["net.nic", "net.qdisc"]),
        Column::number("drops", "DROPS", 8, "dropped and missed since it was made", |f, r| iface(f, r, |_, i| Cell::Count(iface_drops(i)))).keep(60),
        Column::number("errors", "ERRORS", 7, "errors since it was made, both ways", |f, r| iface(f, r, |_, i| Cell::Count(i.rx_errors.saturating_add(i.tx_errors)))).keep(55),
        Column::number("backlog", "QUEUED", 6, "bytes waiting in its queueing disciplines", |f, r| {
            iface(f, r, |n, i| {
                let queues = n.qdiscs.iter().filter(|q| q.iface == i.name && q.root);
                Cell::Bytes(queues.map(|q| q.backlog_bytes).fold(0, u64::saturating_add))
            })
        }).keep(35),
        Column::text("qdisc", "QDISC", 8, 14, "root queueing discipline", |f, r| {
            iface(f, r, |n, i| {
                let root = n.qdiscs.iter().find(|q| q.iface == i.name && q.root);
                root.map_or(Cell::Unknown("not asked for"), |q| Cell::Text(q.kind.clone()))
            })
        }).keep(30),
        Column::text("netns", "NETNS", 6, u16::MAX, "network namespace", |f, r| iface(f, r, |n, _| Cell::text(netns_name(f, n.id)))).keep(58),
    ],
    rows: |f| {
        let all = spaces(f).iter().enumerate();
        all.flat_map(|(space, n)| (0..n.ifaces.len()).map(move |at| Entry::flat(Port { space, at }))).collect()
    },
    id: |f, r| port(f, r).map_or(Subject::Host, |(n, i)| Subject::Iface(n.id, i.name.clone())).into(),
    also: |_, _| Vec::new(),
    own_severity: None,
    target: |f, r| port(f, r).map(|(n, i)| Target::Subject(Subject::Iface(n.id, i.name.clone()))),
    sort: "rx",
    tree: Tree::Never,
    section: |f| (&f.snap.net).into(),
    summary,
    footer: |_, _| Vec::new(),
    footer_rows: 0,
    empty: |_| vec![Line::plain(Role::Dim, "No interface can be seen.")],
};

/// An interface by its namespace's place in the snapshot and its own in that.
struct Port {
    space: usize,
    at: usize,
}

fn port<'f>(frame: &'f Frame, row: &Port) -> Option<(&'f NetnsCounters, &'f Iface)> {
    let space = spaces(frame).get(row.space)?;
    Some((space, space.ifaces.get(row.at)?))
}

fn iface(frame: &Frame, row: &Port, cell: impl FnOnce(&NetnsCounters, &Iface) -> Cell) -> Cell {
    port(frame, row).map_or(Cell::Blank, |(n, i)| cell(n, i))
}

fn rates(frame: &Frame, row: &Port, cell: impl FnOnce(&IfaceRates) -> Cell) -> Cell {
    let Some((netns, iface)) = port(frame, row) else { return Cell::Blank };
    frame.model.iface_rates.get(&(netns.id, iface.name.clone())).map_or(Cell::Unknown("first sample"), cell)
}

fn load(frame: &Frame, row: &Port) -> Cell {
    let Some((netns, iface)) = port(frame, row) else { return Cell::Blank };
    let shaped = netns.qdiscs.iter().find(|q| q.iface == iface.name && q.root).and_then(|q| q.rate_bytes_per_sec);
    let wire = iface.speed_mbit.map(|m| m as f64 * 125_000.0);
    let speed = match (wire, shaped.map(|s| s as f64)) {
        (Some(wire), Some(shaped)) => wire.min(shaped),
        (wire, shaped) => match wire.or(shaped) {
            Some(speed) => speed,
            None => return Cell::Unknown("no speed known"),
        },
    };
    rates(frame, row, |x| Cell::Percent(x.rx_bytes_per_s.max(x.tx_bytes_per_s) * 100.0 / speed.max(1.0)))
}

static UDP: Grid<Row> = Grid {
    name: "udp",
    question: "UDP sockets: what their receive buffer was granted, and what it loses.",
    columns: &[
        Column::text("local", "LOCAL", 16, 26, "local address and port; a multicast address is a group", |f, r| udp(f, r, |s| Cell::text(local(s.key.local)))).keep(95).names(),
        Column::number("buffer", "QUEUE / BUFFER", 14, "memory of unread datagrams, of the buffer granted", |f, r| {
            udp(f, r, |s| Cell::Usage { used: s.recv_q_bytes, limit: s.rcvbuf_bytes, bytes: true })
        }).up_to(24).keep(85).lights(&["udp.rcvbuf"]),
        Column::text("granted", "GRANTED", 20, 20, "whether the cap cut what was asked for", |f, r| udp(f, r, |s| granted(f, s))).keep(70),
        Column::number("drops_per_s", "DROPS/S", 7, "datagrams lost now, a second", |f, r| {
            udp(f, r, |s| Cell::Rate(f.model.socket_drops_per_s.get(&Subject::Socket(s.key)).copied().unwrap_or(0.0)))
        }).keep(90).lights(&["udp.rcvbuf"]),
        Column::number("drops", "DROPS", 8, "datagrams lost since it was made", |f, r| udp(f, r, |s| Cell::Count(s.drops))).keep(60),
        Column::number("send_q", "SEND-Q", 6, "bytes waiting to be sent", |f, r| udp(f, r, |s| Cell::Bytes(s.send_q_bytes))).keep(40),
        Column::number("pid", "PID", 7, "process id", |f, r| udp(f, r, |s| s.owner.map_or(Cell::Unknown("no owner known"), |k| Cell::text(k.pid.to_string())))).keep(50),
        Column::text("container", "CONTAINER", 14, 24, "container or unit", |f, r| {
            udp(f, r, |s| s.owner.and_then(|k| f.task(k)).map_or(Cell::Blank, |t| text_cell(home_name(f, t))))
        }).keep(35),
        Column::text("netns", "NETNS", 6, 14, "network namespace", |f, r| udp(f, r, |s| Cell::text(netns_name(f, s.key.netns)))).keep(30),
        Column::hidden("port", "local port", |f, r| udp(f, r, |s| Cell::text(s.key.local.port().to_string()))),
        Column::text("process", "PROCESS", 12, u16::MAX, "the process", |f, r| {
            udp(f, r, |s| s.owner.and_then(|k| f.task(k)).map_or(Cell::Unknown("no owner known"), |t| Cell::Text(t.comm.clone())))
        }).keep(80).names(),
    ],
    rows: |f| (0..f.snap.sockets.data().map_or(0, |s| s.udp.len())).map(|at| Entry::flat(Row { at })).collect(),
    id: |f, r| socket(f, r).map_or(Subject::Host, |s| Subject::Socket(s.key)).into(),
    also: |_, _| Vec::new(),
    own_severity: None,
    target: |f, r| socket(f, r).map(|s| Target::Subject(Subject::Socket(s.key))),
    sort: "drops",
    tree: Tree::Never,
    section: |f| (&f.snap.sockets).into(),
    summary: |f| {
        let Some(sockets) = f.snap.sockets.data() else { return Vec::new() };
        let mut line = Line::default().text(num::grouped(sockets.udp.len() as u64)).dim(" UDP sockets");
        if sockets.udp_more > 0 {
            line = line.dim(format!(", and {} calm ones that are not listed", num::grouped(sockets.udp_more)));
        }
        vec![line]
    },
    footer: |f, r| socket(f, r).and_then(|s| s.owner).map(|k| vec![task_line(f, k)]).unwrap_or_default(),
    footer_rows: 1,
    empty: |_| vec![Line::plain(Role::Dim, "No UDP sockets.")],
};

fn socket<'f>(frame: &'f Frame, row: &Row) -> Option<&'f UdpSocket> {
    frame.snap.sockets.data()?.udp.get(row.at)
}

fn udp(frame: &Frame, row: &Row, cell: impl FnOnce(&UdpSocket) -> Cell) -> Cell {
    socket(frame, row).map_or(Cell::Blank, cell)
}

/// The kernel doubles what is asked: 2 × `rmem_max` means the cap cut it, `rmem_default` that nobody asked.
fn granted(frame: &Frame, socket: &UdpSocket) -> Cell {
    let Some(granted) = socket.rcvbuf_bytes else { return Cell::Unknown("/proc/net/udp does not say") };
    let own = spaces(frame).iter().find(|n| n.id == socket.key.netns);
    // The caps are of the host; namespaces of old kernels do not list them.
    let limit = |name: &str| own.and_then(|n| n.sysctls.get(name)).or_else(|| spaces(frame).iter().find_map(|n| n.sysctls.get(name)));
    match (limit("net.core.rmem_max"), limit("net.core.rmem_default")) {
        (Some(cap), _) if granted == cap.saturating_mul(2) => Cell::text("capped: rmem_max"),
        (_, Some(default)) if granted == default => Cell::text("default, never asked"),
        (None, None) => Cell::Unknown("caps not read"),
        _ => Cell::text("as asked"),
    }
}

fn summary(frame: &Frame) -> Vec<Line> {
    let Some(net) = frame.snap.net.data() else { return Vec::new() };
    let count = ifaces(frame).count();
    let busy: f64 = frame.model.iface_rates.values().map(|r| r.rx_bytes_per_s).sum();
    let sent: f64 = frame.model.iface_rates.values().map(|r| r.tx_bytes_per_s).sum();
    vec![
        Line::default()
            .text(num::grouped(count as u64))
            .dim(format!(" interfaces in {} namespaces · in ", net.netns.len()))
            .text(format!("{}/s", num::bytes(num::whole(busy))))
            .dim(" · out ")
            .text(format!("{}/s", num::bytes(num::whole(sent)))),
    ]
}
