//! `slub_alloc_failure`: an object cache got no page. On el7 the cache is a memory cgroup's own, and names it: the sign
//! of a kmem limit or leak.

use super::Kind;
use crate::collect::klog::fields::Fields;
use crate::collect::klog::line::{Caller, Line};
use crate::collect::klog::scan::{number, re, text};
use crate::collect::klog::sink::Sink;
use crate::snapshot::LogEvent;

/// Lines of other reports that may lie in between.
const LINES_MAX: u64 = 16;

/// Reads the message, the cache's line and a line for each node.
#[derive(Default)]
pub(super) struct Machine {
    open: Option<Report>,
}

struct Report {
    event: LogEvent,
    caller: Option<Caller>,
    /// The last line of its own.
    last: u64,
    /// Free objects of all nodes that said so.
    free_objs: Option<i64>,
    idle_looks: u32,
}

impl Kind for Machine {
    fn literals(&self) -> &'static [&'static str] {
        &["B: Unable to allocate memory on "]
    }

    fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        // `… on node -1 (gfp=0x20)`, 4.x `… on node -1, gfp=0x20(GFP_ATOMIC)`, 6.9 `… on CPU 3 (of node 0) on node -1, gfp=…`
        let re = re!(
            r"^SL[AU]B: Unable to allocate memory on (?:CPU \d+ (?:\(of node -?\d+\) )?on )?node (-?\d+),? \(?gfp=(0x[0-9a-f]+)"
        );
        if let Some(caps) = re.captures(line.text) {
            self.end(sink);
            let event = LogEvent::of("slub_alloc_failure", line)
                .with("node", number::<i64>(&caps, 1))
                .with("gfp", text(&caps, 2))
                .with("suppressed", sink.kept_back(line));
            let report = Report { event, caller: line.caller, last: line.no, free_objs: None, idle_looks: 0 };
            self.open = Some(report);
            return true;
        }
        let Some(report) = &mut self.open else { return false };
        let ours = Caller::may_be(report.caller, line.caller) && report.read(line);
        if !ours && line.no.saturating_sub(report.last) > LINES_MAX {
            self.end(sink);
        }
        ours
    }

    fn idle(&mut self, sink: &mut Sink) {
        match &mut self.open {
            Some(report) if report.idle_looks == 0 => report.idle_looks = 1,
            _ => self.end(sink),
        }
    }

    fn end(&mut self, sink: &mut Sink) {
        sink.extend(self.open.take().map(|report| report.event.with("free_objs", report.free_objs)));
    }
}

impl Report {
    fn read(&mut self, line: &Line<'_>) -> bool {
        let cache = re!(r"^cache: (.+?)(?:\(\d+:(.+)\))?, object size: (\d+)");
        if let Some(caps) = cache.captures(line.text) {
            self.event.put("cache", text(&caps, 1));
            self.event.put("object_size", number::<i64>(&caps, 3));
            self.event.put("cgroup_name", text(&caps, 2));
            self.event.put_container(&[text(&caps, 2)]);
        } else if let Some(caps) = re!(r"^node \d+: slabs: .*, free: (\d+)").captures(line.text) {
            self.free_objs = Some(self.free_objs.unwrap_or(0).saturating_add(number(&caps, 1).unwrap_or(0)));
        } else {
            return false;
        }
        self.last = line.no;
        self.idle_looks = 0;
        true
    }
}
