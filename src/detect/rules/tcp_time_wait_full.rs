//! TIME_WAIT near its buckets, or beyond them (story B).

use crate::detect::command::in_netns;
use crate::detect::label::remote_name;
use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{NetnsCounters, NetnsId, Side, SockGroup, Subject, TcpState};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

const BUCKETS: &str = "net.ipv4.tcp_max_tw_buckets";
const OVERFLOW: &str = "TcpExtTCPTimeWaitOverflow";

pub(super) static RULES: &[Rule] = &[Rule {
    id: "tcp.time_wait_full",
    about: "TIME_WAIT near tcp_max_tw_buckets, or overflowing",
    effect: "TIME_WAIT overflows",
    knobs: &[Knob { key: "share", default: 0.9, unit: "of the buckets", about: "TIME_WAIT that are a finding" }],
    explains: &[("tcp.port_exhaustion", Join::Netns)],
    hold_s: 1.0,
    measure,
    judge,
}];

fn measure(look: &Look<'_>, out: &mut Measures) {
    let Some(net) = look.snap.net.data() else { return };
    for netns in &net.netns {
        let Some(tw) = netns.sockstat.get("TCPtw") else { continue };
        out.put(Subject::Netns(netns.id), tw as f64)
            .limit(look.sysctl(netns, BUCKETS))
            .counter(OVERFLOW, netns.counters.get(OVERFLOW))
            .counter("log", look.log.recent_of("tw_overflow").map(|(e, _)| log_lines(e)).fold(0, u64::saturating_add));
    }
}

/// Lines that a burst stands for; old kernels suppress most of them.
fn log_lines(event: &crate::snapshot::LogEvent) -> u64 {
    let n = |name| event.int(name).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    n("lines").max(1).saturating_add(n("suppressed"))
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let netns = case.netns()?;
    let n = case.value();
    let near = case.now.limit.is_some_and(|max| case.reaches(n, max * case.knob("share")));
    let overflows = case.grown_lately(OVERFLOW) >= 1.0;
    let logged = case.grown_lately("log") >= 1.0 && netns.counters.get(OVERFLOW).is_none() && is_host(case, netns);
    if !near && !overflows && !logged {
        return None;
    }
    let rate = case.rate(OVERFLOW);
    let severity = if overflows || logged { Severity::Critical } else { Severity::Warning };
    let makers = Makers::of(case.look, netns.id);
    let of = case.now.limit.map_or_else(String::new, |max| format!(" of {}", words::count(max)));
    let mut message = format!("{} TIME_WAIT sockets{of} in {}", words::count(n), place(case, netns));
    if overflows {
        let _ = write!(message, "; {} more are closed without it", words::rate_of(rate, "connections"));
    }
    if let Some(top) = &makers.top {
        let _ = write!(message, ", most from {top}");
    }
    let verdict = case
        .verdict(severity, "sockets", message)
        .rate_of(overflows.then_some(rate).or_else(|| case.growth()), if overflows { "overflows" } else { "sockets" })
        .rated("/proc/net/sockstat", "TCP tw", n, case.growth())
        .number("/proc/sys", BUCKETS, case.now.limit)
        .rated(
            "/proc/net/netstat",
            "TCPTimeWaitOverflow",
            netns.counters.get(OVERFLOW).map(|v| v as f64),
            overflows.then_some(rate),
        )
        .number("sock_diag", makers.evidence(), makers.count.map(|n| n as f64))
        .shown_by(in_netns(case.look, netns.id, "nstat -asz TcpExtTCPTimeWaitOverflow TcpExtTW"))
        .about(makers.owner, []);
    Some(advise(verdict, case, netns, &makers))
}

fn is_host(case: &Case<'_>, netns: &NetnsCounters) -> bool {
    case.look.first_netns().is_some_and(|first| first.id == netns.id)
}

fn place(case: &Case<'_>, netns: &NetnsCounters) -> String {
    match &netns.name {
        Some(name) => format!("namespace {name}"),
        None if is_host(case, netns) => "the host's namespace".into(),
        None => format!("namespace {}", netns.id.0),
    }
}

fn advise(verdict: Verdict, case: &Case<'_>, netns: &NetnsCounters, makers: &Makers) -> Verdict {
    let look = case.look;
    let proposed = case.now.limit.map_or(262_144.0, |max| words::power_of_two((max * 4.0).max(65_536.0)));
    let backlog = look.sysctl(netns, "net.ipv4.tcp_max_syn_backlog");
    let backlog = backlog.and_then(|now| {
        look.sysctl_change(netns, "net.ipv4.tcp_max_syn_backlog", words::power_of_two((now * 2.0).max(8192.0)))
    });
    let reuse = match makers.side {
        Some(Side::Client) => "reuse connections (keep-alive, a pool); tcp_tw_reuse=1 helps the side that connects".into(),
        _ => format!("let clients keep their connections{}", makers.top.as_ref().map_or_else(String::new, |t| format!(" to {t}"))),
    };
    verdict.advise_some(look.sysctl_change(netns, BUCKETS, proposed)).advise_some(backlog).advise(reuse)
}

