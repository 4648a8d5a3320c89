//! The kernel log: from bytes to events.
//!
//! ```text
//! /dev/kmsg, dmesg, syslog, journal ─▶ wrap ─▶ Line ─▶ kinds (a table of line machines) ─▶ LogEvent
//!                                                          └ bursts fold rate-limited lines
//! ```
//!
//! Everything left of `live` is pure: the same code reads this kernel's ring and a log file of another host.

mod fields;
mod json;
mod kinds;
mod line;
mod live;
mod parser;
mod scan;
mod sink;
mod stamp;
mod syslog;
mod wrap;

pub use json::json;
pub use live::{KlogCollector, read_live_all};
pub use parser::{Parser, parse_log};
