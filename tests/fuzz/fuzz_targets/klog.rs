//! Any bytes as a kernel log: no panic, and the same events whether it is read as a block or line by line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use whytop::collect::klog::{Parser, json, parse_log};

fuzz_target!(|log: &[u8]| {
    let whole = parse_log(log);
    for event in &whole {
        assert!(json(event).is_object());
    }
    let mut parser = Parser::new();
    for (no, line) in log.split(|b| *b == b'\n').enumerate() {
        parser.feed(no as u64 + 1, line);
    }
    let mut single = parser.finish();
    single.sort_by_key(|e| e.line);
    assert_eq!(single, whole);

    // A live log is looked at between any two lines.
    let mut live = Parser::new();
    for (no, line) in log.split(|b| *b == b'\n').enumerate() {
        live.feed(no as u64 + 1, line);
        let _ = live.flush_idle();
    }
});
