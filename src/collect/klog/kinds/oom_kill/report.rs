//! One OOM report while its lines come in.

use super::lines::{Head, Killed, Scope, Selected, Usage};
use crate::collect::klog::fields::Fields;
use crate::collect::klog::line::{Caller, Clock, Line};
use crate::collect::klog::scan::CpuLine;
use crate::snapshot::LogEvent;

/// Silence of the log that ends a report.
const OVER_MS: i64 = 20_000;
/// Lines without one of the report's own; a task table may be long.
const OVER_LINES: u64 = 200_000;

/// What is known of a kill so far.
pub(super) struct Report {
    caller: Option<Caller>,
    clock: Option<Clock>,
    last: u64,
    trigger: Option<Trigger>,
    /// Times that the log was found without new lines since the last of these.
    pub idle_looks: u32,
    /// Whose limit was hit.
    pub oom_memcg: Option<String>,
    /// Where the victim lives.
    pub task_memcg: Option<String>,
    /// `memcg`, `none`, `cpuset`, `memory_policy`.
    pub constraint: Option<String>,
    /// The victim, as `oom-kill:` names it.
    pub victim: Option<Victim>,
    pub usage_kb: Option<i64>,
    limit_kb: Option<i64>,
    failcnt: Option<i64>,
    pub kmem_usage_kb: Option<i64>,
    pub selected: Option<Selection>,
}

/// Who asked for the memory.
struct Trigger {
    comm: String,
    pid: Option<i64>,
    gfp_mask: String,
    order: Option<i64>,
    version: Option<(u32, u32)>,
}

/// The thread of the `Kill process` line, and a bare event of that line.
pub(super) struct Selection {
    scope: Option<Scope>,
    pid: i64,
    comm: String,
    score: Option<i64>,
    event: LogEvent,
}

/// A process by the number of its leader. Where that has exited already, `Killed process` names another thread of it.
pub(super) struct Victim {
    pub pid: i64,
    pub comm: String,
}

impl Report {
    /// A report that begins as it should.
    pub fn with_head(head: &Head<'_>, line: &Line<'_>) -> Self {
        let trigger = Trigger {
            comm: head.comm.to_owned(),
            pid: None,
            gfp_mask: head.gfp_mask.to_owned(),
            order: head.order,
            version: None,
        };
        Self { trigger: Some(trigger), ..Self::headless(line) }
    }

    /// A report whose beginning the log lost.
    pub fn headless(line: &Line<'_>) -> Self {
        Self {
            caller: line.caller,
            clock: line.clock,
            last: line.no,
            trigger: None,
            idle_looks: 0,
            oom_memcg: None,
            task_memcg: None,
            constraint: None,
            victim: None,
            usage_kb: None,
            limit_kb: None,
            failcnt: None,
            kmem_usage_kb: None,
            selected: None,
        }
    }

    pub fn has_head(&self) -> bool {
        self.trigger.is_some()
    }

    /// Whether the kernel (4.2 and later: `oom_lock`) runs one report at a time.
    pub fn is_serialised(&self) -> bool {
        self.trigger.as_ref().and_then(|t| t.version).is_some_and(|v| v >= (4, 2))
    }

    /// Whether a line may be of this report, by who printed it.
    pub fn may_hold(&self, line: &Line<'_>) -> bool {
        Caller::may_be(self.caller, line.caller)
    }

    /// Notes that the report goes on.
    pub fn touch(&mut self, line: &Line<'_>) {
        self.last = line.no;
        self.clock = line.clock.or(self.clock);
        self.caller = self.caller.or(line.caller);
        self.idle_looks = 0;
    }

    /// Whether its end must have been lost.
    pub fn is_over(&self, line: &Line<'_>) -> bool {
        line.is_later_than(self.clock, OVER_MS) || line.no.saturating_sub(self.last) > OVER_LINES
    }

    pub fn waits_for_cpu(&self, comm: &str) -> bool {
        self.trigger.as_ref().is_some_and(|t| t.pid.is_none() && t.comm == comm)
    }

    pub fn cpu(&mut self, cpu: &CpuLine<'_>, line: &Line<'_>) {
        self.touch(line);
        if let Some(trigger) = &mut self.trigger {
            trigger.pid = Some(cpu.pid);
            trigger.version = cpu.version;
        }
    }

    pub fn memcg(&mut self, task: &str, limit: Option<&str>) {
        self.task_memcg = Some(task.to_owned());
        self.oom_memcg = limit.map(str::to_owned);
    }

    pub fn usage(&mut self, usage: &Usage<'_>) {
        self.usage_kb = usage.used_kb;
        self.limit_kb = usage.limit_kb;
        self.failcnt = usage.failcnt;
    }

    pub fn select(&mut self, selected: &Selected<'_>, line: &Line<'_>) {
        self.selected = Some(Selection {
            scope: selected.scope,
            pid: selected.pid,
            comm: selected.comm.to_owned(),
            score: selected.score,
            event: LogEvent::of("oom_kill", line),
        });
    }

    /// Whether it is a limit's report or the host's, if that is known.
    pub fn scope(&self) -> Option<Scope> {
        match (&self.oom_memcg, &self.constraint, &self.selected) {
            (Some(_), ..) => Some(Scope::Memcg),
            (None, Some(_), _) => Some(Scope::Global),
            (None, None, Some(selected)) => selected.scope,
            (None, None, None) => self.usage_kb.map(|_| Scope::Memcg),
        }
    }

