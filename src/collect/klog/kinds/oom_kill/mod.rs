//! `oom_kill`: one event for each process killed, put together from a report of some 80 lines.
//!
//! ```text
//! head ─ CPU line ─ trace ─ Task in… ─ usage ─ task table ─ oom-kill: ─ (Kill process) ─ Killed process ─▶ event
//!                                                            group: more Killed lines without a head ┘
//!                                                            oom_reaper, seconds later: amends the event
//! ```
//!
//! Old kernels may run several reports at once: each line goes to the oldest report that waits for it.

mod lines;
mod report;

use super::Kind;
use crate::collect::klog::fields::Fields;
use crate::collect::klog::line::{Clock, Line};
use crate::collect::klog::scan::{CpuLine, cpu_line};
use crate::collect::klog::sink::Sink;
use crate::snapshot::LogEvent;
use lines::{Head, Killed, OomKill, Scope, Selected, Usage};
use report::{Report, Victim};
use std::collections::VecDeque;

/// Reports at a time.
const OPEN_MAX: usize = 16;
/// Kills that wait for their reaper line, and for how long.
const HELD_MAX: usize = 64;
const REAPER_MS: i64 = 60_000;
const REAPER_LINES: u64 = 100_000;

/// Reads the lines of OOM reports.
#[derive(Default)]
pub(super) struct Machine {
    open: Vec<Report>,
    held: VecDeque<Held>,
    /// The newest kill, given out or not: a group's first victim.
    newest: Option<(i64, LogEvent)>,
    group: Option<Group>,
}

/// A finished kill whose reaper line may still come.
struct Held {
    event: LogEvent,
    pid: i64,
    line: u64,
    clock: Option<Clock>,
}

/// A kill of a whole cgroup: the members' lines follow without a report of their own.
struct Group {
    path: String,
    /// The first victim's event.
    first: Option<LogEvent>,
    /// Killed so far: 6.1 prints the first victim a second time.
    pids: Vec<i64>,
    clock: Option<Clock>,
}

impl Kind for Machine {
    fn literals(&self) -> &'static [&'static str] {
        &[
            " invoked oom-killer: ",
            "oom-kill:constraint=",
            "killed as a result of limit of",
            "kB, failcnt ",
            "ill process ",
            "Killed process ",
            "due to memory.oom.group set",
            "oom_reaper: ",
        ]
    }

    fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        self.expire(line, sink);
        let text = line.text;
        if let Some(cpu) = cpu_line(text) {
            self.cpu(&cpu, line);
            false
        } else if let Some(head) = lines::head(text) {
            self.head(&head, line, sink);
            true
        } else if let Some((task, limit)) = lines::task_in(text) {
            if let Some(report) = self.waiting(line, |r| r.task_memcg.is_none()) {
                report.memcg(task, Some(limit));
            }
            true
        } else if let Some(usage) = lines::usage(text) {
            self.usage(&usage, line);
            true
        } else if let Some(kill) = lines::oom_kill(text) {
            self.oom_kill(kill, line);
            true
        } else if let Some(selected) = lines::selected(text) {
            self.selected(&selected, line);
            true
        } else if let Some(killed) = lines::killed(text) {
            self.killed(&killed, line, sink);
            true
        } else if let Some(path) = lines::group(text) {
            self.begin_group(path, line);
            true
        } else if let Some((pid, worked)) = lines::reaper(text) {
            self.reaped(pid, worked, sink)
        } else {
            // Nobody dies of these.
            if text.contains("no killable processes") || text.starts_with("Kernel panic - not syncing: Out of memory") {
                self.open.clear();
            }
            false
        }
    }

    fn idle(&mut self, sink: &mut Sink) {
        sink.extend(self.held.drain(..).map(|held| held.event));
        // Killed comes right after the selection: one that is still alone at the second look stays alone.
        self.give_up(sink, |report| report.idle_looks > 0 && report.selected.is_some());
        self.open.iter_mut().for_each(|report| report.idle_looks += 1);
    }

    fn end(&mut self, sink: &mut Sink) {
        sink.extend(self.held.drain(..).map(|held| held.event));
        self.give_up(sink, |_| true);
        self.group = None;
    }
}

impl Machine {
    fn head(&mut self, head: &Head<'_>, line: &Line<'_>, sink: &mut Sink) {
        self.group = None;
        // Since 4.2 oom_lock lets one report run at a time: what is still open lost its end. A selection without a
        // head never gets a head.
        let full = self.open.len() >= OPEN_MAX;
        self.give_up(sink, |report| full || report.is_serialised() || !report.has_head());
        self.open.push(Report::with_head(head, line));
    }

    fn cpu(&mut self, cpu: &CpuLine<'_>, line: &Line<'_>) {
        let waits = |r: &&mut Report| r.may_hold(line) && r.waits_for_cpu(cpu.comm);
        if let Some(report) = self.open.iter_mut().find(waits) {
            report.cpu(cpu, line);
        }
    }

