//! Tables beside the snapshots: what was found, what the operator did and marked.

use super::{Cell, Column, Kind};
use crate::report::{Entry, Episode};
use crate::snapshot::Subject;

/// One table that is made of the whole recording.
#[derive(Clone, Copy, Debug)]
pub struct Derived {
    /// Its name.
    pub name: &'static str,
    /// What a row is.
    pub doc: &'static str,
    /// Its own columns.
    pub columns: &'static [Column],
}

const fn column(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column { name, kind, doc }
}

/// Conditions with their first and last times.
pub const FINDINGS: Derived = Derived {
    name: "findings",
    doc: "what was found, one row a condition from its beginning (time) to its end",
    columns: &[
        column("last", Kind::Time, "when it was last true"),
        column("worst", Kind::Time, "when it was at its worst"),
        column("active", Kind::Bool, "whether it was true at the end of the recording"),
        column("id", Kind::Text, "rule"),
        column("severity", Kind::Text, "warning or critical, at its worst"),
        column("subject_kind", Kind::Text, "kind of its subject"),
        column("subject", Kind::Text, "subject in words"),
        column("pid", Kind::Int, "process, where the subject is one"),
        column("start_ticks", Kind::Int, "its start time since boot, ticks"),
        column("cgroup", Kind::Text, "cgroup of the subject"),
        column("container", Kind::Text, "container of the subject"),
        column("peak", Kind::Float, "largest value"),
        column("limit", Kind::Float, "what it was held against"),
        column("unit", Kind::Text, "unit of both"),
        column("message", Kind::Text, "what it said at its worst"),
    ],
};

/// Marks of the operator.
pub const MARKS: Derived = Derived {
    name: "marks",
    doc: "the operator's marks, one row a mark",
    columns: &[column("text", Kind::Text, "what was typed")],
};

/// Actions of the operator.
pub const ACTIONS: Derived = Derived {
    name: "actions",
    doc: "the operator's actions, one row an action",
    columns: &[column("text", Kind::Text, "what was asked, decided and seen")],
};

/// All of them.
pub const DERIVED: &[Derived] = &[FINDINGS, MARKS, ACTIONS];

/// The cells of [`FINDINGS`].
#[must_use]
pub fn finding(episode: &Episode) -> Vec<Cell<'_>> {
    let worst = &episode.worst;
    let task = match &worst.subject {
        Subject::Task(key) => Some(key),
        _ => None,
    };
    vec![
        Cell::Time(episode.last_unix_ns),
        Cell::Time(episode.worst_unix_ns),
        episode.active.into(),
        worst.id.into(),
        worst.severity.word().into(),
        worst.subject.kind().into(),
        (&worst.label.name).into(),
        task.map(|t| t.pid).into(),
        task.map(|t| t.start_ticks).into(),
        worst.label.cgroup.as_ref().into(),
        worst.label.container.as_ref().into(),
        episode.reel.peak().max(worst.value).into(),
        worst.limit.into(),
        worst.unit.into(),
        worst.message.as_str().into(),
    ]
}

/// The cells of [`MARKS`] and [`ACTIONS`].
#[must_use]
pub fn entry(entry: &Entry) -> Vec<Cell<'_>> {
    vec![entry.text.as_str().into()]
}
