//! Connections that the peer closed and the process never did.

use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, words};
use crate::model::{Severity, tally_of};
use crate::snapshot::{Subject, TcpState};

pub(super) static RULES: &[Rule] = &[Rule {
    id: "tcp.close_wait_pile",
    about: "CLOSE_WAIT: the peer closed, the process never did",
    effect: "closed connections are not let go",
    knobs: &[
        Knob { key: "count", default: 200.0, unit: "sockets", about: "CLOSE_WAIT of one task that are a finding" },
        Knob { key: "growing", default: 50.0, unit: "sockets", about: "as many are one while they grow" },
    ],
    explains: &[
        ("task.memory_growth", Join::Task),
        ("tcp.listen_overflow", Join::Task),
        ("host.fd_exhaustion", Join::Task),
    ],
    hold_s: 1.5,
    measure,
    judge,
}];

fn measure(look: &Look<'_>, out: &mut Measures) {
    for (key, facts) in &look.model.tasks {
        let n = tally_of(&facts.tcp, TcpState::CloseWait);
        if n > 0 {
            out.put(Subject::Task(*key), n as f64);
        }
    }
}

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let n = case.value();
    if n < case.knob("growing") * 0.9 {
        return None;
    }
    let growth = case.growth();
    let many = case.reaches(n, case.knob("count"));
    let growing = growth.is_some() && case.reaches(n, case.knob("growing"));
    if !many && !growing {
        return None;
    }
    let task = case.task()?;
    let who = words::task(task);
    let grows = growth.map_or_else(String::new, |r| format!(", growing {}", words::rate(r)));
    let message =
        format!("{who} holds {} in CLOSE_WAIT{grows}: the peer closed them, it never did", words::plural(n, "socket"));
    let fds = task.fds.zip(task.fd_limit);
    Some(
        case.verdict(Severity::Warning, "sockets", message)
            .rate(growth)
            .rated("sock_diag", "CLOSE_WAIT", n, growth)
            .number("/proc/PID/fd", "descriptors", fds.map(|(n, _)| n as f64))
            .number("/proc/PID/limits", "Max open files", fds.map(|(_, max)| max as f64))
            .advise(format!("{who} does not close a connection after reading its end: a leak in the program, or its threads hang"))
            .advise("no sysctl ends CLOSE_WAIT; restarting the process frees them"),
    )
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;

    #[test]
    fn many_fire_and_clear() {
        let mut s = Script::new();
        let app = s.world.task(10, "app");
        s.world.tcp(app, "CLOSE_WAIT", 210);
        s.secs(4);
        assert_eq!(s.value("tcp.close_wait_pile"), 210);
        s.world.sockets.groups.clear();
        s.secs(4);
        assert!(!s.expect("tcp.close_wait_pile").active);
    }

    #[test]
    fn fewer_fire_only_while_they_grow() {
        let mut s = Script::new();
        let app = s.world.task(10, "app");
        s.world.tcp(app, "CLOSE_WAIT", 60);
        s.secs(6);
        s.silent();
        for n in 1..8 {
            s.world.sockets.groups[0].count = 60 + n * 5;
            s.secs(1);
        }
        assert!(s.expect("tcp.close_wait_pile").rate_per_s.is_some());
    }

    #[test]
    fn thousands_established_and_a_missing_section_are_silent() {
        let mut s = Script::new();
        let app = s.world.task(10, "app");
        s.world.tcp(app, "ESTABLISHED", 20_000);
        s.secs(5);
        s.silent();
        s.world.tcp(app, "CLOSE_WAIT", 500);
        s.world.hide("sockets");
        s.secs(5);
        s.silent();
    }
}
