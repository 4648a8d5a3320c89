//! The JSON contract: what `why`, `show` and `log` print. Keys may be added, never changed.

use crate::model::{Evidence, EvidenceValue, Finding, Frame, Severity, Story, SubjectLabel};
use crate::snapshot::{Host, LogEvent, NetnsId, Proto, Snapshot, Subject, TaskKey};
use serde::Serialize;
use serde::ser::Serializer;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

mod plans;

pub use plans::Plans;

/// Version of the keys of every document.
pub const SCHEMA: u32 = 1;

/// `why --json`.
#[derive(Serialize)]
pub struct Why<'a> {
    schema: u32,
    host: Option<&'a Host>,
    taken_at: String,
    window_s: f64,
    cost: Cost,
    sections: BTreeMap<&'static str, &'static str>,
    stories: Vec<StoryRow<'a>>,
    findings: Vec<FindingRow<'a>>,
    history: Vec<serde_json::Value>,
}

impl<'a> Why<'a> {
    /// What looks say that followed one another, each a frame with the seconds it spans: the host is as the last one
    /// saw it, findings and stories are those of all.
    pub fn of(looks: impl Iterator<Item = (&'a Frame, f64, Cost)>) -> Option<Self> {
        looks.map(|(frame, window_s, cost)| Self::new(frame, window_s, cost)).reduce(Self::then)
    }

    /// This look and a later one, of another boot.
    fn then(self, mut later: Self) -> Self {
        let shift = later.findings.len();
        later.stories.extend(self.stories.into_iter().map(|story| story.shifted(shift)));
        later.stories.sort_by_key(|s| s.severity != Severity::Critical.word());
        later.findings.extend(self.findings.into_iter().map(|finding| finding.shifted(shift)));
        later.history.splice(0..0, self.history);
        later.window_s += self.window_s;
        later.cost.samples += self.cost.samples;
        later
    }

    /// What a frame says after a look of `window_s` seconds.
    pub fn new(frame: &'a Frame, window_s: f64, cost: Cost) -> Self {
        let snap = &*frame.snap;
        Self {
            schema: SCHEMA,
            host: snap.host.data(),
            taken_at: rfc3339(snap.wall_unix_ns),
            window_s,
            cost,
            sections: snap.section_states().into_iter().collect(),
            stories: frame.stories.iter().map(StoryRow::new).collect(),
            findings: frame.findings.iter().map(|f| FindingRow::new(f, frame)).collect(),
            history: history(frame).map(|e| event(e, snap)).collect(),
        }
    }
}

/// Kernel-log events older than the window, or already there when looking began.
pub fn history(frame: &Frame) -> impl Iterator<Item = &LogEvent> {
    frame.log.iter().take(frame.log.len().saturating_sub(frame.log_in_window))
}

/// What looking cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// CPU time of the whole process, ms.
    pub cpu_ms: f64,
    /// Samples taken.
    pub samples: u64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
}

#[derive(Serialize)]
struct StoryRow<'a> {
    severity: &'static str,
    root: usize,
    summary: &'a str,
    findings: Vec<usize>,
}

impl<'a> StoryRow<'a> {
    fn new(story: &'a Story) -> Self {
        let Story { severity, root, summary, findings } = story;
        Self { severity: severity.word(), root: *root, summary, findings: findings.clone() }
    }

    /// The same where its findings stand `by` places further on.
    fn shifted(self, by: usize) -> Self {
        Self { root: self.root + by, findings: self.findings.into_iter().map(|i| i + by).collect(), ..self }
    }
}

/// One finding, as `findings` of `why --json` has it.
#[derive(Serialize)]
pub struct FindingRow<'a> {
    id: &'static str,
    severity: &'static str,
    subject: SubjectRow<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<Endpoint>,
    value: Number,
    limit: Option<Number>,
    unit: &'static str,
    rate_per_s: Option<Number>,
    rate_unit: &'static str,
    since: String,
    active: bool,
    message: &'a str,
    evidence: Vec<EvidenceRow<'a>>,
    command: Option<&'a str>,
    advice: &'a [String],
    explained_by: Vec<usize>,
}

impl<'a> FindingRow<'a> {
    /// A finding of a frame.
    pub fn new(finding: &'a Finding, frame: &'a Frame) -> Self {
        Self {
            id: finding.id,
            severity: finding.severity.word(),
            subject: SubjectRow::new(&finding.subject, &finding.label, frame),
            remote: finding.remote.map(|(addr, port)| Endpoint { addr, port }),
            value: Number(finding.value),
            limit: finding.limit.map(Number),
            unit: finding.unit,
            rate_per_s: finding.rate_per_s.map(Number),
            rate_unit: finding.rate_unit,
            since: rfc3339(frame.snap.wall_of(finding.since)),
            active: finding.active,
            message: &finding.message,
            evidence: finding.evidence.iter().map(EvidenceRow::new).collect(),
            command: finding.command.as_deref(),
            advice: &finding.advice,
            explained_by: finding.explained_by.clone(),
        }
    }

    /// The same where its causes stand `by` places further on.
    fn shifted(self, by: usize) -> Self {
        Self { explained_by: self.explained_by.into_iter().map(|i| i + by).collect(), ..self }
    }
}

#[derive(Serialize)]
struct EvidenceRow<'a> {
    source: &'a str,
    field: &'a str,
    value: Value<'a>,
    rate_per_s: Option<Number>,
}

