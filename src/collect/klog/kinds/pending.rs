//! An event that the next `CPU: … PID: … Comm: …` line completes.

use crate::collect::klog::fields::Fields;
use crate::collect::klog::line::{Caller, Clock, Line};
use crate::collect::klog::scan::{CpuLine, cpu_line};
use crate::collect::klog::sink::Sink;
use crate::snapshot::LogEvent;

/// Lines that may lie between an event's line and the one that says who.
const LINES_MAX: u64 = 40;
const OVER_MS: i64 = 2_000;

/// An event without its task yet.
pub(super) struct Pending {
    pub event: LogEvent,
    caller: Option<Caller>,
    clock: Option<Clock>,
    idle_looks: u32,
}

impl Pending {
    pub fn new(event: LogEvent, line: &Line<'_>) -> Self {
        Self { event, caller: line.caller, clock: line.clock, idle_looks: 0 }
    }

    /// Whether its lines can't come any more.
    pub fn is_over(&self, line: &Line<'_>) -> bool {
        line.no.saturating_sub(self.event.line) > LINES_MAX || line.is_later_than(self.clock, OVER_MS)
    }

    /// Whether a line may be of its report.
    pub fn may_hold(&self, line: &Line<'_>) -> bool {
        Caller::may_be(self.caller, line.caller)
    }

    /// Reads a line that says who. `comm`, where the event has one already, must be the same.
    pub fn cpu(&mut self, line: &Line<'_>) -> bool {
        let Some(cpu) = cpu_line(line.text).filter(|_| self.may_hold(line)) else { return false };
        if self.event.str("comm").is_some_and(|comm| comm != cpu.comm) {
            return false;
        }
        let CpuLine { cpu, pid, comm, .. } = cpu;
        self.event.put("cpu", cpu);
        self.event.put("pid", pid);
        self.event.put("comm", comm);
        true
    }
}

/// At most one event that waits; the next one, or silence, sends it on as it is.
#[derive(Default)]
pub(super) struct Waiting(Option<Pending>);

impl Waiting {
    pub fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// The event that waits, unless its time is over.
    pub fn get(&mut self, line: &Line<'_>, sink: &mut Sink) -> Option<&mut Pending> {
        if self.0.as_ref().is_some_and(|p| p.is_over(line)) {
            self.send(sink);
        }
        self.0.as_mut()
    }

    /// Lets another event wait.
    pub fn set(&mut self, event: LogEvent, line: &Line<'_>, sink: &mut Sink) {
        self.send(sink);
        self.0 = Some(Pending::new(event, line));
    }

    /// Sends the event on.
    pub fn send(&mut self, sink: &mut Sink) {
        sink.extend(self.0.take().map(|p| p.event));
    }

    /// The log is silent: an event that waited through a look already is sent on.
    pub fn idle(&mut self, sink: &mut Sink) {
        match &mut self.0 {
            Some(pending) if pending.idle_looks == 0 => pending.idle_looks = 1,
            _ => self.send(sink),
        }
    }
}
