//! A process in full.

use super::super::names::{address, home_name, local, netns_name, path_name, task_name};
use super::{Cx, block, facts, history, log, waits};
use crate::model::{Frame, Metric, TaskFacts};
use crate::snapshot::{
    Cgroup, Deep, DeepKind, DeepState, Listener, Moment, Signal, Subject, Task, TaskDetail, TaskKey, TaskState,
    TcpState, Text, Thread,
};
use crate::view::{Line, Role, Target, num};
use rustc_hash::FxHashMap;

/// Lines of one kind at most.
const LINES_MAX: usize = 8;

/// Its note and lines; `None` when it has gone.
pub(super) fn page(cx: &Cx<'_>, key: TaskKey) -> Option<(String, Vec<Line>)> {
    let frame = cx.frame;
    let task = frame.task(key)?;
    let known = frame.model.tasks.get(&key)?;
    let detail = frame.snap.detail.as_ref().and_then(|d| d.task.as_ref()).filter(|d| d.key == key);
    let mut lines = who(frame, task, detail);
    lines.extend(parents(frame, task));
    lines.extend(children(frame, known));
    lines.extend(waits::lines(frame, task, known, detail));
    lines.push(threads(task, detail));
    lines.extend(memory(frame, task, known, detail));
    lines.push(descriptors(task, detail));
    lines.extend(cx.deep.filter(|deep| deep.task == key).map(deep_lines).unwrap_or_default());
    lines.extend(sockets(frame, task));
    let coming = if cx.recorded { "not in the recording" } else { "reading …" };
    match detail {
        Some(detail) => lines.extend(only_in_detail(detail)),
        None => lines.push(Line::of("signals").dim(coming)),
    }
    let metrics = [
        ("rss", Metric::Rss),
        ("threads", Metric::Threads),
        ("D", Metric::Blocked),
        ("cpu", Metric::CpuPct),
        ("sockets", Metric::Sockets),
    ];
    lines.extend(history(frame, &Subject::Task(key), metrics));
    lines.extend(log(frame, |e| {
        let named = |pid: &str, comm: &str| e.pid(pid) == Some(key.pid) && e.str(comm).is_none_or(|c| c == &*task.comm);
        named("pid", "comm") || named("victim_pid", "victim_comm") || named("trigger_pid", "trigger_comm")
    }));
    Some((note(cx, task, known), lines))
}

/// When it was born, that it is pinned, and its state.
fn note(cx: &Cx<'_>, task: &Task, known: &TaskFacts) -> String {
    let snap = &cx.frame.snap;
    let mut words = String::new();
    if let Some(ticks) = snap.host.data().map(|h| h.ticks_per_sec).filter(|t| *t > 0) {
        let born = Moment(task.key.start_ticks.saturating_mul(1_000_000_000 / ticks));
        let clock = num::clock(snap.wall_of(born), cx.utc_offset_secs);
        words = format!("born {clock} ({} ago) · ", num::span(snap.at.since(born)));
    }
    let since = known.blocked_since.map(|at| format!(" {}", num::span(snap.at.since(at)))).unwrap_or_default();
    format!("{words}pinned · ● {}{since}", task.state.letter())
}

fn who(frame: &Frame, task: &Task, detail: Option<&TaskDetail>) -> Vec<Line> {
    let name = detail.and_then(|d| d.user.as_deref());
    let uid = match (name, task.uid) {
        (Some(name), Some(uid)) => format!("{name} (uid {uid})"),
        (_, Some(uid)) => format!("uid {uid}"),
        (_, None) => "uid –".into(),
    };
    let command = match (&task.cmdline, task.kthread) {
        (_, true) => format!("[{}] kernel thread", task.comm),
        (Some(cmdline), _) if !cmdline.is_empty() => cmdline.to_string(),
        _ => task.comm.to_string(),
    };
    let mut lines = vec![Line::of("who").dim(format!("{uid}  ")).text(command)];
    if let Some(path) = task.cgroup.as_deref() {
        let line = Line::of("cgroup").text(path.to_owned());
        let line =
            if home_name(frame, task).is_empty() { line } else { line.dim(format!("  ({})", home_name(frame, task))) };
        lines.push(match frame.cgroup(path) {
            Some(cgroup) => line.to(Target::Subject(Subject::Cgroup(cgroup.key.clone()))),
            None => line,
        });
    }
    lines
}

