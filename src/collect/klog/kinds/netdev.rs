//! `netdev_watchdog`: a network card's transmit queue made no progress.

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
        &["NETDEV WATCHDOG: "]
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        // `NETDEV WATCHDOG: eth0 (igb): transmit queue 3 timed out`, 2.6 `…: eth0: transmit timed out`, 6.4 `… 5360 ms`
        let old = re!(r"^NETDEV WATCHDOG: (\S+?)(?: \(([^)]*)\))?: transmit (?:queue (\d+) )?timed out(?: (\d+) ms)?");
        // 6.5: `[DRIVER PARENT ]eth1: NETDEV WATCHDOG: CPU: 0: transmit queue 0 timed out 5360 ms`
        let new = re!(
            r"^(?:(\S+) \S+ )?(\S+?)(?: \([^)]*\))?: NETDEV WATCHDOG: CPU: \d+: transmit queue (\d+) timed out(?: (\d+) ms)?"
        );
        let (device, driver, caps) = if let Some(caps) = old.captures(line.text) {
            (text(&caps, 1), text(&caps, 2), caps)
        } else if let Some(caps) = new.captures(line.text) {
            (text(&caps, 2), text(&caps, 1), caps)
        } else {
            return false;
        };
        let event = LogEvent::of("netdev_watchdog", line)
            .with("device", device)
            .with("driver", driver.filter(|d| !d.is_empty()))
            .with("queue", number::<i64>(&caps, 3))
            .with("timeout_ms", number::<i64>(&caps, 4));
        sink.push(event);
        true
    }
}
