//! Packets dropped below the sockets: at the NIC, in the softirq backlog, in a queueing discipline.

use crate::detect::command::{in_netns, word};
use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{Iface, Subject};

const SHARE: Knob =
    Knob { key: "share", default: 0.001, unit: "of the packets", about: "dropped packets that are a finding" };
const PER_S: Knob = Knob { key: "per_s", default: 10.0, unit: "packets/s", about: "and at least so many a second" };

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "net.softnet_drops",
        about: "packets dropped because a CPU's backlog was full",
        effect: "a CPU's packet backlog overflows",
        knobs: &[Knob { key: "drops", default: 10.0, unit: "packets", about: "drops in the window that are a finding" }],
        // A virtual interface counts as its own what the backlog behind it has no room for.
        explains: &[("net.nic_drops", Join::Host)],
        hold_s: 0.0,
        measure: measure_softnet,
        judge: judge_softnet,
    },
    Rule {
        id: "net.nic_drops",
        about: "packets dropped or missed at an interface",
        effect: "an interface drops packets",
        knobs: &[SHARE, PER_S],
        explains: &[("udp.sndbuf_errors", Join::Netns)],
        hold_s: 1.0,
        measure: measure_nic,
        judge: judge_nic,
    },
    Rule {
        id: "net.qdisc_drops",
        about: "packets dropped by an interface's queueing discipline",
        effect: "an interface's queue drops packets",
        knobs: &[SHARE, PER_S],
        explains: &[("udp.sndbuf_errors", Join::Netns)],
        hold_s: 1.0,
        measure: measure_qdisc,
        judge: judge_qdisc,
    },
];

fn measure_nic(look: &Look<'_>, out: &mut Measures) {
    for netns in look.snap.net.data().map(|n| n.netns.as_slice()).unwrap_or_default() {
        for i in &netns.ifaces {
            let missed = i.rx_missed.unwrap_or(0).saturating_add(i.rx_fifo);
            let drops = crate::model::iface_drops(i).saturating_add(i.rx_fifo);
            out.put(Subject::Iface(netns.id, i.name.clone()), drops as f64)
                .counter("drops", drops)
                .counter("missed", missed)
                .counter("received", i.rx_dropped)
                .counter("sent", i.tx_dropped)
                .counter("packets", i.rx_packets.saturating_add(i.tx_packets));
        }
    }
}

/// The share of packets that were dropped inside the window, and their rate now, when both say that it matters.
fn matters(case: &Case<'_>) -> Option<(f64, f64)> {
    let rate = case.rate("drops");
    if !case.reaches(rate, case.knob("per_s")) {
        return None;
    }
    let share = case.grown("drops") / (case.grown("packets") + case.grown("drops")).max(1.0);
    case.reaches(share, case.knob("share")).then_some((share, rate))
}

fn iface<'a>(case: &Case<'a>) -> Option<&'a Iface> {
    let Subject::Iface(_, name) = &case.now.subject else { return None };
    case.netns()?.ifaces.iter().find(|i| i.name == *name)
}

fn judge_nic(case: &Case<'_>) -> Option<Verdict> {
    let (share, rate) = matters(case)?;
    let i = iface(case)?;
    let Subject::Iface(netns, _) = case.now.subject else { return None };
    let (missed, sent) = (case.rate("missed"), case.rate("sent"));
    let severity = if share >= 0.01 || missed >= 1.0 { Severity::Critical } else { Severity::Warning };
    let (name, dev) = (&i.name, word(&i.name, "IFACE"));
    let (place, advice) = if missed * 2.0 >= rate {
        (
            "its ring is full before the CPU empties it",
            format!("ring size: ethtool -g {dev}, then ethtool -G {dev} rx N; and spread its interrupts over CPUs"),
        )
    } else if sent * 2.0 >= rate {
        (
            "it can't hand over what is sent",
            format!("see what stands behind {name}: the far end of a veth or tap (its MTU, a full backlog, a reader that is slow), a bond's links"),
        )
    } else {
        (
            "the stack has no room or no use for them",
            format!("see whether packets are longer than the MTU of {name}, of a protocol or VLAN nobody takes (tcpdump -eni {dev}), or come while memory is short"),
        )
    };
    let message = format!("{name} drops {} ({}): {place}", words::rate_of(rate, "packets"), words::percent(share));
    let mut verdict = case.verdict(severity, "packets", message).rate(rate);
    verdict.value = case.grown("drops");
    let source = format!("/sys/class/net/{name}/statistics");
    let rows = [
        ("rx_dropped", Some(i.rx_dropped), case.rate("received")),
        ("rx_missed_errors + rx_fifo_errors", i.rx_missed.map(|n| n.saturating_add(i.rx_fifo)), missed),
        ("tx_dropped", Some(i.tx_dropped), sent),
    ];
    for (field, value, rate) in rows {
        verdict = verdict.rated(source.clone(), field, value.map(|n| n as f64), Some(rate));
    }
    let command = in_netns(case.look, netns, &format!("ip -s -s link show dev {dev}"));
    Some(verdict.number("RTM_GETLINK", "packets, both ways, in the window", case.grown("packets")).advise(advice).shown_by(command))
}

