//! Why: what is wrong, causes above their consequences.

use super::events::event_words;
use super::names::{measure, measure_rate};
use super::{Pane, drill};
use crate::model::{Finding, Frame, Severity, Story};
use crate::snapshot::{Moment, Subject};
use crate::view::{Cell, Column, Entry, Grid, Line, Role, RowId, State, Target, Tree, num, sight};

pub(super) static PANE: Pane = Pane {
    name: "why",
    title: "Why",
    question: "What is wrong with this host, and what causes it?",
    lights: &[],
    views: &[&STORIES],
};

static STORIES: Grid<Row> = Grid {
    name: "stories",
    question: "Stories, worst first: the cause, and under it what it leads to.",
    columns: &[
        Column::text("what", "", 54, u16::MAX, "a story in one sentence; under it what it leads to", what)
            .keep(100)
            .tree(),
        Column::text("history", "", 8, 8, "the rule's own measure over time", |f, r| {
            finding(f, r).map_or(Cell::Blank, |x| match x.spark.as_slice() {
                [] => Cell::Blank,
                values => Cell::Spark { values: values.to_vec(), limit: x.limit.map(narrow) },
            })
        })
        .keep(20),
        Column::number("value", "value", 7, "the count or measure the rule names", |f, r| {
            finding(f, r).map_or(Cell::Blank, |x| measure(x.value, x.unit))
        })
        .keep(60)
        .names(),
        Column::number("limit", "limit", 7, "the kernel limit it is held against", |f, r| {
            finding(f, r).and_then(|x| x.limit.map(|l| measure(l, x.unit))).unwrap_or(Cell::Blank)
        })
        .keep(30),
        Column::number("per_s", "per s", 7, "growth, or rate of what fired, a second", |f, r| {
            finding(f, r).map_or(Cell::Blank, measure_rate)
        })
        .keep(40),
        Column::number("since", "since", 7, "how long it has been true, at least", |f, r| {
            finding(f, r).map_or(Cell::Blank, |x| Cell::Span(f.snap.at.since(x.since)))
        })
        .keep(50),
        Column::hidden("rule", "the finding's id", |f, r| finding(f, r).map_or(Cell::Blank, |x| Cell::text(x.id))),
        Column::hidden("severity", "warning or critical", |f, r| {
            finding(f, r).map_or(Cell::Blank, |x| Cell::text(x.severity.word()))
        }),
    ],
    rows,
    id: |f, r| match finding(f, r) {
        Some(x) if r.head => RowId::part(x.subject.clone(), format!("story {}", x.id)),
        Some(x) if r.more > 0 => RowId::part(x.subject.clone(), format!("more {}", x.id)),
        Some(x) => RowId::part(x.subject.clone(), x.id.to_owned()),
        None => Subject::Host.into(),
    },
    also: |_, _| Vec::new(),
    own_severity: Some(|f, r| {
        let story = f.stories.get(r.story).filter(|_| r.head).map(|s| s.findings.as_slice()).unwrap_or_default();
        let rows = story.iter().filter_map(|at| f.findings.get(*at)).chain(finding(f, r));
        rows.filter(|x| x.active).map(|x| x.severity).max()
    }),
    target: |f, r| finding(f, r).map(leads),
    sort: "",
    tree: Tree::Fixed,
    section: |f| State::Ok(f.snap.at),
    summary,
    footer: |f, r| finding(f, r).map(footer).unwrap_or_default(),
    footer_rows: 10,
    empty: calm,
};

/// A story's head, or a finding in it.
struct Row {
    story: usize,
    finding: usize,
    head: bool,
    /// Of a pile: how many findings are in it, of which `finding` is the first.
    more: usize,
}

fn finding<'f>(frame: &'f Frame, row: &Row) -> Option<&'f Finding> {
    frame.findings.get(row.finding)
}

#[expect(clippy::cast_possible_truncation, reason = "a scale for eight steps")]
fn narrow(limit: f64) -> f32 {
    limit as f32
}

fn leads(finding: &Finding) -> Target {
    if drill::has_page(&finding.subject) {
        Target::Subject(finding.subject.clone())
    } else {
        Target::Finding(finding.id, finding.subject.clone())
    }
}

/// So many of one kind under one cause are shown as they are.
const PILE_FROM: usize = 3;

fn rows(frame: &Frame) -> Vec<Entry<Row>> {
    let mut out: Vec<Entry<Row>> = Vec::new();
    let mut told = vec![false; frame.findings.len()];
    for (at, story) in frame.stories.iter().enumerate() {
        tell(frame, at, story, &mut out);
        for index in &story.findings {
            if let Some(slot) = told.get_mut(*index) {
                *slot = true;
            }
        }
    }
    let alone = told.iter().enumerate().filter(|(_, told)| !**told);
    out.extend(alone.map(|(finding, _)| Entry::flat(Row { story: usize::MAX, finding, head: false, more: 0 })));
    out
}

