//! A task on course to run out of memory (stories A, D, E).

use super::cgroup_at_limit::reclaimable_bytes;
use crate::detect::{Case, Join, Knob, Look, Measures, Rule, Verdict, earlier, words};
use crate::model::{Metric, Severity, Trend};
use crate::snapshot::{Cgroup, Subject, Task};

pub(super) static RULES: &[Rule] = &[Rule {
    id: "task.memory_growth",
    about: "a task's memory on course to reach its cgroup's limit or the host's",
    effect: "its memory grows",
    knobs: &[
        Knob { key: "minutes", default: 10.0, unit: "min", about: "time left at which it is a finding" },
        Knob { key: "sudden_minutes", default: 1.0, unit: "min", about: "the same of a process that has just started or was hardly seen" },
        Knob { key: "sudden_used", default: 0.5, unit: "of the limit", about: "what must be used already for that" },
    ],
    explains: &[
        ("host.memory_exhausted", Join::Host),
        ("host.swap_full", Join::Host),
        ("cgroup.at_limit", Join::Cgroup),
        ("cgroup.oom_kill", Join::TaskOrCgroup),
        ("host.oom_kill", Join::TaskOrCgroup),
    ],
    hold_s: 1.0,
    measure,
    judge,
}];

fn measure(look: &Look<'_>, out: &mut Measures) {
    let Some(tasks) = look.snap.tasks.data() else { return };
    for task in tasks.rows.iter().filter(|t| t.rss_bytes > 16 << 20) {
        let subject = Subject::Task(task.key);
        let Some((rise, secs)) = look.rise(&subject, Metric::Rss, look.trend_from()) else { continue };
        // Few grow so fast that the trend, which is dearer, could matter.
        if rise > 0.0 && room(look, task).is_some_and(|room| rise / secs.max(1.0) * 3600.0 > room.bytes) {
            out.put(subject, task.rss_bytes.saturating_add(task.swap_bytes.unwrap_or(0)) as f64);
        }
    }
}

/// What is left before an allocation fails, and of whose limit; without an owner the host's.
struct Room<'a> {
    bytes: f64,
    limit: f64,
    owner: Option<&'a Cgroup>,
}

impl Room<'_> {
    fn words(&self) -> String {
        self.owner.map_or_else(
            || "the host's memory".into(),
            |c| format!("the {} limit of {}", words::bytes(self.limit), words::cgroup_name(Some(c), &c.key.path)),
        )
    }
}

fn room<'a>(look: &Look<'a>, task: &Task) -> Option<Room<'a>> {
    let host = || {
        let meminfo = &look.snap.memory.data()?.meminfo;
        let bytes = (meminfo.get("MemAvailable")? + meminfo.get("SwapFree").unwrap_or(0)) as f64;
        Some(Room { bytes, limit: look.ram_bytes()?, owner: None })
    };
    let cgroup = || {
        let facts = look.model.cgroups.get(look.model.tasks.get(&task.key)?.cgroup_row?)?;
        let owner = look.snap.cgroups.data()?.rows.get(facts.limit_row?)?;
        let mem = owner.memory.as_ref()?;
        let limit = mem.limit_bytes? as f64;
        let used = mem.usage_bytes?.saturating_sub(reclaimable_bytes(mem).unwrap_or(0)) as f64;
        Some(Room { bytes: (limit - used).max(0.0), limit, owner: Some(owner) })
    };
    [cgroup(), host()].into_iter().flatten().min_by(|a, b| a.bytes.total_cmp(&b.bytes))
}

/// Part of a limit that reclaim could still give.
const CACHE: f64 = 0.1;

/// Whether others of its cgroup shrink, or are killed, while this task grows: its limit is full with or without it.
fn gives_way(look: &Look<'_>, room: &Room<'_>, trend: &Trend, per_s: f64) -> bool {
    let Some(owner) = room.owner else { return false };
    let cache = owner.memory.as_ref().and_then(reclaimable_bytes).unwrap_or(0) as f64;
    let of_all = look.trend_of(&Subject::Cgroup(owner.key.clone()), Metric::Usage, earlier(look.at(), trend.span_s));
    cache < room.limit * CACHE && of_all.is_some_and(|all| all.per_s < per_s / 2.0)
}

/// Every program takes memory while it starts.
const STARTED_S: f64 = 30.0;
/// What was seen for a shorter time is no trend yet.
const TREND_S: f64 = 15.0;
/// A trend is trusted for so many times the time that it was seen.
const TRUST: f64 = 10.0;