impl<'a> EvidenceRow<'a> {
    fn new(evidence: &'a Evidence) -> Self {
        let value = match &evidence.value {
            EvidenceValue::Number(n) => Value::Number(Number(*n)),
            EvidenceValue::Text(text) => Value::Text(text),
        };
        Self { source: &evidence.source, field: &evidence.field, value, rate_per_s: evidence.rate_per_s.map(Number) }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Number(Number),
    Text(&'a str),
}

/// What a finding or a row is about: every kind of subject, with its keys.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum SubjectRow<'a> {
    Host { name: Option<&'a str> },
    Netns { inode: NetnsId, name: Option<&'a str> },
    Task(TaskRow<'a>),
    Socket(SocketRow<'a>),
    Listener(SocketRow<'a>),
    Remote { addr: IpAddr, port: Option<u16>, netns: NetnsId },
    Cgroup { path: &'a str, inode: u64, container: Option<&'a str>, pod: Option<&'a str>, image: Option<&'a str> },
    Slab { name: &'a str },
    Iface { name: &'a str, netns: NetnsId },
    Cpu { cpu: u32 },
    Wchan { name: &'a str },
    Device { name: &'a str },
}

impl<'a> SubjectRow<'a> {
    /// A subject with the words that were captured while it could be seen.
    pub fn new(subject: &'a Subject, label: &'a SubjectLabel, frame: &'a Frame) -> Self {
        let socket = |proto, local: SocketAddr, netns| SocketRow {
            proto,
            local: local.into(),
            remote: None,
            netns,
            owner: label.owner.as_ref().map(|(key, comm)| TaskRow::live(*key, Some(comm), frame)),
        };
        match subject {
            Subject::Host => Self::Host { name: frame.snap.host.data().map(|h| &*h.name) },
            Subject::Netns(inode) => Self::Netns { inode: *inode, name: label.netns_name.as_deref() },
            Subject::Task(key) => Self::Task(TaskRow {
                pid: key.pid,
                start_ticks: key.start_ticks,
                comm: label.comm.as_deref(),
                cgroup: label.cgroup.as_deref(),
                container: label.container.as_deref().map(str::to_owned),
            }),
            Subject::Socket(key) => {
                let far = frame.snap.sockets.data().and_then(|s| s.udp.iter().find(|u| u.key == *key));
                let remote = far.and_then(|u| Some(Endpoint { addr: u.remote_addr?, port: u.remote_port? }));
                let proto = match key.proto {
                    Proto::Tcp => "tcp",
                    Proto::Udp => "udp",
                };
                Self::Socket(SocketRow { remote, ..socket(proto, key.local, key.netns) })
            }
            Subject::Listener(key) => Self::Listener(socket("tcp", key.local, key.netns)),
            Subject::Remote(key) => Self::Remote { addr: key.addr, port: key.port, netns: key.netns },
            Subject::Cgroup(key) => Self::Cgroup {
                path: &key.path,
                inode: key.inode,
                container: label.container.as_deref(),
                pod: label.pod.as_deref(),
                image: label.image.as_deref(),
            },
            Subject::Slab(name) => Self::Slab { name },
            Subject::Iface(netns, name) => Self::Iface { name, netns: *netns },
            Subject::Cpu(cpu) => Self::Cpu { cpu: *cpu },
            Subject::Wchan(name) => Self::Wchan { name },
            Subject::Device(name) => Self::Device { name },
        }
    }
}

/// A socket or a listener.
#[derive(Serialize)]
pub struct SocketRow<'a> {
    proto: &'static str,
    local: Endpoint,
    remote: Option<Endpoint>,
    netns: NetnsId,
    owner: Option<TaskRow<'a>>,
}

/// A task, wherever one is named.
#[derive(Serialize)]
pub struct TaskRow<'a> {
    pid: u32,
    start_ticks: u64,
    comm: Option<&'a str>,
    cgroup: Option<&'a str>,
    container: Option<String>,
}

impl<'a> TaskRow<'a> {
    /// A task as the frame shows it; `comm` for one that has gone.
    pub fn live(key: TaskKey, comm: Option<&'a str>, frame: &'a Frame) -> Self {
        let task = frame.task(key);
        let cgroup = task.and_then(|t| t.cgroup.as_deref());
        Self {
            pid: key.pid,
            start_ticks: key.start_ticks,
            comm: task.map(|t| &*t.comm).or(comm),
            cgroup,
            container: cgroup.and_then(|path| Some(frame.cgroup(path)?.container.as_ref()?.label())),
        }
    }
}

/// An address and a port.
#[derive(Serialize)]
pub struct Endpoint {
    addr: IpAddr,
    port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(at: SocketAddr) -> Self {
        Self { addr: at.ip(), port: at.port() }
    }
}

/// A kernel-log event as `log --json` has it, and when that was.
fn event(event: &LogEvent, snap: &Snapshot) -> serde_json::Value {
    let mut value = crate::collect::klog::json(event);
    if let (Some(object), Some(at)) = (value.as_object_mut(), event.at) {
        object.insert("at".into(), rfc3339(snap.wall_of(at)).into());
    }
    value
}

/// A number that is written without a fraction when it has none.
#[derive(Clone, Copy, Debug)]
pub struct Number(pub f64);

impl Serialize for Number {
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() < EXACT {
            to.serialize_i64(self.0 as i64)
        } else {
            to.serialize_f64(self.0)
        }
    }
}

/// A moment of the wall clock, in UTC, to the millisecond.
pub fn rfc3339(unix_ns: i64) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(unix_ns)) {
        Ok(at) => format!("{at:.3}"),
        Err(_) => String::from("1970-01-01T00:00:00.000Z"),
    }
}

#[cfg(test)]
mod tests;
