//! A path that loses what TCP sends.

use crate::detect::command::in_netns;
use crate::detect::label::remote_name;
use crate::detect::{Case, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::Severity;
use crate::snapshot::{NetnsId, SockGroup, Subject, TcpState};

const SENT: &str = "TcpOutSegs";
const AGAIN: &str = "TcpRetransSegs";
/// Of those that were sent again, connections that never opened: they have a rule of their own.
const SYNS: &str = "TcpExtTCPSynRetrans";

pub(super) static RULES: &[Rule] = &[Rule {
    id: "tcp.retransmits",
    about: "a large part of what TCP sends is lost and sent again",
    effect: "TCP sends again what was lost",
    knobs: &[
        Knob { key: "share", default: 0.1, unit: "of the segments", about: "segments sent again that are a finding" },
        Knob { key: "per_s", default: 50.0, unit: "segments/s", about: "and at least so many a second" },
    ],
    explains: &[],
    hold_s: 2.0,
    measure,
    judge,
}];

fn measure(look: &Look<'_>, out: &mut Measures) {
    for netns in look.snap.net.data().map(|n| n.netns.as_slice()).unwrap_or_default() {
        let get = |name: &str| netns.counters.get(name);
        let Some(again) = get(AGAIN) else { continue };
        let again = again.saturating_sub(get(SYNS).unwrap_or(0));
        out.put(Subject::Netns(netns.id), again as f64).counter(AGAIN, again).counter(SENT, get(SENT));
    }
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let rate = case.rate(AGAIN);
    let share = rate / case.rate(SENT).max(rate).max(1.0);
    if !case.reaches(rate, case.knob("per_s")) || !case.reaches(share, case.knob("share")) {
        return None;
    }
    let netns = case.netns()?;
    let worst = worst(case.look, netns.id);
    let whose = worst.map_or_else(String::new, |g| {
        let who = g.owner.map_or_else(String::new, |owner| format!(" of {}", case.look.task_name(owner)));
        let far = g.remote_addr.map_or_else(String::new, |addr| format!(" to {}", remote_name(addr, g.remote_port)));
        format!("; most connections that wait for an answer are those{who}{far}")
    });
    let message = format!(
        "TCP sends {} again, {} of all: the way to the far end loses them{whose}",
        words::rate_of(rate, "segments"),
        words::percent(share)
    );
    let mut verdict = case
        .verdict(Severity::Warning, "segments", message)
        .rate(rate)
        .rated("/proc/net/snmp", "RetransSegs, those of SYNs left out", case.value(), Some(rate))
        .rated("/proc/net/snmp", "OutSegs", netns.counters.get(SENT).map(|n| n as f64), Some(case.rate(SENT)))
        .number("sock_diag", "sockets retransmitting to the worst far end", worst.map(|g| g.retransmitting as f64))
        .shown_by(in_netns(case.look, netns.id, "ss -tnio state established"))
        .advise("see where it is lost: drops of this host's interfaces and queues stand beside it, else the switch, the far end's card, a firewall")
        .about(worst.and_then(|g| g.owner), []);
    verdict.value = case.grown(AGAIN);
    Some(verdict)
}

/// The connections with most sockets that wait for an answer to what they sent.
fn worst<'a>(look: &Look<'a>, netns: NetnsId) -> Option<&'a SockGroup> {
    let groups = look.snap.sockets.data()?.groups.iter();
    let waits = groups.filter(|g| g.netns == netns && g.retransmitting > 0 && g.state != TcpState::SynSent);
    waits.max_by_key(|g| g.retransmitting)
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{Script, counters};

    /// So many segments a second, of which so many again, of these so many SYNs.
    fn send(s: &mut Script, secs: u64, sent: u64, again: u64, syns: u64) {
        for _ in 0..secs {
            let get = |s: &mut Script, name| s.world.netns().counters.get(name).unwrap_or(1000);
            let (a, b, c) = (get(s, "TcpOutSegs"), get(s, "TcpRetransSegs"), get(s, "TcpExtTCPSynRetrans"));
            s.world.netns().counters =
                counters(&[("TcpOutSegs", a + sent), ("TcpRetransSegs", b + again), ("TcpExtTCPSynRetrans", c + syns)]);
            s.secs(1);
        }
    }

    #[test]
    fn a_lossy_path_names_whose_connections_wait_and_ends() {
        let mut s = Script::new();
        let app = s.world.task(9, "app");
        s.world.tcp_client(app, "established", "10.0.0.7:5432", 30);
        s.world.sockets.groups[0].retransmitting = 12;
        send(&mut s, 6, 1000, 200, 0);
        let f = s.expect("tcp.retransmits");
        assert!(f.message.starts_with("TCP sends 200 segments/s again, 20 % of all"), "{}", f.message);
        assert!(f.message.ends_with("are those of app(9) to 10.0.0.7:5432"), "{}", f.message);
        send(&mut s, 9, 1000, 2, 0);
        assert!(!s.expect("tcp.retransmits").active);
    }

    #[test]
    fn a_small_share_a_few_segments_syns_a_reset_and_no_section_are_silent() {
        let mut s = Script::new();
        send(&mut s, 5, 10_000, 200, 0);
        send(&mut s, 5, 60, 30, 0);
        send(&mut s, 5, 400, 300, 300);
        s.world.netns().counters = counters(&[("TcpOutSegs", 5), ("TcpRetransSegs", 1)]);
        s.secs(2);
        s.world.hide("net");
        s.secs(3);
        s.silent();
    }
}
