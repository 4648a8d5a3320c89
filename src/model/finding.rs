//! What whytop says: findings, the evidence under them, and the stories that join them.

use crate::snapshot::{Moment, Subject, Text};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// It will fail.
    Warning,
    /// Work is failing now: kills, refused forks, drops, stuck tasks.
    Critical,
}

impl Severity {
    /// `warning` or `critical`: the words of the JSON contract.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One number that supports a finding, with the place it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// File or message, for example `/proc/net/netstat` or `sock_diag`.
    pub source: Text,
    /// Field in it, the kernel's own name.
    pub field: Text,
    /// Its value, in the kernel's unit; text where it is not a number (a wait channel, a state).
    pub value: EvidenceValue,
    /// Its rate, per second, for counters.
    pub rate_per_s: Option<f64>,
}

/// A value in evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EvidenceValue {
    /// A number.
    Number(f64),
    /// Text.
    Text(Text),
}

/// A subject in words, captured while it could be seen: a finding keeps it after its subject has gone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SubjectLabel {
    /// Short human name: `java(16951)`, `docker/web (4b1d…)`, `dentry`, `eth0`, `10.0.0.9:61616`.
    pub name: Text,
    /// A task's name.
    pub comm: Option<Text>,
    /// Cgroup path of the task, or of the cgroup itself.
    pub cgroup: Option<Text>,
    /// Container name or short id.
    pub container: Option<Text>,
    /// Pod, as `namespace/name` or uid.
    pub pod: Option<Text>,
    /// Image.
    pub image: Option<Text>,
    /// Name of the network namespace.
    pub netns_name: Option<Text>,
    /// The owning task of a socket or listener, with its name.
    pub owner: Option<(crate::snapshot::TaskKey, Text)>,
}

/// One condition that a rule found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Rule id, for example `tcp.syn_sent_pile`: a public contract.
    pub id: &'static str,
    /// How bad: on a live screen at its worst in the last seconds in which it was true, in the answer about a whole
    /// window at its worst in that.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// The subject in words.
    pub label: SubjectLabel,
    /// The far end, for rules about one.
    pub remote: Option<(IpAddr, u16)>,
    /// The count or measure the rule names.
    pub value: f64,
    /// The kernel limit it is held against.
    pub limit: Option<f64>,
    /// Unit of `value` and `limit`: `sockets`, `bytes`, `tasks`, …
    pub unit: &'static str,
    /// Growth of `value`, per second, or the rate of the counter that fired.
    pub rate_per_s: Option<f64>,
    /// What the rate counts: `unit` where `value` grows, else for example `hits` or `drops`.
    pub rate_unit: &'static str,
    /// Since when, as far as was seen ("at least").
    pub since: Moment,
    /// When it was last true.
    pub last_true: Moment,
    /// Whether it still is.
    pub active: bool,
    /// One plain sentence with the numbers in it.
    pub message: String,
    /// The numbers and where they were read.
    pub evidence: Vec<Evidence>,
    /// A command that shows the evidence, as it can be copied; `None` where no other tool shows it.
    pub command: Option<String>,
    /// What to do, with real values filled in.
    pub advice: Vec<String>,
    /// Findings (indices in the same frame) that explain this one.
    pub explained_by: Vec<usize>,
    /// History of `value`, oldest first, evenly spaced up to now.
    pub spark: Vec<f32>,
}

/// Findings that explain one another: the root cause first.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// The worst severity among its findings.
    pub severity: Severity,
    /// Index of the root cause in the frame's findings.
    pub root: usize,
    /// One sentence of plain English.
    pub summary: String,
    /// All its findings (indices), the root first, causes above consequences.
    pub findings: Vec<usize>,
}
