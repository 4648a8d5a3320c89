//! `hung_task`: a task in D for longer than `hung_task_timeout_secs`; `hung_task_suppressed`: the kernel says it will
//! report no more of them (6.1 just falls silent).

use super::Kind;
use crate::collect::klog::fields::Fields;
use crate::collect::klog::line::{Caller, Clock, Line};
use crate::collect::klog::scan::{cpu_line, frame, number, re, text};
use crate::collect::klog::sink::Sink;
use crate::snapshot::LogEvent;

/// Lines that a report may have, its trace and what other CPUs print in between.
const LINES_MAX: u64 = 400;
/// Silence of the log that ends a report.
const OVER_MS: i64 = 5_000;

/// khungtaskd reports one task after the other: one report is open at a time.
#[derive(Default)]
pub(super) struct Machine {
    open: Option<Report>,
}

struct Report {
    event: LogEvent,
    pid: i64,
    comm: String,
    caller: Option<Caller>,
    clock: Option<Clock>,
    stage: Stage,
    idle_looks: u32,
}

/// How far a report has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The task's own line is still to come.
    Head,
    /// It came: the next trace is the task's.
    Trace,
    /// The frame that matters was seen, or another CPU's dump began.
    Done,
}

impl Kind for Machine {
    fn literals(&self) -> &'static [&'static str] {
        &["INFO: task ", "Future hung task reports are suppressed"]
    }

    fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        if self.open.as_ref().is_some_and(|r| r.is_over(line)) {
            self.end(sink);
        }
        if line.text.starts_with("Future hung task reports are suppressed") {
            self.end(sink);
            sink.push(LogEvent::of("hung_task_suppressed", line));
            return true;
        }
        if let Some(report) = Report::begin(line) {
            self.end(sink);
            self.open = Some(report);
            return true;
        }
        let Some(report) = self.open.as_mut().filter(|r| Caller::may_be(r.caller, line.caller)) else { return false };
        if report.owner(line.text) {
            self.end(sink);
            return true;
        }
        report.read(line.text)
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

impl Report {
    /// `INFO: task kworker/u8:2:98 blocked for more than 122 seconds.`, since 6.17 also `blocked in I/O wait for …`.
    fn begin(line: &Line<'_>) -> Option<Self> {
        let re = re!(r"^INFO: task (.+):(\d+) blocked( in I/O wait)? for more than (\d+) seconds");
        let caps = re.captures(line.text)?;
        let (comm, pid) = (text(&caps, 1)?, number(&caps, 2)?);
        let seconds: Option<i64> = number(&caps, 4);
        let event = LogEvent::of("hung_task", line).with("comm", comm).with("pid", pid).with("seconds", seconds);
        let event = event.with("io_wait", caps.get(3).map(|_| true));
        let comm = comm.to_owned();
        Some(Self { event, pid, comm, caller: line.caller, clock: line.clock, stage: Stage::Head, idle_looks: 0 })
    }

    fn is_over(&self, line: &Line<'_>) -> bool {
        line.no.saturating_sub(self.event.line) > LINES_MAX || line.is_later_than(self.clock, OVER_MS)
    }

    /// Reads a line of the report's body; says whether it was one.
    fn read(&mut self, text: &str) -> bool {
        self.idle_looks = 0;
        match self.stage {
            Stage::Head => self.head(text),
            Stage::Trace => self.trace(text),
            Stage::Done => false,
        }
    }

    /// el7 prints no taint line; a report has one at most.
    fn head(&mut self, text: &str) -> bool {
        let tainted = text.starts_with("Tainted: ");
        if tainted || text.starts_with("Not tainted ") {
            self.event.put("tainted", tainted);
            return true;
        }
        self.task(text)
    }

    fn trace(&mut self, text: &str) -> bool {
        if let Some(what) = text.strip_prefix("Workqueue: ") {
            self.event.put("workqueue", what);
            return true;
        }
        if let Some(name) = frame(text).filter(|name| !is_scheduler(name)) {
            self.event.put("top_frame", name);
            self.stage = Stage::Done;
            return true;
        }
        if cpu_line(text).is_some() {
            self.stage = Stage::Done;
        }
        false
    }

    /// The task's own line: `task:java state:D stack:0 pid:98 tgid:98 ppid:96 flags:…`, before 5.9
    /// `java            D ffff8810069c3000     0 10485      1 0x00000080`.
    fn task(&mut self, line: &str) -> bool {
        if let Some(caps) = re!(r"^task:.* pid: *(\d+) +(?:tgid: *(\d+) +)?ppid: *(\d+)").captures(line) {
            if number(&caps, 1) != Some(self.pid) {
                return false;
            }
            self.event.put("tgid", number::<i64>(&caps, 2));
            self.event.put("ppid", number::<i64>(&caps, 3));
            self.stage = Stage::Trace;
            return true;
        }
        let columns = re!(r" (\d+) +(\d+)(?: +0x[0-9a-f]+)?(?: \([A-Z-]+\))?$").captures(line);
        let ours = columns.filter(|c| number(c, 1) == Some(self.pid) && line.starts_with(&*self.comm));
        self.event.put("ppid", ours.as_ref().and_then(|c| number::<i64>(c, 2)));
        if ours.is_some() {
            self.stage = Stage::Trace;
        }
        ours.is_some()
    }

    /// `INFO: task B:2 is blocked on a mutex likely owned by task A:1.` (6.16), `INFO: task B:2 <writer> blocked on an
    /// rw-semaphore likely owned by task A:1 <writer>` (6.17): the report's last line.
    fn owner(&mut self, line: &str) -> bool {
        let re = re!(
            r"^INFO: task (.+):(\d+)(?: <\w+>)? (?:is )?blocked on an? (mutex|semaphore|rw-semaphore|rwsem)(?: likely (?:owned|last held) by task (.+):(\d+))?"
        );
        let Some(caps) = re.captures(line).filter(|c| number(c, 2) == Some(self.pid)) else { return false };
        self.event.put("lock", text(&caps, 3));
        self.event.put("blocked_by_comm", text(&caps, 4));
        self.event.put("blocked_by_pid", number::<i64>(&caps, 5));
        true
    }
}

/// Where every sleeper is: the frame below tells what it waits for.
fn is_scheduler(name: &str) -> bool {
    let name = name.trim_start_matches('_');
    name.starts_with("schedule") || name.starts_with("io_schedule") || name.starts_with("preempt_schedule")
}
