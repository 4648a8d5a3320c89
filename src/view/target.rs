//! What a row is, and where Enter leads from it.

use crate::snapshot::{Subject, TaskKey, Text};

/// Which row this is, whatever its number: a subject, or a named part of what is said about one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    /// Its subject.
    pub subject: Subject,
    /// Which part, where one subject has several rows (a finding's id, a log line's number).
    pub part: Option<Text>,
}

impl From<Subject> for RowId {
    fn from(subject: Subject) -> Self {
        Self { subject, part: None }
    }
}

impl RowId {
    /// A named part of a subject.
    #[must_use]
    pub fn part(subject: Subject, part: impl Into<Text>) -> Self {
        Self { subject, part: Some(part.into()) }
    }
}

/// Where Enter leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A subject's own page.
    Subject(Subject),
    /// A finding, by its id and subject.
    Finding(&'static str, Subject),
    /// A kernel-log line, by its number and kind.
    Log(u64, Text),
    /// The threads of a process.
    Threads(TaskKey),
}
