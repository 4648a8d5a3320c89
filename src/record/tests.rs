use super::frame::Head;
use super::*;
use crate::snapshot::{Counters, Moment, Section, Slab, Slabs, Snapshot, Task, TaskKey, Tasks};
use std::sync::Arc;

/// A host of `tasks` processes at second `n`, some of which come and go.
fn snapshot(n: u64, tasks: u64) -> Snapshot {
    let at = Moment(n * 1_000_000_000 + 12_345);
    let first = n / 3;
    let rows = (first..first + tasks).map(|pid| Task {
        key: TaskKey { pid: u32::try_from(pid).unwrap(), start_ticks: pid * 7 },
        comm: format!("task-{}", pid % 5).into(),
        cmdline: (pid % 2 == 0).then(|| format!("/bin/task --number {pid}").into()),
        utime_ticks: n * (pid % 3),
        rss_bytes: 4096 * pid,
        ..Task::default()
    });
    let mut snap =
        Snapshot { at, wall_unix_ns: 1_700_000_000_000_000_000 + i64::try_from(at.0).unwrap(), ..Snapshot::default() };
    snap.tasks = Section::ok(at, Tasks { rows: rows.collect(), ..Tasks::default() });
    snap.memory = Section::ok(
        at,
        crate::snapshot::Memory {
            meminfo: Counters::from_pairs([("MemTotal", 1 << 34), ("MemFree", (1 << 30) + n * 4096)]),
            ..crate::snapshot::Memory::default()
        },
    );
    snap.cpu =
        Section::ok(at, crate::snapshot::Cpu { load: [0.25, 1.0 / 3.0, f64::NAN], ..crate::snapshot::Cpu::default() });
    snap
}

fn second(n: u64) -> i64 {
    snapshot(n, 0).wall_unix_ns
}

/// A recording of these seconds, each with 40 tasks.
fn recording(seconds: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut writer = Writer::with_base(Vec::new()).unwrap();
    for n in seconds {
        let snap = snapshot(n, 40);
        let checkpoint = writer.wants_checkpoint(snap.wall_unix_ns).then(|| n.to_le_bytes());
        writer.push(&snap, checkpoint.as_ref().map(<[u8; 8]>::as_slice)).unwrap();
    }
    let (mut log, mut bytes) = Log::new(&Header::of(&snapshot(0, 0))).unwrap();
    for frame in writer.into_sink() {
        bytes.extend(log.append(&frame).unwrap());
    }
    bytes
}

/// The seconds that a recording gives.
fn seconds(reader: &Reader) -> Vec<u64> {
    let mut cursor = reader.start().unwrap();
    let mut seconds = Vec::new();
    while let Some(snap) = cursor.next_snapshot().unwrap() {
        let n = snap.at.0 / 1_000_000_000;
        assert_same(&snap, &snapshot(n, 40));
        seconds.push(n);
    }
    seconds
}

/// Equal, NaN too.
fn assert_same(a: &Snapshot, b: &Snapshot) {
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
}

/// Where the frames of a recording start, and their heads.
fn frames(bytes: &[u8]) -> Vec<(usize, Head)> {
    let source = source::Source::Memory(bytes.to_vec());
    let mut found = Vec::new();
    let lost = |_, _| panic!("damaged");
    source
        .heads(0, bytes.len() as u64, |place, head| found.push((usize::try_from(place).unwrap(), *head)), lost)
        .unwrap();
    found
}

#[test]
fn what_is_written_is_read() {
    let reader = Reader::from_bytes(recording(0..200)).unwrap();
    assert_eq!(seconds(&reader), (0..200).collect::<Vec<_>>());
    assert_eq!(reader.span(), Some((second(0), second(199))));
    assert_eq!(reader.key_times().count(), 4);
    assert_eq!(reader.torn_tail(), 0);
}

#[test]
fn any_time_is_found_and_read_on_from() {
    let reader = Reader::from_bytes(recording(10..200)).unwrap();
    for n in [10, 11, 69, 70, 71, 130, 198, 199] {
        let mut cursor = reader.at(second(n) + 17).unwrap();
        assert_eq!(cursor.next_time().unwrap(), Some(second(n)));
        assert_same(&cursor.next_snapshot().unwrap().unwrap(), &snapshot(n, 40));
        let next = (n < 199).then(|| second(n + 1));
        assert_eq!(cursor.next_time().unwrap(), next);
        assert_eq!(cursor.next_snapshot().unwrap().map(|s| s.wall_unix_ns), next);
    }
    assert_eq!(reader.at(0).unwrap().next_snapshot().unwrap().unwrap().wall_unix_ns, second(10));
}

