//! A subject in words, and what it can be joined by.

use super::{Look, Verdict};
use crate::model::SubjectLabel;
use crate::snapshot::{ListenerKey, LogEvent, NetnsId, Subject, Task, TaskKey, Text};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The subject as words, while it can be seen.
#[must_use]
pub fn label_of(look: &Look<'_>, subject: &Subject) -> SubjectLabel {
    let mut label = SubjectLabel::default();
    let name: String = match subject {
        Subject::Host => look.snap.host.data().map_or_else(|| "host".into(), |h| h.name.to_string()),
        Subject::Netns(id) => {
            name_netns(look, *id, &mut label);
            label.netns_name.as_deref().map_or_else(|| format!("netns {}", id.0), str::to_owned)
        }
        Subject::Task(key) => {
            name_task(look, *key, &mut label);
            label.comm.as_deref().map_or_else(|| format!("pid {}", key.pid), |comm| super::words::named(comm, *key))
        }
        Subject::Socket(key) => {
            name_netns(look, key.netns, &mut label);
            name_owner(look, owner_of(look, subject), &mut label);
            format!("{:?} {}", key.proto, key.local).to_lowercase()
        }
        Subject::Listener(key) => {
            name_netns(look, key.netns, &mut label);
            name_owner(look, owner_of(look, subject), &mut label);
            key.local.to_string()
        }
        Subject::Remote(key) => {
            name_netns(look, key.netns, &mut label);
            remote_name(key.addr, key.port)
        }
        Subject::Cgroup(key) => {
            name_cgroup(look, &key.path, &mut label);
            super::words::cgroup_name(look.cgroup(&key.path).or_else(|| look.log.oom_cgroup(&key.path)), &key.path)
        }
        Subject::Iface(id, name) => {
            name_netns(look, *id, &mut label);
            name.to_string()
        }
        Subject::Slab(name) | Subject::Wchan(name) | Subject::Device(name) => name.to_string(),
        Subject::Cpu(n) => format!("CPU {n}"),
    };
    label.name = name.into();
    label
}

/// `10.0.0.9:61616`, `[::1]:80`, or the address alone.
pub(super) fn remote_name(addr: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| addr.to_string(), |port| SocketAddr::new(addr, port).to_string())
}

fn owner_of(look: &Look<'_>, subject: &Subject) -> Option<TaskKey> {
    let sockets = look.snap.sockets.data()?;
    match subject {
        Subject::Socket(key) => sockets.udp.iter().find(|s| s.key == *key)?.owner,
        Subject::Listener(key) => sockets.listeners.iter().find(|l| l.key == *key)?.owner,
        _ => None,
    }
}

fn name_owner(look: &Look<'_>, owner: Option<TaskKey>, label: &mut SubjectLabel) {
    let Some(key) = owner else { return };
    name_task(look, key, label);
    label.owner = label.comm.take().map(|comm| (key, comm));
}

fn name_task(look: &Look<'_>, key: TaskKey, label: &mut SubjectLabel) {
    let Some(task) = look.task(key) else { return name_victim(look, key, label) };
    label.comm = Some(task.comm.clone());
    if let Some(path) = &task.cgroup {
        name_cgroup(look, path, label);
    }
    if let Some(id) = task.netns.filter(|&id| look.snap.host.data().is_none_or(|h| h.netns != id)) {
        name_netns(look, id, label);
    }
}

/// An OOM victim or a hung task that is gone before anything was seen of it: the kernel's line names it.
fn name_victim(look: &Look<'_>, key: TaskKey, label: &mut SubjectLabel) {
    let pid = |event: &LogEvent| event.pid("victim_pid").or_else(|| event.pid("pid"));
    let Some((event, _)) = look.log.recent().find(|(event, _)| pid(event) == Some(key.pid)) else { return };
    label.comm = event.text("victim_comm").or_else(|| event.text("comm")).cloned();
    if let Some(path) = event.text("task_memcg") {
        name_cgroup(look, path, label);
    }
}

fn name_netns(look: &Look<'_>, id: NetnsId, label: &mut SubjectLabel) {
    label.netns_name = look.netns(id).and_then(|n| n.name.clone());
}

fn name_cgroup(look: &Look<'_>, path: &Text, label: &mut SubjectLabel) {
    label.cgroup = Some(path.clone());
    let Some(cgroup) = look.cgroup(path).or_else(|| look.log.oom_cgroup(path)) else { return };
    label.pod.clone_from(&cgroup.pod_uid);
    let Some(container) = &cgroup.container else { return };
    label.container = Some(container.label().into());
    label.image.clone_from(&container.image);
    label.pod = match (&container.pod_namespace, &container.pod) {
        (Some(ns), Some(pod)) => Some(format!("{ns}/{pod}").into()),
        _ => container.pod.clone().or_else(|| container.pod_uid.clone()).or(label.pod.take()),
    };
}

/// What a finding can be joined by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Joints {
    pub(super) tasks: Vec<TaskKey>,
    pub(super) cgroups: Vec<Text>,
    pub(super) netns: Option<NetnsId>,
    pub(super) listener: Option<ListenerKey>,
    pub(super) iface: Option<Text>,
}

impl Joints {
    pub(super) fn of(look: &Look<'_>, subject: &Subject, verdict: &Verdict) -> Self {
        let mut joints = Self { cgroups: verdict.cgroups.clone(), listener: verdict.listener, ..Self::default() };
        let add_task = |key: TaskKey, joints: &mut Self| {
            joints.tasks.push(key);
            if let Some(path) = look.task(key).and_then(|t: &Task| t.cgroup.as_ref()) {
                joints.cgroups.push(path.clone());
            }
        };
        match subject {
            Subject::Task(key) => {
                add_task(*key, &mut joints);
                joints.netns = look.task(*key).and_then(|t| t.netns);
            }
            Subject::Socket(key) => joints.netns = Some(key.netns),
            Subject::Listener(key) => {
                joints.netns = Some(key.netns);
                joints.listener = Some(*key);
            }
            Subject::Remote(key) => joints.netns = Some(key.netns),
            Subject::Netns(id) => joints.netns = Some(*id),
            Subject::Iface(id, name) => {
                joints.netns = Some(*id);
                joints.iface = Some(name.clone());
            }
            Subject::Cgroup(key) => joints.cgroups.push(key.path.clone()),
            Subject::Host | Subject::Slab(_) | Subject::Cpu(_) | Subject::Wchan(_) | Subject::Device(_) => {}
        }
        for key in owner_of(look, subject).into_iter().chain(verdict.tasks.iter().copied()) {
            add_task(key, &mut joints);
        }
        joints.cgroups.retain(|path| &**path != "/");
        joints.cgroups.sort_unstable();
        joints.cgroups.dedup();
        joints
    }
}
