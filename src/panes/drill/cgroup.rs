//! A container or cgroup in full.

use super::super::names::{cgroup_name, path_name, task_name};
use super::{Cx, block, facts, history, log};
use crate::model::{CgroupFacts, Frame, Metric};
use crate::snapshot::{Cgroup, CgroupKey, MemUse, Subject, Task};
use crate::view::{Line, Role, Target, num, spark};

/// Tasks and children shown at most.
const LINES_MAX: usize = 16;

/// Its note and lines; `None` when it has gone, or was made anew under its old path.
pub(super) fn page(cx: &Cx<'_>, key: &CgroupKey) -> Option<(String, Vec<Line>)> {
    let frame = cx.frame;
    let cgroup = frame.cgroup(&key.path).filter(|c| c.key == *key)?;
    let known = frame.model.cgroups.get(*frame.model.cgroup_by_path.get(&key.path)?)?;
    let mut lines = vec![Line::of("path").text(key.path.to_string())];
    if let Some(c) = &cgroup.container {
        let id: String = c.id.chars().take(12).collect();
        let parts = [
            ("", Some(c.runtime.to_string())),
            ("name", c.name.as_deref().map(str::to_owned)),
            ("image", c.image.as_deref().map(str::to_owned)),
            ("pod", c.pod.as_deref().map(str::to_owned)),
            ("id", Some(id)),
        ];
        lines.push(facts("container", parts));
    }
    lines.extend(limits(frame, cgroup, known));
    if let Some(memory) = &cgroup.memory {
        lines.extend(memory_lines(memory, known));
    }
    lines.push(others(cgroup, known));
    lines.extend(chain(frame, known));
    lines.extend(children(frame, known));
    lines.extend(tasks(frame, &key.path));
    lines.extend(zombies(frame, &key.path));
    let metrics = [("memory", Metric::Usage), ("D", Metric::Blocked), ("cpu", Metric::CpuPct)];
    lines.extend(history(frame, &Subject::Cgroup(key.clone()), metrics));
    lines.extend(log(frame, |e| ["oom_memcg", "task_memcg", "cgroup"].iter().any(|n| e.str(n) == Some(&*key.path))));
    let note = format!("{} tasks · {} in D · {} zombies", known.tasks, known.blocked, known.zombies);
    Some((note, lines))
}

/// What it uses of what holds it.
fn limits(frame: &Frame, cgroup: &Cgroup, known: &CgroupFacts) -> Vec<Line> {
    let Some(memory) = &cgroup.memory else { return vec![Line::of("memory").dim("not in the memory hierarchy")] };
    let used = memory.usage_bytes.unwrap_or(0);
    let mut line = Line::of("memory").text(num::bytes(used));
    match memory.limit_bytes {
        Some(limit) => {
            let full = spark::filled(used, limit, 32);
            let lit = frame.severity_of(&Subject::Cgroup(cgroup.key.clone()));
            let role = crate::view::line::severity_role(lit, Role::Bar);
            line = line
                .text(format!("/{} ", num::bytes(limit)))
                .with(role, "━".repeat(full))
                .with(Role::Rule, "─".repeat(32 - full))
                .dim(format!(" {}", num::percent(used as f64 * 100.0 / limit.max(1) as f64)));
        }
        None => line = line.dim(" without a limit of its own"),
    }
    let mut lines = vec![line];
    let holder = known.limit_row.and_then(|row| frame.snap.cgroups.data()?.rows.get(row));
    if let Some(holder) = holder.filter(|h| h.key != cgroup.key) {
        let limit = holder.memory.as_ref().and_then(|m| m.limit_bytes).map_or_else(|| "–".into(), num::bytes);
        lines.push(
            Line::of(" ")
                .dim("held by the limit ")
                .text(limit)
                .dim(" of ")
                .text(cgroup_name(holder))
                .to(Target::Subject(Subject::Cgroup(holder.key.clone()))),
        );
    }
    lines
}

fn memory_lines(memory: &MemUse, known: &CgroupFacts) -> Vec<Line> {
    let bytes = |n: Option<u64>| n.map(num::bytes);
    let count = |n: Option<u64>| n.map(num::grouped);
    let hits = memory.limit_hits.map(|n| {
        let rate = known.limit_hits_per_s.filter(|r| *r > 0.0).map(|r| format!(" ({}/s)", num::growth(r)));
        format!("{}{}", num::grouped(n), rate.unwrap_or_default())
    });
    let oom = memory.oom.unwrap_or_default();
    let mut lines = vec![
        facts(
            " ",
            [
                ("anon", bytes(memory.anon_bytes)),
                ("file", bytes(memory.file_bytes)),
                ("of it inactive", bytes(memory.inactive_file_bytes)),
                ("shmem", bytes(memory.shmem_bytes)),
                ("kernel", bytes(memory.kmem_bytes)),
                ("slab", bytes(memory.slab_bytes)),
                ("swap", bytes(memory.swap_bytes)),
                ("peak", bytes(memory.peak_bytes)),
            ],
        ),
        facts(
            "hits",
            [
                ("limit hit", hits),
                ("throttled at high", count(memory.high_hits)),
                ("OOMs", count(memory.ooms)),
                ("kills in it", count(memory.oom_kills)),
                ("kills in it and below", Some(num::grouped(known.oom_kills))),
            ],
        ),
    ];
    if oom.kill_disabled {
        let now = if oom.under_oom { "; it is under OOM now" } else { "" };
        lines.push(
            Line::of(" ")
                .with(Role::Warn, format!("OOM killing is off (oom_kill_disable): at the limit tasks hang{now}")),
        );
    }
    lines
}

