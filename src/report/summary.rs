//! The outage as plain data: what `report --format json` prints and documents are made of.

use super::outage::{Episode, LogKind, Outage};
use super::reel::Reel;
use crate::model::{Evidence, EvidenceValue, Severity};
use crate::snapshot::Host;
use serde::Serialize;
use std::collections::BTreeMap;

/// An outage written up.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of these keys.
    pub schema: u32,
    /// The host.
    pub host: Option<Host>,
    /// First sample, RFC 3339.
    pub from: String,
    /// Last sample.
    pub to: String,
    /// Seconds between them.
    pub seconds: f64,
    /// Samples that were read.
    pub samples: u64,
    /// What the file lost, in words.
    pub damage: Vec<String>,
    /// Worst first.
    pub stories: Vec<Tale>,
    /// Conditions beyond those that are told.
    pub left_out: u64,
    /// Beginnings and ends of conditions, actions and marks, in the order of time.
    pub timeline: Vec<Occasion>,
    /// Operator's actions.
    pub actions: Vec<Entry>,
    /// Operator's marks.
    pub marks: Vec<Entry>,
    /// Kernel-log events of the recording's time by kind.
    pub log: Vec<(String, Line)>,
    /// Those that were in the log before.
    pub history: Vec<(String, Line)>,
    /// Series of the host: name, unit, points of nanoseconds since 1970 and value.
    pub series: Vec<(&'static str, &'static str, Reel)>,
    /// Parts that could not be read, with the word for their state.
    pub blind: BTreeMap<&'static str, String>,
}

/// A story.
#[derive(Clone, Debug, Serialize)]
pub struct Tale {
    /// `warning` or `critical`, at its worst.
    pub severity: &'static str,
    /// One sentence, its figures those of the root cause at its worst.
    pub summary: String,
    /// First seen, RFC 3339.
    pub first_seen: String,
    /// Last seen.
    pub last_seen: String,
    /// Seconds between them.
    pub seconds: f64,
    /// Whether it was still going on at the end.
    pub active: bool,
    /// Its conditions, the root cause first.
    pub findings: Vec<Saying>,
}

/// One condition of a story.
#[derive(Clone, Debug, Serialize)]
pub struct Saying {
    /// Rule.
    pub id: &'static str,
    /// At its worst.
    pub severity: &'static str,
    /// The subject in words.
    pub subject: String,
    /// First seen.
    pub first_seen: String,
    /// Last seen.
    pub last_seen: String,
    /// When it was at its worst.
    pub worst_at: String,
    /// Its largest value.
    pub peak: f64,
    /// The limit it was held against.
    pub limit: Option<f64>,
    /// Unit of both.
    pub unit: &'static str,
    /// What it said at its worst.
    pub message: String,
    /// The numbers then: source, field, value, rate a second.
    pub evidence: Vec<(String, String, String, Option<f64>)>,
    /// A command that showed it.
    pub command: Option<String>,
    /// What to do.
    pub advice: Vec<String>,
    /// Rules of the conditions that explained it.
    pub explained_by: Vec<&'static str>,
    /// Its value over time.
    pub series: Reel,
    /// Whether it is the story's root cause.
    pub root: bool,
}

/// Something that happened at a moment.
#[derive(Clone, Debug, Serialize)]
pub struct Occasion {
    /// When, RFC 3339.
    pub at: String,
    /// `begins`, `ends`, `action`, `mark`, `log`.
    pub what: &'static str,
    /// Severity of a condition.
    pub severity: Option<&'static str>,
    /// In words.
    pub text: String,
}

/// An action or a mark.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// When, nanoseconds since 1970.
    #[serde(skip)]
    pub unix_ns: i64,
    /// When, RFC 3339.
    pub at: String,
    /// In words.
    pub text: String,
}

/// A kind of kernel-log event.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// How many.
    pub count: u64,
    /// The first.
    pub first_seen: Option<String>,
    /// The last.
    pub last_seen: Option<String>,
    /// The first line.
    pub text: String,
}

/// A moment of the wall clock, RFC 3339 in UTC, to the second.
pub(super) fn clock(unix_ns: i64) -> String {
    jiff::Timestamp::from_second(unix_ns.div_euclid(1_000_000_000)).map_or_else(|_| String::new(), |at| at.to_string())
}

fn seconds(first: i64, last: i64) -> f64 {
    last.saturating_sub(first).max(0) as f64 / 1e9
}

impl Report {
    /// What an outage comes to.
    #[must_use]
    pub fn new(
        outage: &Outage,
        host: Option<Host>,
        damage: Vec<String>,
        actions: Vec<Entry>,
        marks: Vec<Entry>,
    ) -> Self {
        let (first, last) = outage.span_unix_ns.unwrap_or_default();
        let lines = |book: &BTreeMap<String, LogKind>| book.iter().map(|(k, l)| (k.clone(), Line::new(l))).collect();
        Self {
            schema: 1,
            host,
            from: clock(first),
            to: clock(last),
            seconds: seconds(first, last),
            samples: outage.samples,
            damage,
            stories: tales(outage),
            left_out: outage.left_out,
            timeline: timeline(outage, &actions, &marks),
            actions,
            marks,
            log: lines(&outage.log),
            history: lines(&outage.history),
            series: outage.gauges.iter().filter(|(.., reel)| reel.speaks()).cloned().collect(),
            blind: outage.blind.clone(),
        }
    }
}

