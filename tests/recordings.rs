//! Recordings as files: those of every schema open, damaged ones do no harm, and long ones are found one's way in at once.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use whytop::collect::now;
use whytop::record::{Frame, Header, Log, Reader, Writer};
use whytop::snapshot::{Moment, Section, Snapshot, Task, TaskKey, Tasks};

const SECOND: i64 = 1_000_000_000;
const START: i64 = 1_700_000_000 * SECOND;

fn fixtures() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recordings");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect()
}

#[test]
fn files_of_every_schema_open() {
    let files = fixtures();
    assert!(!files.is_empty());
    for (name, bytes) in files {
        let reader = Reader::from_bytes(bytes).unwrap();
        let check = reader.check().unwrap();
        let mut cursor = reader.start().unwrap();
        let mut samples = 0;
        let mut last = Snapshot::default();
        while let Some(snap) = cursor.next_snapshot().unwrap() {
            samples += 1;
            last = snap;
        }
        for (section, state) in last.section_states() {
            let is_read = ["host", "cpu", "tasks", "sockets", "net", "cgroups", "memory"].contains(&section);
            assert!(!is_read || state == "ok", "{name}: {section} is {state}");
        }
        assert!(last.tasks.data().unwrap().rows.iter().any(|task| task.key.pid == 1), "{name}");
        assert!(last.memory.data().unwrap().meminfo.get("MemTotal") > Some(0), "{name}");
        assert!(samples > 2 && samples == check.samples, "{name}: {samples}");
        assert!(check.gaps.is_empty() && reader.torn_tail() == 0, "{name}");
    }
}

/// Numbers that look like none in particular, the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// `WHYTOP_MUTATIONS=100000` for more.
#[test]
fn damage_anywhere_does_no_harm() {
    let count: u64 = std::env::var("WHYTOP_MUTATIONS").map_or(150, |n| n.parse().unwrap());
    let (_, whole) = fixtures().into_iter().min_by_key(|(_, bytes)| bytes.len()).unwrap();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..count {
        let mut bytes = whole.clone();
        for _ in 0..=dice.below(6) {
            let (at, other) = (dice.below(bytes.len()), dice.below(bytes.len()));
            match dice.below(4) {
                0 => bytes.truncate(at.max(1)),
                1 => drop(bytes.drain(at.min(other)..at.max(other).min(at.min(other) + 64))),
                2 => bytes.splice(at..at, whole.iter().copied().skip(other).take(64)).for_each(drop),
                _ => bytes
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|byte| *byte = byte.wrapping_add(other.to_le_bytes()[0] | 1)),
            }
            if bytes.is_empty() {
                break;
            }
        }
        let Ok(reader) = Reader::from_bytes(bytes) else { continue };
        let _ = (reader.notes(), reader.checkpoint_before(i64::MAX), reader.check());
        let mut cursor = reader.start().unwrap();
        while cursor.next_snapshot().unwrap().is_some() {}
    }
}

/// Whole heads and checksums over bodies that are none: what is behind the checksums is tried.
#[test]
fn bodies_of_anything_do_no_harm() {
    let count: u64 = std::env::var("WHYTOP_MUTATIONS").map_or(150, |n| n.parse().unwrap());
    let frames = day(60).0;
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    for _ in 0..count {
        let (mut log, mut bytes) = Log::new(&Header::default()).unwrap();
        for frame in &frames {
            let mut frame = frame.clone();
            if dice.below(8) == 0 && !frame.body.is_empty() {
                let at = dice.below(frame.body.len());
                let value = dice.below(256).to_le_bytes()[0];
                frame.body.iter_mut().skip(at).take(1).for_each(|byte| *byte = value);
            }
            bytes.extend(log.append(&frame).unwrap());
        }
        let mut cursor = Reader::from_bytes(bytes).unwrap().start().unwrap();
        while cursor.next_snapshot().unwrap().is_some() {}
    }
}

/// The frames of a minute, once a second, and a recording of so many seconds made of them.
fn day(seconds: i64) -> (Vec<Frame>, Vec<u8>) {
    let mut writer = Writer::new(Vec::new()).unwrap();
    for n in 0..60 {
        let rows = (1..200).map(|pid| Task {
            key: TaskKey { pid, start_ticks: u64::from(pid) * 3 },
            comm: format!("task-{}", pid % 7).into(),
            utime_ticks: u64::from(pid) * u64::try_from(n).unwrap(),
            ..Task::default()
        });
        let at = Moment(u64::try_from(n * SECOND).unwrap());
        let tasks = Section::ok(at, Tasks { rows: rows.collect(), ..Tasks::default() });
        let snap = Snapshot { at, wall_unix_ns: START + n * SECOND, tasks, ..Snapshot::default() };
        writer.push(&snap, None).unwrap();
    }
    let minute = writer.into_sink();
    let (mut log, mut bytes) = Log::new(&Header::default()).unwrap();
    for n in 0..seconds {
        let frame = minute.get(usize::try_from(n % 60).unwrap()).unwrap();
        bytes.extend(log.append(&Frame { wall_unix_ns: START + n * SECOND, ..frame.clone() }).unwrap());
    }
    (minute, bytes)
}

#[test]
fn any_second_of_a_day_is_found_also_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("day");
    let bytes = day(86_400).1;
    // A recorder that was killed: no index at the end, and a torn frame.
    std::fs::write(&path, bytes.get(..bytes.len() - 7).unwrap()).unwrap();
    let begun = now();
    let reader = Reader::open(&path).unwrap();
    println!("{} bytes opened in {:.1} ms", bytes.len(), now().since(begun) * 1e3);
    assert_eq!(reader.span(), Some((START, START + 86_398 * SECOND)));
    assert_eq!(reader.key_times().count(), 1440);
    assert!(reader.torn_tail() > 0);
    let mut dice = Dice(7);
    let mut slowest: f64 = 0.0;
    for _ in 0..40 {
        let second = i64::try_from(dice.below(86_399)).unwrap();
        let begun = now();
        let mut cursor = reader.at(START + second * SECOND).unwrap();
        assert_eq!(cursor.next_time().unwrap(), Some(START + second * SECOND));
        let snap = cursor.next_snapshot().unwrap().unwrap();
        slowest = slowest.max(now().since(begun));
        assert_eq!(snap.at.0, u64::try_from(second % 60 * SECOND).unwrap());
        assert_eq!(snap.tasks.data().unwrap().rows.len(), 199);
    }
    println!("any second shown within {:.1} ms", slowest * 1e3);
    // What an index lost is found by the heads.
    let mut bytes = bytes;
    let middle = bytes.len() / 2;
    bytes.iter_mut().skip(middle).take(100_000).for_each(|byte| *byte = 0);
    let begun = now();
    let reader = Reader::from_bytes(bytes).unwrap();
    println!("opened in {:.1} ms with a hole of 100,000 bytes", now().since(begun) * 1e3);
    let at = |second: i64| reader.at(START + second * SECOND).unwrap().next_snapshot().unwrap().unwrap().at.0;
    assert_eq!((at(61), at(86_399)), (SECOND.unsigned_abs(), 59 * SECOND.unsigned_abs()));
    assert_eq!(reader.check().unwrap().gaps.len(), 1);
}
