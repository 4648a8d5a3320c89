//! `soft_lockup` (a CPU that does not schedule) and `hard_lockup` (one that does not even take interrupts).

use super::Kind;
use crate::collect::klog::fields::Fields;
use crate::collect::klog::line::Line;
use crate::collect::klog::scan::{number, re, text};
use crate::collect::klog::sink::Sink;
use crate::snapshot::LogEvent;

/// Reads single lines.
#[derive(Default)]
pub(super) struct Machine;

impl Kind for Machine {
    fn literals(&self) -> &'static [&'static str] {
        &["BUG: soft lockup - CPU#", "hard LOCKUP", "Hard LOCKUP"]
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        let soft =
            re!(r"^(?:NMI watchdog: |watchdog: )?BUG: soft lockup - CPU#(\d+) stuck for (\d+)s!(?: \[(.+):(\d+)\])?");
        let hard = re!(
            r"^(?:NMI watchdog: |watchdog: )?(?:(?:CPU\d+: )?Watchdog detected hard LOCKUP on cpu (\d+)|CPU (\d+) (?:self-detected hard|Hard) LOCKUP)"
        );
        let event = if let Some(caps) = soft.captures(line.text) {
            LogEvent::of("soft_lockup", line)
                .with("cpu", number::<i64>(&caps, 1))
                .with("seconds", number::<i64>(&caps, 2))
                .with("comm", text(&caps, 3))
                .with("pid", number::<i64>(&caps, 4))
        } else if let Some(caps) = hard.captures(line.text) {
            LogEvent::of("hard_lockup", line).with("cpu", number::<i64>(&caps, 1).or_else(|| number(&caps, 2)))
        } else {
            return false;
        };
        sink.push(event);
        true
    }
}
