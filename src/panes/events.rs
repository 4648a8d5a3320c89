//! Kernel-log events as sentences.

use super::names::path_name;
use crate::model::Frame;
use crate::snapshot::{LogEvent, LogValue, Subject};
use crate::view::num;

/// How a kind is told, and which findings rest on it.
pub(super) struct Told {
    kind: &'static str,
    /// A sentence with fields in braces; a part in brackets is left out when one of its fields is missing.
    sentence: &'static str,
    /// Findings (ids, or the start of ids) that light it while it is inside the window.
    pub(super) lights: &'static [&'static str],
}

const fn told(kind: &'static str, sentence: &'static str, lights: &'static [&'static str]) -> Told {
    Told { kind, sentence, lights }
}

static TOLD: &[Told] = &[
    told(
        "oom_kill",
        "OOM killer killed {victim_comm}({victim_pid})[ in {task_memcg}][, limit of {oom_memcg}][ {limit_kb}][, held {anon_rss_kb} anon][, asked for by {trigger_comm}({trigger_pid})]",
        &["cgroup.oom_kill", "host.oom_kill"],
    ),
    told(
        "hung_task",
        "{comm}({pid}) has been stuck in D for more than {seconds} s[ at {top_frame}][, waits for a {lock}][ held by {blocked_by_comm}({blocked_by_pid})]",
        &["task.hung"],
    ),
    told("hung_task_suppressed", "the kernel reports no more stuck tasks (hung_task_warnings used up)", &["task.hung"]),
    told("fork_rejected", "fork refused: pids limit[ of {cgroup}]", &["cgroup.pids_limit", "task.pid_exhaustion"]),
    told("tw_overflow", "TIME_WAIT buckets overflowed", &["tcp.time_wait_full"]),
    told("syn_flood", "SYN queue full on port {port}[, answer: {action}]", &["tcp.listen_overflow"]),
    told("tcp_out_of_memory", "TCP is out of memory (tcp_mem)", &["tcp.memory_pressure"]),
    told("tcp_orphans", "too many orphaned TCP sockets", &["tcp.memory_pressure"]),
    told("conntrack_full", "connection-tracking table full, packets dropped", &["net.conntrack_full"]),
    told("neigh_overflow", "neighbour table {table} overflowed", &["net.neighbour_full"]),
    told("netdev_watchdog", "{device}[ ({driver})]: transmit queue[ {queue}] timed out", &["kmsg.netdev_watchdog"]),
    told(
        "page_alloc_failure",
        "{comm}[({pid})]: page allocation failed, order {order}[, mode {mode}]",
        &["kmsg.page_alloc_failure"],
    ),
    told("slub_alloc_failure", "no memory for slab {cache}[ in cgroup {cgroup_name}]", &["kmsg.slub_alloc_failure"]),
    told("vmalloc_failure", "{comm}: vmalloc of {wanted} bytes failed", &["kmsg.vmalloc_failure"]),
    told("soft_lockup", "CPU {cpu} stuck for {seconds} s in {comm}({pid})", &["kmsg.soft_lockup"]),
    told("hard_lockup", "CPU {cpu} is locked up hard", &["kmsg.hard_lockup"]),
    told("rcu_stall", "RCU stall[ ({flavor})][ on CPU {cpu}][ for {jiffies} jiffies]", &["kmsg.rcu_stall"]),
    told("io_error", "{device}:[ {error}] error[, {op}][ at sector {sector}]", &["kmsg.io_error"]),
    told("buffer_io_error", "{device}: buffer I/O error[ at block {block}]", &["kmsg.buffer_io_error"]),
    told("fs_error", "{fs} {device}: {severity}[ in {function}][, inode {inode}][, by {comm}]", &["kmsg.fs_error"]),
    told("fs_readonly", "{device}: file system is now read-only", &["kmsg.fs_readonly"]),
    told("fs_shutdown", "{fs} {device}: file system shut down", &["kmsg.fs_shutdown"]),
    told("journal_abort", "{device}: journal aborted", &["kmsg.journal_abort"]),
    told("nfs_not_responding", "NFS server {server} does not answer", &["kmsg.nfs_not_responding"]),
    told("nfs_ok", "NFS server {server} answers again", &[]),
    told("user_fault", "{comm}({pid}) crashed: {fault}[ at {address}]", &["kmsg.user_fault"]),
    told("kernel_oops", "kernel oops: {text}", &["kmsg.kernel_oops"]),
    told("kernel_panic", "kernel panic: {reason}", &["kmsg.kernel_panic"]),
    told("mce", "machine check[ on CPU {cpu}][, bank {bank}]", &["kmsg.mce"]),
    told("edac", "memory controller {mc}: {count} {error} errors", &["kmsg.edac"]),
];