impl Entry {
    /// Something that happened then.
    #[must_use]
    pub fn new(unix_ns: i64, text: String) -> Self {
        Self { unix_ns, at: clock(unix_ns), text }
    }
}

impl Line {
    fn new(kind: &LogKind) -> Self {
        Self {
            count: kind.count,
            first_seen: kind.first_unix_ns.map(clock),
            last_seen: kind.last_unix_ns.map(clock),
            text: kind.text.clone(),
        }
    }
}

/// Episodes by story, worst story first, then the longest.
fn tales(outage: &Outage) -> Vec<Tale> {
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..outage.episodes.len() {
        groups.entry(outage.story_of(at)).or_default().push(at);
    }
    let mut tales: Vec<(Severity, f64, Tale)> = groups.values().filter_map(|members| tale(outage, members)).collect();
    tales.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)));
    tales.into_iter().map(|(.., tale)| tale).collect()
}

fn tale(outage: &Outage, members: &[usize]) -> Option<(Severity, f64, Tale)> {
    let episode = |at: usize| outage.episodes.get(at);
    let frames = |at: usize| outage.tellings.get(&at).map_or(0, |t| t.frames);
    let severity = members.iter().filter_map(|m| episode(*m)).map(|e| e.worst.severity).max()?;
    let root = members.iter().copied().max_by_key(|m| (frames(*m), std::cmp::Reverse(*m)))?;
    let mut ordered = members.to_vec();
    ordered.sort_by_key(|m| (*m != root, depth(outage, *m, root), episode(*m).map(|e| e.first_unix_ns)));
    let of = members.iter().filter_map(|m| episode(*m));
    let first = of.clone().map(|e| e.first_unix_ns).min()?;
    let last = of.clone().map(|e| e.last_unix_ns).max()?;
    let rest = outage.tellings.get(&root).map_or("", |t| &*t.rest);
    let tale = Tale {
        severity: severity.word(),
        summary: format!("{}{rest}", episode(root)?.worst.message),
        first_seen: clock(first),
        last_seen: clock(last),
        seconds: seconds(first, last),
        active: of.clone().any(|e| e.active),
        findings: ordered.iter().filter_map(|m| Some(saying(outage, episode(*m)?, *m == root))).collect(),
    };
    Some((severity, seconds(first, last), tale))
}

/// How many causes lie between an episode and its story's root: consequences stand below what explains them.
fn depth(outage: &Outage, episode: usize, root: usize) -> usize {
    let mut now = vec![episode];
    for depth in 0..8 {
        if now.contains(&root) {
            return depth;
        }
        let causes = now.iter().filter_map(|e| outage.episodes.get(*e)).flat_map(|e| e.causes.iter().copied());
        now = causes.collect();
    }
    8
}

fn saying(outage: &Outage, episode: &Episode, root: bool) -> Saying {
    let Episode { first_unix_ns, last_unix_ns, worst_unix_ns, worst, reel, causes, .. } = episode;
    Saying {
        id: worst.id,
        severity: worst.severity.word(),
        subject: subject(episode),
        first_seen: clock(*first_unix_ns),
        last_seen: clock(*last_unix_ns),
        worst_at: clock(*worst_unix_ns),
        peak: reel.peak().max(worst.value),
        limit: worst.limit,
        unit: worst.unit,
        message: worst.message.clone(),
        evidence: worst.evidence.iter().map(evidence).collect(),
        command: worst.command.clone(),
        advice: worst.advice.clone(),
        explained_by: causes.iter().filter_map(|c| Some(outage.episodes.get(*c)?.worst.id)).collect(),
        series: reel.clone(),
        root,
    }
}

/// The subject, with its container.
fn subject(episode: &Episode) -> String {
    let label = &episode.worst.label;
    match &label.container {
        Some(container) if !label.name.contains(&**container) => format!("{} in {container}", label.name),
        _ => (*label.name).to_owned(),
    }
}

fn evidence(e: &Evidence) -> (String, String, String, Option<f64>) {
    let value = match &e.value {
        EvidenceValue::Number(n) if n.fract() == 0.0 => n.to_string(),
        EvidenceValue::Number(n) => format!("{n:.1}"),
        EvidenceValue::Text(text) => (**text).to_owned(),
    };
    ((*e.source).to_owned(), (*e.field).to_owned(), value, e.rate_per_s)
}

fn timeline(outage: &Outage, actions: &[Entry], marks: &[Entry]) -> Vec<Occasion> {
    let mut all: Vec<(i64, Occasion)> = Vec::new();
    let mut add = |unix_ns: i64, what, severity: Option<Severity>, text: String| {
        let severity = severity.map(Severity::word);
        all.push((unix_ns, Occasion { at: clock(unix_ns), what, severity, text }));
    };
    for episode in &outage.episodes {
        let what = format!("{} {}", episode.worst.id, subject(episode));
        add(episode.first_unix_ns, "begins", Some(episode.worst.severity), what.clone());
        if !episode.active {
            add(episode.last_unix_ns, "ends", None, what);
        }
    }
    for (kind, line) in &outage.log {
        if let Some(first) = line.first_unix_ns {
            let times = if line.count > 1 { format!(" (the first of {})", line.count) } else { String::new() };
            add(first, "log", None, format!("{kind}{times}: {}", line.text));
        }
    }
    for (entries, what) in [(actions, "action"), (marks, "mark")] {
        for entry in entries {
            add(entry.unix_ns, what, None, entry.text.clone());
        }
    }
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, occasion)| occasion).collect()
}
