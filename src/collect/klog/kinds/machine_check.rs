//! Hardware that errs: `mce` (machine checks) and `edac` (memory errors by DIMM).

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
        &["Machine check events logged", ": Machine Check", "EDAC MC"]
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        let bank = re!(
            r"^(?:mce: )?(?:\[Hardware Error\]: )?CPU (\d+): Machine Check(?: Exception)?: *[0-9a-f]* Bank (\d+): ([0-9a-f]+)"
        );
        let edac = re!(r"^EDAC MC(\d+): (?:(\d+) )?(CE|UE)\b");
        let event = if re!(r"^(?:mce: )?(?:\[Hardware Error\]: )?Machine check events logged").is_match(line.text) {
            LogEvent::of("mce", line)
        } else if let Some(caps) = bank.captures(line.text) {
            LogEvent::of("mce", line)
                .with("cpu", number::<i64>(&caps, 1))
                .with("bank", number::<i64>(&caps, 2))
                .with("status", text(&caps, 3))
        } else if let Some(caps) = edac.captures(line.text) {
            LogEvent::of("edac", line)
                .with("mc", number::<i64>(&caps, 1))
                .with("error", text(&caps, 3))
                .with("count", number::<i64>(&caps, 2).unwrap_or(1))
        } else {
            return false;
        };
        sink.limited(event, line);
        true
    }
}
