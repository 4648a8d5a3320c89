//! Kernel-log events: what a line, or a run of lines, of the kernel log means.

use super::{Moment, Text};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A field of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LogValue {
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// A flag.
    Bool(bool),
    /// Text.
    Text(Text),
}

/// One event of the kernel log. Kinds are open: a newer version's kinds open in an older one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogEvent {
    /// Kind, for example `oom_kill` or `hung_task`.
    pub kind: Text,
    /// Line (1-based) of the file that closes or carries the event; of the live log, the record's sequence number.
    pub line: u64,
    /// When the kernel wrote it; `None` where the log has no clock that can be placed.
    pub at: Option<Moment>,
    /// What it says, by the field names of the log contract (`victim_pid`, `oom_memcg`, …).
    pub fields: BTreeMap<Text, LogValue>,
    /// The line itself.
    pub text: Text,
}

impl LogEvent {
    /// A whole-number field.
    #[must_use]
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.fields.get(name) {
            Some(LogValue::Int(n)) => Some(*n),
            _ => None,
        }
    }

    /// A pid-like field: a whole number that fits `u32`.
    #[must_use]
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.int(name).and_then(|n| u32::try_from(n).ok())
    }

    /// A text field.
    #[must_use]
    pub fn str(&self, name: &str) -> Option<&str> {
        match self.fields.get(name) {
            Some(LogValue::Text(t)) => Some(t),
            _ => None,
        }
    }

    /// A text field's shared handle.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&Text> {
        match self.fields.get(name) {
            Some(LogValue::Text(t)) => Some(t),
            _ => None,
        }
    }
}

/// Kernel-log events that are new since the snapshot before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KernelLog {
    /// The events, oldest first.
    pub events: Vec<LogEvent>,
    /// Records the kernel overwrote before they could be read.
    pub lost: u64,
    /// Where it was read: `/dev/kmsg` or `syslog(2)`.
    pub source: Text,
}
