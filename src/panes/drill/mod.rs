//! Drill-downs: everything known of one subject, as lines that lead on to others.

mod cgroup;
mod event;
mod finding;
mod kernel;
mod links;
mod socket;
mod task;
mod threads;
mod waits;

pub(super) use event::leads as event_leads;
pub(super) use finding::evidence;

use super::events::event_words;
use super::names::subject_name;
use crate::model::Frame;
use crate::snapshot::{Deep, LogEvent, Subject};
use crate::view::line::LABEL_COLUMNS;
use crate::view::{Line, Role, Target, num, spark};

/// Log lines of a drill-down at most.
const LOG_LINES: usize = 6;

/// What a drill-down needs besides the frame.
#[derive(Clone, Copy, Debug)]
pub struct Cx<'f> {
    /// The frame.
    pub frame: &'f Frame,
    /// The local zone's offset, seconds east of UTC.
    pub utc_offset_secs: i32,
    /// A deep read that was asked for.
    pub deep: Option<&'f Deep>,
    /// Whether the frame is from a recording: what is not in it will not come.
    pub recorded: bool,
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
    let subject = match target {
        Target::Finding(id, subject) => return finding::page(cx, id, subject),
        Target::Log(line, kind) => return event::page(cx, *line, kind),
        Target::Threads(key) => return threads::page(cx, *key),
        Target::Subject(subject) => subject,
    };
    let frame = cx.frame;
    let known = match subject {
        Subject::Task(key) => task::page(cx, *key),
        Subject::Cgroup(key) => cgroup::page(cx, key),
        Subject::Listener(key) => socket::listener(frame, key),
        Subject::Socket(key) => socket::udp(frame, key),
        Subject::Remote(key) => socket::remote(frame, key),
        Subject::Netns(id) => socket::netns(frame, *id),
        Subject::Slab(name) => kernel::slab(frame, name),
        Subject::Iface(netns, name) => kernel::iface(frame, *netns, name),
        Subject::Wchan(name) => kernel::wchan(frame, name),
        Subject::Host | Subject::Cpu(_) | Subject::Device(_) => None,
    };
    let title = subject_name(frame, subject);
    let mut lines = finding::about(frame, subject);
    let gone = known.is_none();
    let (note, own) = known.unwrap_or_else(|| (String::new(), ended(&title)));
    lines.extend(own);
    Page { title, note, lines, gone }
}

/// A line for what has gone.
fn ended(what: &str) -> Vec<Line> {
    vec![Line::plain(Role::Ended, format!("{what} is no longer there: it ended, or can't be seen any more."))]
}

/// Several lines under one label.
fn block(label: &'static str, lines: impl IntoIterator<Item = Line>) -> Vec<Line> {
    let labelled = |(i, line): (usize, Line)| Line { label: if i == 0 { label } else { " " }, ..line };
    debug_assert!(label.len() <= usize::from(LABEL_COLUMNS), "{label}");
    lines.into_iter().enumerate().map(labelled).collect()
}

/// Sparklines of what the engine keeps of a subject.
fn history<'h>(
    frame: &Frame,
    subject: &Subject,
    metrics: impl IntoIterator<Item = (&'h str, crate::model::Metric)>,
) -> Vec<Line> {
    let mut line = Line::of("history");
    for (name, metric) in metrics {
        if let Some(values) = frame.spark(subject, metric) {
            line = line.dim(format!("{name} ")).with(Role::Bar, spark::line(values, None, 16)).dim("   ");
        }
    }
    if line.spans.is_empty() { Vec::new() } else { vec![line] }
}

/// The newest log lines that pass, each with its age; the same line again is counted.
fn log(frame: &Frame, names: impl Fn(&LogEvent) -> bool) -> Vec<Line> {
    let mut told: Vec<(String, &LogEvent, usize)> = Vec::new();
    for event in frame.log.iter().rev().filter(|e| names(e)) {
        let words = event_words(frame, event);
        let full = told.len() == LOG_LINES;
        match told.last_mut() {
            Some((last, _, times)) if *last == words => *times += 1,
            _ if full => break,
            _ => told.push((words, event, 1)),
        }
    }
    let lines = told.into_iter().map(|(words, event, times)| {
        let age = event.at.map_or_else(|| "–".into(), |at| num::span(frame.snap.at.since(at)));
        let line = Line::default().dim(format!("-{age} ")).text(words).to(event::itself(event));
        if times > 1 { line.dim(format!(" × {times}")) } else { line }
    });
    block("log", lines)
}

/// `name value` pairs with dots between; what is unknown is left out.
fn facts(label: &'static str, parts: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Line {
    let mut line = Line::of(label);
    for (name, value) in parts {
        let Some(value) = value else { continue };
        if !line.spans.is_empty() {
            line = line.dim(" · ");
        }
        line = line.dim(if name.is_empty() { String::new() } else { format!("{name} ") }).text(value);
    }
    line
}
