//! A report as a document: headings, sentences, tables and charts, before any markup.

use super::reel::Reel;
use super::summary::{Line, Occasion, Report, Saying, Tale};
use crate::view::num;
use std::fmt::Write as _;

/// Rows of the timeline at most: what a person reads.
const TIMELINE_ROWS: usize = 60;

/// So many findings of one kind in a story are each told in full.
const PILE_FROM: usize = 3;

/// One part of a document.
#[derive(Clone, Debug)]
pub enum Block<'a> {
    /// A heading and its level, 1 at the top.
    Heading(u8, String),
    /// A sentence.
    Text(String),
    /// A sentence to which a severity belongs.
    Verdict(&'static str, String),
    /// Points.
    List(Vec<String>),
    /// A command to copy.
    Command(String),
    /// A table: head, rows.
    Table(Vec<&'static str>, Vec<Vec<String>>),
    /// Charts: name, values, unit, limit.
    Charts(Vec<(String, &'a Reel, &'static str, Option<f64>)>),
}

/// The whole report.
#[must_use]
pub fn blocks(report: &Report) -> Vec<Block<'_>> {
    let mut out = head(report);
    for (n, tale) in report.stories.iter().enumerate() {
        story(&mut out, n + 1, tale);
    }
    timeline(&mut out, report);
    if !report.series.is_empty() {
        out.push(Block::Heading(2, "The host".into()));
        let charts = report.series.iter().map(|(name, unit, reel)| ((*name).to_owned(), reel, *unit, None));
        out.push(Block::Charts(charts.collect()));
    }
    log(&mut out, "Kernel log", &report.log);
    log(&mut out, "Kernel log before the recording", &report.history);
    blind(&mut out, report);
    out
}

fn head(report: &Report) -> Vec<Block<'_>> {
    let name = report.host.as_ref().map_or("an unknown host", |h| &*h.name);
    let mut out = vec![Block::Heading(1, format!("Outage report: {name}"))];
    let mut lead = format!(
        "{} to {} ({}), {} samples.",
        date(&report.from),
        date(&report.to),
        num::span(report.seconds),
        num::grouped(report.samples)
    );
    if let Some(host) = &report.host {
        let memory = num::prose_bytes(host.mem_total_bytes);
        let os = if host.os.is_empty() { String::new() } else { format!("{}, ", host.os) };
        let _ = write!(lead, " Kernel {}, {os}{} CPUs, {memory} of memory.", host.kernel, host.cpus);
    }
    out.push(Block::Text(format!("{lead} All times are UTC.")));
    if !report.damage.is_empty() {
        out.push(Block::List(report.damage.clone()));
    }
    out.push(Block::Heading(2, "What happened".into()));
    if report.stories.is_empty() {
        out.push(Block::Text("Nothing was found wrong in this time.".into()));
    }
    for tale in &report.stories {
        let end = if tale.active { "still so at the end".into() } else { format!("until {}", clock(&tale.last_seen)) };
        out.push(Block::Verdict(
            tale.severity,
            format!(
                "From {}, {end} ({}). {}{}",
                clock(&tale.first_seen),
                num::span(tale.seconds),
                tale.findings.iter().find(|f| f.root).map(|f| at(&f.worst_at)).unwrap_or_default(),
                sentence(&tale.summary),
            ),
        ));
    }
    out
}

fn story<'a>(out: &mut Vec<Block<'a>>, number: usize, tale: &'a Tale) {
    let root = tale.findings.iter().find(|f| f.root);
    let title = root.map_or_else(String::new, |r| format!("Story {number}: {} {}", r.id, r.subject));
    out.push(Block::Heading(2, title));
    for finding in &tale.findings {
        let of_kind = || tale.findings.iter().filter(|f| f.id == finding.id && !f.root);
        let is_first = of_kind().next().is_some_and(|first| std::ptr::eq(first, finding));
        if finding.root || is_first || of_kind().count() <= PILE_FROM {
            saying(out, finding);
        }
        if is_first && of_kind().count() > PILE_FROM {
            more(out, &of_kind().skip(1).collect::<Vec<_>>());
        }
    }
}

/// Others of a kind that one has been told of in full.
fn more<'a>(out: &mut Vec<Block<'a>>, others: &[&'a Saying]) {
    out.push(Block::Text(format!("{} more like it:", others.len())));
    let row = |f: &&Saying| {
        vec![f.subject.clone(), clock(&f.first_seen), clock(&f.last_seen), amount(f.peak, f.unit), f.message.clone()]
    };
    out.push(Block::Table(vec!["subject", "first", "last", "peak", "what"], others.iter().map(row).collect()));
}

/// Before a sentence that says what is so now.
fn at(time: &str) -> String {
    format!("At {}: ", clock(time))
}

/// `300 of 300 sockets`.
fn of_limit(value: f64, limit: Option<f64>, unit: &str) -> String {
    let told = amount(value, unit);
    let Some(limit) = limit else { return told };
    format!("{} of {}", told.strip_suffix(unit).unwrap_or(&told).trim_end(), amount(limit, unit))
}