fn others(cgroup: &Cgroup, known: &CgroupFacts) -> Line {
    let pids = cgroup.pids.map(|p| {
        let limit = p.limit.map_or_else(|| "no limit".into(), num::grouped);
        format!("{}/{limit}", num::grouped(p.current))
    });
    let refused = cgroup.pids.and_then(|p| p.limit_hits).filter(|n| *n > 0).map(num::grouped);
    let quota = cgroup.cpu.and_then(|c| match (c.quota_usec, c.period_usec) {
        (Some(quota), Some(period)) if period > 0 => {
            Some(format!("{} cpus", num::number(quota as f64 / period as f64)))
        }
        _ => None,
    });
    let parts = [
        ("pids", pids),
        ("forks refused", refused),
        ("cpu %", known.cpu_pct.map(num::number)),
        ("quota", quota),
        ("throttled", known.throttled_pct.map(num::percent)),
        ("memory pressure", known.psi_memory_pct.map(num::percent)),
        ("dying below", cgroup.dying_descendants.filter(|n| *n > 0).map(num::grouped)),
        ("", (cgroup.frozen == Some(true)).then(|| "frozen".to_owned())),
    ];
    facts("limits", parts)
}

fn usage_line(cgroup: &Cgroup, name: String) -> Line {
    let memory = cgroup.memory.as_ref();
    let used = memory.and_then(|m| m.usage_bytes).map_or_else(|| "–".into(), num::bytes);
    let limit = memory.and_then(|m| m.limit_bytes).map(|l| format!("/{}", num::bytes(l))).unwrap_or_default();
    Line::default()
        .text(format!("{:<14}", format!("{used:>5}{limit}")))
        .text(name)
        .to(Target::Subject(Subject::Cgroup(cgroup.key.clone())))
}

/// Its ancestors, nearest first.
fn chain(frame: &Frame, known: &CgroupFacts) -> Vec<Line> {
    let rows = frame.snap.cgroups.data().map(|c| c.rows.as_slice()).unwrap_or_default();
    let up = std::iter::successors(known.parent, |row| frame.model.cgroups.get(*row)?.parent).take(32);
    block("inside", up.filter_map(|row| rows.get(row)).map(|c| usage_line(c, path_name(frame, &c.key.path))))
}

/// What is below it, largest first.
fn children(frame: &Frame, known: &CgroupFacts) -> Vec<Line> {
    let rows = frame.snap.cgroups.data().map(|c| c.rows.as_slice()).unwrap_or_default();
    let mut below: Vec<&Cgroup> = known.children.iter().filter_map(|row| rows.get(*row)).collect();
    below.sort_by_key(|c| std::cmp::Reverse(c.memory.as_ref().and_then(|m| m.usage_bytes)));
    let more = below.len().saturating_sub(LINES_MAX);
    let mut lines = block("children", below.into_iter().take(LINES_MAX).map(|c| usage_line(c, cgroup_name(c))));
    if more > 0 {
        lines.push(Line::of(" ").dim(format!("and {more} smaller ones")));
    }
    lines
}

fn below(path: &str, p: &str) -> bool {
    p.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || path == "/")
}

/// Its zombies by the parent that does not reap them, which is where they lead.
fn zombies(frame: &Frame, path: &str) -> Vec<Line> {
    let rows = frame.snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    let dead = rows.iter().filter(|t| t.is_zombie() && t.cgroup.as_deref().is_some_and(|p| below(path, p)));
    let mut by: Vec<(u32, u32)> = Vec::new();
    for task in dead {
        match by.iter_mut().find(|(parent, _)| *parent == task.ppid) {
            Some((_, count)) => *count += 1,
            None => by.push((task.ppid, 1)),
        }
    }
    by.sort_by_key(|(parent, count)| (std::cmp::Reverse(*count), *parent));
    let lines = by.into_iter().take(LINES_MAX).map(|(parent, count)| {
        let line = Line::default().text(format!("{count:>5}  "));
        match frame.model.by_pid.get(&parent) {
            Some(key) => line.dim("of ").text(task_name(frame, *key)).to(Target::Subject(Subject::Task(*key))),
            None => line.dim(format!("of pid {parent}")),
        }
    });
    block("zombies", lines)
}

/// The processes in it and below, trouble first, then by memory.
fn tasks(frame: &Frame, path: &str) -> Vec<Line> {
    let rows = frame.snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    let inside = rows.iter().filter(|t| !t.is_zombie() && t.cgroup.as_deref().is_some_and(|p| below(path, p)));
    let mut inside: Vec<&Task> = inside.collect();
    inside.sort_by_key(|t| (std::cmp::Reverse(t.by_state.blocked), std::cmp::Reverse(t.rss_bytes), t.key));
    let more = inside.len().saturating_sub(LINES_MAX);
    let lines = inside.into_iter().take(LINES_MAX).map(|t| {
        let lit = frame.severity_of(&Subject::Task(t.key));
        let line =
            Line::default().marked(lit).text(format!("{:>5}  ", num::bytes(t.rss_bytes))).text(task_name(frame, t.key));
        let line =
            if t.by_state.blocked > 0 { line.text(format!(" D {}/{}", t.by_state.blocked, t.threads)) } else { line };
        let line = if t.is_container_init() { line.dim(" container pid 1") } else { line };
        line.dim(format!("  {}", t.cmdline.as_deref().unwrap_or(""))).to(Target::Subject(Subject::Task(t.key)))
    });
    let mut lines = block("tasks", lines);
    if more > 0 {
        lines.push(Line::of(" ").dim(format!("and {more} more")));
    }
    lines
}