    /// Whether a line named `pid` as the one to die.
    pub fn names(&self, pid: i64) -> bool {
        self.victim.as_ref().map(|v| v.pid).or_else(|| self.selected.as_ref().map(|s| s.pid)) == Some(pid)
    }

    /// Whether a Killed line names another thread of the victim: kernels that print `oom-kill:` run one report at a time.
    pub fn is_thread_of(&self, killed: &Killed<'_>, line: &Line<'_>) -> bool {
        let follows = |v: &Victim| Some(v.comm.as_str()) == killed.comm || line.no == self.last + 1;
        killed.scope.is_some() && killed.scope == self.scope() && self.victim.as_ref().is_some_and(follows)
    }

    /// Whether a Killed line that names another pid than the selection may still end this report: a thread was
    /// selected and its process dies, or a child dies in its place.
    pub fn may_be_of(&self, killed: &Killed<'_>) -> bool {
        let same = self.victim.as_ref().is_none_or(|own| own.pid == killed.pid);
        match killed.scope {
            // Since 5.1, without a line for the selection.
            Some(scope) => same && self.selected.is_none() && self.scope().is_none_or(|own| own == scope),
            None => self.selected.is_some() || (same && self.has_head()),
        }
    }

    /// The event of a selection whose Killed line never came.
    pub fn unfinished(&self) -> Option<LogEvent> {
        let selection = self.selected.as_ref()?;
        let mut event = selection.event.clone();
        self.put(&mut event, selection.scope, false);
        event.put("victim_comm", selection.comm.as_str());
        Some(event.with("partial", true))
    }

    /// The event that the Killed line ends.
    pub fn event(&self, killed: &Killed<'_>, line: &Line<'_>) -> LogEvent {
        let mut event = LogEvent::of("oom_kill", line);
        self.put(&mut event, killed.scope.or_else(|| self.scope()), true);
        put_killed(&mut event, killed, self.trigger.as_ref().and_then(|t| t.version));
        // The process, not a thread of it; before 5.1 another process may have died in its place.
        event.put("victim_pid", self.victim.as_ref().filter(|_| killed.scope.is_some()).map(|v| v.pid));
        event.with("partial", (!self.has_head()).then_some(true))
    }

    fn put(&self, event: &mut LogEvent, scope: Option<Scope>, whole: bool) {
        let scope = if self.oom_memcg.is_some() { Some(Scope::Memcg) } else { scope };
        // Before 5.0 nothing prints the constraint: a memcg's report has that of the memcg, another one most often none.
        let guess = match scope {
            Some(Scope::Memcg) => Some("memcg"),
            Some(Scope::Global) | None => (whole && self.has_head()).then_some("none"),
        };
        let scope = scope.or_else(|| self.has_head().then_some(Scope::Global));
        event.put("scope", scope.map(|s| if s == Scope::Memcg { "memcg" } else { "global" }));
        event.put("constraint", self.constraint.as_deref().or(guess));
        if let Some(trigger) = &self.trigger {
            event.put("trigger_comm", trigger.comm.as_str());
            event.put("trigger_pid", trigger.pid);
            event.put("gfp_mask", trigger.gfp_mask.as_str());
            event.put("order", trigger.order);
        }
        event.put("oom_memcg", self.oom_memcg.as_deref());
        event.put("task_memcg", self.task_memcg.as_deref());
        event.put_container(&[self.task_memcg.as_deref(), self.oom_memcg.as_deref()]);
        event.put("usage_kb", self.usage_kb);
        event.put("limit_kb", self.limit_kb);
        event.put("failcnt", self.failcnt);
        event.put("kmem_usage_kb", self.kmem_usage_kb);
        if let Some(selection) = &self.selected {
            event.put("selected_pid", selection.pid);
            event.put("selected_comm", selection.comm.as_str());
            event.put("score", selection.score);
        }
    }
}

/// Puts what the Killed line says. `version` is the kernel's, where the report told it.
pub(super) fn put_killed(event: &mut LogEvent, killed: &Killed<'_>, version: Option<(u32, u32)>) {
    event.put("victim_pid", killed.pid);
    event.put("victim_comm", killed.comm);
    event.put("uid", killed.uid);
    event.put("total_vm_kb", killed.total_vm_kb);
    event.put("anon_rss_kb", killed.anon_rss_kb);
    event.put("file_rss_kb", killed.file_rss_kb);
    event.put("shmem_rss_kb", killed.shmem_rss_kb);
    event.put("pgtables_kb", killed.pgtables.map(|n| pgtables_kb(n, version)));
    event.put("oom_score_adj", killed.oom_score_adj);
}

/// Up to 5.4 the kernel printed bytes and called them kB: whole pages give them away, as page tables of just so many
/// pages in kB are rare, and there are none before 4 MB.
fn pgtables_kb(printed: i64, version: Option<(u32, u32)>) -> i64 {
    let is_bytes = version.is_none_or(|v| v < (5, 5)) && printed >= 4096 && printed % 4096 == 0;
    if is_bytes { printed / 1024 } else { printed }
}
