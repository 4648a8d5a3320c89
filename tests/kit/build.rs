//! Joins a hand-made snapshot into a frame.

use std::collections::VecDeque;
use std::sync::Arc;
use whytop::model::{CgroupFacts, Finding, Frame, Metric, Model, Severity, Story, SubjectLabel, TaskFacts};
use whytop::snapshot::{
    CgroupKey, LogEvent, LogValue, Moment, RemoteKey, Side, Snapshot, Subject, Task, TaskKey, TaskState, TcpState,
};

/// Seconds since boot as a moment.
pub fn at(secs: f64) -> Moment {
    Moment((secs * 1e9) as u64)
}

/// A frame in the making.
#[derive(Default)]
pub struct Build {
    pub snap: Snapshot,
    pub frame: Frame,
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
            since: now,
            last_true: now,
            active: true,
            message: message.into(),
            evidence: Vec::new(),
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
        join_tasks(&self.snap, &mut self.frame.model);
        join_sockets(&self.snap, &mut self.frame.model);
        join_cgroups(&self.snap, &mut self.frame.model);
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

fn join_tasks(snap: &Snapshot, model: &mut Model) {
    let rows = snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    for (row, task) in rows.iter().enumerate() {
        model.by_pid.insert(task.key.pid, task.key);
        let facts = model.tasks.entry(task.key).or_default();
        *facts = TaskFacts { row, cpu_pct: facts.cpu_pct.or(Some(0.0)), ..facts.clone() };
    }
    for (row, task) in rows.iter().enumerate() {
        model.totals.tasks += 1;
        model.totals.threads.merge(&task.by_state);
        model.totals.zombies += u32::from(task.is_zombie());
        if let Some(parent) = model.by_pid.get(&task.ppid).copied() {
            let facts = model.tasks.get_mut(&parent).unwrap();
            facts.children.push(row);
            facts.zombie_children += u32::from(task.is_zombie());
        }
    }
}

fn join_sockets(snap: &Snapshot, model: &mut Model) {
    let Some(sockets) = snap.sockets.data() else { return };
    let mut count = |netns, owner: Option<TaskKey>, state: TcpState, n: u64| {
        model.totals.tcp[state as usize] += n;
        model.tcp_by_netns.entry(netns).or_default()[state as usize] += n;
        match owner.and_then(|k| model.tasks.get_mut(&k)) {
            Some(facts) => facts.tcp[state as usize] += n,
            None => model.tcp_unowned.entry(netns).or_default()[state as usize] += n,
        }
    };
    for group in &sockets.groups {
        count(group.netns, group.owner, group.state, group.count);
    }
    for listener in &sockets.listeners {
        count(listener.key.netns, listener.owner, TcpState::Listen, 1);
    }
    for group in sockets.groups.iter().filter(|g| g.side == Side::Client) {
        let Some(addr) = group.remote_addr else { continue };
        let facts = model.remotes.entry(RemoteKey { netns: group.netns, addr, port: group.remote_port }).or_default();
        facts.tcp[group.state as usize] += group.count;
        if let Some(owner) = group.owner {
            match facts.tasks.iter_mut().find(|(k, _)| *k == owner) {
                Some((_, n)) => *n += group.count,
                None => facts.tasks.push((owner, group.count)),
            }
        }
        facts.tasks.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    }
}

fn join_cgroups(snap: &Snapshot, model: &mut Model) {
    let rows = snap.cgroups.data().map(|c| c.rows.as_slice()).unwrap_or_default();
    model.cgroups.resize(rows.len(), CgroupFacts::default());
    for (row, cgroup) in rows.iter().enumerate() {
        model.cgroup_by_path.insert(cgroup.key.path.clone(), row);
    }
    for (row, cgroup) in rows.iter().enumerate() {
        let path = &*cgroup.key.path;
        let up = path.rsplit_once('/').map(|(up, _)| if up.is_empty() { "/" } else { up });
        let parent = up.filter(|_| path != "/").and_then(|up| model.cgroup_by_path.get(up)).copied();
        model.cgroups[row].parent = parent;
        if let Some(parent) = parent {
            model.cgroups[parent].children.push(row);
        }
        let limited = |r: usize| rows[r].memory.as_ref().is_some_and(|m| m.limit_bytes.is_some());
        model.cgroups[row].limit_row = if limited(row) { Some(row) } else { parent.filter(|p| limited(*p)) };
    }
    let tasks = snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    for task in tasks {
        let Some(path) = &task.cgroup else { continue };
        let mut row = model.cgroup_by_path.get(path).copied();
        if let Some(facts) = model.tasks.get_mut(&task.key) {
            facts.cgroup_row = row;
        }
        while let Some(at) = row {
            let facts = &mut model.cgroups[at];
            facts.tasks += 1;
            facts.blocked += task.by_state.blocked;
            facts.zombies += u32::from(task.is_zombie());
            row = facts.parent;
        }
    }
}

/// A cgroup's key.
pub fn cgroup_key(path: &str) -> CgroupKey {
    CgroupKey { path: path.into(), inode: path.len() as u64 * 31 }
}
