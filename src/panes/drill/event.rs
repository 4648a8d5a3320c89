//! A kernel-log line in full: its fields, and what it names.

use super::super::events::{event_subject, event_words};
use super::{Cx, Page, ended};
use crate::model::Frame;
use crate::snapshot::{LogEvent, LogValue, Subject, Text};
use crate::view::{Line, Target, num};

/// Where a log line leads: to what it is about, where that lives and has a page, else to the line itself.
pub(in super::super) fn leads(frame: &Frame, event: &LogEvent) -> Target {
    match event_subject(frame, event).filter(super::has_page) {
        Some(subject) => Target::Subject(subject),
        None => itself(event),
    }
}

/// The page of the line itself.
pub(in super::super) fn itself(event: &LogEvent) -> Target {
    Target::Log(event.line, event.kind.clone())
}

/// Its page.
pub(super) fn page(cx: &Cx<'_>, line: u64, kind: &Text) -> Page {
    let frame = cx.frame;
    let title = kind.to_string();
    let Some(event) = frame.log.iter().find(|e| e.line == line && e.kind == *kind) else {
        return Page { lines: ended(&title), title, gone: true, ..Page::default() };
    };
    let mut lines = vec![super::links::linked(frame, Line::of("says").text(event_words(frame, event)))];
    if let Some(at) = event.at {
        let clock = num::clock(frame.snap.wall_of(at), cx.utc_offset_secs);
        lines.push(Line::of("when").text(clock).dim(format!(", {} ago", num::span(frame.snap.at.since(at)))));
    }
    let fields = event.fields.iter().map(|(name, value)| {
        let line = Line::default().dim(format!("{name} ")).text(words(value));
        match subject_of(frame, event, name, value) {
            Some(subject) => line.to(Target::Subject(subject)),
            None => line,
        }
    });
    lines.extend(super::block("fields", fields));
    lines.push(Line::of("line").dim(event.text.to_string()));
    Page { title, lines, ..Page::default() }
}

fn words(value: &LogValue) -> String {
    match value {
        LogValue::Int(n) => n.to_string(),
        LogValue::Float(v) => format!("{v}"),
        LogValue::Bool(b) => b.to_string(),
        LogValue::Text(t) => t.to_string(),
    }
}

/// The process or cgroup that a field names, if it lives: a pid only under the name beside it.
fn subject_of(frame: &Frame, event: &LogEvent, name: &str, value: &LogValue) -> Option<Subject> {
    match value {
        LogValue::Int(_) if name.ends_with("pid") => {
            let key = *frame.model.by_pid.get(&event.pid(name)?)?;
            let comm = format!("{}comm", name.strip_suffix("pid")?);
            let same = event.str(&comm).is_none_or(|comm| frame.task(key).is_some_and(|task| *task.comm == *comm));
            same.then_some(Subject::Task(key))
        }
        LogValue::Text(path) if path.starts_with('/') => frame.cgroup(path).map(|c| Subject::Cgroup(c.key.clone())),
        _ => None,
    }
}