fn saying<'a>(out: &mut Vec<Block<'a>>, finding: &'a Saying) {
    let role = if finding.root { "root cause" } else { "consequence" };
    out.push(Block::Heading(3, format!("{} {} ({role})", finding.id, finding.subject)));
    out.push(Block::Verdict(finding.severity, at(&finding.worst_at) + &sentence(&finding.message)));
    out.push(Block::Text(format!(
        "First seen {}, last {}; peak {} at {}.",
        clock(&finding.first_seen),
        clock(&finding.last_seen),
        of_limit(finding.peak, finding.limit, finding.unit),
        clock(&finding.worst_at),
    )));
    if finding.series.points().len() > 1 {
        out.push(Block::Charts(vec![(finding.unit.to_owned(), &finding.series, finding.unit, finding.limit)]));
    }
    if !finding.evidence.is_empty() {
        let rows = finding.evidence.iter().map(|(source, field, value, rate)| {
            let rate = rate.map_or_else(String::new, |r| format!("{}/s", num::number(r)));
            vec![source.clone(), field.clone(), value.clone(), rate]
        });
        out.push(Block::Table(vec!["source", "field", "value", "rate"], rows.collect()));
    }
    if let Some(command) = &finding.command {
        out.push(Block::Command(command.clone()));
    }
    if !finding.advice.is_empty() {
        out.push(Block::List(finding.advice.clone()));
    }
}

fn timeline<'a>(out: &mut Vec<Block<'a>>, report: &'a Report) {
    if report.timeline.is_empty() {
        return;
    }
    out.push(Block::Heading(2, "Timeline".into()));
    // An operator's own acts and words are never left out.
    let own = |o: &Occasion| matches!(o.what, "action" | "mark");
    let mut room = TIMELINE_ROWS.saturating_sub(report.timeline.iter().filter(|o| own(o)).count());
    let mut left_out = report.left_out;
    let mut rows = Vec::new();
    for alike in report.timeline.chunk_by(|a, b| !own(a) && is_alike(a, b)) {
        let shown = if alike.len() > PILE_FROM { 1 } else { alike.len() };
        for occasion in alike.iter().take(shown) {
            if own(occasion) || room > 0 {
                room = room.saturating_sub(usize::from(!own(occasion)));
                rows.push(happened(occasion, alike.len() - shown));
            } else {
                left_out += 1;
            }
        }
    }
    out.push(Block::Table(vec!["time", "", "what"], rows));
    if left_out > 0 {
        out.push(Block::Text(format!("{} more are not listed.", num::grouped(left_out))));
    }
}

/// Whether two of one kind of finding begin, or end, at one moment.
fn is_alike(a: &Occasion, b: &Occasion) -> bool {
    let kind = |o: &Occasion| o.text.split(' ').next().map(str::to_owned);
    (clock(&a.at), a.what, a.severity, kind(a)) == (clock(&b.at), b.what, b.severity, kind(b))
}

fn happened(occasion: &Occasion, more: usize) -> Vec<String> {
    let what = occasion.severity.map_or_else(|| occasion.what.to_owned(), |s| format!("{s} {}", occasion.what));
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    vec![clock(&occasion.at), what, format!("{}{more}", occasion.text)]
}

fn log<'a>(out: &mut Vec<Block<'a>>, title: &str, lines: &'a [(String, Line)]) {
    if lines.is_empty() {
        return;
    }
    out.push(Block::Heading(2, title.into()));
    let rows = lines.iter().map(|(kind, line)| {
        let time = |at: &Option<String>| at.as_deref().map_or_else(String::new, clock);
        vec![kind.clone(), line.count.to_string(), time(&line.first_seen), time(&line.last_seen), line.text.clone()]
    });
    out.push(Block::Table(vec!["kind", "events", "first", "last", "the first line"], rows.collect()));
}

fn blind<'a>(out: &mut Vec<Block<'a>>, report: &'a Report) {
    if report.blind.is_empty() {
        return;
    }
    out.push(Block::Heading(2, "What the recording does not hold".into()));
    out.push(Block::List(report.blind.iter().map(|(section, state)| format!("{section}: {state}")).collect()));
}

/// A value with its unit.
pub(super) fn amount(value: f64, unit: &str) -> String {
    match unit {
        "bytes" => num::prose_bytes(num::whole(value)),
        "" => num::number(value),
        "%" => format!("{}%", num::number(value)),
        "/s" => format!("{}/s", num::number(value)),
        "s" => format!("{} s", num::number(value)),
        unit if (value - 1.0).abs() < f64::EPSILON => format!("1 {}", unit.strip_suffix('s').unwrap_or(unit)),
        unit if value.fract() == 0.0 => format!("{} {unit}", num::grouped(num::whole(value))),
        unit => format!("{} {unit}", num::number(value)),
    }
}

/// Ends with a stop.
fn sentence(text: &str) -> String {
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// `2026-11-22 03:35:06` of `2026-11-22T03:35:06Z`.
fn date(rfc3339: &str) -> String {
    rfc3339.replace('T', " ").trim_end_matches('Z').to_owned()
}

/// `03:35:06` of `2026-11-22T03:35:06Z`.
fn clock(rfc3339: &str) -> String {
    rfc3339.split_once('T').map_or(rfc3339, |(_, clock)| clock).trim_end_matches('Z').to_owned()
}
