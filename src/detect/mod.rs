//! Rules over a look and the series behind it: one file a rule, a measurement and a verdict on its history.
//!
//! ```text
//! snapshot, model ─▶ measure ─▶ Measure per subject ─▶ Track (series, counters) ─▶ judge ─▶ Verdict
//!                                                                                            │
//!                                   Story ◀─ explains (joins) ◀─ Finding ◀─ hysteresis ◀─────┘
//! ```
//!
//! A rule holds no state and reads no clock. The [`Watch`] keeps the tracks, so the same snapshots give the same
//! findings, live or replayed.

mod case;
mod command;
mod interned;
mod label;
mod look;
mod rules;
mod story;
#[cfg(test)]
mod testing;
mod track;
mod verdict;
mod watch;
mod words;

pub use case::{Case, Measure, Measures};
pub use label::label_of;
pub use look::Look;
pub use track::Track;
pub use verdict::Verdict;
pub use watch::Watch;

use crate::snapshot::Moment;
use rustc_hash::FxHashMap;

/// A number of a rule that the configuration may set, as `[rules."ID"] KEY = …`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knob {
    /// Key below the rule's id.
    pub key: &'static str,
    /// Value when nothing is set: right for every host, as far as we know.
    pub default: f64,
    /// Unit, for help.
    pub unit: &'static str,
    /// What it does, one line.
    pub about: &'static str,
}

/// What two findings must share for the one to explain the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// A task.
    Task,
    /// A cgroup, or one is the other's ancestor (the root does not count).
    Cgroup,
    /// A task, or else a cgroup as above.
    TaskOrCgroup,
    /// A network namespace.
    Netns,
    /// A far end.
    Remote,
    /// A listener.
    Listener,
    /// An interface.
    Iface,
    /// The machine: always.
    Host,
    /// The machine; but what grows is explained by what grows alone.
    HostGrowth,
}

/// One rule as data: what it looks at and how it judges.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Id of its findings: a public contract.
    pub id: &'static str,
    /// What it finds, one line.
    pub about: &'static str,
    /// What it adds to a story's sentence as a consequence: `zombies pile up`.
    pub effect: &'static str,
    /// Its numbers.
    pub knobs: &'static [Knob],
    /// Rules whose findings it can be the cause of, and over which join.
    pub explains: &'static [(&'static str, Join)],
    /// Seconds its condition must stand before it is a finding; 0 for what is a fact once seen.
    pub hold_s: f64,
    /// Puts a measure for each subject that may be of interest. A section that is missing puts none.
    pub measure: fn(&Look<'_>, &mut Measures),
    /// The verdict on one subject: `None` when nothing is wrong.
    pub judge: fn(&Case<'_>) -> Option<Verdict>,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Every rule, in the order in which causes stand above consequences.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    rules::TABLE.iter().copied().flatten()
}

/// What the configuration says about rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleConfig {
    knobs: FxHashMap<(&'static str, &'static str), f64>,
    disabled: Vec<&'static str>,
}

impl RuleConfig {
    /// Sets a rule's number. Returns whether there is such a rule and key.
    pub fn set(&mut self, rule: &str, key: &str, value: f64) -> bool {
        let found =
            rules().find(|r| r.id == rule).and_then(|r| Some((r.id, r.knobs.iter().find(|k| k.key == key)?.key)));
        found.map(|id| self.knobs.insert(id, value)).is_some()
    }

    /// Switches a rule off. Returns whether there is such a rule.
    pub fn disable(&mut self, rule: &str) -> bool {
        let found = rules().find(|r| r.id == rule);
        found.map(|r| self.disabled.push(r.id)).is_some()
    }

    /// A rule's number as it is set.
    pub(crate) fn knob(&self, rule: &'static str, knob: &Knob) -> f64 {
        self.knobs.get(&(rule, knob.key)).copied().unwrap_or(knob.default)
    }

    /// Whether a rule is not switched off.
    pub(crate) fn is_on(&self, rule: &Rule) -> bool {
        !self.disabled.contains(&rule.id)
    }
}

/// How far back findings and growth look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Window {
    /// The last so many seconds: the live screen.
    Rolling(f64),
    /// Everything since the first look: `why --for`, `why --from`.
    Whole,
}

impl Default for Window {
    fn default() -> Self {
        Self::Rolling(60.0)
    }
}

impl Window {
    /// From when on a finding that stands counts as bad as it was at its worst. A screen says what fails now, and not
    /// what failed a minute ago; one answer about a span says the worst of it.
    #[must_use]
    pub fn worst_from(self, now: Moment, first: Moment) -> Moment {
        match self {
            Self::Rolling(_) => first.max(earlier(now, STAYS_WORST_S)),
            Self::Whole => first,
        }
    }

    /// Where the window of a look at `now` begins, when the first look was at `first`.
    #[must_use]
    pub fn start(self, now: Moment, first: Moment) -> Moment {
        match self {
            Self::Rolling(secs) => first.max(earlier(now, secs)),
            Self::Whole => first,
        }
    }
}

/// On a screen a finding that stands is as bad as it was at its worst in so many seconds.
const STAYS_WORST_S: f64 = 5.0;

/// `secs` before `at`.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a day at most, not negative")]
pub(crate) fn earlier(at: Moment, secs: f64) -> Moment {
    Moment(at.0.saturating_sub((secs.max(0.0) * 1e9) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_keys_are_unique_and_explanations_name_rules() {
        let ids: Vec<_> = rules().map(|r| r.id).collect();
        for (i, rule) in rules().enumerate() {
            assert!(!ids[..i].contains(&rule.id), "{} twice", rule.id);
            assert!(rule.id.contains('.') && !rule.about.is_empty());
            for (k, knob) in rule.knobs.iter().enumerate() {
                assert!(rule.knobs[..k].iter().all(|other| other.key != knob.key), "{} {}", rule.id, knob.key);
                assert!(knob.default.is_finite() && !knob.about.is_empty());
            }
            for (other, join) in rule.explains {
                let place = ids.iter().position(|id| id == other);
                assert!(place.is_some(), "{} explains unknown {other}", rule.id);
                let own = *other == rule.id && matches!(join, Join::Remote | Join::Task);
                assert!(own || place > Some(i), "{} explains {other}, which stands above it", rule.id);
            }
        }
    }

    #[test]
    fn a_knob_is_set_by_its_public_name_only() {
        let mut config = RuleConfig::default();
        assert!(config.set("tcp.syn_sent_pile", "count", 5.0));
        assert!(!config.set("tcp.syn_sent_pile", "no_such_key", 5.0));
        assert!(!config.set("no.such_rule", "count", 5.0));
        assert!(config.disable("tcp.syn_sent_pile") && !config.disable("no.such_rule"));
    }
}
