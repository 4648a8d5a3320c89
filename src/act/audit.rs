//! One line for each attempt, refused ones too: in a file, or to syslog.

use crate::snapshot::{Action, ActionRecord, Decision, Plan, Signal, Target};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where attempts are written to; nowhere by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditConfig {
    /// A file: one JSON object a line, appended. Made with mode 0600.
    pub file: Option<PathBuf>,
    /// The system's log, by `/dev/log`, as `authpriv.notice`.
    pub syslog: bool,
}

/// `LOG_AUTHPRIV | LOG_NOTICE`.
const PRIORITY: u32 = 10 << 3 | 5;
/// More does not go through `/dev/log`: a line that is longer says how many targets it left out.
const SYSLOG_MAX: usize = 60_000;

impl AuditConfig {
    /// Writes the line of one attempt.
    ///
    /// # Errors
    /// What could not be written where. The action has been done by then.
    pub fn write(&self, record: &ActionRecord) -> Result<(), String> {
        let mut failed = Vec::new();
        if let Some(path) = &self.file {
            let line = format!("{}\n", line(record, usize::MAX));
            if let Err(error) = append(path, line.as_bytes()) {
                failed.push(format!("{}: {error}", path.display()));
            }
        }
        if self.syslog
            && let Err(error) = tell_syslog(record)
        {
            failed.push(format!("/dev/log: {error}"));
        }
        if failed.is_empty() { Ok(()) } else { Err(format!("the audit line was not written: {}", failed.join(", "))) }
    }
}

fn append(path: &Path, line: &[u8]) -> Result<(), Errno> {
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
    let mut rest = line;
    while !rest.is_empty() {
        match rustix::io::write(&file, rest) {
            Ok(0) => return Err(Errno::IO),
            Ok(len) => rest = rest.get(len..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn tell_syslog(record: &ActionRecord) -> Result<(), Errno> {
    let mut text = line(record, usize::MAX).to_string();
    if text.len() > SYSLOG_MAX {
        text = line(record, 32).to_string();
    }
    let message = format!("<{PRIORITY}>whytop[{}]: {text}", record.actor.pid);
    // Without NONBLOCK a log daemon that hangs would hold us.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new("/dev/log")?)?;
    rustix::net::send(&socket, message.as_bytes(), SendFlags::NOSIGNAL).map(|_| ())
}

/// The line, with so many targets at most.
fn line(record: &ActionRecord, targets: usize) -> Value {
    let proposal = &record.proposal;
    let time = jiff::Timestamp::from_nanosecond(i128::from(record.wall_unix_ns)).unwrap_or_default();
    let all = proposal.plans.len();
    let (action, signal) = words(&proposal.action);
    let mut line = json!({
        "schema": 1,
        "time": time.to_string(),
        "by": record.actor.by,
        "pid": record.actor.pid,
        "uid": record.actor.uid,
        "euid": record.actor.euid,
        "login_uid": record.actor.login_uid,
        "action": action,
        "signal": signal.map(Signal::name),
        "decision": proposal.decision.word(),
        "confirmed": record.confirmed,
        "sent": record.sent,
        "targets": proposal.plans.iter().take(targets).map(target).collect::<Vec<_>>(),
    });
    if all > targets
        && let Some(fields) = line.as_object_mut()
    {
        fields.insert("targets_left_out".into(), (all - targets).into());
    }
    line
}

fn words(action: &Action) -> (&'static str, Option<Signal>) {
    match action {
        Action::Signal { signal, .. } => ("signal", Some(*signal)),
        Action::Tree { signal, .. } => ("tree", Some(*signal)),
        Action::KillCgroup { .. } => ("kill_cgroup", Some(Signal::KILL)),
        Action::Thaw { .. } => ("thaw", None),
        Action::Reap { .. } => ("reap", Some(Signal::CHLD)),
        Action::DestroySockets { .. } => ("destroy_sockets", None),
    }
}

fn target(plan: &Plan) -> Value {
    let who = match &plan.target {
        Target::Task(task) => json!({
            "pid": task.key.pid, "start_ticks": task.key.start_ticks, "pidfd_inode": task.pidfd_inode,
            "comm": task.comm, "cmdline": task.cmdline, "uid": task.uid, "cgroup": task.cgroup,
            "container": task.container, "unit": task.unit,
        }),
        Target::Cgroup(cgroup) => json!({
            "cgroup": cgroup.key.path, "inode": cgroup.key.inode, "container": cgroup.container,
            "processes": cgroup.processes, "method": cgroup.method,
        }),
        Target::Sockets(sockets) => json!({ "sockets": sockets.selection, "count": sockets.count }),
    };
    let why = plan.reasons.first().filter(|_| plan.decision == Decision::Refused);
    let decision = plan.decision.word();
    let mut line = json!({ "decision": decision, "effect": plan.effect.word(), "why": why, "outcome": plan.outcome });
    if let (Some(line), Value::Object(who)) = (line.as_object_mut(), who) {
        line.extend(who);
    }
    line
}
