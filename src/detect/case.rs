//! What a rule is given: measures to put, and the case it judges.

use super::{Look, Rule, RuleConfig, Track, Verdict, earlier};
use crate::model::{Metric, Severity, Trend};
use crate::snapshot::{Cgroup, Moment, NetnsCounters, Subject, Task};
use std::net::IpAddr;

/// One subject's numbers in one look.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// The subject.
    pub subject: Subject,
    /// The far end, for rules about one: part of the case's identity.
    pub remote: Option<(IpAddr, u16)>,
    /// The value that the rule's row names.
    pub value: f64,
    /// The limit that it is held against.
    pub limit: Option<f64>,
    /// Raw counters by name: the track turns them into growth.
    pub counters: Vec<(&'static str, u64)>,
    /// Set when the subject was made after that look: its counters then count from 0.
    pub born_after: Option<Moment>,
}

impl Measure {
    /// Sets the limit.
    pub fn limit(&mut self, limit: Option<f64>) -> &mut Self {
        self.limit = limit;
        self
    }

    /// Sets the far end.
    pub fn remote(&mut self, addr: IpAddr, port: u16) -> &mut Self {
        self.remote = Some((addr, port));
        self
    }

    /// Adds a counter; one that this kernel does not have is left out.
    pub fn counter(&mut self, name: &'static str, value: impl Into<Option<u64>>) -> &mut Self {
        self.counters.extend(value.into().map(|v| (name, v)));
        self
    }

    /// Says that the subject did not exist at that look.
    pub fn born_after(&mut self, at: Option<Moment>) -> &mut Self {
        self.born_after = at;
        self
    }
}

/// The measures of one rule in one look.
#[derive(Clone, Debug, Default)]
pub struct Measures {
    pub(super) rows: Vec<Measure>,
}

impl Measures {
    /// Adds a subject with its value.
    pub fn put(&mut self, subject: Subject, value: f64) -> &mut Measure {
        let m = Measure { subject, remote: None, value, limit: None, counters: Vec::new(), born_after: None };
        let at = self.rows.len();
        self.rows.push(m);
        #[expect(clippy::indexing_slicing, reason = "the row was pushed on the line before")]
        &mut self.rows[at]
    }
}

/// One subject with its numbers and their history.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// The look.
    pub look: &'a Look<'a>,
    /// The numbers.
    pub now: &'a Measure,
    pub(super) rule: &'static Rule,
    pub(super) config: &'a RuleConfig,
    pub(super) track: &'a Track,
    pub(super) firing: bool,
}

impl<'a> Case<'a> {
    /// The value.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.now.value
    }

    /// A number of the rule. One that the rule does not declare compares with nothing.
    #[must_use]
    pub fn knob(&self, key: &str) -> f64 {
        let knob = self.rule.knobs.iter().find(|k| k.key == key);
        debug_assert!(knob.is_some(), "{} has no knob {key}", self.rule.id);
        knob.map_or(f64::NAN, |k| self.config.knob(self.rule.id, k))
    }

    /// Whether `value` reaches `threshold`; once a finding stands, a tenth less will do, so that it does not flicker.
    #[must_use]
    pub fn reaches(&self, value: f64, threshold: f64) -> bool {
        value >= threshold * if self.firing { 0.9 } else { 1.0 }
    }

    /// The task, when that is the subject.
    #[must_use]
    pub fn task(&self) -> Option<&'a Task> {
        match self.now.subject {
            Subject::Task(key) => self.look.task(key),
            _ => None,
        }
    }

    /// The namespace's counters, when that is the subject.
    #[must_use]
    pub fn netns(&self) -> Option<&'a NetnsCounters> {
        match self.now.subject {
            Subject::Netns(id) | Subject::Iface(id, _) => self.look.netns(id),
            _ => None,
        }
    }

    /// The cgroup, when that is the subject.
    #[must_use]
    pub fn cgroup(&self) -> Option<&'a Cgroup> {
        match &self.now.subject {
            Subject::Cgroup(key) => self.look.cgroup(&key.path),
            _ => None,
        }
    }

    /// How much a counter grew inside the window.
    #[must_use]
    pub fn grown(&self, counter: &str) -> f64 {
        self.grown_since(counter, self.look.window_start)
    }

    /// How much a counter grew in the last seconds.
    #[must_use]
    pub fn grown_lately(&self, counter: &str) -> f64 {
        self.grown_since(counter, earlier(self.look.at(), LATELY_S))
    }

    /// Growth of a counter per second, over the last seconds that were seen.
    #[must_use]
    pub fn rate(&self, counter: &str) -> f64 {
        let Some(series) = self.track.grown(counter) else { return 0.0 };
        let from = series.first_at().unwrap_or_default().max(earlier(series.seen(), LATELY_S));
        let secs = series.seen().since(from);
        if secs > 0.0 { self.grown_since(counter, from) / secs } else { 0.0 }
    }

    fn grown_since(&self, counter: &str, from: Moment) -> f64 {
        let Some(series) = self.track.grown(counter) else { return 0.0 };
        series.last().unwrap_or(0.0) - series.value_from(from).unwrap_or(0.0)
    }

    /// Whether a finding stands already.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.firing
    }

    /// How often the value changed inside the window, a minute at most.
    #[must_use]
    pub fn changes(&self) -> u32 {
        self.track.value().changes_since(self.look.trend_from())
    }

    /// The value `secs` ago, or the first one seen.
    #[must_use]
    pub fn value_ago(&self, secs: f64) -> f64 {
        self.track.value().value_from(earlier(self.look.at(), secs)).unwrap_or(self.now.value)
    }

    /// When the subject was first measured.
    #[must_use]
    pub fn first_seen(&self) -> Moment {
        self.track.value().first_at().unwrap_or(self.look.at())
    }

    /// The trend of the value over the window.
    #[must_use]
    pub fn trend(&self) -> Option<Trend> {
        self.trend_since(self.look.trend_from())
    }

    /// The trend of the value from `from` on.
    #[must_use]
    pub fn trend_since(&self, from: Moment) -> Option<Trend> {
        Trend::over(self.track.value(), from)
    }

    /// The trend of the subject's metric over the window.
    #[must_use]
    pub fn trend_of(&self, metric: Metric) -> Option<Trend> {
        self.look.trend_of(&self.now.subject, metric, self.look.trend_from())
    }

    /// Growth of the value per second where it has a trend that says so.
    #[must_use]
    pub fn growth(&self) -> Option<f64> {
        self.trend().filter(Trend::grows).map(|t| t.per_s)
    }

    /// A verdict with the measure's own numbers, to be filled in.
    #[must_use]
    pub fn verdict(&self, severity: Severity, unit: &'static str, message: impl Into<String>) -> Verdict {
        Verdict {
            severity,
            message: message.into(),
            evidence: Vec::new(),
            command: None,
            advice: Vec::new(),
            value: self.now.value,
            limit: self.now.limit,
            unit,
            rate_per_s: None,
            rate_unit: None,
            since: None,
            metric: None,
            tasks: Vec::new(),
            cgroups: Vec::new(),
            listener: None,
        }
    }
}

/// "Lately": long enough for one sample of the slowest lane that counts drops, short enough to say what is true now.
const LATELY_S: f64 = 5.0;