fn measure_softnet(look: &Look<'_>, out: &mut Measures) {
    for cpu in look.snap.net.data().map(|n| n.softnet.as_slice()).unwrap_or_default() {
        out.put(Subject::Cpu(cpu.cpu), cpu.dropped as f64).counter("drops", cpu.dropped).counter("squeezed", cpu.time_squeeze);
    }
}

fn judge_softnet(case: &Case<'_>) -> Option<Verdict> {
    let drops = case.grown("drops");
    if drops < case.knob("drops") || case.grown_lately("drops") < 1.0 {
        return None;
    }
    let Subject::Cpu(cpu) = case.now.subject else { return None };
    let rate = case.rate("drops");
    let max = case.look.first_netns().and_then(|n| case.look.sysctl(n, "net.core.netdev_max_backlog"));
    let change = case.look.first_netns().and_then(|n| {
        case.look.sysctl_change(n, "net.core.netdev_max_backlog", (max.unwrap_or(1000.0) * 4.0).max(4096.0))
    });
    let message = format!("CPU {cpu} drops {}: its backlog is full before it gets to them", words::rate_of(rate, "packets"));
    let mut verdict = case
        .verdict(Severity::Critical, "packets", message)
        .rate(rate)
        .rated("/proc/net/softnet_stat", "dropped", case.value(), Some(rate))
        .rated("/proc/net/softnet_stat", "time_squeeze, growth", case.grown("squeezed"), Some(case.rate("squeezed")))
        .number("/proc/sys", "net.core.netdev_max_backlog", max)
        .advise_some(change)
        .advise("spread the load: RPS (/sys/class/net/IFACE/queues/rx-N/rps_cpus) or more receive queues")
        .shown_by("cat /proc/net/softnet_stat".to_owned());
    verdict.value = drops;
    Some(verdict)
}

fn measure_qdisc(look: &Look<'_>, out: &mut Measures) {
    for netns in look.snap.net.data().map(|n| n.netns.as_slice()).unwrap_or_default() {
        for q in netns.qdiscs.iter().filter(|q| q.root) {
            out.put(Subject::Iface(netns.id, q.iface.clone()), q.drops as f64)
                .counter("drops", q.drops)
                .counter("packets", q.packets);
        }
    }
}

