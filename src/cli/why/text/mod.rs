//! Stories as text: worst first, the root cause leads, its consequences nest under it.

use crate::cli::json::history;
use crate::cli::text::{COLUMNS, Dress, wrap};
use crate::model::{Evidence, EvidenceValue, Finding, Frame, Severity, Story, SubjectLabel};
use crate::snapshot::Text;
use crate::view::text::{printable, width};
use crate::view::{num, sight};
use std::fmt::Write as _;

/// Lines that one story takes at most: the parts below add up to it.
#[cfg(test)]
const STORY_LINES: usize = 30;
const SUMMARY_LINES: usize = 3;
const ROOT_LINES: usize = 2;
const EVIDENCE_LINES: usize = 3;
const COMMAND_LINES: usize = 2;
const CONSEQUENCES: usize = 6;
const CONSEQUENCE_LINES: usize = 2;
const ADVICE: usize = 3;
const ADVICE_LINES: usize = 2;

/// What a look says; `how` was looked, in words.
pub fn render(frame: &Frame, how: &str, dress: Dress) -> String {
    let mut out = Writer { text: String::new(), dress };
    out.head(frame, how);
    for story in &frame.stories {
        out.story(frame, story);
    }
    if frame.findings.is_empty() {
        out.blank();
        let word = if super::is_blind(&frame.snap) {
            dress.warning("whytop could not look at this host.")
        } else {
            dress.good("Nothing is wrong that whytop can see.")
        };
        let word = word.into_owned();
        let _ = writeln!(out.text, "{word}");
    }
    out.tail(frame);
    out.text
}

struct Writer {
    text: String,
    dress: Dress,
}

impl Writer {
    fn head(&mut self, frame: &Frame, how: &str) {
        let snap = &frame.snap;
        let (name, kernel) = snap.host.data().map_or(("this host", ""), |h| (&*h.name, &*h.kernel));
        let taken = super::super::json::rfc3339(snap.wall_unix_ns);
        let looked = format!("whytop {name} {kernel} {taken}: {how}");
        for line in wrap(&looked, COLUMNS, 2) {
            let line = self.dress.dim(&line).into_owned();
            let _ = writeln!(self.text, "{line}");
        }
    }

    fn story(&mut self, frame: &Frame, story: &Story) {
        let findings = || story.findings.iter().filter_map(|i| frame.findings.get(*i));
        let Some(root) = frame.findings.get(story.root).or_else(|| findings().next()) else { return };
        self.blank();
        let (word, painted) = match story.severity {
            Severity::Critical => ("CRITICAL", self.dress.critical("CRITICAL")),
            Severity::Warning => ("WARNING ", self.dress.warning("WARNING ")),
        };
        let painted = painted.into_owned();
        self.block(&format!("{painted}  "), word.len() + 2, &story.summary, SUMMARY_LINES);
        let told = story.summary.starts_with(&root.message);
        self.finding(root, frame, "", if told { None } else { Some(ROOT_LINES) }, 0);
        self.evidence(root);
        self.command(findings());
        self.consequences(frame, &findings().filter(|f| !std::ptr::eq(*f, root)).collect::<Vec<_>>());
        self.advice(root, findings());
    }

    /// Id, sentence in so many lines (`None`: it was told above, and where it is stands here), and how long it has been
    /// so.
    fn finding(&mut self, finding: &Finding, frame: &Frame, branch: &str, lines: Option<usize>, more: usize) {
        let age = num::span(frame.snap.at.since(finding.since));
        let when = if finding.active { format!("since {age}") } else { "over now".into() };
        let when = if more > 0 { format!("{when}; {more} more like it") } else { when };
        let id = self.dress.dim(finding.id).into_owned();
        let lead = format!("  {branch}{id}  ");
        let columns = 2 + width(branch) + finding.id.len() + 2;
        match lines {
            Some(lines) => self.block(&lead, columns, &format!("{} ({when})", finding.message), lines),
            None => self.block(&lead, columns, &place(&finding.label, &when), 1),
        }
    }

    fn evidence(&mut self, finding: &Finding) {
        for evidence in finding.evidence.iter().take(EVIDENCE_LINES) {
            let value = printable(&value_words(evidence)).into_owned();
            // The end of a path says which file it is: what doesn't fit is left out before it.
            let room = COLUMNS.saturating_sub(6 + width(&value) + 3);
            let source = tail(&short_ids(&printable(&evidence.source)), room);
            self.block("      ", 6, &format!("{value} · {source}"), 1);
        }
    }

