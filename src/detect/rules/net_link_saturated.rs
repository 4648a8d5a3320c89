//! An interface near its link's speed (story E).

use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{NetnsCounters, NetnsId, Subject, Talker};
use std::cmp::Reverse;

pub(super) static RULES: &[Rule] = &[Rule {
    id: "net.link_saturated",
    about: "throughput near the speed of the link",
    effect: "a link is full",
    knobs: &[
        Knob { key: "share", default: 0.9, unit: "of the link's speed", about: "throughput that is a finding" },
        Knob { key: "speed_mbit", default: 0.0, unit: "Mbit/s", about: "speed of links whose driver does not say; 0 = unknown" },
    ],
    explains: &[
        ("net.qdisc_drops", Join::Iface),
        ("net.nic_drops", Join::Iface),
        ("udp.sndbuf_errors", Join::Netns),
    ],
    hold_s: 1.5,
    measure,
    judge,
}];

/// Talkers that are named.
const TOLD_MAX: usize = 3;

fn measure(look: &Look<'_>, out: &mut Measures) {
    for netns in look.snap.net.data().map(|n| n.netns.as_slice()).unwrap_or_default() {
        for i in netns.ifaces.iter().filter(|i| i.up && &*i.name != "lo") {
            let Some(rates) = look.model.iface_rates.get(&(netns.id, i.name.clone())) else { continue };
            let shaped = shaper(netns, &i.name);
            let link = i.speed_mbit.map(|mbit| mbit as f64 * 125_000.0);
            // A shaper slows what is sent only.
            let (value, limit) = match (shaped, link) {
                (Some(rate), link) if link.is_none_or(|l| rate < l) => (rates.tx_bytes_per_s, Some(rate)),
                (_, link) => (rates.tx_bytes_per_s.max(rates.rx_bytes_per_s), link),
            };
            out.put(Subject::Iface(netns.id, i.name.clone()), value).limit(limit);
        }
    }
}

fn shaper(netns: &NetnsCounters, iface: &str) -> Option<f64> {
    let shapers = netns.qdiscs.iter().filter(|q| q.root && &*q.iface == iface);
    shapers.filter_map(|q| q.rate_bytes_per_sec).min().map(|r| r as f64)
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let Subject::Iface(id, name) = &case.now.subject else { return None };
    let told = Some(case.knob("speed_mbit") * 125_000.0).filter(|&l| l > 0.0);
    let limit = case.now.limit.or(told).filter(|&l| l > 0.0)?;
    let value = case.value();
    if !case.reaches(value, limit * case.knob("share")) {
        return None;
    }
    let mbit = |bytes: f64| bytes * 8.0 / 1e6;
    let (talkers, most) = talkers(case.look, *id, value);
    let heavy = if talkers.is_empty() {
        let queues = queues(case.look, *id);
        if queues.is_empty() { String::new() } else { format!("; most TCP data waits at {}", words::list(&queues, 3)) }
    } else {
        let told: Vec<_> = talkers.iter().map(|t| speech(case.look, t)).collect();
        format!("; {}by TCP: {}", if most { "most of it " } else { "" }, words::list(&told, TOLD_MAX))
    };
    let message = format!(
        "{name} carries {:.0} of {:.0} Mbit/s ({}){heavy}",
        mbit(value),
        mbit(limit),
        words::percent(value / limit)
    );
    let rates = case.look.model.iface_rates.get(&(*id, name.clone()))?;
    let mut verdict = case
        .verdict(Severity::Warning, "bytes/s", message)
        .number(format!("/sys/class/net/{name}/statistics"), "rx_bytes a second", rates.rx_bytes_per_s)
        .number(format!("/sys/class/net/{name}/statistics"), "tx_bytes a second", rates.tx_bytes_per_s)
        .number(limit_source(case, *id, name, told.is_some()), "limit, bytes a second", limit)
        .advise("the interface's view lists who talks by TCP; who sends UDP can't be known without BPF");
    for t in talkers {
        let way = format!("{} and {}, bytes a second", who(case.look, t), t.remote_addr);
        verdict = verdict.number("sock_diag tcp_info bytes_acked, bytes_received", way, t.tx_bytes_per_s + t.rx_bytes_per_s);
    }
    verdict.limit = Some(limit);
    Some(verdict)
}