fn judge_qdisc(case: &Case<'_>) -> Option<Verdict> {
    let (share, rate) = matters(case)?;
    let Subject::Iface(netns, name) = &case.now.subject else { return None };
    let q = case.netns()?.qdiscs.iter().find(|q| q.root && q.iface == *name)?;
    let severity = if share >= 0.01 { Severity::Critical } else { Severity::Warning };
    let message =
        format!("the queue of {name} ({}) drops {} ({})", q.kind, words::rate_of(rate, "packets"), words::percent(share));
    let mut verdict = case
        .verdict(severity, "packets", message)
        .rate(rate)
        .rated("RTM_GETQDISC", "drops", q.drops as f64, Some(rate))
        .number("RTM_GETQDISC", "backlog bytes", q.backlog_bytes as f64)
        .number("RTM_GETQDISC", "overlimits", q.overlimits as f64)
        .number("RTM_GETQDISC", "rate, bytes a second", q.rate_bytes_per_sec.map(|r| r as f64))
        .advise(format!("more is sent than {name} or its shaper lets out: see its throughput and who sends"))
        .shown_by(in_netns(case.look, *netns, &format!("tc -s qdisc show dev {}", word(name, "IFACE"))));
    verdict.value = case.grown("drops");
    Some(verdict)
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;
    use crate::model::Severity;
    use crate::snapshot::{Iface, Qdisc, SoftnetCpu};

    fn run(s: &mut Script, drops: u64, missed: u64) {
        for _ in 0..4 {
            let netns = s.world.netns();
            netns.ifaces[0].rx_packets += 10_000;
            netns.ifaces[0].rx_dropped += drops;
            netns.ifaces[0].rx_missed = netns.ifaces[0].rx_missed.map(|m| m + missed);
            netns.qdiscs[0].packets += 10_000;
            netns.qdiscs[0].drops += drops;
            s.world.net.softnet[0].dropped += drops;
            s.secs(1);
        }
    }

    fn eth0() -> Script {
        let mut s = Script::new();
        let netns = s.world.netns();
        netns.ifaces.push(Iface { name: "eth0".into(), rx_missed: Some(7), rx_dropped: 1_000_000, ..Iface::default() });
        netns.qdiscs.push(Qdisc { iface: "eth0".into(), kind: "tbf".into(), root: true, drops: 9999, ..Qdisc::default() });
        s.world.net.softnet.push(SoftnetCpu { cpu: 1, dropped: 500, ..SoftnetCpu::default() });
        s.secs(1);
        s
    }

    #[test]
    fn all_three_places_fire_with_their_rate() {
        let mut s = eth0();
        run(&mut s, 100, 200);
        let f = s.expect("net.nic_drops");
        assert_eq!(f.severity, Severity::Critical);
        assert!((f.rate_per_s.unwrap() - 300.0).abs() < 1.0 && f.message.contains("ring is full"), "{}", f.message);
        assert!(s.expect("net.softnet_drops").message.starts_with("CPU 1 drops 100 packets/s"));
        assert!(s.expect("net.qdisc_drops").message.contains("eth0 (tbf) drops 100 packets/s (1 %)"));
        run(&mut s, 0, 0);
        run(&mut s, 0, 0);
        assert!(s.last().findings.iter().all(|f| !f.active));
    }

    #[test]
    fn drops_are_told_by_where_they_happen_and_a_backlog_explains_those_of_a_virtual_interface() {
        for (missed, received, sent, place, advice) in [
            (300, 0, 0, "ring is full", "ethtool -G eth0"),
            (0, 300, 0, "no use for them", "MTU of eth0"),
            (0, 0, 300, "can't hand over", "far end of a veth"),
        ] {
            let mut s = eth0();
            for _ in 0..4 {
                let i = &mut s.world.netns().ifaces[0];
                i.rx_packets += 10_000;
                i.rx_missed = i.rx_missed.map(|m| m + missed);
                (i.rx_dropped, i.tx_dropped) = (i.rx_dropped + received, i.tx_dropped + sent);
                s.secs(1);
            }
            let f = s.expect("net.nic_drops");
            assert!(f.message.contains(place) && f.advice[0].contains(advice), "{f:#?}");
            let moved: Vec<f64> = f.evidence.iter().filter_map(|e| e.rate_per_s).filter(|r| *r > 0.0).collect();
            assert_eq!(moved.len(), 1, "{:?}", f.evidence);
            assert!(f.explained_by.is_empty());
        }
        let mut s = eth0();
        run(&mut s, 100, 0);
        let cause = s.last().findings.iter().position(|f| f.id == "net.softnet_drops").unwrap();
        assert_eq!(s.expect("net.nic_drops").explained_by, [cause]);
    }

    #[test]
    fn old_drops_a_stray_packet_and_a_new_driver_are_silent() {
        let mut s = eth0();
        run(&mut s, 1, 0);
        let netns = s.world.netns();
        netns.ifaces[0] = Iface { name: "eth0".into(), rx_missed: Some(0), ..Iface::default() };
        s.world.net.softnet[0].dropped = 0;
        s.secs(2);
        s.world.hide("net");
        s.secs(2);
        s.silent();
    }
}
