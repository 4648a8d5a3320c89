//! What the kernel log says and no other rule judges: one rule for each kind of event.

use crate::detect::{Case, Join, Look, Measures, Rule, Verdict, words};
use crate::model::{LogJoin, Severity};
use crate::snapshot::{LogEvent, Subject};
use std::collections::BTreeMap;

/// So long a line counts as something that goes on.
const STANDS_S: f64 = 10.0;

/// Rules of log events: `kind, severity, "about", "advice";`, those that explain tasks in D before a `;`-less table.
macro_rules! kinds {
    ($($kind:literal $severity:ident $explains:ident $about:literal, $advice:literal;)*) => {
        pub(super) static RULES: &[Rule] = &[$(Rule {
            id: concat!("kmsg.", $kind),
            about: $about,
            effect: concat!("the kernel reports ", $kind),
            knobs: &[],
            explains: $explains,
            hold_s: 0.0,
            measure: |look, out| measure(look, out, $kind),
            judge: |case| judge(case, $kind, Severity::$severity, $about, $advice),
        }),*];
    };
}

const NOTHING: &[(&str, Join)] = &[];
/// Storage and servers that fail leave tasks in D behind.
const TASKS_IN_D: &[(&str, Join)] = &[
    ("task.d_state_pile", Join::Host),
    ("task.d_state_long", Join::Host),
    ("task.hung", Join::Host),
    ("host.load_blocked", Join::Host),
];

kinds! {
    "fs_error" Critical TASKS_IN_D "a file system found an error", "stop writing to it, save what can be read, then fsck it unmounted";
    "fs_readonly" Critical TASKS_IN_D "a file system went read-only", "look for the error above it in the log: a disk, then fsck";
    "fs_shutdown" Critical TASKS_IN_D "a file system shut itself down", "unmount, check the device under it, repair, mount again";
    "journal_abort" Critical TASKS_IN_D "a file system's journal stopped", "look for the error above it in the log: a disk, then fsck";
    "io_error" Critical TASKS_IN_D "a block device fails to read or write", "check the device (smartctl -a), its cable, its path; move what is on it";
    "buffer_io_error" Critical TASKS_IN_D "a block device lost a write or could not read", "check the device (smartctl -a), its cable, its path; move what is on it";
    "nfs_not_responding" Critical TASKS_IN_D "an NFS server does not answer", "check the server and the way to it; tasks that wait for it die by kill -9";
    "page_alloc_failure" Critical NOTHING "the kernel could not allocate pages", "free memory or raise vm.min_free_kbytes; high orders mean fragmentation";
    "vmalloc_failure" Critical NOTHING "the kernel could not allocate virtual memory", "see who asks for so much at once";
    "slub_alloc_failure" Critical NOTHING "a kernel cache could not get memory", "see the cgroup's memory limit, then unreclaimable slab";
    "soft_lockup" Critical NOTHING "a CPU is stuck in the kernel", "note the task and its trace; on a virtual machine suspect the host's load first";
    "hard_lockup" Critical NOTHING "a CPU is stuck with interrupts off", "note the trace; plan a reboot";
    "rcu_stall" Critical NOTHING "a CPU holds up the kernel (RCU stall)", "note the trace; on a virtual machine suspect the host's load first";
    "netdev_watchdog" Critical NOTHING "a network card stopped sending", "reset the link (ip link set DEV down/up); driver, firmware, cable";
    "mce" Critical NOTHING "the CPU reports a hardware error", "move the load away and check memory and CPU (mcelog, ras-mc-ctl)";
    "edac" Warning NOTHING "memory reports errors", "find the module (ras-mc-ctl --layout) and replace it";
    "tcp_out_of_memory" Critical NOTHING "TCP is out of memory", "find who holds unread or unsent data; then net.ipv4.tcp_mem";
    "tcp_orphans" Critical NOTHING "too many TCP sockets without a process", "see who closes without waiting; then net.ipv4.tcp_max_orphans";
    "kernel_oops" Critical NOTHING "the kernel hit a bug", "save the trace and plan a reboot: the kernel may be damaged";
    "kernel_panic" Critical NOTHING "the kernel panicked", "save the trace (kdump)";
}

fn subject(look: &Look<'_>, event: &LogEvent) -> Subject {
    let device = ["device", "server", "fs"].iter().find_map(|name| event.text(name).cloned());
    let cpu = event.int("cpu").and_then(|n| u32::try_from(n).ok());
    match &*event.kind {
        "netdev_watchdog" => match (device, look.first_netns()) {
            (Some(name), Some(first)) => Subject::Iface(first.id, name),
            (Some(name), None) => Subject::Device(name),
            (None, _) => Subject::Host,
        },
        "fork_rejected" => event.text("cgroup").map_or(Subject::Host, |path| Subject::Cgroup(look.cgroup_key(path))),
        "slub_alloc_failure" => event.text("cache").map_or(Subject::Host, |name| Subject::Slab(name.clone())),
        "soft_lockup" | "hard_lockup" | "rcu_stall" | "mce" => cpu.map_or(Subject::Host, Subject::Cpu),
        _ => device.map_or(Subject::Host, Subject::Device),
    }
}

/// A discard or a write of zeroes that the device can't do is no loss: the kernel writes plain blocks instead.
fn is_fallback(event: &LogEvent) -> bool {
    event.str("error") == Some("operation not supported")
}

