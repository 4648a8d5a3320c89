//! A finding in full, and the findings about a subject.

use super::super::names::{evidence_words, label_name, measure, measure_rate};
use super::{Cx, Page, ended, has_page};
use crate::model::{Finding, Frame};
use crate::snapshot::Subject;
use crate::view::{Line, Role, Target, line::severity_role, num, spark};

/// All evidence of a finding in one line, each with its rate.
pub(in super::super) fn evidence(found: &Finding) -> Line {
    let mut line = Line::of("EVIDENCE");
    for (i, item) in found.evidence.iter().enumerate() {
        if i > 0 {
            line = line.dim(" · ");
        }
        line = line.with(Role::Label, format!("{} ", item.field)).text(evidence_words(&item.value));
        line = line.text(num::rate_after(item.rate_per_s));
    }
    line
}

/// The findings about a subject, each a line that leads to it.
pub(super) fn about(frame: &Frame, subject: &Subject) -> Vec<Line> {
    let about = frame.findings.iter().filter(|f| f.subject == *subject);
    about
        .enumerate()
        .map(|(i, f)| {
            let severity = f.active.then_some(f.severity);
            Line::of(if i == 0 { "findings" } else { " " })
                .marked(severity)
                .with(severity_role(severity, Role::Dim), f.message.clone())
                .dim(format!(" · {} · {}", f.id, num::span(frame.snap.at.since(f.since))))
                .to(Target::Finding(f.id, f.subject.clone()))
        })
        .collect()
}

/// A finding's own page.
pub(super) fn page(cx: &Cx<'_>, id: &'static str, subject: &Subject) -> Page {
    let frame = cx.frame;
    let Some(found) = frame.findings.iter().find(|f| f.id == id && f.subject == *subject) else {
        return Page { title: id.to_owned(), lines: ended(id), gone: true, ..Page::default() };
    };
    let severity = found.active.then_some(found.severity);
    let mut lines =
        vec![Line::of("is").marked(severity).with(severity_role(severity, Role::Dim), found.message.clone())];
    let name = label_name(frame, subject, &found.label);
    let mut about = Line::of("about").text(name);
    for more in [&found.label.container, &found.label.pod, &found.label.cgroup].into_iter().flatten() {
        about = about.dim(format!(" · {more}"));
    }
    lines.push(if has_page(subject) { about.to(Target::Subject(subject.clone())) } else { about });
    lines.push(measured(found));
    lines.push(since(cx, found));
    for (i, item) in found.evidence.iter().enumerate() {
        let rate = num::rate_after(item.rate_per_s);
        lines.push(
            Line::of(if i == 0 { "evidence" } else { " " })
                .with(Role::Label, format!("{} ", item.field))
                .text(format!("{}{rate}", evidence_words(&item.value)))
                .dim(format!("   {}", item.source)),
        );
    }
    if let Some(command) = &found.command {
        lines.push(Line::of("see it").text(command.clone()));
    }
    for (i, advice) in found.advice.iter().enumerate() {
        lines.push(Line::of(if i == 0 { "do next" } else { " " }).text(advice.clone()));
    }
    let causes = found.explained_by.iter().filter_map(|i| frame.findings.get(*i));
    lines.extend(related(frame, "because", causes));
    let at = frame.findings.iter().position(|f| std::ptr::eq(f, found));
    let effects = frame.findings.iter().filter(|f| at.is_some_and(|at| f.explained_by.contains(&at)));
    lines.extend(related(frame, "leads to", effects));
    Page { title: id.to_owned(), lines, ..Page::default() }
}

fn measured(found: &Finding) -> Line {
    let mut line = Line::of("value").text(measure(found.value, found.unit).words(12));
    if let Some(limit) = found.limit {
        line = line.dim(" of ").text(measure(limit, found.unit).words(12));
    }
    if !matches!(found.unit, "bytes" | "%" | "seconds") {
        line = line.dim(format!(" {}", found.unit));
    }
    if found.rate_per_s.is_some() {
        line = line.dim(" · ").text(measure_rate(found).words(8));
        line = line.dim(if found.rate_unit == found.unit { "/s".into() } else { format!(" {}/s", found.rate_unit) });
    }
    if !found.spark.is_empty() {
        line = line.text("   ").with(Role::Bar, spark::line(&found.spark, None, 40));
    }
    line
}

fn since(cx: &Cx<'_>, found: &Finding) -> Line {
    let snap = &cx.frame.snap;
    let clock = num::clock(snap.wall_of(found.since), cx.utc_offset_secs);
    let line = Line::of("since").text(clock).dim(format!(", {} ago at least", num::span(snap.at.since(found.since))));
    if found.active {
        line
    } else {
        line.dim(format!("; over since {}", num::clock(snap.wall_of(found.last_true), cx.utc_offset_secs)))
    }
}

fn related<'f>(frame: &Frame, label: &'static str, findings: impl Iterator<Item = &'f Finding>) -> Vec<Line> {
    findings
        .enumerate()
        .map(|(i, f)| {
            let severity = frame.severity_of(&f.subject).and(Some(f.severity)).filter(|_| f.active);
            Line::of(if i == 0 { label } else { " " })
                .marked(severity)
                .text(f.message.clone())
                .dim(format!(" · {}", f.id))
                .to(Target::Finding(f.id, f.subject.clone()))
        })
        .collect()
}
