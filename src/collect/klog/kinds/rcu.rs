//! `rcu_stall`: a CPU or task that keeps a grace period from ending.

use super::Kind;
use crate::collect::klog::fields::Fields;
use crate::collect::klog::line::{Caller, Clock, Line};
use crate::collect::klog::scan::{number, re, text};
use crate::collect::klog::sink::Sink;
use crate::snapshot::LogEvent;

/// Lines that a report may have before it says for how long.
const LINES_MAX: u64 = 400;
const OVER_MS: i64 = 5_000;

/// Reads the message and its details, which old kernels print on the same line.
#[derive(Default)]
pub(super) struct Machine {
    open: Option<Report>,
}

struct Report {
    event: LogEvent,
    caller: Option<Caller>,
    clock: Option<Clock>,
    idle_looks: u32,
}

impl Kind for Machine {
    fn literals(&self) -> &'static [&'static str] {
        &["self-detected stall on CPU", "detected stall", "detected expedited stall"]
    }

    fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        let is_over = |r: &Report| {
            line.no.saturating_sub(r.event.line) > LINES_MAX || line.is_later_than(r.clock, OVER_MS)
        };
        if self.open.as_ref().is_some_and(is_over) {
            self.end(sink);
        }
        if let Some((event, details)) = begin(line) {
            self.end(sink);
            let report = self.open.insert(Report { event, caller: line.caller, clock: line.clock, idle_looks: 0 });
            if report.details(details) {
                self.end(sink);
            }
            return true;
        }
        let Some(report) = self.open.as_mut().filter(|r| Caller::may_be(r.caller, line.caller)) else { return false };
        if report.details(line.text) {
            self.end(sink);
            return true;
        }
        false
    }

    fn idle(&mut self, sink: &mut Sink) {
        match &mut self.open {
            Some(report) if report.idle_looks == 0 => report.idle_looks = 1,
            _ => self.end(sink),
        }
    }

    fn end(&mut self, sink: &mut Sink) {
        sink.extend(self.open.take().map(|report| report.event));
    }
}

/// `rcu: INFO: rcu_sched self-detected stall on CPU`, `INFO: rcu_sched detected stalls on CPUs/tasks: { 2} (detected by
/// 0, t=60002 jiffies, …)`: the event, and the rest of the line.
fn begin<'a>(line: &Line<'a>) -> Option<(LogEvent, &'a str)> {
    let re = re!(
        r"^(?:rcu: )?INFO: (rcu\w*) (?:(self-)?detected (expedited )?stalls? on (?:CPUs/tasks|tasks|CPU)):?( \d+\b)?(.*)$"
    );
    let caps = re.captures(line.text)?;
    let one_cpu = caps.get(4);
    let event = LogEvent::of("rcu_stall", line)
        .with("flavor", text(&caps, 1))
        // 2.6.32: `rcu_sched_state detected stall on CPU 0 (t=60000 jiffies)`
        .with("self_detected", caps.get(2).is_some() || one_cpu.is_some())
        .with("expedited", caps.get(3).map(|_| true))
        .with("cpu", one_cpu.and_then(|m| m.as_str().trim().parse::<i64>().ok()));
    Some((event, text(&caps, 5)?))
}

impl Report {
    /// Reads details; says whether they are complete. rsyslog writes a tab as `#011`.
    fn details(&mut self, line: &str) -> bool {
        self.idle_looks = 0;
        if self.event.int("cpu").is_none() {
            let cpu = re!(r"^(?:rcu: )?(?:\s|#011)*(\d+)(?:-\S+)?: \(|^ ?\{ *(\d+)").captures(line);
            self.event.put("cpu", cpu.and_then(|c| number::<i64>(&c, 1).or_else(|| number(&c, 2))));
        }
        let re = re!(r"\((?:detected by (\d+), )?t=(\d+) jiffies|\} (\d+) jiffies s: ");
        let Some(caps) = re.captures(line) else { return false };
        self.event.put("detected_by", number::<i64>(&caps, 1));
        self.event.put("jiffies", number::<i64>(&caps, 2).or_else(|| number(&caps, 3)));
        true
    }
}