/// Where the limit is told: the shaper, the driver, or the configuration.
fn limit_source(case: &Case<'_>, id: NetnsId, name: &str, told: bool) -> String {
    match case.look.netns(id).and_then(|netns| shaper(netns, name)) {
        Some(rate) if case.now.limit == Some(rate) => "RTM_GETQDISC".into(),
        _ if case.now.limit.is_none() && told => "config: net.link_saturated.speed_mbit".into(),
        _ => format!("/sys/class/net/{name}/speed"),
    }
}

/// The heaviest talkers of a namespace, and of all where those are few: what it forwards is others'. And whether they
/// carry most of so many bytes a second.
fn talkers<'l>(look: &Look<'l>, netns: NetnsId, link: f64) -> (Vec<&'l Talker>, bool) {
    let all = look.snap.sockets.data().map(|s| s.talkers.as_slice()).unwrap_or_default();
    let most = |some: &[&Talker]| some.iter().map(|t| t.tx_bytes_per_s.max(t.rx_bytes_per_s)).sum::<f64>() >= link / 2.0;
    let mut chosen: Vec<&Talker> = all.iter().filter(|t| t.netns == netns).collect();
    if !most(&chosen) {
        chosen = all.iter().collect();
    }
    let most = most(&chosen);
    chosen.truncate(TOLD_MAX);
    (chosen, most)
}

fn who(look: &Look<'_>, t: &Talker) -> String {
    t.owner.map_or_else(|| "a process that can't be named".into(), |key| look.task_name(key))
}

fn speech(look: &Look<'_>, t: &Talker) -> String {
    let (verb, preposition) = if t.tx_bytes_per_s >= t.rx_bytes_per_s { ("sends", "to") } else { ("receives", "from") };
    let mbit = t.tx_bytes_per_s.max(t.rx_bytes_per_s) * 8.0 / 1e6;
    format!("{} {verb} {mbit:.0} Mbit/s {preposition} {}", who(look, t), t.remote_addr)
}

