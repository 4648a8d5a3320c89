//! Subjects in words, from what a frame knows of them.

use crate::model::{EvidenceValue, Finding, Frame, SubjectLabel};
use crate::snapshot::{Cgroup, NetnsId, Subject, Task, TaskKey, Text};
use crate::view::{Cell, Line, num};
use std::net::{IpAddr, SocketAddr};

/// `java(16951)`.
pub(super) fn task_name(frame: &Frame, key: TaskKey) -> String {
    frame.task(key).map_or_else(|| format!("pid {} (gone)", key.pid), |t| named(&t.comm, key.pid))
}

fn named(comm: &str, pid: u32) -> String {
    format!("{comm}({pid})")
}

/// A cgroup's shortest true name: its container, its unit, or the end of its path.
pub(super) fn cgroup_name(cgroup: &Cgroup) -> String {
    if let Some(container) = &cgroup.container {
        return container.label();
    }
    if let Some(unit) = &cgroup.unit {
        return unit.to_string();
    }
    tail(&cgroup.key.path)
}

/// The last part of a path; `/` stays.
pub(super) fn tail(path: &str) -> String {
    path.rsplit('/').find(|p| !p.is_empty()).unwrap_or("/").to_owned()
}

/// The name of the cgroup at `path`, also when it is not in the frame.
pub(super) fn path_name(frame: &Frame, path: &str) -> String {
    frame.cgroup(path).map_or_else(|| tail(path), cgroup_name)
}

/// The name of a task's cgroup; empty for the root's.
pub(super) fn home_name(frame: &Frame, task: &Task) -> String {
    task.cgroup.as_deref().filter(|p| *p != "/").map(|p| path_name(frame, p)).unwrap_or_default()
}

/// A namespace's name: its own, the name of a process in it, or its inode.
pub(super) fn netns_name(frame: &Frame, id: NetnsId) -> String {
    if frame.snap.host.data().is_some_and(|h| h.netns == id) {
        return "host".into();
    }
    let row = frame.snap.net.data().and_then(|n| n.netns.iter().find(|n| n.id == id));
    if let Some(name) = row.and_then(|n| n.name.as_deref()) {
        return name.to_owned();
    }
    let owner = row.and_then(|n| n.pid).and_then(|pid| frame.model.by_pid.get(&pid));
    match owner.and_then(|key| frame.task(*key)) {
        Some(task) => match home_name(frame, task) {
            home if home.is_empty() => named(&task.comm, task.key.pid),
            home => home,
        },
        None => format!("netns {}", id.0),
    }
}

/// `10.0.0.9:61616`, `[2001:db8::1]:443`, or without a port the address alone.
pub(super) fn address(addr: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| addr.to_string(), |port| SocketAddr::new(addr, port).to_string())
}

/// `*:80` for a wildcard, else the address and port.
pub(super) fn local(addr: SocketAddr) -> String {
    if addr.ip().is_unspecified() { format!("*:{}", addr.port()) } else { addr.to_string() }
}

/// A subject in words.
#[must_use]
pub fn subject_name(frame: &Frame, subject: &Subject) -> String {
    match subject {
        Subject::Host => "this host".into(),
        Subject::Netns(id) => netns_name(frame, *id),
        Subject::Task(key) => task_name(frame, *key),
        Subject::Socket(key) => format!("socket {}", local(key.local)),
        Subject::Listener(key) => format!("listener {}", local(key.local)),
        Subject::Remote(key) => address(key.addr, key.port),
        Subject::Cgroup(key) => path_name(frame, &key.path),
        Subject::Slab(name) => format!("slab {name}"),
        Subject::Cpu(n) => format!("cpu {n}"),
        Subject::Wchan(name) => format!("wait in {name}"),
        Subject::Iface(_, name) | Subject::Device(name) => name.to_string(),
    }
}

/// A subject in words, with what a finding remembered of it when it has gone.
pub(super) fn label_name(frame: &Frame, subject: &Subject, label: &SubjectLabel) -> String {
    if label.name.is_empty() { subject_name(frame, subject) } else { label.name.to_string() }
}

/// A finding's measure in its unit.
pub(super) fn measure(value: f64, unit: &str) -> Cell {
    match unit {
        "bytes" => Cell::Bytes(num::whole(value)),
        "bytes/s" => Cell::ByteRate(value),
        "%" | "percent" => Cell::Percent(value),
        "s" | "seconds" => Cell::Span(value),
        _ if value.fract().abs() < f64::EPSILON => Cell::Count(num::whole(value)),
        _ => Cell::Number(value),
    }
}

/// A finding's rate, in what it counts.
pub(super) fn measure_rate(finding: &Finding) -> Cell {
    match finding.rate_per_s {
        None => Cell::Blank,
        Some(rate) if finding.rate_unit == "bytes" => Cell::ByteGrowth(rate),
        Some(rate) => Cell::Growth(rate),
    }
}

/// An evidence value in words.
pub(super) fn evidence_words(value: &EvidenceValue) -> String {
    match value {
        EvidenceValue::Text(text) => text.to_string(),
        EvidenceValue::Number(n) if n.fract().abs() < 1e-9 && n.abs() < 1e15 => {
            let sign = if *n < 0.0 { "-" } else { "" };
            format!("{sign}{}", num::grouped(num::whole(*n)))
        }
        EvidenceValue::Number(n) => format!("{n:.2}"),
    }
}

/// Text as a cell; blank when empty.
pub(super) fn text_cell(text: impl Into<Text>) -> Cell {
    let text: Text = text.into();
    if text.is_empty() { Cell::Blank } else { Cell::Text(text) }
}

/// A task in one line, for the foot of a table.
pub(super) fn task_line(frame: &Frame, key: TaskKey) -> Line {
    let Some(task) = frame.task(key) else { return Line::of("PROCESS").dim(task_name(frame, key)) };
    let command = task.cmdline.as_deref().unwrap_or(&task.comm);
    let mut line = Line::of("PROCESS").text(format!("{}({}) ", task.comm, key.pid)).dim(command);
    if let Some(path) = task.cgroup.as_deref().filter(|p| *p != "/") {
        line = line.dim(format!(" · {path}"));
    }
    line
}