#[test]
fn a_checkpoint_stands_beside_the_sample_that_comes_after_it() {
    let reader = Reader::from_bytes(recording(0..200)).unwrap();
    let checkpoint = reader.checkpoint_before(second(150)).unwrap().unwrap();
    assert_eq!((checkpoint.wall_unix_ns, &checkpoint.bytes), (second(120), &120_u64.to_le_bytes().to_vec()));
    let next = reader.at(checkpoint.wall_unix_ns).unwrap().next_snapshot().unwrap();
    assert_same(&next.unwrap(), &snapshot(120, 40));
    assert_eq!(reader.checkpoint_before(second(0) - 1).unwrap(), None);
}

#[test]
fn data_that_did_not_change_is_shared() {
    let mut writer = Writer::new(Vec::new()).unwrap();
    let first = snapshot(0, 500);
    let mut then = snapshot(1, 0);
    then.tasks = first.tasks.clone();
    writer.push(&first, None).unwrap();
    writer.push(&then, None).unwrap();
    let frames = writer.into_sink();
    assert!(frames[1].body.len() < 200, "{}", frames[1].body.len());
    let (mut log, mut bytes) = Log::new(&Header::default()).unwrap();
    for frame in &frames {
        bytes.extend(log.append(frame).unwrap());
    }
    let mut cursor = Reader::from_bytes(bytes).unwrap().start().unwrap();
    let [a, b] = [cursor.next_snapshot().unwrap().unwrap(), cursor.next_snapshot().unwrap().unwrap()];
    assert!(Arc::ptr_eq(a.tasks.shared().unwrap(), b.tasks.shared().unwrap()));
    assert_same(&b, &then);
}

#[test]
fn cut_anywhere_in_its_last_two_frames_it_loses_those_and_says_so() {
    let bytes = recording(0..70);
    let all = frames(&bytes);
    let [.., (before, _), (last, _)] = all[..] else { panic!() };
    for end in before..bytes.len() {
        let reader = Reader::from_bytes(bytes[..end].to_vec()).unwrap();
        let whole = if end < last { 68 } else { 69 };
        assert_eq!(seconds(&reader), (0..whole).collect::<Vec<_>>());
        let sound_end = if end < last { before } else { last };
        assert_eq!(reader.torn_tail(), (end - sound_end) as u64);
        assert_eq!(reader.span(), Some((second(0), second(whole - 1))));
    }
}

#[test]
fn a_flipped_byte_loses_its_frame_and_its_deltas_up_to_the_next_keyframe() {
    // Three samples a group.
    let all_seconds = || (0..9).map(|n| n * 20);
    let bytes = recording(all_seconds());
    let all = frames(&bytes);
    for (place, byte) in bytes.iter().enumerate() {
        let mut damaged = bytes.clone();
        damaged[place] = byte ^ 0x41;
        let reader = Reader::from_bytes(damaged).unwrap();
        let (_, hit) = *all.iter().rev().find(|(start, _)| *start <= place).unwrap();
        let n = u64::try_from(hit.wall_unix_ns - second(0)).unwrap() / 1_000_000_000;
        let group_end = n / 60 * 60 + 60;
        let mut cursor = reader.start().unwrap();
        let mut found = Vec::new();
        while let Some(time) = cursor.skip_snapshot().unwrap() {
            found.push(u64::try_from(time - second(0)).unwrap() / 1_000_000_000);
        }
        let kept: Vec<u64> = all_seconds().filter(|s| !(n..group_end).contains(s)).collect();
        if hit.kind.is_sample() {
            assert_eq!(found, kept, "byte {place}, {hit:?}");
            let told = reader.torn_tail() > 0 || cursor.gaps().len() == 1;
            assert!(told, "byte {place}, {hit:?}");
        } else {
            // The head of a frame that was no delta may have hidden one: deltas after it are not trusted.
            let missing = all_seconds().filter(|s| !found.contains(s));
            assert!(missing.clone().all(|s| s > n && s < group_end), "byte {place}, {hit:?}: {found:?}");
        }
        assert_eq!(reader.header().format, 1, "byte {place}, {hit:?}");
    }
}

#[test]
fn what_is_no_recording_is_told_apart() {
    let open = |bytes: &[u8]| Reader::from_bytes(bytes.to_vec()).map(|_| ()).unwrap_err().to_string();
    assert_eq!(open(b""), "is empty");
    assert_eq!(open(b"{\"schema\":1}"), "is no recording of whytop");
    let newer = Header { format: 9, ..Header::default() };
    let (_, bytes) = Log::new(&newer).unwrap();
    assert_eq!(open(&bytes), "written by a newer version of whytop");
}

#[test]
fn every_part_of_a_snapshot_is_recorded() {
    let json = serde_json::to_value(Snapshot::default()).unwrap();
    let mut fields: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut parts = parts::NAMES.to_vec();
    fields.sort_unstable();
    parts.sort_unstable();
    assert_eq!(parts, fields);
}