fn events<'a>(look: &Look<'a>, kind: &'a str) -> impl Iterator<Item = (&'a LogEvent, &'a LogJoin)> {
    look.log.recent_of(kind).filter(|(event, _)| !is_fallback(event))
}

pub(super) fn measure(look: &Look<'_>, out: &mut Measures, kind: &'static str) {
    let mut counts: BTreeMap<Subject, i64> = BTreeMap::new();
    for (event, _) in events(look, kind) {
        let n = event.int("lines").unwrap_or(1).max(1).saturating_add(event.int("suppressed").unwrap_or(0).max(0));
        *counts.entry(subject(look, event)).or_default() += n;
    }
    for (subject, n) in counts {
        out.put(subject, n as f64);
    }
}

pub(super) fn judge(case: &Case<'_>, kind: &'static str, severity: Severity, about: &str, advice: &str) -> Option<Verdict> {
    let mine = |event: &LogEvent| subject(case.look, event) == case.now.subject;
    let (event, join) = events(case.look, kind).filter(|(event, _)| mine(event)).last()?;
    let waits = kind == "nfs_not_responding" && !answered(case, event, join);
    if case.look.age_s(join.arrived) > STANDS_S && !waits {
        return None;
    }
    let name = match &case.now.subject {
        Subject::Cpu(n) => format!(" (CPU {n})"),
        Subject::Device(name) | Subject::Slab(name) | Subject::Iface(_, name) => format!(" ({name})"),
        Subject::Cgroup(key) => format!(" ({})", words::cgroup_name(case.cgroup(), &key.path)),
        _ => String::new(),
    };
    let who = event.str("comm").map_or_else(String::new, |comm| {
        event.pid("pid").map_or_else(|| format!(", by {comm}"), |pid| format!(", by {comm}({pid})"))
    });
    let times = if case.value() > 1.5 { format!(", {} times", words::count(case.value())) } else { String::new() };
    let mild = event.str("severity") == Some("warning");
    Some(
        case.verdict(if mild { Severity::Warning } else { severity }, "lines", format!("{about}{name}{who}{times}"))
            .text("kernel log", kind, event.text.clone())
            .since(join.arrived)
            .advise(advice)
            .about(join.task, []),
    )
}

/// Whether an NFS server has answered since.
fn answered(case: &Case<'_>, asked: &LogEvent, join: &LogJoin) -> bool {
    let same = |event: &LogEvent| event.str("server") == asked.str("server");
    events(case.look, "nfs_ok").any(|(event, ok)| same(event) && (ok.arrived, event.line) >= (join.arrived, asked.line))
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::Script;
    use crate::model::Severity;
    use crate::snapshot::Subject;

    #[test]
    fn what_a_device_can_not_do_is_no_error_of_it() {
        for (error, found) in [("operation not supported", false), ("I/O", true)] {
            let mut s = Script::new();
            s.secs(1);
            s.world.log("io_error", &[("error", error), ("device", "loop0"), ("op", "WRITE_ZEROES")]);
            s.secs(1);
            assert_eq!(s.found("kmsg.io_error").is_some(), found, "{error}");
        }
    }

    #[test]
    fn an_error_names_its_device_counts_and_ends() {
        let mut s = Script::new();
        s.secs(1);
        s.world.log("fs_error", &[("device", "sda3"), ("fs", "ext4")]);
        s.world.log("fs_error", &[("device", "sda3"), ("fs", "ext4")]);
        s.secs(1);
        let f = s.expect("kmsg.fs_error");
        assert_eq!((&f.subject, f.message.as_str()), (&Subject::Device("sda3".into()), "a file system found an error (sda3), 2 times"));
        s.secs(14);
        assert!(!s.expect("kmsg.fs_error").active);
    }

    #[test]
    fn lines_older_than_the_look_are_history() {
        let mut s = Script::new();
        s.world.log("soft_lockup", &[("cpu", "1"), ("comm", "x"), ("pid", "7")]);
        s.secs(3);
        s.silent();
    }

    #[test]
    fn a_warning_of_the_kernel_stays_one() {
        let mut s = Script::new();
        s.secs(1);
        s.world.log("fs_error", &[("device", "sda3"), ("severity", "warning")]);
        s.secs(1);
        assert_eq!(s.expect("kmsg.fs_error").severity, Severity::Warning);
    }

    #[test]
    fn an_nfs_server_is_silent_until_it_answers() {
        let mut s = Script::new();
        s.secs(1);
        s.world.log("nfs_not_responding", &[("server", "filer1")]);
        s.secs(30);
        assert!(s.expect("kmsg.nfs_not_responding").active);
        s.world.log("nfs_ok", &[("server", "filer1")]);
        s.secs(4);
        assert!(!s.expect("kmsg.nfs_not_responding").active);
    }

    #[test]
    fn errors_of_a_disk_explain_the_tasks_that_hang() {
        let mut s = Script::new();
        let dd = s.world.task(50, "dd");
        s.world.blocked(dd, "folio_wait_bit_common", 25);
        s.secs(1);
        s.world.log("io_error", &[("device", "sdb")]);
        s.secs(4);
        let frame = s.last();
        assert_eq!(frame.stories.len(), 1, "{:#?}", s.messages());
        assert_eq!(frame.findings[frame.stories[0].root].id, "kmsg.io_error");
    }
}