/// Tasks with most bytes queued in TCP: where nobody can be asked for what they carry.
fn queues(look: &Look<'_>, netns: NetnsId) -> Vec<String> {
    let groups = look.snap.sockets.data().map(|s| s.groups.as_slice()).unwrap_or_default();
    let mut by_task: std::collections::BTreeMap<_, u64> = std::collections::BTreeMap::new();
    for g in groups.iter().filter(|g| g.netns == netns) {
        if let Some(owner) = g.owner {
            *by_task.entry(owner).or_default() += g.send_q_bytes.saturating_add(g.recv_q_bytes);
        }
    }
    let mut rows: Vec<_> = by_task.into_iter().filter(|(_, bytes)| *bytes > 0).collect();
    rows.sort_by_key(|&(key, bytes)| (Reverse(bytes), key));
    rows.iter().take(3).map(|(key, bytes)| format!("{} ({})", look.task_name(*key), words::bytes(*bytes as f64))).collect()
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;
    use crate::snapshot::{Iface, NetnsId, Qdisc, Talker, TaskKey};

    fn send(speed: Option<u64>, per_s: u64) -> Script {
        let mut s = Script::new();
        s.world.netns().ifaces.push(Iface { name: "eth0".into(), up: true, speed_mbit: speed, ..Iface::default() });
        for _ in 0..5 {
            s.world.netns().ifaces[0].tx_bytes += per_s;
            s.secs(1);
        }
        s
    }

    #[test]
    fn a_full_link_fires_and_half_or_unknown_speed_does_not() {
        let s = send(Some(1000), 118_000_000);
        assert!(s.expect("net.link_saturated").message.contains("944 of 1000 Mbit/s"), "{:?}", s.messages());
        send(Some(1000), 60_000_000).silent();
        send(None, 118_000_000).silent();
    }

    fn talker(netns: NetnsId, pid: Option<u32>, tx_bytes_per_s: f64, rx_bytes_per_s: f64) -> Talker {
        let (owner, remote_addr) = (pid.map(|pid| TaskKey { pid, start_ticks: 1 }), "10.0.0.9".parse().unwrap());
        Talker { netns, owner, remote_addr, count: 1, tx_bytes_per_s, rx_bytes_per_s }
    }

    /// What is said of a full link when these talk.
    fn said(talkers: impl FnOnce(NetnsId) -> Vec<Talker>) -> (String, usize) {
        let mut s = send(Some(1000), 118_000_000);
        s.world.sockets.talkers = talkers(s.world.netns().id);
        s.world.netns().ifaces[0].tx_bytes += 118_000_000;
        s.secs(1);
        let f = s.expect("net.link_saturated");
        (f.message.clone(), f.evidence.len())
    }

    #[test]
    fn the_heaviest_talkers_are_named() {
        let elsewhere = NetnsId(77);
        let (message, evidence) = said(|here| {
            vec![talker(here, None, 90e6, 1e3), talker(elsewhere, Some(41), 80e6, 0.0), talker(here, Some(40), 0.0, 20e6)]
        });
        let told = "; most of it by TCP: a process that can't be named sends 720 Mbit/s to 10.0.0.9";
        assert!(message.contains(told) && message.contains("receives 160 Mbit/s from 10.0.0.9"), "{message}");
        assert_eq!((message.contains("640 Mbit/s"), evidence), (false, 5), "{message}");
        // What a link forwards is of other namespaces; and what is little is not most.
        let (message, _) = said(|here| vec![talker(elsewhere, None, 100e6, 0.0), talker(here, None, 1e6, 0.0)]);
        assert!(message.contains("; most of it by TCP: a process that can't be named sends 800 Mbit/s"), "{message}");
        let (message, _) = said(|here| vec![talker(here, None, 1e6, 0.0)]);
        assert!(message.contains("); by TCP: a process that can't be named sends 8 Mbit/s"), "{message}");
    }

    #[test]
    fn a_shaper_is_a_limit_and_the_finding_ends_with_the_traffic() {
        let mut s = Script::new();
        let netns = s.world.netns();
        netns.ifaces.push(Iface { name: "eth0".into(), up: true, ..Iface::default() });
        let shaper = Qdisc { iface: "eth0".into(), root: true, rate_bytes_per_sec: Some(125_000), ..Qdisc::default() };
        netns.qdiscs.push(shaper);
        for _ in 0..5 {
            s.world.netns().ifaces[0].tx_bytes += 124_000;
            s.secs(1);
        }
        let f = s.expect("net.link_saturated");
        assert_eq!((f.limit, &*f.evidence[2].source), (Some(125_000.0), "RTM_GETQDISC"));
        s.world.netns().ifaces[0].tx_bytes = 0;
        s.secs(4);
        assert!(!s.expect("net.link_saturated").active);
    }

    #[test]
    fn a_full_link_explains_what_its_own_queue_drops_and_not_anothers() {
        let mut s = Script::new();
        for name in ["eth0", "eth1"] {
            let netns = s.world.netns();
            netns.ifaces.push(Iface { name: name.into(), up: true, ..Iface::default() });
            netns.qdiscs.push(Qdisc { iface: name.into(), kind: "tbf".into(), root: true, ..Qdisc::default() });
        }
        s.world.netns().qdiscs[0].rate_bytes_per_sec = Some(125_000);
        for _ in 0..5 {
            let netns = s.world.netns();
            netns.ifaces[0].tx_bytes += 124_000;
            for q in &mut netns.qdiscs {
                (q.packets, q.drops) = (q.packets + 1000, q.drops + 100);
            }
            s.secs(1);
        }
        let full = s.last().findings.iter().position(|f| f.id == "net.link_saturated").unwrap();
        let drops = s.last().findings.iter().filter(|f| f.id == "net.qdisc_drops");
        let causes: Vec<_> = drops.map(|f| (&*f.label.name, f.explained_by.clone())).collect();
        assert_eq!(causes, [("eth0", vec![full]), ("eth1", vec![])]);
    }
}
