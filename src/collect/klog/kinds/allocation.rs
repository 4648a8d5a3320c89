//! Kernel allocations that failed: `page_alloc_failure`, `vmalloc_failure`.

use super::Kind;
use super::pending::Waiting;
use crate::collect::klog::fields::Fields;
use crate::collect::klog::line::Line;
use crate::collect::klog::scan::{number, re, text};
use crate::collect::klog::sink::Sink;
use crate::snapshot::LogEvent;

/// Reads the message and the task below it.
#[derive(Default)]
pub(super) struct Machine {
    waiting: Waiting,
}

impl Kind for Machine {
    fn literals(&self) -> &'static [&'static str] {
        &[": page allocation failure", ": vmalloc", "vmap allocation for size "]
    }

    fn is_open(&self) -> bool {
        self.waiting.is_open()
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        if let Some(event) = page(line).or_else(|| vmalloc(line)) {
            let event = event.with("suppressed", sink.kept_back(line));
            self.waiting.set(event, line, sink);
            return true;
        }
        let completed = self.waiting.get(line, sink).is_some_and(|p| p.cpu(line));
        if completed {
            self.waiting.send(sink);
        }
        completed
    }

    fn idle(&mut self, sink: &mut Sink) {
        self.waiting.idle(sink);
    }

    fn end(&mut self, sink: &mut Sink) {
        self.waiting.send(sink);
    }
}

/// `irq/24-eth0: page allocation failure: order:0, mode:0xa20(GFP_ATOMIC)`; up to 3.4 `failure. order`.
fn page(line: &Line<'_>) -> Option<LogEvent> {
    let re = re!(r"^(.+): page allocation failure[.:] order:(\d+), mode:(0x[0-9a-f]+)");
    let caps = re.captures(line.text)?;
    let event = LogEvent::of("page_alloc_failure", line).with("comm", text(&caps, 1));
    Some(event.with("order", number::<i64>(&caps, 2)).with("mode", text(&caps, 3)))
}

/// `C: vmalloc: allocation failure, allocated N of M bytes`, `C: vmalloc: allocation failure: M bytes` (3.10),
/// `C: vmalloc size M allocation failure: …` (5.12), `C: vmalloc error: size M, …` (5.13).
fn vmalloc(line: &Line<'_>) -> Option<LogEvent> {
    let re = re!(
        r"^(.+): vmalloc(?:: allocation failure(?:, allocated (\d+) of (\d+) bytes|: (\d+) bytes)| size (\d+) allocation failure| error: size (\d+))"
    );
    let event = LogEvent::of("vmalloc_failure", line);
    if let Some(caps) = re.captures(line.text) {
        let wanted: Option<i64> = (3..=6).find_map(|group| number(&caps, group));
        let event = event.with("comm", text(&caps, 1)).with("allocated", number::<i64>(&caps, 2));
        return Some(event.with("wanted", wanted));
    }
    let caps = re!(r"^vmap allocation for size (\d+) failed").captures(line.text)?;
    Some(event.with("wanted", number::<i64>(&caps, 1)))
}
