//! Joins a hand-made snapshot into a frame.

use std::collections::VecDeque;
use std::sync::Arc;
use whytop::model::{Before, Finding, Frame, Metric, Model, Severity, Story, SubjectLabel};
use whytop::snapshot::{CgroupKey, LogEvent, LogValue, Moment, Snapshot, Subject, Task, TaskKey, TaskState};

/// Seconds since boot as a moment.
pub fn at(secs: f64) -> Moment {
    Moment((secs * 1e9) as u64)
}

/// A change to what was joined.
pub type Change = Box<dyn FnOnce(&mut Model)>;

/// A frame in the making.
#[derive(Default)]
pub struct Build {
    pub snap: Snapshot,
    pub frame: Frame,
    /// What only two samples would tell.
    pub rates: Vec<Change>,
}

impl Build {
    /// A process.
    pub fn task(pid: u32, parent: u32, comm: &str, state: TaskState) -> Task {
        let mut task = Task {
            key: TaskKey { pid, start_ticks: u64::from(pid) * 10 },
            ppid: parent,
            comm: comm.into(),
            state,
            threads: 1,
            uid: Some(0),
            ..Task::default()
        };
        task.by_state.add(state);
        task
    }

    /// A finding.
    pub fn finding(
        &mut self,
        severity: Severity,
        id: &'static str,
        subject: Subject,
        name: &str,
        message: &str,
    ) -> &mut Finding {
        let now = self.snap.at;
        self.frame.findings.push(Finding {
            id,
            severity,
            subject,
            label: SubjectLabel { name: name.into(), ..SubjectLabel::default() },
            remote: None,
            value: 0.0,
            limit: None,
            unit: "tasks",
            rate_per_s: None,
            rate_unit: "tasks",
            since: now,
            last_true: now,
            active: true,
            message: message.into(),
            evidence: Vec::new(),
            command: None,
            advice: Vec::new(),
            explained_by: Vec::new(),
            spark: Vec::new(),
        });
        self.frame.findings.last_mut().unwrap()
    }

    /// A story over findings, the first its root.
    pub fn story(&mut self, severity: Severity, summary: &str, findings: Vec<usize>) {
        self.frame.stories.push(Story { severity, root: findings[0], summary: summary.into(), findings });
    }

    /// A kernel-log event.
    pub fn event(&mut self, kind: &str, secs_ago: f64, fields: &[(&str, LogValue)], line: &str) {
        let log = Arc::make_mut(&mut self.frame.log);
        let at = Moment(self.snap.at.0 - (secs_ago * 1e9) as u64);
        let fields = fields.iter().map(|(k, v)| ((*k).into(), v.clone())).collect();
        log.push_back(LogEvent {
            kind: kind.into(),
            line: log.len() as u64 + 1,
            at: Some(at),
            fields,
            text: line.into(),
        });
    }

    /// A short history.
    pub fn spark(&mut self, subject: Subject, metric: Metric, values: &[f32]) {
        self.frame.sparks.insert((subject, metric), values.to_vec());
    }

    /// The frame: joined, and lit by its findings.
    pub fn done(mut self) -> Arc<Frame> {
        self.frame.model = Model::build(&self.snap, &Before::default());
        for change in std::mem::take(&mut self.rates) {
            change(&mut self.frame.model);
        }
        for found in self.frame.findings.iter().filter(|f| f.active) {
            let worst = self.frame.lit.entry(found.subject.clone()).or_insert(found.severity);
            *worst = (*worst).max(found.severity);
        }
        let log: VecDeque<LogEvent> = self.frame.log.iter().cloned().collect();
        self.frame.log = Arc::new(log);
        self.frame.snap = Arc::new(self.snap);
        Arc::new(self.frame)
    }
}

/// A cgroup's key.
pub fn cgroup_key(path: &str) -> CgroupKey {
    CgroupKey { path: path.into(), inode: path.len() as u64 * 31 }
}
