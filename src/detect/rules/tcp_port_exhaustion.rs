//! Local ports toward one far end run out.

use crate::detect::label::remote_name;
use crate::detect::{Case, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{NetnsCounters, Subject};

pub(super) static RULES: &[Rule] = &[Rule {
    id: "tcp.port_exhaustion",
    about: "local ports used toward one remote near ip_local_port_range",
    effect: "local ports run out",
    knobs: &[
        Knob { key: "share", default: 0.9, unit: "of the port range", about: "ports in use that are a finding" },
        Knob { key: "critical_share", default: 0.98, unit: "of the port range", about: "as many are critical" },
    ],
    explains: &[],
    hold_s: 1.0,
    measure,
    judge,
}];

/// The range that is proposed.
const WIDE: (f64, f64) = (10_240.0, 65_535.0);

fn ports(look: &Look<'_>, netns: &NetnsCounters) -> Option<f64> {
    let get = |name: &str| look.sysctl(netns, name);
    let range = get("net.ipv4.ip_local_port_range.1")? - get("net.ipv4.ip_local_port_range.0")? + 1.0;
    Some((range - get("net.ipv4.ip_local_reserved_ports").unwrap_or(0.0)).max(1.0))
}

fn measure(look: &Look<'_>, out: &mut Measures) {
    for (key, facts) in &look.model.remotes {
        let used = facts.tcp.iter().sum::<u64>();
        if used < 256 {
            continue;
        }
        let limit = look.netns(key.netns).and_then(|n| ports(look, n));
        out.put(Subject::Remote(*key), used as f64).limit(limit);
    }
}

/// A wider range, set where it is too small; most of the ports are never worth taking from the servers below 10240.
fn widen(case: &Case<'_>, netns: Option<&NetnsCounters>, low: f64, high: f64) -> String {
    if high - low >= WIDE.1 - WIDE.0 {
        return format!("connect from more source addresses: the port range is wide already ({low:.0} {high:.0})");
    }
    let own = netns.filter(|n| case.look.first_netns().is_some_and(|first| first.id != n.id));
    let enter = own.and_then(|n| n.pid).map_or_else(String::new, |pid| format!("nsenter -t {pid} -n "));
    format!(
        "{enter}sysctl -w net.ipv4.ip_local_port_range=\"{:.0} {:.0}\"   # now {low:.0} {high:.0}; or connect from more source addresses",
        WIDE.0, WIDE.1
    )
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let Subject::Remote(key) = case.now.subject else { return None };
    let (used, limit) = (case.value(), case.now.limit?);
    if !case.reaches(used, limit * case.knob("share")) {
        return None;
    }
    let critical = used >= limit * case.knob("critical_share");
    let severity = if critical { Severity::Critical } else { Severity::Warning };
    let far = remote_name(key.addr, key.port);
    let facts = case.look.model.remotes.get(&key)?;
    let holders: Vec<String> = facts.tasks.iter().take(4).map(|(key, _)| case.look.task_name(*key)).collect();
    let by = if holders.is_empty() { String::new() } else { format!(", held by {}", words::list(&holders, 3)) };
    let message = format!(
        "{} of {} local ports toward {far} are in use{by}: connect() to it fails when they run out",
        words::count(used),
        words::count(limit)
    );
    let netns = case.look.netns(key.netns);
    let range = |end: &str| {
        let name = format!("net.ipv4.ip_local_port_range.{end}");
        (name.clone(), netns.and_then(|n| case.look.sysctl(n, &name)))
    };
    let (low, high) = (range("0"), range("1"));
    Some(
        case.verdict(severity, "ports", message)
            .rate(case.growth())
            .number("sock_diag", format!("connections to {far}, all states"), used)
            .number("/proc/sys", low.0, low.1)
            .number("/proc/sys", high.0, high.1)
            .advise("reuse connections (keep-alive, a pool) instead of opening new ones")
            .advise(widen(case, netns, low.1.unwrap_or(0.0), high.1.unwrap_or(0.0)))
            .about(facts.tasks.iter().take(16).map(|(key, _)| *key), []),
    )
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{Script, counters};
    use crate::model::Severity;

    fn used(n: u64) -> Script {
        let mut s = Script::new();
        s.world.netns().sysctls =
            counters(&[("net.ipv4.ip_local_port_range.0", 32_768), ("net.ipv4.ip_local_port_range.1", 33_767)]);
        let app = s.world.task(9, "app");
        s.world.tcp_client(app, "ESTABLISHED", "10.0.0.5:80", n);
        s
    }

    #[test]
    fn near_the_range_fires_and_clears() {
        let mut s = used(910);
        s.secs(3);
        let f = s.expect("tcp.port_exhaustion");
        assert_eq!((s.value("tcp.port_exhaustion"), f.limit, f.severity), (910, Some(1000.0), Severity::Warning));
        assert!(f.message.contains("toward 10.0.0.5:80") && f.message.contains("app(9)"), "{}", f.message);
        s.world.sockets.groups[0].count = 995;
        s.secs(2);
        assert_eq!(s.expect("tcp.port_exhaustion").severity, Severity::Critical);
        s.world.sockets.groups.clear();
        s.secs(3);
        assert!(!s.expect("tcp.port_exhaustion").active);
    }

    #[test]
    fn a_wider_range_is_proposed_where_it_is_too_small_and_only_then() {
        let mut s = used(910);
        s.secs(3);
        let advice = s.expect("tcp.port_exhaustion").advice.join("\n");
        assert!(advice.contains("sysctl -w net.ipv4.ip_local_port_range=\"10240 65535\"   # now 32768 33767"), "{advice}");
        let mut s = used(64_000);
        s.world.netns().sysctls =
            counters(&[("net.ipv4.ip_local_port_range.0", 1024), ("net.ipv4.ip_local_port_range.1", 65_535)]);
        s.secs(3);
        let advice = s.expect("tcp.port_exhaustion").advice.join("\n");
        assert!(!advice.contains("sysctl -w") && advice.contains("source addresses"), "{advice}");
    }

    #[test]
    fn below_it_or_without_the_limit_it_is_silent() {
        let mut s = used(700);
        s.secs(4);
        s.silent();
        let mut s = used(990);
        s.world.hide("net");
        s.secs(4);
        s.silent();
    }
}