#[test]
fn rows_that_change_places_are_followed() {
    let slabs = |names: &[&str]| {
        let rows =
            names.iter().map(|n| Slab { name: (*n).into(), bytes: u64::MAX - n.len() as u64, ..Slab::default() });
        Slabs { rows: rows.collect(), ..Slabs::default() }
    };
    let orders: [&[&str]; 5] = [&["a", "bb", "c"], &["c", "a"], &["dd", "c", "c", "a", "bb"], &[], &["bb", "a"]];
    let mut writer = Writer::new(Vec::new()).unwrap();
    let mut snaps = Vec::new();
    for (n, order) in (0..).zip(orders) {
        let mut snap = snapshot(n, 3);
        snap.slab = Section::ok(snap.at, slabs(order));
        writer.push(&snap, None).unwrap();
        snaps.push(snap);
    }
    let (mut log, mut bytes) = Log::new(&Header::default()).unwrap();
    for frame in writer.into_sink() {
        bytes.extend(log.append(&frame).unwrap());
    }
    let mut cursor = Reader::from_bytes(bytes).unwrap().start().unwrap();
    for snap in &snaps {
        assert_same(&cursor.next_snapshot().unwrap().unwrap(), snap);
    }
}

#[test]
fn a_rewritten_recording_is_thinned_where_it_is_old_and_loses_no_word_of_the_kernel() {
    use super::file::LogFile;
    use super::rewrite::Rewrite;
    use crate::snapshot::{KernelLog, LogEvent};
    let second_ns = 1_000_000_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r");
    let mut file = LogFile::open(&path, &Header::default()).unwrap();
    let mut writer = Writer::with_base(Vec::new()).unwrap();
    for n in 0..600 {
        let mut snap = snapshot(n, 5);
        let event = LogEvent { line: n, ..LogEvent::default() };
        snap.klog = Section::ok(snap.at, KernelLog { events: vec![event], ..KernelLog::default() });
        writer.push(&snap, None).unwrap();
        file.append(&std::mem::take(writer.sink())).unwrap();
    }
    let bounds =
        Bounds { max_bytes: 1 << 30, max_age_ns: 500 * second_ns, fine_ns: 100 * second_ns, coarse_ns: 10 * second_ns };
    let to = Destination { path: path.clone(), header: Header::default(), bounds, makes_dir: false };
    let mut rewrite = Rewrite::if_due(&file, &to, second(599)).unwrap().unwrap();
    while !rewrite.step(&file).unwrap() {}
    let file = rewrite.finish().unwrap();
    assert!(file.is_in_place());
    let mut cursor = Reader::open(&path).unwrap().start().unwrap();
    let (mut times, mut lines) = (Vec::new(), Vec::new());
    while let Some(snap) = cursor.next_snapshot().unwrap() {
        times.push(u64::try_from((snap.wall_unix_ns - second(0)) / second_ns).unwrap());
        lines.extend(snap.klog.data().unwrap().events.iter().map(|event| event.line));
    }
    assert_eq!(times.first(), Some(&120), "what is too old is left out, a group at a time");
    assert_eq!(lines, (120..600).collect::<Vec<_>>());
    let recent = times.iter().filter(|n| **n >= 500).count();
    assert_eq!(recent, 100);
    let coarse = times.len() - recent;
    // One in 10 s, the last of each group (its kernel-log lines are kept), and all of the group that reaches into the fine part.
    assert!((38..80).contains(&coarse), "{times:?}");
    assert!(cursor.gaps().is_empty());
    // Nothing more is due.
    assert!(Rewrite::if_due(&file, &to, second(599)).unwrap().is_none());
}

#[test]
fn of_an_action_noted_twice_the_last_counts() {
    use crate::snapshot::{Action, ActionRecord, Actor, Decision, Proposal};
    let noted = |n: u64, sent: bool| {
        let action = Action::Reap { parent: TaskKey { pid: 7, start_ticks: 9 } };
        let (at, reasons, plans) = (Moment(n), Vec::new(), Vec::new());
        let proposal = Proposal { action, at, decision: Decision::Allowed, confirm: None, reasons, plans };
        let record = ActionRecord { at, wall_unix_ns: 5, actor: Actor::default(), confirmed: None, sent, proposal };
        Note::Action(Box::new(record))
    };
    let (mut log, mut bytes) = Log::new(&Header::default()).unwrap();
    for note in [noted(1, false), noted(2, false), noted(1, true)] {
        bytes.extend(log.append(&Frame::note(5, &note).unwrap()).unwrap());
    }
    assert_eq!(Reader::from_bytes(bytes).unwrap().notes().unwrap(), [noted(1, true), noted(2, false)]);
}
