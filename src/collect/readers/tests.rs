use super::*;
use crate::collect::now;
use rustix::process::{WaitOptions, waitpid};
use std::time::Duration;

fn cmdline(pid: u32) -> Ask {
    Ask { kind: Kind::Cmdline, pid, tid: pid, start_ticks: 0 }
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// Turns until `count` answers are there; fails after 5 s.
fn answers<R: Request + std::fmt::Debug>(readers: &mut Readers<R>, count: usize) -> Vec<Answer<R>> {
    let mut got = Vec::new();
    for _ in 0..500 {
        readers.turn(now(), &mut got);
        if got.len() >= count {
            return got;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} of {count} answers after 5 s: {got:?}", got.len());
}

#[test]
fn reads_command_lines_in_order_and_says_who_is_gone() {
    let mut readers = Readers::<Ask>::start(Path::new("/proc")).unwrap();
    let own = std::process::id();
    let expected = std::fs::read("/proc/self/cmdline").unwrap();
    for pid in [own, 0, own] {
        assert!(readers.ask(cmdline(pid), now()));
    }
    let got = answers(&mut readers, 3);
    assert_eq!(got.iter().map(|a| a.ask.pid).collect::<Vec<_>>(), [own, 0, own]);
    assert_eq!(got[1].bytes, Err(Errno::NOENT));
    assert_eq!(got[2].bytes.as_deref(), Ok(&expected[..expected.len().min(child::FRAME)]));
}

#[test]
fn more_requests_than_a_batch_are_all_answered() {
    let mut readers = Readers::<Ask>::start(Path::new("/proc")).unwrap();
    for _ in 0..3000 {
        assert!(readers.ask(cmdline(std::process::id()), now()));
    }
    assert!(answers(&mut readers, 3000).iter().all(|a| a.bytes.is_ok()));
    assert_eq!(readers.alive(), READERS);
}

#[test]
fn a_stuck_reader_is_replaced_and_reaped_and_its_pid_left_alone() {
    let mut readers = Readers::<Ask>::start(Path::new("/proc")).unwrap();
    let stuck = readers.pids().next().unwrap();
    kill_process(raw(stuck), Signal::STOP).unwrap();
    let own = std::process::id();
    assert!(readers.ask(cmdline(1), now()));
    assert!(readers.ask(cmdline(own), now()));
    let began = now();
    let got = answers(&mut readers, 2);
    let took = now().since(began);
    assert!((0.2..10.0).contains(&took), "{took}");
    assert_eq!((got[0].ask.pid, &got[0].bytes), (1, &Err(Errno::TIMEDOUT)));
    assert_eq!(got[1].ask.pid, own);
    assert!(got[1].bytes.is_ok());
    assert_eq!(readers.alive(), READERS - 1);
    assert!(!readers.ask(cmdline(1), now()), "a pid that hung is left alone");
    let later = Moment(now().0 + LEFT_ALONE_NS + 1);
    for _ in 0..1500 {
        readers.turn(now(), &mut Vec::new());
        if readers.dying.is_empty() {
            // As long as the reader hangs it is left alone.
            assert!(readers.ask(cmdline(1), later), "but not for ever");
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the killed reader was not reaped");
}

#[test]
fn without_readers_left_requests_are_refused_at_once() {
    let mut readers = Readers::<Ask>::start(Path::new("/proc")).unwrap();
    for pid in readers.pids().collect::<Vec<_>>() {
        kill_process(raw(pid), Signal::STOP).unwrap();
    }
    for pid in 1..=4 {
        assert!(readers.ask(cmdline(pid), now()));
    }
    assert!(answers(&mut readers, 4).iter().all(|a| a.bytes == Err(Errno::TIMEDOUT)));
    assert_eq!(readers.alive(), 0);
    assert!(!readers.ask(cmdline(5), now()));
}

#[test]
fn stacks_may_not_use_up_the_last_reader() {
    let mut readers = Readers::<Ask>::start(Path::new("/proc")).unwrap();
    let ask = Ask { kind: Kind::Stack, pid: 1, tid: 1, start_ticks: 0 };
    assert!(readers.ask(ask, now()));
    let pids: Vec<u32> = readers.pids().collect();
    for &pid in &pids[..2] {
        kill_process(raw(pid), Signal::KILL).unwrap();
    }
    for _ in 0..1500 {
        readers.turn(now(), &mut Vec::new());
        if readers.alive() == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // Killed spares are noticed when their turn comes.
    assert_eq!(readers.alive(), 1);
    assert!(!readers.ask(ask, now()));
    assert!(readers.ask(cmdline(std::process::id()), now()));
}

#[test]
fn readers_end_when_their_parent_closes_the_pipe() {
    let mut readers = Readers::<Ask>::start(Path::new("/proc")).unwrap();
    let reader = readers.live.pop_front().unwrap();
    let pid = reader.pid;
    drop(reader);
    for _ in 0..1500 {
        if !matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the reader lives on");
}

#[test]
fn frames_come_whole_or_not_at_all() {
    let mut reply = 3_u64.to_ne_bytes().to_vec();
    reply.extend(b"abc");
    reply.extend((2_u64 << 32).to_ne_bytes());
    assert_eq!(child::decode_frame(&reply), Some((Ok(&b"abc"[..]), 11)));
    assert_eq!(child::decode_frame(&reply[11..]), Some((Err(Errno::NOENT), 8)));
    assert_eq!(child::decode_frame(&reply[..10]), None);
}

fn file(path: &Path, max: Option<u32>) -> FileAsk {
    FileAsk { place: path.parent().unwrap().into(), path: path.into(), max }
}

#[test]
fn files_of_any_length_come_whole_and_what_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let long: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_ne_bytes).collect();
    let frame = child::FRAME;
    std::fs::write(at("long"), &long).unwrap();
    std::fs::write(at("frame"), &long[..frame]).unwrap();
    std::fs::write(at("empty"), b"").unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let max = Some(12_000_000);
    let asks = [
        (file(&at("long"), max), Ok(long.clone())),
        (file(&at("frame"), max), Ok(long[..frame].to_vec())),
        (file(&at("frame"), Some(4096)), Ok(long[..frame].to_vec())),
        (file(&at("empty"), max), Ok(Vec::new())),
        (file(&at("long"), Some(11_999_999)), Err(Errno::FBIG)),
        (file(&at("fifo"), max), Err(Errno::INVAL)),
        (file(dir.path(), max), Err(Errno::INVAL)),
        (file(&at("frame"), None), Err(Errno::NOTDIR)),
        (file(&at("gone"), None), Err(Errno::NOENT)),
        (file(&at("empty"), max), Ok(Vec::new())),
    ];
    let mut readers = Readers::start(Path::new("/proc")).unwrap();
    for (ask, _) in &asks {
        assert!(readers.ask(ask.clone(), now()));
    }
    assert!(!readers.ask(file(&at(&"x/".repeat(600)), max), now()), "too long a path");
    let got = answers(&mut readers, asks.len());
    for (answer, (ask, bytes)) in got.iter().zip(&asks) {
        assert_eq!(answer.ask, *ask);
        assert!(answer.bytes == *bytes && read_here(rustix::fs::CWD, ask) == *bytes, "{ask:?}");
    }
}

#[test]
fn a_directory_gives_its_names_as_far_as_a_frame_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut readers = Readers::start(Path::new("/proc")).unwrap();
    let mut names = |count: usize| {
        for n in 0..count {
            std::fs::write(dir.path().join(format!("name-{n:03}")), b"").unwrap();
        }
        assert!(readers.ask(file(dir.path(), None), now()));
        let bytes = answers(&mut readers, 1).remove(0).bytes.unwrap();
        assert!(bytes.len() < child::FRAME && bytes.last() == Some(&0));
        let mut names: Vec<String> =
            bytes.split(|b| *b == 0).map(|n| String::from_utf8_lossy(n).into_owned()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(2), ["", "name-000", "name-001"]);
    assert_eq!(names(999).len(), 1 + (child::FRAME - 1) / 9);
}

proptest::proptest! {
    #[test]
    fn never_panics(head: [u8; ask::HEAD], bytes: Vec<u8>) {
        let _ = (ask::Wanted::path_len(head), ask::Wanted::decode(head, &bytes), child::decode_frame(&bytes));
    }
}