/// How an event's kind is told; `None` for kinds of newer versions.
pub(super) fn told_of(event: &LogEvent) -> Option<&'static Told> {
    TOLD.iter().find(|t| *t.kind == *event.kind)
}

/// An event as a sentence; the line itself where its kind is not known. May hold hostile text.
#[must_use]
pub fn event_words(frame: &Frame, event: &LogEvent) -> String {
    let sentence = told_of(event).and_then(|t| fill(frame, event, t.sentence));
    let words = sentence.unwrap_or_else(|| event.text.to_string());
    let lines = event.int("lines").filter(|n| *n > 1);
    let suppressed = event.int("suppressed").filter(|n| *n > 0);
    match (lines, suppressed) {
        (Some(n), Some(more)) => format!("{words} ({n} lines, {more} more suppressed)"),
        (Some(n), None) => format!("{words} ({n} lines)"),
        (None, Some(more)) => format!("{words} ({more} more suppressed)"),
        (None, None) => words,
    }
}

/// Fills a sentence; `None` when a field outside brackets is missing.
fn fill(frame: &Frame, event: &LogEvent, sentence: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(&fields(frame, event, before)?);
        let (part, tail) = after.split_once(']')?;
        if let Some(words) = fields(frame, event, part) {
            out.push_str(&words);
        }
        rest = tail;
    }
    out.push_str(&fields(frame, event, rest)?);
    Some(out)
}

fn fields(frame: &Frame, event: &LogEvent, part: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = part;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}')?;
        out.push_str(before);
        out.push_str(&field(frame, event, name)?);
        rest = tail;
    }
    out.push_str(rest);
    Some(out)
}

fn field(frame: &Frame, event: &LogEvent, name: &str) -> Option<String> {
    Some(match event.fields.get(name)? {
        LogValue::Int(kb) if name.ends_with("_kb") => num::bytes(u64::try_from(*kb).ok()?.saturating_mul(1024)),
        LogValue::Int(n) => n.to_string(),
        LogValue::Float(v) => format!("{v:.1}"),
        LogValue::Bool(b) => b.to_string(),
        LogValue::Text(t) if t.starts_with('/') && name.contains("cg") => path_name(frame, t),
        LogValue::Text(t) => t.to_string(),
    })
}

/// What an event is about, joined to what lives now: its process if that still runs under the same name, its cgroup,
/// its device.
pub(super) fn event_subject(frame: &Frame, event: &LogEvent) -> Option<Subject> {
    let live = ["victim", "blocked_by", ""].iter().find_map(|role| {
        let name = |what: &str| if role.is_empty() { what.to_owned() } else { format!("{role}_{what}") };
        let key = *frame.model.by_pid.get(&event.pid(&name("pid"))?)?;
        let task = frame.task(key)?;
        (event.str(&name("comm"))? == &*task.comm).then_some(Subject::Task(key))
    });
    let cgroup = || {
        let path = ["oom_memcg", "task_memcg", "cgroup"].iter().find_map(|name| event.str(name))?;
        frame.cgroup(path).map(|c| Subject::Cgroup(c.key.clone()))
    };
    let device = || event.text("device").map(|d| Subject::Device(d.clone()));
    live.or_else(cgroup).or_else(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, fields: &[(&str, LogValue)]) -> LogEvent {
        LogEvent {
            kind: kind.into(),
            fields: fields.iter().map(|(k, v)| ((*k).into(), v.clone())).collect(),
            text: "the line".into(),
            ..LogEvent::default()
        }
    }

    #[test]
    fn missing_fields_take_their_part_of_the_sentence_along() {
        let frame = Frame::default();
        let killed = [
            ("victim_comm", LogValue::Text("java".into())),
            ("victim_pid", LogValue::Int(7)),
            ("limit_kb", LogValue::Int(2 << 20)),
        ];
        assert_eq!(event_words(&frame, &event("oom_kill", &killed)), "OOM killer killed java(7) 2.0G");
        assert_eq!(event_words(&frame, &event("oom_kill", &[])), "the line");
        assert_eq!(event_words(&frame, &event("from_the_future", &[])), "the line");
        let flood = [("lines", LogValue::Int(10)), ("suppressed", LogValue::Int(1568))];
        assert_eq!(
            event_words(&frame, &event("tw_overflow", &flood)),
            "TIME_WAIT buckets overflowed (10 lines, 1568 more suppressed)"
        );
    }

    #[test]
    fn every_sentence_can_be_filled() {
        for told in TOLD {
            let names: Vec<&str> =
                told.sentence.split('{').skip(1).filter_map(|s| s.split_once('}')).map(|s| s.0).collect();
            let all: Vec<_> = names.iter().map(|n| (*n, LogValue::Int(1))).collect();
            let words = fill(&Frame::default(), &event(told.kind, &all), told.sentence);
            assert!(words.is_some_and(|w| !w.contains(['[', ']', '{', '}'])), "{}", told.kind);
        }
    }
}
