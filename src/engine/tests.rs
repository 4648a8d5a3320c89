//! The engine over whole snapshots: determinism, resets, bounds, sparks.

use super::{CheckpointError, Engine, EngineOptions};
use crate::detect::{RuleConfig, Window};
use crate::model::{Frame, Metric};
use crate::snapshot::{
    Cpu, Host, KernelLog, LogEvent, LogValue, Moment, Section, Snapshot, StateCounts, Subject, Task, TaskKey, Tasks,
};

const SECOND: u64 = 1_000_000_000;

fn task(pid: u32, comm: &str, rss: u64) -> Task {
    Task {
        key: TaskKey { pid, start_ticks: u64::from(pid) },
        ppid: 1,
        comm: comm.into(),
        threads: 1,
        by_state: StateCounts { sleeping: 1, ..StateCounts::default() },
        rss_bytes: rss,
        ..Task::default()
    }
}

fn look(secs: u64, tasks: Vec<Task>) -> Snapshot {
    let at = Moment(secs * SECOND);
    Snapshot {
        at,
        host: Section::ok(at, Host { boot_id: "boot-1".into(), cpus: 2, ..Host::default() }),
        cpu: Section::ok(at, Cpu { load: [secs as f64, 0.0, 0.0], ..Cpu::default() }),
        tasks: Section::ok(at, Tasks { rows: tasks, ..Tasks::default() }),
        ..Snapshot::default()
    }
}

fn event(kind: &str, at: Option<u64>) -> LogEvent {
    let fields = [("device".into(), LogValue::Text("sda".into()))].into();
    LogEvent { kind: kind.into(), at: at.map(|s| Moment(s * SECOND)), fields, ..LogEvent::default() }
}

fn with_log(mut snap: Snapshot, events: Vec<LogEvent>) -> Snapshot {
    snap.klog = Section::ok(snap.at, KernelLog { events, ..KernelLog::default() });
    snap
}

/// 60 zombies under one parent, and some noise, over `secs` looks.
fn script(secs: u64) -> Vec<Snapshot> {
    (1..=secs)
        .map(|t| {
            let mut rows = vec![task(1, "init", 1 << 20), task(7, "parent", t << 20)];
            rows.extend((100..160).map(|pid| Task {
                ppid: 7,
                state: crate::snapshot::TaskState::Zombie,
                ..task(pid, "child", 0)
            }));
            rows.extend((200..400).map(|pid| task(pid, "noise", u64::from(pid) << (t % 5))));
            look(1000 + t, rows)
        })
        .collect()
}

fn told(f: &Frame) -> String {
    let mut sparks: Vec<_> = f.sparks.iter().collect();
    sparks.sort_by(|a, b| a.0.cmp(b.0));
    format!("{:?} {:?} {sparks:?}", f.findings, f.stories)
}

#[test]
fn the_same_snapshots_give_the_same_frames() {
    let (mut a, mut b) = (Engine::new(EngineOptions::default()), Engine::new(EngineOptions::default()));
    for snap in script(20) {
        let (x, y) = (a.step(snap.clone()), b.step(snap));
        assert_eq!(told(&x), told(&y));
    }
}

#[test]
fn time_that_goes_back_or_another_boot_starts_anew() {
    let mut engine = Engine::new(EngineOptions::default());
    let looks = script(10);
    for snap in &looks {
        engine.step(snap.clone());
    }
    let frame = engine.step(looks[2].clone());
    assert!(frame.findings.is_empty() && frame.window_start == looks[2].at);
    let mut other = looks[9].clone();
    other.host = Section::ok(other.at, Host { boot_id: "boot-2".into(), ..Host::default() });
    assert_eq!(engine.step(other.clone()).window_start, other.at);
}

#[test]
fn the_first_ring_is_history_and_a_late_one_is_sorted_by_its_stamps() {
    let mut engine = Engine::new(EngineOptions { window: Window::Whole, ..EngineOptions::default() });
    let first = engine.step(with_log(look(100, vec![]), vec![event("io_error", Some(99)), event("io_error", None)]));
    assert_eq!((first.log.len(), first.log_in_window, first.findings.len()), (2, 0, 0));
    let next = engine.step(with_log(look(101, vec![]), vec![event("io_error", Some(101))]));
    assert_eq!((next.log.len(), next.log_in_window), (3, 1));
    assert_eq!(next.findings[0].id, "kmsg.io_error");

    let mut late = Engine::new(EngineOptions::default());
    late.step(look(100, vec![]));
    let ring = vec![event("io_error", Some(50)), event("io_error", None), event("io_error", Some(101))];
    assert_eq!(late.step(with_log(look(102, vec![]), ring)).log_in_window, 1);
}

#[test]
fn a_section_that_comes_again_brings_its_events_once() {
    let mut engine = Engine::new(EngineOptions::default());
    engine.step(look(1, vec![]));
    let snap = with_log(look(2, vec![]), vec![event("io_error", Some(2))]);
    engine.step(snap.clone());
    let again = Snapshot { at: Moment(3 * SECOND), klog: snap.klog.clone().grown_stale("late"), ..look(3, vec![]) };
    assert_eq!(engine.step(again).log.len(), 1);
}