/// A story's rows, each under its cause. Of many of one kind under one cause the first stands for all, and the others are
/// folded into a pile below it.
fn tell(frame: &Frame, at: usize, story: &Story, out: &mut Vec<Entry<Row>>) {
    let row = |finding| Row { story: at, finding, head: false, more: 0 };
    // Each finding with its cause within the story.
    let explained_by = |index: usize| frame.findings.get(index).map(|f| f.explained_by.as_slice()).unwrap_or_default();
    let mut members: Vec<(usize, usize)> = vec![(story.root, story.root)];
    for index in story.findings.iter().copied().filter(|i| *i != story.root) {
        let cause = explained_by(index).iter().find(|c| members.iter().any(|(i, _)| i == *c));
        members.push((index, cause.copied().unwrap_or(story.root)));
    }
    let kind = |(index, cause): (usize, usize)| (frame.findings.get(index).map(|f| f.id), cause);
    let mut places = vec![(story.root, out.len())];
    out.push(Entry::flat(Row { head: true, ..row(story.root) }));
    let mut piles = Vec::new();
    for member in members.iter().copied().skip(1) {
        let alike = || members.iter().skip(1).filter(|other| kind(**other) == kind(member));
        let cause = places.iter().find(|(i, _)| *i == member.1).map(|(_, place)| *place);
        let parent = if alike().count() <= PILE_FROM || alike().next() == Some(&member) {
            cause
        } else if let Some((_, pile)) = piles.iter().find(|(of, _)| *of == kind(member)) {
            Some(*pile)
        } else {
            let pile = out.len();
            piles.push((kind(member), pile));
            out.push(Entry { row: Row { more: alike().count() - 1, ..row(member.0) }, parent: cause, folded: true });
            Some(pile)
        };
        places.push((member.0, out.len()));
        out.push(Entry { row: row(member.0), parent, folded: false });
    }
}

fn what(frame: &Frame, row: &Row) -> Cell {
    let Some(found) = finding(frame, row) else { return Cell::Blank };
    if row.more > 0 {
        return Cell::text(format!("{}  {} more like it", found.id, row.more));
    }
    let summary = frame.stories.get(row.story).filter(|s| row.head && !s.summary.is_empty());
    match summary {
        Some(story) if story.findings.len() > 1 => Cell::Title(story.summary.as_str().into()),
        Some(story) => Cell::text(story.summary.as_str()),
        None if found.active => Cell::text(format!("{}  {}", found.id, found.message)),
        None => {
            let ago = num::span(frame.snap.at.since(found.last_true));
            Cell::text(format!("{}  {} (over, {ago} ago)", found.id, found.message))
        }
    }
}

fn summary(frame: &Frame) -> Vec<Line> {
    let count = frame.stories.len();
    if frame.findings.is_empty() {
        return Vec::new();
    }
    let worst = frame.stories.first().map(|s| s.severity);
    let words = match count {
        1 => "1 story".to_owned(),
        n => format!("{n} stories, worst first"),
    };
    let active = frame.findings.iter().filter(|f| f.active).count();
    let critical = frame.findings.iter().filter(|f| f.active && f.severity == Severity::Critical).count();
    let role = if worst == Some(Severity::Critical) { Role::Title } else { Role::Text };
    let hold = match active {
        1 => " · 1 finding holds now".to_owned(),
        n => format!(" · {n} findings hold now"),
    };
    let failing = match critical {
        0 => String::new(),
        n if n == active => ", critical: work is failing".into(),
        n => format!(", {n} of them critical: work is failing"),
    };
    vec![Line::plain(role, words).dim(format!("{hold}{failing}"))]
}

fn footer(found: &Finding) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.push(Line::of("IS").marked(found.active.then_some(found.severity)).text(found.message.clone()).dim(format!(" · {}", found.id)));
    if !found.evidence.is_empty() {
        lines.push(drill::evidence(found));
    }
    if let Some(command) = &found.command {
        lines.push(Line::of("SEE IT").text(command.clone()));
    }
    for (i, advice) in found.advice.iter().enumerate() {
        lines.push(Line::of(if i == 0 { "DO NEXT" } else { " " }).text(advice.clone()));
    }
    lines
}

/// The calm screen: what it means, what it doesn't, and what is past.
fn calm(frame: &Frame) -> Vec<Line> {
    if frame.snap.at == Moment::default() {
        return vec![Line::plain(Role::Dim, "Taking the first look …")];
    }
    let gaps = sight::gaps(frame);
    let role = if gaps.is_empty() { Role::Good } else { Role::Title };
    let mut lines = vec![Line::plain(role, "Nothing is wrong that whytop can see.")];
    if gaps.is_empty() {
        lines.push(Line::plain(Role::Dim, "It sees every process, socket, cgroup, cache and the kernel log."));
    } else {
        lines.push(Line::default());
        lines.push(Line::plain(Role::Label, "What it can't see, and what would show it:"));
        lines.extend(gaps.iter().map(|g| Line::plain(Role::Dim, format!("  {} · {}", g.what, g.fix))));
    }
    let past: Vec<_> = frame.log.iter().rev().skip(frame.log_in_window).take(8).collect();
    if !past.is_empty() {
        lines.push(Line::default());
        lines.push(Line::plain(Role::Label, "Before this look, from the kernel log:"));
        for event in past {
            let age = event.at.map_or_else(|| "     –".into(), |at| num::span(frame.snap.at.since(at)));
            let words = event_words(frame, event);
            lines.push(Line::plain(Role::Dim, format!("  {age:>6} ago  {words}")));
        }
    }
    lines
}
