//! What a rule is given: the look it measures, the case it judges, and the verdict it gives.

use super::{Rule, RuleConfig, Track, earlier};
use crate::model::{Before, Evidence, EvidenceValue, History, LogBook, Metric, Model, Severity, Trend};
use crate::snapshot::{Cgroup, CgroupKey, Moment, NetnsCounters, NetnsId, Snapshot, Subject, Task, TaskKey, Text};
use std::net::IpAddr;

/// One look with its joins, its past and the log of its window.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The raw look.
    pub snap: &'a Snapshot,
    /// Its joins and rates.
    pub model: &'a Model,
    /// The samples before.
    pub before: &'a Before,
    /// Histories of tasks, cgroups, slab caches and the host.
    pub history: &'a History,
    /// Kernel-log events.
    pub log: &'a LogBook,
    /// Where the window begins.
    pub window_start: Moment,
}

impl<'a> Look<'a> {
    /// When it was taken.
    #[must_use]
    pub fn at(&self) -> Moment {
        self.snap.at
    }

    /// From where growth is judged: the window, a minute at most.
    #[must_use]
    pub fn trend_from(&self) -> Moment {
        self.window_start.max(earlier(self.at(), 60.0))
    }

    /// By how much a subject's metric rose since `from`, and over how many seconds: a cheap look before a trend.
    #[must_use]
    pub fn rise(&self, subject: &Subject, metric: Metric, from: Moment) -> Option<(f64, f64)> {
        let series = self.history.series(subject, metric)?;
        let from = from.max(series.first_at()?);
        Some((series.last()? - series.value_from(from)?, series.seen().since(from)))
    }

    /// The trend of a subject's metric from `from` on.
    #[must_use]
    pub fn trend_of(&self, subject: &Subject, metric: Metric, from: Moment) -> Option<Trend> {
        Trend::over(self.history.series(subject, metric)?, from)
    }

    /// A task's row.
    #[must_use]
    pub fn task(&self, key: TaskKey) -> Option<&'a Task> {
        self.snap.tasks.data()?.rows.get(self.model.tasks.get(&key)?.row)
    }

    /// `name(pid)` of a task, `pid N` when it can't be seen.
    #[must_use]
    pub fn task_name(&self, key: TaskKey) -> String {
        self.task(key).map_or_else(|| format!("pid {}", key.pid), super::words::task)
    }

    /// A cgroup's row, by path.
    #[must_use]
    pub fn cgroup(&self, path: &str) -> Option<&'a Cgroup> {
        self.snap.cgroups.data()?.rows.get(*self.model.cgroup_by_path.get(path)?)
    }

    /// A namespace's counters.
    #[must_use]
    pub fn netns(&self, id: NetnsId) -> Option<&'a NetnsCounters> {
        self.snap.net.data()?.netns.iter().find(|n| n.id == id)
    }

    /// The joins of a cgroup, by path.
    #[must_use]
    pub fn cgroup_facts(&self, path: &str) -> Option<&'a crate::model::CgroupFacts> {
        self.model.cgroups.get(*self.model.cgroup_by_path.get(path)?)
    }

    /// The namespace that holds the limits of the whole host.
    #[must_use]
    pub fn first_netns(&self) -> Option<&'a NetnsCounters> {
        let host = self.snap.host.data().map(|h| h.netns);
        host.and_then(|id| self.netns(id)).or_else(|| self.snap.net.data()?.netns.first())
    }

    /// A sysctl of a namespace, or of the host where it is not per namespace.
    #[must_use]
    pub fn sysctl(&self, netns: &NetnsCounters, name: &str) -> Option<f64> {
        let own = netns.sysctls.get(name);
        own.or_else(|| self.first_netns()?.sysctls.get(name)).map(|v| v as f64)
    }

    /// A change of a namespace's sysctl as a command, from what it is to what is proposed.
    #[must_use]
    pub fn sysctl_change(&self, netns: &NetnsCounters, name: &str, proposed: f64) -> Option<String> {
        let now = self.sysctl(netns, name)?;
        let own = netns.sysctls.get(name).is_some() && self.first_netns().is_some_and(|first| first.id != netns.id);
        let enter = netns.pid.filter(|_| own);
        (proposed > now).then(|| super::words::sysctl(name, now, proposed, enter))
    }

    /// The key of a cgroup by path; inode 0 when it is not in the snapshot.
    #[must_use]
    pub fn cgroup_key(&self, path: &Text) -> CgroupKey {
        self.cgroup(path).map_or_else(|| CgroupKey { path: path.clone(), inode: 0 }, |c| c.key.clone())
    }

    /// RAM, bytes; `None` when unknown.
    #[must_use]
    pub fn ram_bytes(&self) -> Option<f64> {
        let host = self.snap.host.data().map(|h| h.mem_total_bytes);
        let total = host.filter(|&b| b > 0).or_else(|| self.snap.memory.data()?.meminfo.get("MemTotal"));
        total.filter(|&b| b > 0).map(|b| b as f64)
    }

    /// Seconds from `at` to now.
    #[must_use]
    pub fn age_s(&self, at: Moment) -> f64 {
        self.at().since(at)
    }
}

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
            advice: Vec::new(),
            value: self.now.value,
            limit: self.now.limit,
            unit,
            rate_per_s: None,
            since: None,
            metric: None,
            tasks: Vec::new(),
            cgroups: Vec::new(),
        }
    }
}

/// "Lately": long enough for one sample of the slowest lane that counts drops, short enough to say what is true now.
const LATELY_S: f64 = 5.0;

/// What a rule says of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// How bad.
    pub severity: Severity,
    /// One plain sentence with the numbers in it.
    pub message: String,
    /// The numbers and where they were read.
    pub evidence: Vec<Evidence>,
    /// What to do.
    pub advice: Vec<String>,
    /// The value.
    pub value: f64,
    /// The limit.
    pub limit: Option<f64>,
    /// Their unit.
    pub unit: &'static str,
    /// Growth of the value, or the rate of the counter that fired.
    pub rate_per_s: Option<f64>,
    /// Since when, where the rule knows better than first sight.
    pub since: Option<Moment>,
    /// The subject's history to draw, where it says more than the measured value's.
    pub metric: Option<Metric>,
    /// Tasks it is about besides its subject: for joins.
    pub tasks: Vec<TaskKey>,
    /// Cgroups it is about besides its subject's: for joins.
    pub cgroups: Vec<Text>,
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