#[test]
fn sparks_hold_the_largest_tasks_the_host_and_the_focus() {
    let mut engine = Engine::new(EngineOptions::default());
    let small = Subject::Task(TaskKey { pid: 200, start_ticks: 200 });
    let looks = script(5);
    for snap in &looks[..4] {
        assert!(engine.step(snap.clone()).spark(&small, Metric::Rss).is_none());
    }
    engine.set_focus(Some(small.clone()));
    let frame = engine.step(looks[4].clone());
    assert_eq!(frame.spark(&small, Metric::Rss).map(<[f32]>::len), Some(5), "a point a second at first");
    assert!(frame.spark(&Subject::Host, Metric::Load).is_some());
    let parent = Subject::Task(TaskKey { pid: 7, start_ticks: 7 });
    assert!(frame.spark(&parent, Metric::Rss).is_some());
    assert!(frame.severity_of(&parent).is_some(), "its zombies light it");
}

#[test]
fn series_stay_within_their_bound_and_forget_what_has_gone() {
    let mut engine = Engine::new(EngineOptions { series_bytes_max: 1 << 20, ..EngineOptions::default() });
    let busy = |t: u64| (0..100u32).map(|i| task(1000 + i, "busy", u64::from(i) + t * 4096)).collect();
    for t in 1..=600 {
        engine.step(look(t, busy(t)));
    }
    assert!(engine.series_bytes() < 2 << 20, "{}", engine.series_bytes());
    for t in 601..=700 {
        engine.step(look(t, vec![]));
    }
    assert!(engine.series_bytes() < 64 << 10, "{}", engine.series_bytes());
}

/// Everything a frame says, in an order of its own.
fn all(f: &Frame) -> String {
    let mut tasks: Vec<_> = f.model.tasks.iter().map(|(key, t)| format!("{key:?} {t:?}")).collect();
    tasks.sort_unstable();
    let mut lit: Vec<_> = f.lit.iter().collect();
    lit.sort();
    let log = (&f.log, f.log_in_window, f.window_start);
    format!("{} {tasks:?} {:?} {:?} {lit:?} {log:?}", told(f), f.model.totals, f.model.cgroups)
}

/// Zombies that come and go, growth, log lines, lanes that stand still now and then.
fn eventful(secs: u64) -> Vec<Snapshot> {
    let mut looks = script(secs);
    let mut kept: Option<Section<Tasks>> = None;
    for (t, snap) in (1..).zip(looks.iter_mut()) {
        if t % 40 > 25 {
            snap.tasks = Section::ok(snap.at, Tasks { rows: vec![task(1, "init", 1 << 20)], ..Tasks::default() });
        }
        if t % 7 == 3 {
            snap.tasks = kept.clone().unwrap_or_default();
        }
        kept = Some(snap.tasks.clone());
        if t % 11 == 5 {
            let at = Some(1000 + t);
            snap.klog = Section::ok(snap.at, KernelLog { events: vec![event("io_error", at)], ..KernelLog::default() });
        }
    }
    looks
}

#[test]
fn an_engine_restored_at_any_look_goes_on_as_if_it_had_seen_all() {
    let looks = eventful(150);
    let mut engine = Engine::new(EngineOptions::default());
    let mut restored: Vec<Engine> = Vec::new();
    for (t, snap) in looks.into_iter().enumerate() {
        if t % 13 == 0 {
            let mut fresh = Engine::new(EngineOptions::default());
            fresh.restore(&engine.checkpoint(&snap), &snap).unwrap();
            restored.push(fresh);
        }
        let want = all(&engine.step(snap.clone()));
        for other in &mut restored {
            assert_eq!(all(&other.step(snap.clone())), want, "look {t}");
        }
    }
}

#[test]
fn a_checkpoint_of_other_rules_or_with_any_byte_lost_is_refused() {
    let mut engine = Engine::new(EngineOptions::default());
    for snap in script(5) {
        engine.step(snap);
    }
    let last = script(6).remove(5);
    let bytes = engine.checkpoint(&last);
    let mut rules = RuleConfig::default();
    assert!(rules.disable("task.zombie_pile"));
    let mut other = Engine::new(EngineOptions { rules, ..EngineOptions::default() });
    assert_eq!(other.restore(&bytes, &last), Err(CheckpointError::OtherRules));
    let mut whole = Engine::new(EngineOptions { window: Window::Whole, ..EngineOptions::default() });
    assert_eq!(whole.restore(&bytes, &last), Err(CheckpointError::OtherRules));
    for cut in (0..bytes.len()).step_by(23) {
        assert!(engine.restore(&bytes[..cut], &last).is_err(), "{cut}");
    }
    // One that shares much may do: its checksum says whether what came out is the same.
    assert_eq!(engine.restore(&bytes, &look(1004, Vec::new())), Err(CheckpointError::Damaged), "beside another look");
    let want = all(&engine.clone().step(last.clone()));
    for at in (8..bytes.len()).step_by(29) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        let mut fresh = Engine::new(EngineOptions::default());
        if fresh.restore(&damaged, &last).is_ok() {
            fresh.step(last.clone());
        }
    }
    assert_eq!(all(&engine.step(last)), want, "a refused checkpoint changes nothing");
}