/// The way up to init, whose end Enter leads to the parent.
fn parents(frame: &Frame, task: &Task) -> Option<Line> {
    let up = |task: &Task| frame.model.by_pid.get(&task.ppid).copied().filter(|k| *k != task.key);
    let parent = up(task)?;
    let mut chain = vec![parent];
    while let Some(next) = chain.last().and_then(|k| frame.task(*k)).and_then(up).filter(|k| !chain.contains(k)) {
        chain.push(next);
    }
    let mut line = Line::of("parents");
    for key in chain.iter().rev() {
        let init = frame.task(*key).is_some_and(Task::is_container_init);
        line = line.text(task_name(frame, *key)).dim(if init { " container pid 1 › " } else { " › " });
    }
    Some(line.with(Role::Title, task.comm.to_string()).to(Target::Subject(Subject::Task(parent))))
}

/// Its children, those that are alike in one line.
fn children(frame: &Frame, known: &TaskFacts) -> Vec<Line> {
    let rows = frame.snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    let mut alike: Vec<(&Text, char, TaskKey, u32)> = Vec::new();
    for task in known.children.iter().filter_map(|at| rows.get(*at)) {
        let state = if task.by_state.blocked > 0 && !task.is_zombie() { 'D' } else { task.state.letter() };
        match alike.iter_mut().find(|(comm, s, ..)| **comm == task.comm && *s == state) {
            Some((.., count)) => *count += 1,
            None => alike.push((&task.comm, state, task.key, 1)),
        }
    }
    alike.sort_by_key(|(_, state, _, count)| (!matches!(state, 'D' | 'Z'), std::cmp::Reverse(*count)));
    let more = alike.len().saturating_sub(LINES_MAX);
    let lines = alike.iter().take(LINES_MAX).enumerate().map(|(i, (comm, state, key, count))| {
        let words =
            if *count == 1 { format!("{comm}({}) {state}", key.pid) } else { format!("{count} × {comm} {state}") };
        let mut line = Line::default().text(words).to(Target::Subject(Subject::Task(*key)));
        if *state == 'Z'
            && let Some(since) = known.zombie_since
        {
            line = line.dim(format!(", oldest {}", num::span(frame.snap.at.since(since))));
        }
        if i + 1 == LINES_MAX && more > 0 { line.dim(format!(" · {more} other kinds")) } else { line }
    });
    block("children", lines)
}

fn threads(task: &Task, detail: Option<&TaskDetail>) -> Line {
    let states = [
        ('D', task.by_state.blocked),
        ('R', task.by_state.running),
        ('S', task.by_state.sleeping),
        ('Z', task.by_state.zombie),
        ('T', task.by_state.stopped),
        ('I', task.by_state.idle),
    ];
    let line = Line::of("threads").text(num::grouped(task.threads.into())).dim(": ");
    let mut line = line.to(Target::Threads(task.key));
    let mut first = true;
    for (letter, count) in states.into_iter().filter(|(_, n)| *n > 0) {
        line = line.dim(if first { "" } else { " · " }).text(format!("{letter} {}", num::grouped(count.into())));
        first = false;
        if letter == 'D' {
            let all = detail.map_or(task.awake.as_slice(), |d| d.threads.as_slice());
            line = line.dim(by_wchan(all));
        }
    }
    line
}