fn judge(case: &Case<'_>) -> Option<Verdict> {
    let look = case.look;
    let task = case.task()?;
    let started = look.when_aged(task, STARTED_S);
    let young = look.age_s(started) < TREND_S;
    let from = if young { look.trend_from() } else { look.trend_from().max(started) };
    let trend = look.trend_of(&case.now.subject, Metric::Rss, from).filter(Trend::goes_on)?;
    let room = room(look, task)?;
    let per_s = trend.per_s.min(trend.late_per_s);
    if gives_way(look, &room, &trend, per_s) {
        return None;
    }
    let minutes_left = room.bytes / per_s / 60.0;
    let horizon = if young || trend.span_s < TREND_S {
        let used = room.limit - room.bytes;
        // What has just started fills a limit only if most of what is used is its own.
        if used < room.limit * case.knob("sudden_used") || case.value() < used / 2.0 {
            return None;
        }
        case.knob("sudden_minutes")
    } else {
        case.knob("minutes").min(trend.span_s * TRUST / 60.0)
    };
    if minutes_left > horizon {
        return None;
    }
    let who = words::task(task);
    let message = format!(
        "{who} grows {}/min and reaches {} in {} (it holds {})",
        words::bytes(per_s * 60.0),
        room.words(),
        words::age(minutes_left * 60.0),
        words::bytes(case.value())
    );
    let mut verdict = case
        .verdict(Severity::Warning, "bytes", message)
        .rate(per_s)
        .draw(Metric::Rss)
        .rated("/proc/PID/stat", "rss", task.rss_bytes as f64, Some(per_s))
        .number("/proc/PID/status", "VmSwap", task.swap_bytes.map(|b| b as f64))
        .number("memory", format!("left of {}", room.words()), room.bytes)
        .shown_by(format!("grep -E 'VmRSS|VmSwap|Threads' /proc/{}/status", task.key.pid))
        .advise(format!("see what in {who} grows; restart it before it is killed, or raise the limit"));
    verdict.limit = Some(room.limit);
    Some(verdict)
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{RAM, Script};

    const MB: u64 = 1 << 20;

    fn leak(per_s: u64, secs: u64, limit: Option<u64>) -> Script {
        let mut s = Script::new();
        let app = s.world.task(9, "app");
        s.world.in_cgroup(app, "/app");
        let mem = s.world.cgroup_memory("/app");
        (mem.limit_bytes, mem.usage_bytes) = (limit, Some(50 * MB));
        for n in 0..secs {
            s.world.row(app).rss_bytes = 50 * MB + n * per_s;
            s.world.cgroup_memory("/app").usage_bytes = Some(50 * MB + n * per_s);
            s.secs(1);
        }
        s
    }

    #[test]
    fn a_leak_toward_its_cgroups_limit_is_found_with_the_time_left() {
        let s = leak(MB, 40, Some(300 * MB));
        let f = s.expect("task.memory_growth");
        assert_eq!(f.limit, Some((300 * MB) as f64));
        assert!(f.message.contains("app(9) grows 60 MB/min and reaches the 300 MB limit of /app in 3m3"), "{}", f.message);
    }

    #[test]
    fn far_from_any_limit_or_seen_too_shortly_it_is_silent() {
        leak(MB, 20, Some(RAM)).silent();
        leak(MB, 20, None).silent();
        leak(MB, 6, Some(300 * MB)).silent();
        // 20 s of growth say nothing about what will be in four minutes.
        leak(MB, 20, Some(300 * MB)).silent();
    }

    #[test]
    fn a_worker_of_a_container_whose_limit_is_full_anyway_is_not_its_cause() {
        let mut s = Script::new();
        let app = s.world.task(9, "worker");
        s.world.in_cgroup(app, "/app");
        let mem = s.world.cgroup_memory("/app");
        (mem.limit_bytes, mem.limit_hits) = (Some(96 * MB), Some(0));
        for n in 0..40 {
            s.world.row(app).rss_bytes = (17 + n / 2) * MB;
            let mem = s.world.cgroup_memory("/app");
            // Its brothers are killed, and start anew.
            (mem.usage_bytes, mem.limit_hits) = (Some((80 + n * 5 % 15) * MB), Some(n * 100));
            s.secs(1);
        }
        assert!(s.last().findings.iter().all(|f| f.id == "cgroup.at_limit"), "{:?}", s.last().findings);
    }

    /// A process born `age` seconds before the first look, whose memory in MB is `rss` of the seconds since.
    fn program(age: u64, limit: u64, secs: u64, rss: impl Fn(u64) -> u64) -> Script {
        let mut s = Script::new();
        let app = s.world.task_born(9, "app", 1001 - age);
        s.world.in_cgroup(app, "/app");
        s.world.cgroup_memory("/app").limit_bytes = Some(limit * MB);
        for n in 0..secs {
            s.world.row(app).rss_bytes = rss(n) * MB;
            s.world.cgroup_memory("/app").usage_bytes = Some(rss(n) * MB);
            s.secs(1);
        }
        s
    }

    #[test]
    fn a_program_that_starts_warms_up_or_took_a_step_is_silent() {
        // 5 MB a second from its birth on: a compiler.
        program(0, 500, 40, |n| 20 + 5 * n).silent();
        // A heap that fills ever more slowly.
        let mut left = 3500_u64;
        let filling: Vec<u64> = std::iter::repeat_with(|| { left = left * 9 / 10; 400 - left / 10 }).take(60).collect();
        program(40, 1000, 60, |n| filling[usize::try_from(n).unwrap()]).silent();
        // Half of the limit at once.
        program(100, 500, 40, |n| if n < 15 { 50 } else { 300 }).silent();
        program(100, 500, 30, |n| 50 + 15 * n.min(12)).silent();
    }

    #[test]
    fn a_program_that_starts_and_is_about_to_be_killed_is_found() {
        let s = program(0, 300, 12, |n| 20 + 15 * n);
        let f = s.expect("task.memory_growth");
        assert!(f.message.contains("reaches the 300 MB limit of /app in 8 s"), "{}", f.message);
        program(0, 3000, 12, |n| 20 + 15 * n).silent();
    }

    #[test]
    fn one_allocation_is_no_growth() {
        let mut s = Script::new();
        let app = s.world.task(9, "app");
        s.world.row(app).rss_bytes = 20 * MB;
        for quarters in 0..24 {
            if (8..11).contains(&quarters) {
                s.world.row(app).rss_bytes += 700 * MB;
            }
            s.millis(250);
        }
        s.silent();
    }

    #[test]
    fn ends_when_it_holds_still_and_survives_missing_sections() {
        let mut s = leak(MB, 40, Some(300 * MB));
        s.secs(40);
        assert!(!s.expect("task.memory_growth").active);
        let mut s = leak(MB, 3, Some(300 * MB));
        s.world.hide("cgroups");
        s.world.hide("memory");
        s.secs(4);
        s.silent();
    }
}
