//! Log: the kernel log as sentences, floods folded, each line joined to what lives now.

use super::{Pane, drill};
use super::events::{event_subject, event_words, told_of};
use super::names::subject_name;
use crate::model::{Frame, Severity};
use crate::snapshot::{LogEvent, Subject};
use crate::view::{Cell, Column, Entry, Grid, Line, Role, RowId, Tree, num};

pub(super) static PANE: Pane = Pane {
    name: "log",
    title: "Log",
    question: "What did the kernel say, how long ago, and about whom that still lives?",
    lights: &["kmsg.", "cgroup.oom_kill", "host.oom_kill", "task.hung"],
    views: &[&EVENTS],
};

/// Lines of one kind about one subject become one row from this many on.
const FLOOD_FROM: usize = 3;

static EVENTS: Grid<Row> = Grid {
    name: "events",
    question: "Events, newest first; a run of the same kind about the same subject is one row.",
    columns: &[
        Column::number("age", "AGE", 7, "how long ago the kernel wrote it", |f, r| {
            event(f, r).map_or(Cell::Blank, |e| e.at.map_or(Cell::Unknown("no clock"), |at| Cell::Span(f.snap.at.since(at))))
        })
        .keep(90),
        Column::text("kind", "KIND", 8, 16, "kind of event", |f, r| {
            event(f, r).map_or(Cell::Blank, |e| Cell::Text(e.kind.clone()))
        })
        .keep(60)
        .names(),
        Column::text("now", "LIVE NOW", 8, 22, "the process, cgroup or device it names, where that still lives", |f, r| {
            let subject = event(f, r).and_then(|e| event_subject(f, e));
            subject.map_or(Cell::Blank, |s| Cell::text(subject_name(f, &s)))
        })
        .keep(50),
        Column::number("times", "TIMES", 5, "how often, in a flood", |_, r: &Row| match r.count {
            1 => Cell::Blank,
            n => Cell::Count(n as u64),
        })
        .keep(70),
        Column::hidden("window", "`in` the window, or `before` it: history", |f, r| {
            Cell::text(if inside(f, r.at) { "in" } else { "before" })
        }),
        Column::text("event", "EVENT", 40, u16::MAX, "what it says", |f, r| {
            event(f, r).map_or(Cell::Blank, |e| Cell::text(event_words(f, e)))
        })
        .keep(100)
        .tree(),
        Column::hidden("line", "the line itself", |f, r| event(f, r).map_or(Cell::Blank, |e| Cell::Text(e.text.clone()))),
    ],
    rows,
    id: |f, r| {
        let what = event(f, r).map_or_else(String::new, |e| format!("{}{} {}", e.line, if r.count > 1 { "+" } else { "" }, e.kind));
        RowId::part(Subject::Host, what)
    },
    also: |_, _| Vec::new(),
    own_severity: Some(severity),
    target: |f, r| event(f, r).map(|e| drill::event_leads(f, e)),
    sort: "",
    tree: Tree::Fixed,
    section: |f| (&f.snap.klog).into(),
    summary: |f| {
        let inside = f.log_in_window;
        let mut line = Line::default()
            .text(num::grouped(f.log.len() as u64))
            .dim(format!(" events, {inside} of them in the window of {}", num::span(f.snap.at.since(f.window_start))));
        if let Some(lost) = f.snap.klog.data().map(|k| k.lost).filter(|n| *n > 0) {
            line = line.with(Role::Warn, format!(" · {} lines overwritten before they could be read", num::grouped(lost)));
        }
        vec![line]
    },
    footer: |f, r| event(f, r).map(|e| vec![Line::of("SAYS").text(event_words(f, e)), Line::of("LINE").dim(e.text.to_string())]).unwrap_or_default(),
    footer_rows: 3,
    empty: |_| vec![Line::plain(Role::Good, "The kernel log holds no event that whytop knows.")],
};

/// An event, or a flood of them by its newest.
struct Row {
    at: usize,
    count: usize,
}

fn event<'f>(frame: &'f Frame, row: &Row) -> Option<&'f LogEvent> {
    frame.log.get(row.at)
}

/// Whether an event of the log is inside the window.
fn inside(frame: &Frame, at: usize) -> bool {
    at + frame.log_in_window >= frame.log.len()
}

/// What lights a line: a finding that rests on its kind and holds, while the line is inside the window.
fn severity(frame: &Frame, row: &Row) -> Option<Severity> {
    let event = event(frame, row).filter(|_| inside(frame, row.at))?;
    let ids = told_of(event)?.lights;
    let held = frame.findings.iter().filter(|f| f.active && ids.iter().any(|id| f.id.starts_with(id)));
    held.map(|f| f.severity).max()
}

/// Newest first; runs of one kind about one subject hang under the newest of them.
fn rows(frame: &Frame) -> Vec<Entry<Row>> {
    let mut out: Vec<Entry<Row>> = Vec::with_capacity(frame.log.len());
    let newest: Vec<usize> = (0..frame.log.len()).rev().collect();
    let same = |a: &usize, b: &usize| match (frame.log.get(*a), frame.log.get(*b)) {
        (Some(a), Some(b)) => a.kind == b.kind && event_subject(frame, a) == event_subject(frame, b),
        _ => false,
    };
    for run in newest.chunk_by(same) {
        let Some(first) = run.first() else { continue };
        if run.len() < FLOOD_FROM {
            out.extend(run.iter().map(|at| Entry::flat(Row { at: *at, count: 1 })));
            continue;
        }
        let head = out.len();
        out.push(Entry { row: Row { at: *first, count: run.len() }, parent: None, folded: true });
        out.extend(run.iter().map(|at| Entry { row: Row { at: *at, count: 1 }, parent: Some(head), folded: false }));
    }
    out
}
