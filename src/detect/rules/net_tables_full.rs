//! Connection tracking and neighbour tables near their limit.

use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::Subject;

const SHARE: Knob = Knob { key: "share", default: 0.9, unit: "of the table", about: "entries that are a finding" };
const CONNTRACK_MAX: &str = "net.netfilter.nf_conntrack_max";
const NEIGH4_MAX: &str = "net.ipv4.neigh.default.gc_thresh3";
const NEIGH6_MAX: &str = "net.ipv6.neigh.default.gc_thresh3";

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "net.conntrack_full",
        about: "the connection-tracking table near nf_conntrack_max, or packets dropped by it",
        effect: "connection tracking is full",
        knobs: &[SHARE],
        explains: &[],
        hold_s: 1.0,
        measure: measure_conntrack,
        judge: judge_conntrack,
    },
    Rule {
        id: "net.neighbour_full",
        about: "the neighbour table near gc_thresh3, or full",
        effect: "the neighbour table is full",
        knobs: &[SHARE],
        // A datagram without a neighbour is one that its sender gets ENOBUFS for.
        explains: &[("udp.sndbuf_errors", Join::Host)],
        hold_s: 1.0,
        measure: measure_neighbours,
        judge: judge_neighbours,
    },
];

fn logged(look: &Look<'_>, kind: &str) -> bool {
    look.log.recent_of(kind).any(|(_, join)| look.age_s(join.arrived) <= 10.0)
}

fn measure_conntrack(look: &Look<'_>, out: &mut Measures) {
    for netns in look.snap.net.data().map(|n| n.netns.as_slice()).unwrap_or_default() {
        let Some(entries) = netns.conntrack else { continue };
        out.put(Subject::Netns(netns.id), entries as f64)
            .limit(look.sysctl(netns, CONNTRACK_MAX))
            .counter("drops", netns.conntrack_drops);
    }
}

fn judge_conntrack(case: &Case<'_>) -> Option<Verdict> {
    let netns = case.netns()?;
    let near = case.now.limit.is_some_and(|max| max > 0.0 && case.reaches(case.value(), max * case.knob("share")));
    let drops = case.grown_lately("drops") >= 1.0 || (near && logged(case.look, "conntrack_full"));
    if !near && !drops {
        return None;
    }
    let severity = if drops { Severity::Critical } else { Severity::Warning };
    let rate = case.rate("drops");
    let of = case.now.limit.map_or_else(String::new, |max| format!(" of {}", words::count(max)));
    let lost = match (drops, rate > 0.0) {
        (true, true) => format!(" and drops {}", words::rate_of(rate, "packets")),
        (true, false) => " and drops packets".into(),
        _ => String::new(),
    };
    let message = format!("connection tracking holds {}{of} entries{lost}", words::count(case.value()));
    let max = case.now.limit.unwrap_or(65_536.0);
    Some(
        case.verdict(severity, "entries", message)
            .rate_of(drops.then_some(rate).or_else(|| case.growth()), if drops { "packets" } else { "entries" })
            .number("/proc/sys", "net.netfilter.nf_conntrack_count", case.value())
            .number("/proc/sys", CONNTRACK_MAX, case.now.limit)
            .rated("/proc/net/stat/nf_conntrack", "drop", netns.conntrack_drops.map(|n| n as f64), Some(rate))
            .advise_some(case.look.sysctl_change(case.look.first_netns()?, CONNTRACK_MAX, words::power_of_two(max * 2.0)))
            .advise("see who opens so many connections; notrack what needs no tracking"),
    )
}

fn measure_neighbours(look: &Look<'_>, out: &mut Measures) {
    let Some(first) = look.first_netns() else { return };
    let tables = [(first.neigh4, NEIGH4_MAX), (first.neigh6, NEIGH6_MAX)];
    let fill = |&(entries, max): &(Option<u64>, &str)| Some((entries? as f64, look.sysctl(first, max)));
    let share = |&(n, max): &(f64, Option<f64>)| max.filter(|&m| m > 0.0).map_or(0.0, |m| n / m);
    let fullest = tables.iter().filter_map(fill).max_by(|a, b| share(a).total_cmp(&share(b)));
    let Some((entries, max)) = fullest else { return };
    out.put(Subject::Host, entries).limit(max).counter("fulls", first.neigh_table_fulls);
}