/// A local port, or a far end.
type Maker = (Option<u16>, Option<(IpAddr, u16)>);

/// The local port or far end that makes most of them.
#[derive(Default)]
struct Makers {
    top: Option<String>,
    count: Option<u64>,
    side: Option<Side>,
    owner: Option<crate::snapshot::TaskKey>,
}

impl Makers {
    fn of(look: &Look<'_>, netns: NetnsId) -> Self {
        let groups = look.snap.sockets.data().map(|s| s.groups.as_slice()).unwrap_or_default();
        let tw = groups.iter().filter(|g| g.netns == netns && g.state == TcpState::TimeWait);
        let mut sums: BTreeMap<Maker, (u64, &SockGroup)> = BTreeMap::new();
        for g in tw {
            let far = g.remote_addr.zip(g.remote_port).filter(|_| g.side == Side::Client);
            let sum = sums.entry((g.local_port.filter(|_| g.side == Side::Server), far)).or_insert((0, g));
            sum.0 = sum.0.saturating_add(g.count);
        }
        let Some(((port, far), (count, group))) = sums.into_iter().max_by_key(|(_, (n, _))| *n) else {
            return Self::default();
        };
        let listener = port.and_then(|port| {
            let all = look.snap.sockets.data()?.listeners.iter();
            all.filter(|l| l.key.netns == netns && l.key.local.port() == port).find_map(|l| l.owner)
        });
        let owner = group.owner.or(listener);
        let by = owner.map_or_else(String::new, |key| format!(" ({})", look.task_name(key)));
        let top = match (port, far) {
            (Some(port), _) => Some(format!("local port {port}{by}")),
            (None, Some((addr, port))) => Some(format!("connections to {}{by}", remote_name(addr, Some(port)))),
            (None, None) => None,
        };
        Self { top, count: Some(count), side: Some(group.side), owner }
    }

    fn evidence(&self) -> String {
        self.top.as_ref().map_or_else(|| "TIME_WAIT".into(), |top| format!("TIME_WAIT from {top}"))
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{Script, counters};
    use crate::model::Severity;
    use crate::snapshot::Side;

    fn busy(tw: u64, overflow: u64) -> Script {
        let mut s = Script::new();
        set(&mut s, tw, overflow);
        let redis = s.world.task(77, "redis-server");
        s.world.listener(redis, "0.0.0.0:6379");
        let group = s.world.tcp(None, "TIME_WAIT", tw);
        group.side = Side::Server;
        group.local_port = Some(6379);
        s
    }

    fn set(s: &mut Script, tw: u64, overflow: u64) {
        let netns = s.world.netns();
        netns.sockstat = counters(&[("TCPtw", tw)]);
        netns.counters = counters(&[("TcpExtTCPTimeWaitOverflow", overflow)]);
        netns.sysctls = counters(&[("net.ipv4.tcp_max_tw_buckets", 5000), ("net.ipv4.tcp_max_syn_backlog", 1024)]);
    }

    #[test]
    fn near_the_buckets_is_a_warning_with_the_process_that_listens() {
        let mut s = busy(4600, 900);
        s.secs(3);
        let f = s.expect("tcp.time_wait_full");
        assert_eq!((s.value("tcp.time_wait_full"), f.limit, f.severity), (4600, Some(5000.0), Severity::Warning));
        assert!(f.message.contains("local port 6379 (redis-server(77))"), "{}", f.message);
        let advice = f.advice.join("\n");
        assert!(advice.contains("net.ipv4.tcp_max_tw_buckets=65536   # now 5000"), "{advice}");
        assert!(advice.contains("tcp_max_syn_backlog=8192   # now 1024") && !advice.contains("recycle"), "{advice}");
    }

    #[test]
    fn rising_overflow_is_critical_with_its_rate_and_old_overflow_is_history() {
        let mut s = busy(300, 1_000_000);
        s.secs(4);
        s.silent();
        for n in 1..5 {
            set(&mut s, 300, 1_000_000 + n * 795);
            s.secs(1);
        }
        let f = s.expect("tcp.time_wait_full");
        assert_eq!(f.severity, Severity::Critical);
        assert!((f.rate_per_s.unwrap() - 795.0).abs() < 200.0, "{:?}", f.rate_per_s);
    }

    #[test]
    fn a_counter_reset_is_no_overflow() {
        let mut s = busy(300, 1_000_000);
        s.secs(3);
        set(&mut s, 300, 10);
        s.secs(3);
        s.silent();
    }

    #[test]
    fn silent_without_the_section_and_clears() {
        let mut s = busy(4900, 0);
        s.world.hide("net");
        s.secs(4);
        s.silent();
        s.world.show("net");
        s.secs(3);
        assert!(s.expect("tcp.time_wait_full").active);
        set(&mut s, 1000, 0);
        s.secs(3);
        assert!(!s.expect("tcp.time_wait_full").active);
    }
}
