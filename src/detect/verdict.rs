//! What a rule says of a case, filled in step by step.

use super::interned::{self, Word};
use crate::model::{Evidence, EvidenceValue, Metric, Severity};
use crate::snapshot::{ListenerKey, Moment, TaskKey, Text};
use serde::{Deserialize, Serialize};

/// What a rule says of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How bad.
    pub severity: Severity,
    /// One plain sentence with the numbers in it.
    pub message: String,
    /// The numbers and where they were read.
    pub evidence: Vec<Evidence>,
    /// A command that shows the evidence.
    pub command: Option<String>,
    /// What to do.
    pub advice: Vec<String>,
    /// The value.
    pub value: f64,
    /// The limit.
    pub limit: Option<f64>,
    /// Their unit.
    #[serde(deserialize_with = "interned::word")]
    pub unit: Word,
    /// Growth of the value, or the rate of the counter that fired.
    pub rate_per_s: Option<f64>,
    /// What the rate counts, where that is not the unit.
    #[serde(deserialize_with = "interned::some_word")]
    pub rate_unit: Option<Word>,
    /// Since when, where the rule knows better than first sight.
    pub since: Option<Moment>,
    /// The subject's history to draw, where it says more than the measured value's.
    pub metric: Option<Metric>,
    /// Tasks it is about besides its subject: for joins.
    pub tasks: Vec<TaskKey>,
    /// Cgroups it is about besides its subject's: for joins.
    pub cgroups: Vec<Text>,
    /// A listener here that it is about: for joins.
    pub listener: Option<ListenerKey>,
}

impl Verdict {
    /// Adds a number to the evidence.
    #[must_use]
    pub fn number(self, source: impl Into<Text>, field: impl Into<Text>, value: impl Into<Option<f64>>) -> Self {
        self.rated(source, field, value, None)
    }

    /// Adds a counter with its rate to the evidence.
    #[must_use]
    pub fn rated(
        mut self,
        source: impl Into<Text>,
        field: impl Into<Text>,
        value: impl Into<Option<f64>>,
        rate: Option<f64>,
    ) -> Self {
        self.evidence.extend(value.into().map(|v| Evidence {
            source: source.into(),
            field: field.into(),
            value: EvidenceValue::Number(v),
            rate_per_s: rate,
        }));
        self
    }

    /// Adds text to the evidence.
    #[must_use]
    pub fn text(mut self, source: impl Into<Text>, field: impl Into<Text>, value: impl Into<Text>) -> Self {
        let value = EvidenceValue::Text(value.into());
        self.evidence.push(Evidence { source: source.into(), field: field.into(), value, rate_per_s: None });
        self
    }

    /// Sets the command that shows the evidence, where there is one.
    #[must_use]
    pub fn shown_by(mut self, command: impl Into<Option<String>>) -> Self {
        self.command = command.into();
        self
    }

    /// Adds a line of advice where there is one.
    #[must_use]
    pub fn advise_some(mut self, line: Option<String>) -> Self {
        self.advice.extend(line);
        self
    }

    /// Adds a line of advice.
    #[must_use]
    pub fn advise(mut self, line: impl Into<String>) -> Self {
        self.advice.push(line.into());
        self
    }

    /// Sets the rate.
    #[must_use]
    pub fn rate(mut self, per_s: impl Into<Option<f64>>) -> Self {
        self.rate_per_s = per_s.into();
        self
    }

    /// Sets a rate that counts something other than the unit.
    #[must_use]
    pub fn rate_of(mut self, per_s: impl Into<Option<f64>>, unit: &'static str) -> Self {
        self.rate_per_s = per_s.into();
        self.rate_unit = Some(unit);
        self
    }

    /// Sets since when.
    #[must_use]
    pub fn since(mut self, at: impl Into<Option<Moment>>) -> Self {
        self.since = at.into();
        self
    }

    /// Draws the history of a metric of the subject.
    #[must_use]
    pub fn draw(mut self, metric: Metric) -> Self {
        self.metric = Some(metric);
        self
    }

    /// Names tasks and cgroups it is about besides its subject.
    #[must_use]
    pub fn about(mut self, tasks: impl IntoIterator<Item = TaskKey>, cgroups: impl IntoIterator<Item = Text>) -> Self {
        self.tasks.extend(tasks);
        self.cgroups.extend(cgroups);
        self
    }
}