fn judge_neighbours(case: &Case<'_>) -> Option<Verdict> {
    let near = case.now.limit.is_some_and(|max| max > 0.0 && case.reaches(case.value(), max * case.knob("share")));
    let full = case.grown_lately("fulls") >= 1.0 || logged(case.look, "neigh_overflow");
    if !near && !full {
        return None;
    }
    let severity = if full { Severity::Critical } else { Severity::Warning };
    let first = case.look.first_netns()?;
    let of = case.now.limit.map_or_else(String::new, |max| format!(" of {}", words::count(max)));
    let told = if full { ": it is full, neighbours can't be reached" } else { "" };
    let message = format!("the neighbour (ARP) table holds {}{of} entries{told}", words::count(case.value()));
    let max = case.now.limit.unwrap_or(1024.0);
    Some(
        case.verdict(severity, "entries", message)
            .number("/proc/net/stat/arp_cache", "entries", first.neigh4.map(|n| n as f64))
            .number("/proc/net/stat/ndisc_cache", "entries", first.neigh6.map(|n| n as f64))
            .rated("/proc/net/stat", "table_fulls", first.neigh_table_fulls.map(|n| n as f64), Some(case.rate("fulls")))
            .number("/proc/sys", NEIGH4_MAX, case.look.sysctl(first, NEIGH4_MAX))
            .advise_some(case.look.sysctl_change(first, NEIGH4_MAX, words::power_of_two(max * 4.0))),
    )
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{Script, counters};
    use crate::model::Severity;

    #[test]
    fn conntrack_near_its_limit_warns_drops_are_critical_and_it_clears() {
        let mut s = Script::new();
        s.world.netns().sysctls = counters(&[("net.netfilter.nf_conntrack_max", 1000)]);
        s.world.netns().conntrack = Some(950);
        s.world.netns().conntrack_drops = Some(48);
        s.secs(3);
        assert_eq!(s.expect("net.conntrack_full").severity, Severity::Warning);
        s.world.netns().conntrack_drops = Some(148);
        s.secs(1);
        assert_eq!(s.expect("net.conntrack_full").severity, Severity::Critical);
        s.world.netns().conntrack = Some(10);
        s.secs(9);
        assert!(!s.expect("net.conntrack_full").active);
    }

    #[test]
    fn neighbours_fire_and_old_overflows_are_history() {
        let mut s = Script::new();
        s.world.netns().sysctls = counters(&[("net.ipv4.neigh.default.gc_thresh3", 1024)]);
        s.world.netns().neigh4 = Some(20);
        s.world.netns().neigh_table_fulls = Some(88);
        s.secs(3);
        s.silent();
        s.world.netns().neigh_table_fulls = Some(90);
        s.secs(2);
        assert_eq!(s.expect("net.neighbour_full").severity, Severity::Critical);
        s.world.hide("net");
        s.secs(3);
        assert!(!s.expect("net.neighbour_full").active);
    }

    #[test]
    fn a_full_neighbour_table_explains_datagrams_that_can_not_be_sent() {
        let mut s = Script::new();
        s.world.netns().sysctls = counters(&[("net.ipv4.neigh.default.gc_thresh3", 128)]);
        s.world.netns().neigh4 = Some(128);
        for n in 0..8 {
            s.world.netns().neigh_table_fulls = Some(50 * n);
            s.world.netns().counters = counters(&[("UdpSndbufErrors", 500 * n)]);
            s.secs(1);
        }
        let cause = s.last().findings.iter().position(|f| f.id == "net.neighbour_full").unwrap();
        assert_eq!(s.expect("udp.sndbuf_errors").explained_by, [cause]);
    }

    #[test]
    fn no_table_no_finding() {
        let mut s = Script::new();
        s.secs(3);
        s.silent();
    }
}
