//! The life of findings: tracks per case, hysteresis, and the list that a frame shows.

use super::label::{Joints, label_of};
use super::{Case, Look, Measures, Rule, RuleConfig, Track, Verdict, rules, story};
use crate::model::{Finding, Severity, Story, SubjectLabel};
use crate::snapshot::{Moment, Subject};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A finding ends when its condition has not been true for so long.
const CLEAR_S: f64 = 2.0;
/// A case whose subject has gone is kept so long.
const KEEP_GONE_S: f64 = 60.0;
/// Findings of a frame at most, worst first.
const FINDINGS_MAX: usize = 256;
/// Points of a finding's sparkline.
const SPARK_POINTS: usize = 16;

type CaseKey = (Subject, Option<(IpAddr, u16)>);

/// A verdict that stands, or stood within the window.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Held {
    verdict: Verdict,
    label: SubjectLabel,
    joints: Joints,
    worst: Severity,
    worst_at: Moment,
    since: Moment,
    last_true: Moment,
    active: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct CaseState {
    track: Track,
    measured: Moment,
    /// Since when the condition has been true without a break.
    true_since: Option<Moment>,
    /// Boxed: of thousands of cases few are ever found.
    held: Option<Box<Held>>,
}

/// All rules at work: the same looks in, the same findings out.
///
/// Serialized, it holds the cases only, by their rules' places: it means something to the same rules alone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Watch {
    #[serde(skip)]
    config: RuleConfig,
    cases: Vec<FxHashMap<CaseKey, CaseState>>,
    #[serde(skip)]
    measures: Measures,
}

impl Watch {
    /// Rules under a configuration.
    #[must_use]
    pub fn new(config: RuleConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Puts it under a configuration, as after it was read back.
    pub(crate) fn set_config(&mut self, config: RuleConfig) {
        self.config = config;
    }

    /// Judges one look: what is found now or was within the window, and the stories over it, both worst first.
    pub fn step(&mut self, look: &Look<'_>) -> (Vec<Finding>, Vec<Story>) {
        self.cases.resize_with(rules().count(), FxHashMap::default);
        let Self { config, cases, measures } = self;
        for (rule, cases) in rules().zip(cases.iter_mut()).filter(|(rule, _)| config.is_on(rule)) {
            measures.rows.clear();
            (rule.measure)(look, measures);
            judge_all(rule, config, cases, measures, look);
        }
        self.findings(look)
    }

    /// Bytes of the series.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let states = self.cases.iter().flat_map(FxHashMap::values);
        states.map(|s| s.track.bytes() + size_of::<(CaseKey, CaseState)>()).sum()
    }

    /// Gives up what is older than two minutes in every series.
    pub fn forget_older(&mut self) {
        self.cases.iter_mut().flat_map(FxHashMap::values_mut).for_each(|s| s.track.forget_older());
    }

    fn findings(&self, look: &Look<'_>) -> (Vec<Finding>, Vec<Story>) {
        let mut found = Vec::new();
        for (order, (rule, cases)) in rules().zip(&self.cases).enumerate() {
            for (key, state) in cases {
                let Some(held) = state.held.as_ref().filter(|h| h.last_true >= look.window_start) else { continue };
                found.push((order, finding(rule, key, state, held, look), &held.joints));
            }
        }
        found.sort_by(|(rule_a, a, _), (rule_b, b, _)| {
            let worse = (b.severity, b.active).cmp(&(a.severity, a.active));
            let larger = || b.value.total_cmp(&a.value);
            let named = || (&a.subject, a.remote).cmp(&(&b.subject, b.remote));
            worse.then(rule_a.cmp(rule_b)).then_with(larger).then_with(named)
        });
        found.truncate(FINDINGS_MAX);
        story::tell(found)
    }
}

fn judge_all(
    rule: &'static Rule,
    config: &RuleConfig,
    cases: &mut FxHashMap<CaseKey, CaseState>,
    measures: &Measures,
    look: &Look<'_>,
) {
    let at = look.at();
    for m in &measures.rows {
        let state = cases.entry((m.subject.clone(), m.remote)).or_default();
        if state.measured == at {
            continue;
        }
        state.measured = at;
        state.track.take(at, m);
        let firing = state.held.as_ref().is_some_and(|h| h.active);
        let verdict = (rule.judge)(&Case { look, now: m, rule, config, track: &state.track, firing });
        match verdict {
            Some(verdict) => stand(state, rule, &m.subject, verdict, look),
            None => lapse(state, at),
        }
    }
    cases.retain(|_, state| {
        if state.measured != at {
            lapse(state, at);
        }
        let shown = state.held.as_ref().is_some_and(|h| h.last_true >= look.window_start);
        shown || at.since(state.measured) <= KEEP_GONE_S
    });
}

fn stand(state: &mut CaseState, rule: &Rule, subject: &Subject, verdict: Verdict, look: &Look<'_>) {
    let at = look.at();
    let since = *state.true_since.get_or_insert(at);
    let old = state.held.take();
    let stands = old.as_ref().is_some_and(|h| h.active);
    if !stands && at.since(since) < rule.hold_s {
        state.held = old;
        return;
    }
    let first = verdict.since.unwrap_or(since);
    let kept = old
        .as_ref()
        .map(|h| (h.worst, h.worst_at))
        .filter(|&(worst, when)| worst > verdict.severity && when >= look.worst_from);
    let (worst, worst_at) = kept.unwrap_or((verdict.severity, at));
    state.held = Some(Box::new(Held {
        label: label_of(look, subject),
        joints: Joints::of(look, subject, &verdict),
        worst,
        worst_at,
        since: old.as_ref().filter(|h| h.active).map_or(first, |h| h.since.min(first)),
        last_true: at,
        active: true,
        verdict,
    }));
}

fn lapse(state: &mut CaseState, at: Moment) {
    state.true_since = None;
    if let Some(held) = &mut state.held
        && at.since(held.last_true) >= CLEAR_S
    {
        held.active = false;
    }
}

fn finding(rule: &Rule, key: &CaseKey, state: &CaseState, held: &Held, look: &Look<'_>) -> Finding {
    let v = &held.verdict;
    let drawn = v.metric.and_then(|metric| look.history.series(&key.0, metric));
    let spark = drawn.unwrap_or(state.track.value());
    Finding {
        id: rule.id,
        severity: held.worst,
        subject: key.0.clone(),
        label: held.label.clone(),
        remote: key.1,
        value: v.value,
        limit: v.limit,
        unit: v.unit,
        rate_per_s: v.rate_per_s,
        rate_unit: v.rate_unit.unwrap_or(v.unit),
        since: held.since,
        last_true: held.last_true,
        active: held.active,
        message: v.message.clone(),
        evidence: v.evidence.clone(),
        command: v.command.clone(),
        advice: v.advice.clone(),
        explained_by: Vec::new(),
        spark: spark.spark(look.at(), SPARK_POINTS),
    }
}