    fn usage(&mut self, usage: &Usage<'_>, line: &Line<'_>) {
        match usage.what {
            "memory" => {
                let named = self.open.iter().any(|r| r.may_hold(line) && r.usage_kb.is_none() && r.oom_memcg.is_some());
                let waits = |r: &Report| r.usage_kb.is_none() && (!named || r.oom_memcg.is_some());
                if let Some(report) = self.waiting(line, waits) {
                    report.usage(usage);
                }
            }
            "kmem" => {
                let waits = |r: &&mut Report| r.may_hold(line) && r.usage_kb.is_some() && r.kmem_usage_kb.is_none();
                if let Some(report) = self.open.iter_mut().find(waits) {
                    report.kmem_usage_kb = usage.used_kb;
                }
            }
            _ => {}
        }
    }

    fn oom_kill(&mut self, kill: OomKill<'_>, line: &Line<'_>) {
        let Some(report) = self.waiting(line, |r| r.constraint.is_none()) else { return };
        report.memcg(kill.task_memcg, kill.oom_memcg);
        report.constraint = Some(kill.constraint);
        report.victim = kill.pid.map(|pid| Victim { pid, comm: kill.comm.unwrap_or_default().to_owned() });
    }

    fn selected(&mut self, selected: &Selected<'_>, line: &Line<'_>) {
        let of_scope = |r: &Report| r.selected.is_none() && r.scope().is_none_or(|s| Some(s) == selected.scope);
        if let Some(report) = self.waiting(line, of_scope) {
            report.select(selected, line);
        }
    }

    fn killed(&mut self, killed: &Killed<'_>, line: &Line<'_>, sink: &mut Sink) {
        let found = self.open.iter().position(|r| r.may_hold(line) && r.names(killed.pid));
        let found = found.or_else(|| self.open.iter().position(|r| r.may_hold(line) && r.is_thread_of(killed, line)));
        let found = found.or_else(|| self.open.iter().position(|r| r.may_hold(line) && r.may_be_of(killed)));
        let event = match (found, &mut self.group) {
            (None, Some(group)) => {
                if group.pids.contains(&killed.pid) {
                    return;
                }
                group.pids.push(killed.pid);
                group.member(killed, line)
            }
            (Some(at), _) => self.open.remove(at).event(killed, line),
            (None, None) => Report::headless(line).event(killed, line),
        };
        if self.held.len() >= HELD_MAX {
            sink.extend(self.held.pop_front().map(|held| held.event));
        }
        self.newest = Some((killed.pid, event.clone()));
        self.held.push_back(Held { event, pid: killed.pid, line: line.no, clock: line.clock });
    }

    fn begin_group(&mut self, path: &str, line: &Line<'_>) {
        if let Some(held) = self.held.back_mut() {
            held.event.put("oom_group", true);
        }
        let (pids, first) = self.newest.take().unzip();
        let pids = pids.into_iter().collect();
        self.group = Some(Group { path: path.to_owned(), first, pids, clock: line.clock });
    }

    fn reaped(&mut self, pid: i64, worked: bool, sink: &mut Sink) -> bool {
        let Some(at) = self.held.iter().position(|h| h.pid == pid) else { return false };
        if let Some(mut held) = self.held.remove(at) {
            held.event.put("reaped", worked);
            sink.push(held.event);
        }
        true
    }

    /// The oldest report that waits for this line, or a new one whose head is lost.
    fn waiting(&mut self, line: &Line<'_>, waits: impl Fn(&Report) -> bool) -> Option<&mut Report> {
        let at = match self.open.iter().position(|r| r.may_hold(line) && waits(r)) {
            Some(at) => at,
            None if self.open.len() >= OPEN_MAX => return None,
            None => {
                self.open.push(Report::headless(line));
                self.open.len() - 1
            }
        };
        let report = self.open.get_mut(at)?;
        report.touch(line);
        Some(report)
    }

    /// Lets go of what nothing more will come for.
    fn expire(&mut self, line: &Line<'_>, sink: &mut Sink) {
        while let Some(held) = self.held.front() {
            if !line.is_later_than(held.clock, REAPER_MS) && line.no.saturating_sub(held.line) < REAPER_LINES {
                break;
            }
            sink.extend(self.held.pop_front().map(|held| held.event));
        }
        self.group.take_if(|group| line.is_later_than(group.clock, REAPER_MS));
        self.give_up(sink, |report| report.is_over(line));
    }

    /// Drops reports; a selection whose Killed line never came is still told.
    fn give_up(&mut self, sink: &mut Sink, which: impl Fn(&Report) -> bool) {
        if self.open.iter().any(&which) {
            sink.extend(self.open.iter().filter(|r| which(r)).filter_map(Report::unfinished));
            self.open.retain(|r| !which(r));
        }
    }
}

impl Group {
    fn member(&self, killed: &Killed<'_>, line: &Line<'_>) -> LogEvent {
        let mut event = LogEvent::of("oom_kill", line).with("oom_group", true);
        let oom_memcg = match &self.first {
            Some(first) => first.str("oom_memcg"),
            None => Some(self.path.as_str()),
        };
        let scope = if killed.scope == Some(Scope::Global) { "global" } else { "memcg" };
        event.put("scope", scope);
        event.put("constraint", self.first.as_ref().and_then(|f| f.str("constraint")));
        event.put("oom_memcg", oom_memcg);
        event.put("task_memcg", self.path.as_str());
        event.put_container(&[Some(&self.path), oom_memcg]);
        report::put_killed(&mut event, killed, None);
        event
    }
}
