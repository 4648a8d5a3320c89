//! A finding in full, and the findings about a subject.

use super::super::names::{evidence_words, label_name, measure, measure_rate, subject_name};
use super::links::{linked, named};
use super::{Cx, Page, block, ended, has_page};
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
    lines.extend(others(frame, found));
    let evidence = found.evidence.iter().map(|item| {
        let rate = num::rate_after(item.rate_per_s);
        let line = Line::default().with(Role::Label, format!("{} ", item.field));
        let line = line.text(format!("{}{rate}", evidence_words(&item.value))).dim(format!("   {}", item.source));
        linked(frame, line)
    });
    lines.extend(block("evidence", evidence));
    if let Some(command) = &found.command {
        lines.push(Line::of("see it").text(command.clone()));
    }
    lines.extend(block("do next", found.advice.iter().map(|a| linked(frame, Line::default().text(a.clone())))));
    let causes = found.explained_by.iter().filter_map(|i| frame.findings.get(*i));
    lines.extend(related(frame, "because", causes));
    let at = frame.findings.iter().position(|f| std::ptr::eq(f, found));
    let effects = frame.findings.iter().filter(|f| at.is_some_and(|at| f.explained_by.contains(&at)));
    lines.extend(related(frame, "leads to", effects));
    Page { title: id.to_owned(), lines, ..Page::default() }
}

/// Who else it names: the far end, the process that holds a socket, whoever stands in its sentence.
fn others(frame: &Frame, found: &Finding) -> Vec<Line> {
    let mut subjects: Vec<Subject> = Vec::new();
    if let Some((addr, port)) = found.remote {
        let mut known = frame.model.remotes.keys().filter(|r| r.addr == addr && r.port == Some(port));
        subjects.extend(known.next().map(|key| Subject::Remote(*key)));
    }
    let owner = found.label.owner.as_ref().filter(|(key, _)| frame.task(*key).is_some());
    subjects.extend(owner.map(|(key, _)| Subject::Task(*key)));
    subjects.extend(named(frame, &found.message));
    let home = found.label.cgroup.as_deref().and_then(|path| frame.cgroup(path));
    subjects.extend(home.map(|c| Subject::Cgroup(c.key.clone())));
    subjects.retain(|subject| *subject != found.subject);
    let mut seen: Vec<Subject> = Vec::new();
    for subject in subjects {
        if !seen.contains(&subject) {
            seen.push(subject);
        }
    }
    block("names", seen.into_iter().map(|s| Line::default().text(subject_name(frame, &s)).to(Target::Subject(s))))
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