/// ` (mem_cgroup_oom 209, filename_create 2)`.
fn by_wchan(threads: &[Thread]) -> String {
    let mut by: FxHashMap<&str, u32> = FxHashMap::default();
    for thread in threads.iter().filter(|t| t.state == TaskState::Blocked) {
        *by.entry(thread.wchan.as_deref().unwrap_or("?")).or_default() += 1;
    }
    // Without the detail only so many threads are listed.
    let more = if threads.len() == Task::AWAKE_MAX { "+" } else { "" };
    let mut by: Vec<_> = by.into_iter().collect();
    by.sort_by_key(|(name, n)| (std::cmp::Reverse(*n), *name));
    let words: Vec<_> = by.iter().take(3).map(|(name, n)| format!("{name} {n}{more}")).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

fn memory(frame: &Frame, task: &Task, known: &TaskFacts, detail: Option<&TaskDetail>) -> Vec<Line> {
    let of = |name: &str| detail.and_then(|d| d.memory.get(name)).map(num::bytes);
    let score = detail.and_then(|d| d.oom_score).map(|s| s.to_string());
    let adj = detail.and_then(|d| d.oom_score_adj).filter(|a| *a != 0).map(|a| a.to_string());
    let own = facts(
        "memory",
        [
            ("rss", Some(num::bytes(task.rss_bytes))),
            ("anon", of("RssAnon")),
            ("file", of("RssFile")),
            ("shmem", of("RssShmem")),
            ("swap", task.swap_bytes.map(num::bytes).or_else(|| of("VmSwap"))),
            ("peak", of("VmHWM")),
            ("virtual", Some(num::bytes(task.vsize_bytes))),
            ("oom score", score),
            ("adjusted", adj),
        ],
    );
    let mut lines = vec![own];
    lines.extend(chain(frame, known));
    lines
}

/// The limits that hold it: of its cgroup and of every one above it that has any, nearest first.
fn chain(frame: &Frame, known: &TaskFacts) -> Vec<Line> {
    let rows = frame.snap.cgroups.data().map(|c| c.rows.as_slice()).unwrap_or_default();
    let parent = |row: &usize| frame.model.cgroups.get(*row)?.parent;
    let up = std::iter::successors(known.cgroup_row, parent).take(32);
    let tightest = known.cgroup_row.and_then(|row| frame.model.cgroups.get(row)?.limit_row);
    let limited = up.filter_map(|row| Some((row, rows.get(row)?))).filter_map(|(row, cgroup)| {
        let words = limits_of(cgroup);
        (!words.is_empty()).then(|| {
            let line = Line::default().text(words.join(" · ")).dim(format!("  {}", path_name(frame, &cgroup.key.path)));
            let line = if tightest == Some(row) { line.dim(", the tightest memory limit") } else { line };
            line.to(Target::Subject(Subject::Cgroup(cgroup.key.clone())))
        })
    });
    block("limits", limited)
}

/// What a cgroup limits, and how much of it is used.
fn limits_of(cgroup: &Cgroup) -> Vec<String> {
    let mut words = Vec::new();
    let memory = cgroup.memory.as_ref();
    if let Some((memory, limit)) = memory.and_then(|m| m.limit_bytes.map(|limit| (m, limit))) {
        let used = memory.usage_bytes.map_or_else(|| "–".into(), num::bytes);
        words.push(format!("memory {used}/{}", num::bytes(limit)));
    }
    words.extend(memory.and_then(|m| m.high_bytes).map(|high| format!("memory.high {}", num::bytes(high))));
    if let Some((pids, limit)) = cgroup.pids.and_then(|p| p.limit.map(|limit| (p.current, limit))) {
        words.push(format!("pids {}/{}", num::grouped(pids), num::grouped(limit)));
    }
    if let Some((quota, period)) = cgroup.cpu.and_then(|c| c.quota_usec.zip(c.period_usec)).filter(|(_, p)| *p > 0) {
        words.push(format!("cpu {}", num::number(quota as f64 / period as f64)));
    }
    if cgroup.frozen == Some(true) {
        words.push("frozen".into());
    }
    words
}

fn descriptors(task: &Task, detail: Option<&TaskDetail>) -> Line {
    let used = task.fds.or_else(|| detail.and_then(|d| d.fds.as_ref()).map(|f| f.total));
    let limit = task.fd_limit.or_else(|| {
        detail.and_then(|d| d.limits.iter().find(|(name, _)| name.contains("open files")).and_then(|(_, soft)| *soft))
    });
    let count = |n: Option<u64>| n.map_or_else(|| "–".into(), num::grouped);
    let mut line = Line::of("files").text(format!("{}/{}", count(used), count(limit))).dim(" descriptors");
    let Some(fds) = detail.and_then(|d| d.fds.as_ref()) else { return line };
    for (name, n) in [("sockets", fds.sockets), ("pipes", fds.pipes), ("files", fds.files), ("anon", fds.anon)] {
        if n > 0 {
            line = line.dim(format!(" · {name} ")).text(num::grouped(n));
        }
    }
    for (path, n) in fds.paths.iter().take(3) {
        line = line.dim(" · ").text(path.to_string()).dim(format!(" ×{n}"));
    }
    line
}

/// A deep read: how far it is, or what it brought.
fn deep_lines(deep: &Deep) -> Vec<Line> {
    let (label, what) = match deep.kind {
        DeepKind::Memory => ("in full", "smaps_rollup"),
        DeepKind::Files => ("in full", "descriptors"),
    };
    match &deep.state {
        DeepState::Reading { done, total, for_ns } => {
            let so_far = num::span(*for_ns as f64 / 1e9);
            let of = if *total > 0 {
                format!(", {} of {}", num::grouped(*done), num::grouped(*total))
            } else {
                String::new()
            };
            vec![Line::of(label).dim(format!("reading {what} for {so_far}{of} · Esc gives it up"))]
        }
        DeepState::Failed(why) => vec![Line::of(label).with(Role::Warn, format!("{what} not read: {why}"))],
        DeepState::Memory(sizes) => {
            let mut line = Line::of(label);
            for (name, bytes) in sizes.iter().filter(|(_, bytes)| *bytes > 0) {
                let dot = if line.spans.is_empty() { "" } else { " · " };
                line = line.dim(format!("{dot}{name} ")).text(num::bytes(bytes));
            }
            vec![if line.spans.is_empty() { line.dim("it has no memory of its own") } else { line }]
        }
        DeepState::Files(fds) => {
            let each =
                fds.paths.iter().map(|(path, n)| Line::default().text(format!("{n:>6} × ")).text(path.to_string()));
            let counts = [("sockets", fds.sockets), ("pipes", fds.pipes), ("files", fds.files), ("anon", fds.anon)];
            let all = facts(label, counts.map(|(name, n)| (name, Some(num::grouped(n)))));
            std::iter::once(all).chain(each.map(|line| Line { label: " ", ..line })).collect()
        }
    }
}

/// Its sockets by state and remote, most first; its listeners.
fn sockets(frame: &Frame, task: &Task) -> Vec<Line> {
    let Some(sockets) = frame.snap.sockets.data() else { return Vec::new() };
    let mut groups: Vec<_> = sockets.groups.iter().filter(|g| g.owner == Some(task.key)).collect();
    groups.sort_by_key(|g| (g.state == TcpState::Established, std::cmp::Reverse(g.count)));
    let more = groups.len().saturating_sub(LINES_MAX);
    let mut lines: Vec<Line> = groups
        .into_iter()
        .take(LINES_MAX)
        .map(|g| {
            let state = g.state.name().replace('_', "-");
            let mut line = Line::default().text(format!("{} {state}", num::grouped(g.count)));
            if let Some(port) = g.local_port {
                line = line.dim(format!(" at :{port}"));
            }
            let Some(addr) = g.remote_addr else {
                // Those of a listener lead to it.
                let of = |l: &&Listener| l.key.netns == g.netns && Some(l.key.local.port()) == g.local_port;
                let heard = sockets.listeners.iter().find(of).map(|l| Target::Subject(Subject::Listener(l.key)));
                return Line { target: heard, ..line };
            };
            let key = crate::snapshot::RemoteKey { netns: g.netns, addr, port: g.remote_port };
            line = line.dim(" → ").text(address(addr, g.remote_port)).dim(queues(g.recv_q_bytes, g.send_q_bytes));
            if frame.model.remotes.contains_key(&key) { line.to(Target::Subject(Subject::Remote(key))) } else { line }
        })
        .collect();
    if more > 0 {
        lines.push(Line::default().dim(format!("and {more} more groups of sockets")));
    }
    let heard = sockets.listeners.iter().filter(|l| l.owner == Some(task.key)).take(LINES_MAX);
    lines.extend(heard.map(|l| {
        Line::default()
            .text(format!("listens on {}", local(l.key.local)))
            .dim(format!(" · accept queue {}/{}", l.queue, l.backlog))
            .to(Target::Subject(Subject::Listener(l.key)))
    }));
    let mut lines = block("tcp", lines);
    let udp = sockets.udp.iter().filter(|s| s.owner == Some(task.key)).take(LINES_MAX);
    lines.extend(block(
        "udp",
        udp.map(|s| {
            Line::default()
                .text(local(s.key.local))
                .dim(format!(" · dropped {}", num::grouped(s.drops)))
                .to(Target::Subject(Subject::Socket(s.key)))
        }),
    ));
    if let Some(netns) = task.netns.filter(|_| sockets.netns.len() > 1) {
        lines.push(Line::of("netns").text(netns_name(frame, netns)).to(Target::Subject(Subject::Netns(netns))));
    }
    lines
}

fn queues(recv: u64, send: u64) -> String {
    match (recv, send) {
        (0, 0) => String::new(),
        _ => format!("  queued in {} out {}", num::bytes(recv), num::bytes(send)),
    }
}

/// What only a drill-down reads.
fn only_in_detail(detail: &TaskDetail) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(sets) = &detail.signals {
        let named = |set: u64| Some(signals(set)).filter(|n| !n.is_empty());
        lines.push(facts(
            "signals",
            [
                ("pending", named(sets.pending | sets.shared_pending)),
                ("blocked", named(sets.blocked)),
                ("ignored", named(sets.ignored)),
                ("caught", named(sets.caught)),
            ],
        ));
    }
    let told = |name: &str| ["open files", "processes", "locked", "address", "stack"].iter().any(|w| name.contains(w));
    let finite = detail.limits.iter().filter(|(name, _)| told(name));
    let finite = finite.filter_map(|(name, soft)| soft.map(|s| format!("{name} {}", num::grouped(s))));
    let finite: Vec<_> = finite.collect();
    if !finite.is_empty() {
        lines.push(Line::of("rlimits").dim(finite.join(" · ")));
    }
    lines.extend(block("cgroups", homes(detail)));
    lines.extend(block(
        "unseen",
        detail.gaps.iter().map(|g| Line::default().with(Role::Warn, g.what.to_string()).dim(format!(" · {}", g.fix))),
    ));
    lines
}

/// The signals of a set by name, without their `SIG`.
fn signals(set: u64) -> String {
    let name = |signal: Signal| signal.name().trim_start_matches("SIG").to_owned();
    Signal::of_set(set).map(name).collect::<Vec<_>>().join(" ")
}

/// Its paths in the hierarchies; controllers with the same path in one line.
fn homes(detail: &TaskDetail) -> Vec<Line> {
    let mut by: Vec<(&Text, Vec<&str>)> = Vec::new();
    for (controllers, path) in &detail.cgroups {
        let name = if controllers.is_empty() { "v2" } else { controllers };
        match by.iter_mut().find(|(p, _)| *p == path) {
            Some((_, names)) => names.push(name),
            None => by.push((path, vec![name])),
        }
    }
    by.into_iter()
        .map(|(path, names)| Line::default().text(path.to_string()).dim(format!("  {}", names.join(" "))))
        .collect()
}
