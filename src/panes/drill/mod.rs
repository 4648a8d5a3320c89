//! Drill-downs: everything known of one subject, as lines that lead on to others.

mod finding;

pub(super) use finding::evidence;

use super::names::subject_name;
use crate::model::Frame;
use crate::snapshot::Subject;
use crate::view::{Line, Role, Target};

/// What a drill-down needs besides the frame.
#[derive(Clone, Copy, Debug)]
pub struct Cx<'f> {
    /// The frame.
    pub frame: &'f Frame,
    /// The local zone's offset, seconds east of UTC.
    pub utc_offset_secs: i32,
}

/// A drill-down.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What it is about, for the breadcrumb.
    pub title: String,
    /// At the right of the title: since when, pinned.
    pub note: String,
    /// What is known.
    pub lines: Vec<Line>,
    /// Whether the subject is no longer there.
    pub gone: bool,
}

/// Whether a subject has a page of its own.
#[must_use]
pub fn has_page(subject: &Subject) -> bool {
    !matches!(subject, Subject::Host | Subject::Cpu(_) | Subject::Device(_))
}

/// The page of a target.
#[must_use]
pub fn page(cx: &Cx<'_>, target: &Target) -> Page {
    match target {
        Target::Finding(id, subject) => finding::page(cx, id, subject),
        Target::Subject(subject) => {
            Page { title: subject_name(cx.frame, subject), lines: finding::about(cx.frame, subject), ..Page::default() }
        }
    }
}

/// A line for what has gone.
fn gone(what: &str) -> Vec<Line> {
    vec![Line::plain(Role::Ended, format!("{what} is no longer there."))]
}
