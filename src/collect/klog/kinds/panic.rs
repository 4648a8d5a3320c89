//! `kernel_panic` and `kernel_oops`.

use super::Kind;
use super::pending::Waiting;
use crate::collect::klog::fields::Fields;
use crate::collect::klog::line::Line;
use crate::collect::klog::scan::{re, text};
use crate::collect::klog::sink::Sink;
use crate::snapshot::LogEvent;

/// Reads a panic's or an oops's first lines.
#[derive(Default)]
pub(super) struct Machine {
    panic: Waiting,
    oops: Waiting,
}

impl Kind for Machine {
    fn literals(&self) -> &'static [&'static str] {
        &[
            "Kernel panic - not syncing",
            "BUG: kernel NULL pointer",
            "BUG: Kernel NULL pointer",
            "BUG: unable to handle",
            "BUG: Unable to handle",
            "BUG: stack guard page",
            "kernel BUG at ",
            "Unable to handle kernel ",
            " [#",
        ]
    }

    fn is_open(&self) -> bool {
        self.panic.is_open() || self.oops.is_open()
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        if let Some(reason) = line.text.strip_prefix("Kernel panic - not syncing: ") {
            self.oops.send(sink);
            self.panic.set(LogEvent::of("kernel_panic", line).with("reason", reason.trim()), line, sink);
            return true;
        }
        if let Some(says) = opener(line.text) {
            self.oops.set(LogEvent::of("kernel_oops", line).with("text", says), line, sink);
            return true;
        }
        let is_open = self.oops.get(line, sink).is_some();
        if let Some(says) = die(line.text) {
            // It belongs to the line that opened the report; a general protection fault opens its own.
            if !is_open {
                self.oops.set(LogEvent::of("kernel_oops", line).with("text", says), line, sink);
            }
            return true;
        }
        if self.panic.get(line, sink).is_some_and(|p| p.cpu(line)) {
            self.panic.send(sink);
            return true;
        }
        let Some(oops) = self.oops.get(line, sink) else { return false };
        if let Some(place) = place(line.text).filter(|_| oops.may_hold(line)) {
            oops.event.put("rip", place);
            self.oops.send(sink);
            return true;
        }
        oops.cpu(line)
    }

    fn idle(&mut self, sink: &mut Sink) {
        self.panic.idle(sink);
        self.oops.idle(sink);
    }

    fn end(&mut self, sink: &mut Sink) {
        self.panic.send(sink);
        self.oops.send(sink);
    }
}

/// What went wrong, of a line that opens a report.
fn opener(line: &str) -> Option<&str> {
    let re = re!(
        r"^(?:BUG: ((?i:kernel NULL pointer dereference|unable to handle .+?|stack guard page was hit))(?: for address.*|,.*| at .*| on .*|:.*)?|(kernel BUG at .*)|(Unable to handle kernel .+?)(?: at .*| for .*))$"
    );
    let caps = re.captures(line)?;
    text(&caps, 1).or_else(|| text(&caps, 2)).or_else(|| text(&caps, 3))
}

/// What died, of `general protection fault, probably for …: 0000 [#2] SMP`, `invalid opcode: 0000 [#1]`,
/// `Oops: 0002 [#1]`; since 6.9 `Oops: general protection fault, …`.
fn die(line: &str) -> Option<&str> {
    let caps = re!(r"^(?:Oops: )?(.+?)(?:, .*)?: [0-9a-f]{4,16} \[#\d+\]").captures(line)?;
    text(&caps, 1)
}

/// The function it was in: `RIP: 0010:w+0x393/0x646 [mod]`, before 4.10 `RIP: 0010:[<…>]  [<…>] w+0x393/0x646`, Arm's
/// `pc : w+0x393/0x646`.
fn place(line: &str) -> Option<&str> {
    let caps = re!(r"^(?:RIP: 0010:|pc : )(?:.* )?([A-Za-z_][\w.]*\+0x[0-9a-f]+/0x[0-9a-f]+)").captures(line)?;
    text(&caps, 1)
}
