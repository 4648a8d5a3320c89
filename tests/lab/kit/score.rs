//! The score: a row a scenario or control, and what all rows say together.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Whether the right thing was named.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Every expectation, with its subject.
    Right,
    /// The finding came, about something else.
    Wrong,
    /// The finding did not come.
    Missed,
    /// A control: nothing to name.
    #[default]
    None,
}

/// What one scenario or control came to. Elsewhere (in a virtual machine) it is printed as a line of JSON.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Row {
    pub name: String,
    /// `host`, `VM v2` or `VM v1`.
    pub side: String,
    /// Whether nothing may be said.
    pub calm: bool,
    /// Findings that had to be named.
    pub expected: usize,
    /// Those that were.
    pub named: usize,
    /// From the staged condition to the last of the expected findings on the live screens, seconds; 0 when it was
    /// named while it was still being staged.
    pub detect_s: Option<f64>,
    /// The worst severity that was said of it.
    pub severity: String,
    pub subject: Subject,
    /// Findings said that are true: expected, or allowed consequences.
    pub right: usize,
    /// Findings said that are neither, and did not stand before: `id of subject`.
    pub extra: Vec<String>,
    /// How long it was played, staging and clean-up included, seconds.
    #[serde(default)]
    pub took_s: f64,
    /// What its recordings were asked, and answered as the live looks did.
    pub replayed: usize,
    /// Where they did not.
    pub unlike: Vec<String>,
}

impl Row {
    /// In a few words.
    pub fn told(&self) -> String {
        let mut told = Vec::new();
        told.extend(self.detect_s.map(|t| format!("{} in {t:.1} s", self.severity)));
        if !self.extra.is_empty() {
            told.push(format!("extra: {}", self.extra.join(", ")));
        }
        if told.is_empty() {
            told.push("silent".into());
        }
        told.push(format!("took {:.0} s", self.took_s));
        told.join("; ")
    }
}

/// All rows.
#[derive(Default)]
pub struct Score {
    pub rows: Vec<Row>,
}

/// Limits that the scoreboard is held to.
const MEDIAN_S: f64 = 5.0;
const WORST_S: f64 = 15.0;

impl Score {
    fn troubles(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|r| !r.calm && r.expected > 0)
    }

    fn ratio(part: usize, whole: usize) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts of findings")]
        let ratio = if whole == 0 { 1.0 } else { part as f64 / whole as f64 };
        ratio
    }

    /// Scenarios whose every expectation was named, of all.
    pub fn recall(&self) -> f64 {
        Self::ratio(self.troubles().filter(|r| r.named == r.expected).count(), self.troubles().count())
    }

    /// True findings of all that were said beside what stood before, controls included.
    pub fn precision(&self) -> f64 {
        let right: usize = self.rows.iter().map(|r| r.right).sum();
        let extra: usize = self.rows.iter().map(|r| r.extra.len()).sum();
        Self::ratio(right, right + extra)
    }

    /// Times to detect, fastest first.
    fn times(&self) -> Vec<f64> {
        let mut times: Vec<f64> = self.troubles().filter_map(|r| r.detect_s).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    pub fn median_s(&self) -> Option<f64> {
        let times = self.times();
        let upper = times.get(times.len() / 2)?;
        let lower = times.get((times.len() - 1) / 2)?;
        Some(f64::midpoint(*lower, *upper))
    }

    /// What falls short of what the scoreboard is held to.
    pub fn shortfalls(&self) -> Vec<String> {
        let mut short = Vec::new();
        for r in self.troubles().filter(|r| r.named < r.expected) {
            short.push(format!("{} ({}): {} of {} findings named", r.name, r.side, r.named, r.expected));
        }
        for (r, t) in self.troubles().filter_map(|r| Some((r, r.detect_s?))).filter(|(_, t)| *t > WORST_S) {
            short.push(format!("{} ({}): detected after {t:.1} s, more than {WORST_S} s", r.name, r.side));
        }
        if let Some(median) = self.median_s().filter(|m| *m >= MEDIAN_S) {
            short.push(format!("median time to detect {median:.1} s is not under {MEDIAN_S} s"));
        }
        for r in self.rows.iter().filter(|r| r.calm && !r.extra.is_empty()) {
            short.push(format!("{} ({}): said {}", r.name, r.side, r.extra.join(", ")));
        }
        short
    }

    /// The figures in all, in one line.
    pub fn summary(&self) -> String {
        let times = self.times();
        let worst = times.last().map_or_else(|| "–".into(), |t| format!("{t:.1} s"));
        let median = self.median_s().map_or_else(|| "–".into(), |t| format!("{t:.1} s"));
        let calm = self.rows.iter().filter(|r| r.calm).count();
        let silent = self.rows.iter().filter(|r| r.calm && r.extra.is_empty()).count();
        format!(
            "{} scenarios: recall {:.0} %, precision {:.0} %, time to detect {median} in the median, {worst} at worst; \
{silent} of {calm} calm controls silent",
            self.troubles().count(),
            self.recall() * 100.0,
            self.precision() * 100.0,
        )
    }

    /// The table for a terminal.
    pub fn table(&self) -> String {
        let cells: Vec<[String; 6]> = std::iter::once(HEAD.map(str::to_owned)).chain(self.cells()).collect();
        let width = |c: usize| cells.iter().map(|row| row[c].chars().count()).max().unwrap_or(0);
        let widths: [usize; 6] = std::array::from_fn(width);
        let mut table = String::new();
        for row in &cells {
            let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            let _ = writeln!(table, "{}", padded.collect::<Vec<_>>().join("  ").trim_end());
        }
        let _ = writeln!(table, "\n{}", self.summary());
        table
    }

    /// The same for the README.
    pub fn markdown(&self) -> String {
        let mut text = format!("| {} |\n|---|---|--:|---|---|---|\n", HEAD.join(" | "));
        for row in self.cells() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        let _ = writeln!(text, "\n{}.", self.summary());
        text
    }

    fn cells(&self) -> impl Iterator<Item = [String; 6]> {
        self.rows.iter().map(|r| {
            let subject = match r.subject {
                Subject::Right => "right",
                Subject::Wrong => "wrong",
                Subject::Missed => "missed",
                Subject::None => "–",
            };
            let time = match r.detect_s {
                Some(t) => format!("{t:.1} s"),
                None => "–".into(),
            };
            let severity = match r.severity.as_str() {
                "" if r.calm => "silent".into(),
                "" => "–".into(),
                word => word.to_owned(),
            };
            let extra = if r.extra.is_empty() { "none".into() } else { r.extra.join(", ") };
            [r.name.replace('_', " "), r.side.clone(), time, severity, subject.into(), extra]
        })
    }
}

const HEAD: [&str; 6] = ["scenario", "side", "time to detect", "severity", "subject", "extra findings"];
