//! What a recording costs: encoding and reading a sample, opening a day and going to any second of it.
//!
//! `WHYTOP_RECORDING=FILE cargo bench --bench recording` takes the samples of a recording of its own, of a crowded host
//! for instance; by default it is one of the tests'. The day repeats its frames, checkpoints included.

#![expect(clippy::unwrap_used, reason = "a bench that can't prepare stops")]

use divan::Bencher;
use std::path::PathBuf;
use std::sync::LazyLock;
use whytop::engine::{CheckpointDue, Engine, EngineOptions};
use whytop::playback::Playback;
use whytop::record::{Frame, FrameKind, Header, Log, Reader, Writer};
use whytop::snapshot::Snapshot;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;
/// Samples at most.
const SAMPLES: usize = 600;

fn main() {
    divan::main();
}

static LOOKS: LazyLock<Vec<Snapshot>> = LazyLock::new(|| {
    let story = "tests/fixtures/stories/d-oom-spiral.wtr";
    let path = std::env::var_os("WHYTOP_RECORDING").map_or_else(|| story.into(), PathBuf::from);
    let mut cursor = Reader::open(&path).unwrap().start().unwrap();
    let looks: Vec<Snapshot> = std::iter::from_fn(|| cursor.next_snapshot().unwrap()).take(SAMPLES).collect();
    eprintln!("{}: {} samples", path.display(), looks.len());
    looks
});

/// The frames of the samples, a second apart, with checkpoints.
static FRAMES: LazyLock<Vec<Frame>> = LazyLock::new(|| {
    let mut writer = Writer::with_base(Vec::new()).unwrap();
    let mut engine = Engine::new(EngineOptions::default());
    let mut due = CheckpointDue::default();
    for look in &*LOOKS {
        let at_key = writer.wants_checkpoint(look.wall_unix_ns);
        let checkpoint = due.take(look, at_key).then(|| engine.checkpoint(look));
        writer.push(look, checkpoint.as_deref()).unwrap();
        engine.step(look.clone());
    }
    let frames = writer.into_sink();
    for kind in [FrameKind::Base, FrameKind::Key, FrameKind::Delta, FrameKind::Checkpoint] {
        let of_kind = || frames.iter().filter(|f| f.kind == kind).map(|f| f.body.len());
        eprintln!("{kind:?}: {} of {} bytes", of_kind().count(), of_kind().sum::<usize>() / of_kind().count().max(1));
    }
    frames
});

static DAY_FILE: LazyLock<tempfile::NamedTempFile> = LazyLock::new(|| {
    let (mut log, mut bytes) = Log::new(&Header::of(LOOKS.first().unwrap())).unwrap();
    let mut second = 0;
    while second < DAY {
        for frame in &*FRAMES {
            second += i64::from(matches!(frame.kind, FrameKind::Key | FrameKind::Delta));
            bytes.extend(log.append(&Frame { wall_unix_ns: second * SECOND, ..frame.clone() }).unwrap());
        }
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    eprintln!("a day: {} bytes", bytes.len());
    file
});

fn day() -> Reader {
    Reader::open(DAY_FILE.path()).unwrap()
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// One sample, as a keyframe or a delta: what falls due at its time.
#[divan::bench(sample_count = 300, sample_size = 1)]
fn encode(bencher: Bencher<'_, '_>) {
    let mut writer = Writer::with_base(Vec::new()).unwrap();
    let mut looks = LOOKS.iter().cycle();
    bencher.bench_local(|| writer.push(looks.next().unwrap(), None).unwrap());
}

/// One sample, played.
#[divan::bench(sample_count = 300, sample_size = 1)]
fn decode(bencher: Bencher<'_, '_>) {
    let mut cursor = day().start().unwrap();
    bencher.bench_local(|| cursor.next_snapshot().unwrap().unwrap());
}

/// A checkpoint of the engine.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn checkpoint(bencher: Bencher<'_, '_>) {
    let mut engine = Engine::new(EngineOptions::default());
    LOOKS.iter().for_each(|look| drop(engine.step(look.clone())));
    eprintln!("a checkpoint after {} samples: {} bytes", LOOKS.len(), engine.checkpoint(LOOKS.last().unwrap()).len());
    bencher.bench_local(|| engine.checkpoint(LOOKS.last().unwrap()));
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn open(bencher: Bencher<'_, '_>) {
    LazyLock::force(&DAY_FILE);
    bencher.bench_local(|| day().span());
}

/// To any second of the day, with the engine that knows what came before: up to what screens draw.
#[divan::bench(sample_count = 60, sample_size = 1)]
fn seek(bencher: Bencher<'_, '_>) {
    let mut playback = Playback::new(day(), EngineOptions::default()).unwrap();
    let mut dice = 7_i64;
    bencher.bench_local(|| {
        dice = (dice * 48_271) % 2_147_483_647;
        playback.seek(dice % DAY * SECOND).unwrap().findings.len()
    });
}

/// An hour at a time through the day; memory must not grow.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn hours(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let mut playback = Playback::new(day(), EngineOptions::default()).unwrap();
        for hour in 0..24 {
            playback.seek(hour * 3600 * SECOND).unwrap();
            for _ in 0..60 {
                playback.advance().unwrap();
            }
            if hour % 6 == 5 {
                eprintln!("hour {hour}: {} kB resident", resident_kb());
            }
        }
    });
}
