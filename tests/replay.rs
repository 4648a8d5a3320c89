//! A recording shows what was live: the same text and colours in every pane, view and drill-down, played or sought.

#![expect(clippy::unwrap_used, clippy::default_trait_access, reason = "helpers of tests fail as tests do")]

mod kit;

use kit::twin::{Recorded, assert_same, compare_this_host};
use kit::{Build, story_d_build};
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use whytop::engine::{Engine, EngineOptions};
use whytop::model::Frame;
use whytop::playback::Playback;
use whytop::record::Reader;
use whytop::snapshot::{Moment, Section, Snapshot, StateCounts, Subject, TaskState};

const SECOND: i64 = 1_000_000_000;

/// A host that gets sick: story D, with tasks that come, hang and go, over `secs` seconds.
fn script(secs: u64) -> Vec<Snapshot> {
    (0..secs).map(look).collect()
}

fn look(t: u64) -> Snapshot {
    let mut b: Build = story_d_build();
    let moved = |at: Moment| Moment(at.0 + t * 1_000_000_000);
    let snap = &mut b.snap;
    snap.at = moved(snap.at);
    snap.wall_unix_ns += i64::try_from(t).unwrap() * SECOND;
    let at = snap.at;
    let mut tasks = snap.tasks.data().unwrap().clone();
    let sick = t % 100 > 45;
    for task in &mut tasks.rows {
        task.utime_ticks += t * (u64::from(task.key.pid) % 7);
        task.rss_bytes += (t % 90) * 4096 * (u64::from(task.key.pid) % 5);
        if !sick && task.state == TaskState::Zombie {
            task.state = TaskState::Sleeping;
        }
        if !sick {
            task.awake.clear();
            task.by_state = StateCounts { sleeping: task.threads, ..StateCounts::default() };
        }
    }
    tasks.rows.retain(|task| task.key.pid < 300 || (t + u64::from(task.key.pid)) % 40 > 3);
    if !sick {
        tasks.blocked_by_wchan.clear();
    }
    snap.tasks = Section::ok(at, tasks);
    // A lane of its own pace: every third second.
    let slab_at = Moment(at.0 - (t % 3) * 1_000_000_000);
    snap.slab = Section::ok(slab_at, snap.slab.data().unwrap().clone());
    let kept = |log: whytop::snapshot::KernelLog| if t.is_multiple_of(50) { log } else { Default::default() };
    snap.klog = Section::ok(at, snap.klog.data().cloned().map(kept).unwrap_or_default());
    snap.cpu = Section::ok(at, snap.cpu.data().unwrap().clone());
    snap.net = Section::ok(at, snap.net.data().unwrap().clone());
    snap.sockets = Section::ok(at, snap.sockets.data().unwrap().clone());
    snap.cgroups = Section::ok(at, snap.cgroups.data().unwrap().clone());
    snap.memory = Section::ok(at, snap.memory.data().unwrap().clone());
    std::mem::take(snap)
}

static SCRIPT: LazyLock<Recorded> = LazyLock::new(|| Recorded::of(script(200)));

#[test]
fn a_scripted_recording_plays_as_it_was_live() {
    let mut playback = SCRIPT.playback();
    for (i, live) in SCRIPT.live.iter().enumerate() {
        let shown = Arc::clone(playback.advance().unwrap().unwrap());
        if i % 60 == 50 {
            assert_same(live, &shown, &format!("sample {i}"));
        } else {
            assert_eq!(live.findings, shown.findings, "sample {i}");
        }
    }
    assert!(playback.advance().unwrap().is_none() && playback.is_at_end());
    assert!(SCRIPT.live.iter().any(|f| !f.findings.is_empty()), "the script has something to find");
}

#[test]
fn samples_of_this_host_play_as_they_were_live() {
    let (frames, pictures) = compare_this_host(Duration::from_secs(2));
    assert!(frames > 1 && pictures > 20, "{frames} frames, {pictures} pictures");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5, ..ProptestConfig::default() })]

    /// Any walk of seeks, steps and playing shows at each stop what was live then.
    #[test]
    fn wherever_one_goes_the_frame_is_the_one_of_that_time(
        moves in prop::collection::vec((0_usize..200, -2_i64..3, 0_i64..999_999_999), 1..4),
    ) {
        let mut playback = SCRIPT.playback();
        for (to, step, more) in moves {
            playback.seek(SCRIPT.wall(to) + more).unwrap();
            let shown = Arc::clone(playback.step(step).unwrap());
            let there = to.saturating_add_signed(isize::try_from(step).unwrap()).min(199);
            assert_same(&SCRIPT.live[there], &shown, &format!("sought {to}, stepped {step}"));
        }
    }
}

#[test]
fn both_ends_hold() {
    let mut playback = SCRIPT.playback();
    assert_eq!(playback.seek(0).unwrap().snap.at, SCRIPT.live[0].snap.at);
    assert_eq!(playback.step(-1).unwrap().snap.at, SCRIPT.live[0].snap.at);
    assert_eq!(playback.seek(i64::MAX).unwrap().snap.at, SCRIPT.live[199].snap.at);
    assert_eq!(playback.step(1).unwrap().snap.at, SCRIPT.live[199].snap.at);
}

/// Rules that changed since: what is known is replayed from before the time that no rule looks back beyond.
#[test]
fn other_rules_see_the_same_past() {
    let mut options = EngineOptions::default();
    assert!(options.rules.disable("task.zombie_pile"));
    let reader = Reader::from_bytes(SCRIPT.bytes.clone()).unwrap();
    let mut other = Playback::new(reader, options.clone()).unwrap();
    let sought = Arc::clone(other.seek(SCRIPT.wall(177)).unwrap());
    let mut straight = Engine::new(options);
    let mut frame = Frame::default();
    for live in &SCRIPT.live[..=177] {
        frame = straight.step((*live.snap).clone());
    }
    assert_same(&Arc::new(frame), &sought, "other rules");
    assert!(sought.findings.iter().all(|f| f.id != "task.zombie_pile"));
    assert!(SCRIPT.live[177].findings.iter().any(|f| f.id == "task.zombie_pile"));
    assert!(matches!(
        sought.findings[0].subject,
        Subject::Cgroup(_) | Subject::Wchan(_) | Subject::Task(_) | Subject::Host
    ));
}
