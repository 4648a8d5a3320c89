//! What a recording holds beside samples.

use crate::snapshot::{ActionRecord, Moment, Subject, Text};
use serde::{Deserialize, Serialize};

/// Changes with what an older version can't read any more: new fields and kinds of notes do not change it.
pub(super) const FORMAT: u32 = 1;

/// Who recorded, and on what. One stands at the start of every session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Version of the format.
    pub format: u32,
    /// Version of whytop.
    pub whytop: Text,
    /// Host name.
    pub host: Text,
    /// Kernel release.
    pub kernel: Text,
    /// Which boot.
    pub boot_id: Text,
    /// When the session started, nanoseconds since 1970-01-01 UTC.
    pub started_unix_ns: i64,
    /// The interval asked for, ns.
    pub interval_ns: u64,
    /// Who recorded: a process.
    pub pid: u32,
}

impl Header {
    /// The header of a session that starts with this snapshot.
    #[must_use]
    pub fn of(snap: &crate::snapshot::Snapshot) -> Self {
        let host = snap.host.data();
        let text = |get: fn(&crate::snapshot::Host) -> &Text| host.map(|h| get(h).clone()).unwrap_or_default();
        Self {
            format: FORMAT,
            whytop: env!("CARGO_PKG_VERSION").into(),
            host: text(|h| &h.name),
            kernel: text(|h| &h.kernel),
            boot_id: text(|h| &h.boot_id),
            started_unix_ns: snap.wall_unix_ns,
            interval_ns: snap.own.interval_ns,
            pid: std::process::id(),
        }
    }
}

/// Something that happened, beside the samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The operator set a mark.
    Mark(Mark),
    /// The operator acted, or was refused. Noted at once, and again when the outcome is known: the last note of one
    /// attempt counts ([`ActionRecord::is_same`]).
    Action(Box<ActionRecord>),
    /// A finding came, or ended. The last note of one with this id, subject and `since` counts.
    Finding(FindingNote),
    /// Samples could not be written.
    Lost(Lost),
}

/// An operator's mark.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mark {
    /// When, since boot.
    pub at: Moment,
    /// When, nanoseconds since 1970-01-01 UTC.
    pub wall_unix_ns: i64,
    /// What was typed; may be empty.
    pub text: Text,
}

/// A finding's life so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindingNote {
    /// Rule id, for example `tcp.syn_sent_pile`.
    pub id: Text,
    /// What it is about.
    pub subject: Subject,
    /// `warning` or `critical`: the worst it was.
    #[serde(default)]
    pub severity: Text,
    /// The subject's short name, as the screens show it.
    #[serde(default)]
    pub name: Text,
    /// The sentence that the screens show.
    #[serde(default)]
    pub message: Text,
    /// When it was first seen, since boot.
    #[serde(default)]
    pub since: Moment,
    /// The same on the wall clock, nanoseconds since 1970-01-01 UTC.
    #[serde(default)]
    pub since_unix_ns: i64,
    /// When it was last seen, nanoseconds since 1970-01-01 UTC.
    #[serde(default)]
    pub last_unix_ns: i64,
    /// Whether it was still true then.
    #[serde(default)]
    pub active: bool,
    /// Its highest value.
    #[serde(default)]
    pub peak: f64,
    /// The unit of `peak`.
    #[serde(default)]
    pub unit: Text,
}

/// Samples that could not be written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lost {
    /// The first, nanoseconds since 1970-01-01 UTC.
    pub from_unix_ns: i64,
    /// The last.
    pub to_unix_ns: i64,
    /// How many.
    pub samples: u64,
    /// Why.
    pub why: Text,
}
