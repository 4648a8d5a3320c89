//! `io_error` of the block layer and `buffer_io_error` of the buffer cache.

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
        &[" error, dev ", "Buffer I/O error on dev"]
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        // `end_request: ` up to 3.18, `blk_update_request: `, `print_req_error: `, nothing since 5.17
        let io = re!(
            r"^(?:(?:end_request|blk_update_request|print_req_error|__blk_end_request): )?([A-Za-z/ -]+?) error, dev ([^,\s]+), sector (\d+)(?: op 0x[0-9a-f]+:\((\w+)\))?"
        );
        let event = if let Some(caps) = io.captures(line.text) {
            LogEvent::of("io_error", line)
                .with("error", text(&caps, 1))
                .with("device", text(&caps, 2))
                .with("sector", number::<i64>(&caps, 3))
                .with("op", text(&caps, 4))
        } else if let Some(caps) = re!(r"^Buffer I/O error on dev(?:ice)? ([^,\s]+), logical block (\d+)").captures(line.text) {
            LogEvent::of("buffer_io_error", line).with("device", text(&caps, 1)).with("block", number::<i64>(&caps, 2))
        } else {
            return false;
        };
        sink.limited(event, line);
        true
    }
}