    /// The command that shows the root's evidence, or else the first consequence's that has one.
    fn command<'a>(&mut self, mut all: impl Iterator<Item = &'a Finding>) {
        if let Some(command) = all.find_map(|f| f.command.as_deref()) {
            self.block("  see it   ", 11, command, COMMAND_LINES);
        }
    }

    /// Each kind of consequence once, its worst, with how many there are like it.
    fn consequences(&mut self, frame: &Frame, findings: &[&Finding]) {
        let (tee, end) = if self.dress.ascii { ("|- ", "`- ") } else { ("├─ ", "└─ ") };
        let mut kinds: Vec<(&Finding, usize)> = Vec::new();
        for finding in findings {
            match kinds.iter_mut().find(|(first, _)| first.id == finding.id) {
                Some((_, more)) => *more += 1,
                None => kinds.push((finding, 0)),
            }
        }
        let shown = kinds.len().min(CONSEQUENCES);
        for (i, (finding, more)) in kinds.iter().take(shown).enumerate() {
            let branch = if i + 1 == kinds.len() { end } else { tee };
            self.finding(finding, frame, branch, Some(CONSEQUENCE_LINES), *more);
        }
        if kinds.len() > shown {
            self.block(
                &format!("  {end}"),
                5,
                &format!("and {} more kinds of findings: see --json", kinds.len() - shown),
                1,
            );
        }
    }

    /// What to do about the root; where it has no advice, what its consequences say.
    fn advice<'a>(&mut self, root: &'a Finding, all: impl Iterator<Item = &'a Finding>) {
        let mut advice: Vec<&str> = root.advice.iter().map(String::as_str).collect();
        if advice.is_empty() {
            for text in all.flat_map(|f| &f.advice) {
                if !advice.contains(&text.as_str()) {
                    advice.push(text);
                }
            }
        }
        for (i, text) in advice.into_iter().take(ADVICE).enumerate() {
            self.block(if i == 0 { "  do next  " } else { "           " }, 11, text, ADVICE_LINES);
        }
    }

    /// What the window doesn't hold and what couldn't be seen.
    fn tail(&mut self, frame: &Frame) {
        let old = history(frame).count();
        let blind = sight::gaps(frame);
        if old > 0 || !blind.is_empty() {
            self.blank();
        }
        if old > 0 {
            self.block("", 0, &format!("{old} older kernel-log events: whytop log"), 1);
        }
        for spot in blind {
            self.block("not seen   ", 11, &format!("{}: {}", spot.what, spot.fix), 2);
        }
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }

    /// `lead`, which takes `columns`, then `text` wrapped and indented as far.
    fn block(&mut self, lead: &str, columns: usize, text: &str, most: usize) {
        let mut lead = lead.to_owned();
        for line in wrap(text, COLUMNS.saturating_sub(columns), most) {
            let line = self.dress.drawn(&line);
            let _ = writeln!(self.text, "{lead}{line}");
            lead = " ".repeat(columns);
        }
    }
}

/// How long it has been so, and where: what its sentence may not say.
fn place(label: &SubjectLabel, when: &str) -> String {
    let told = |what: &str, name: &Option<Text>| name.as_ref().map(|name| format!("{what} {name}"));
    let cgroup = label.cgroup.clone().filter(|path| label.container.is_none() && &**path != "/");
    let places = [
        told("pod", &label.pod),
        told("container", &label.container),
        told("image", &label.image),
        told("network namespace", &label.netns_name),
        told("cgroup", &cgroup),
    ];
    std::iter::once(when.to_owned()).chain(places.into_iter().flatten()).collect::<Vec<_>>().join(" · ")
}

/// Field, value and rate.
fn value_words(evidence: &Evidence) -> String {
    let value = match &evidence.value {
        EvidenceValue::Text(text) => text.to_string(),
        EvidenceValue::Number(n) if n.fract() == 0.0 && *n >= 0.0 => num::grouped(num::whole(*n)),
        EvidenceValue::Number(n) => num::number(*n),
    };
    let rate = num::rate_after(evidence.rate_per_s);
    format!("{} {value}{rate}", evidence.field)
}

/// Of the ids of containers, 64 digits, twelve say enough.
fn short_ids(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for part in text.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let id = part.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        match id.get(..12).filter(|_| id.len() == 64) {
            Some(short) => out.extend([short, "…", part.get(64..).unwrap_or("")]),
            None => out.push_str(part),
        }
    }
    out
}

/// The last `columns` of a printable text; what is left out before is shown by `…`.
fn tail(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.into();
    }
    let mut left = columns.saturating_sub(1);
    let fits = |c: &char| {
        let wide = width(c.encode_utf8(&mut [0; 4]));
        left.checked_sub(wide).map(|rest| left = rest).is_some()
    };
    let kept: Vec<char> = text.chars().rev().take_while(fits).collect();
    std::iter::once('…').chain(kept.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests;
