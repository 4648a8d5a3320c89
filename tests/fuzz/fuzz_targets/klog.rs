//! Any bytes as a kernel log: no panic, read as a whole and as it grows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use whytop::collect::klog::{Parser, json, parse_log};

fuzz_target!(|log: &[u8]| {
    for event in &parse_log(log) {
        assert!(json(event).is_object());
    }
    // A live log is looked at between any two lines.
    let mut live = Parser::new();
    for (no, line) in log.split(|b| *b == b'\n').enumerate() {
        live.feed(no as u64 + 1, line);
        let _ = live.flush_idle();
    }
});
