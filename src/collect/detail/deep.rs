//! Reads that are too dear to be made unasked: each on request, with its progress, until it is given up.
//!
//! `smaps_rollup` takes the memory lock of the process: a helper process reads it, and never of a process with a thread
//! in D, which may hold that lock for as long as its disk is dead. Looking at every descriptor makes an inode and a
//! dentry in the kernel for each.

use super::descriptors::{Sorted, sort_link};
use crate::collect::readers::{FileAsk, Readers};
use crate::collect::tasks::files::{self, Decimal, Files};
use crate::collect::tasks::{stat, status};
use crate::collect::{Roots, now};
use crate::snapshot::{Counters, DeepKind, DeepState, TaskKey, TaskState};
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Most bytes of a `smaps_rollup`.
const ROLLUP_BYTES: u32 = 64 * 1024;
/// Time between two words on progress.
const WORD_NS: u64 = 200_000_000;
/// Time between two looks whether the helper has answered.
const LOOK: Duration = Duration::from_millis(10);
/// Paths named at most.
const PATHS_MAX: usize = 512;

/// Makes deep reads.
#[derive(Debug)]
pub struct DeepReader {
    roots: Roots,
    readers: Option<Readers<FileAsk>>,
}

impl DeepReader {
    /// A reader over `roots`; without helper processes no memory is read.
    #[must_use]
    pub fn new(roots: &Roots, readers: Option<Readers<FileAsk>>) -> Self {
        Self { roots: roots.clone(), readers }
    }

    /// Reads `kind` of the task; `tell` hears of its progress. `None` when `stop` was set meanwhile.
    pub fn read(
        &mut self,
        task: TaskKey,
        kind: DeepKind,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(DeepState),
    ) -> Option<DeepState> {
        let failed = |why: String| Some(DeepState::Failed(why.into()));
        let mut files = match Files::open(&self.roots.proc) {
            Ok(files) => files,
            Err(error) => return failed(error.to_string()),
        };
        if !is_same(&mut files, task) {
            return failed("it has ended".into());
        }
        let read = match kind {
            DeepKind::Files => all_files(&mut files, task.pid, stop, tell),
            DeepKind::Memory => self.rollup(&mut files, task.pid, stop, tell),
        };
        match read {
            Err(why) => failed(why),
            Ok(Some(_)) if !is_same(&mut files, task) => failed("it has ended".into()),
            Ok(state) => state,
        }
    }

    fn rollup(
        &mut self,
        files: &mut Files,
        pid: u32,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(DeepState),
    ) -> Result<Option<DeepState>, String> {
        let Some(readers) = &mut self.readers else { return Err("no helper process could be started".into()) };
        if any_blocked(files, pid) {
            return Err("a thread of it is in D: its memory map is not touched".into());
        }
        let place: Arc<Path> = self.roots.proc(pid.to_string()).into();
        let ask = FileAsk { path: place.join("smaps_rollup").into(), place, max: Some(ROLLUP_BYTES) };
        let began = now();
        if !readers.ask(ask.clone(), began) {
            return Err("a read of it got stuck before; it is left alone for a while".into());
        }
        let (mut answers, mut told) = (Vec::new(), began);
        loop {
            let at = now();
            readers.turn(at, &mut answers);
            if let Some(answer) = answers.drain(..).find(|answer| answer.ask == ask) {
                return match answer.bytes {
                    Ok(text) => Ok(Some(DeepState::Memory(parse_rollup(&text)))),
                    Err(Errno::NOENT) => Err("this kernel has no smaps_rollup (4.14)".into()),
                    Err(Errno::ACCESS | Errno::PERM) => Err("needs root or CAP_SYS_PTRACE".into()),
                    Err(Errno::TIMEDOUT) => Err("the read got stuck and was given up".into()),
                    Err(Errno::SRCH) => Err("it has no memory of its own".into()),
                    Err(error) => Err(error.to_string()),
                };
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if at.0.saturating_sub(told.0) >= WORD_NS {
                told = at;
                tell(DeepState::Reading { done: 0, total: 0, for_ns: at.0.saturating_sub(began.0) });
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn is_same(files: &mut Files, task: TaskKey) -> bool {
    let mut text = Vec::new();
    let read = files.read(&[Decimal::new(task.pid).bytes(), b"/stat"], &mut text);
    read.ok().and_then(stat::parse).is_some_and(|stat| stat.start == task.start_ticks)
}

/// Whether a thread of the process is in D, or that can't be seen.
fn any_blocked(files: &mut Files, pid: u32) -> bool {
    let (mut names, mut text, mut tids) = (Vec::new(), Vec::new(), Vec::new());
    let Ok(dir) = files.open_dir(&[Decimal::new(pid).bytes(), b"/task"]) else { return true };
    if files::list(dir.as_fd(), &mut names, |name| tids.extend(files::id(name))).is_err() {
        return true;
    }
    tids.into_iter().any(|tid| {
        let read = files.read_in(&dir, &[Decimal::new(tid).bytes(), b"/stat"], &mut text);
        read.ok().and_then(stat::parse_state).is_some_and(|(_, state)| state == TaskState::Blocked)
    })
}

fn all_files(
    files: &mut Files,
    pid: u32,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(DeepState),
) -> Result<Option<DeepState>, String> {
    let pid = Decimal::new(pid);
    let denied = |error: Errno| match error {
        Errno::ACCESS | Errno::PERM => "needs root or CAP_SYS_PTRACE".to_owned(),
        error => error.to_string(),
    };
    let dir = files.open_dir(&[pid.bytes(), b"/fd"]).map_err(denied)?;
    let (mut names, mut text, mut fds) = (Vec::new(), Vec::new(), Vec::new());
    let listed = files::list_while(dir.as_fd(), &mut names, |name| {
        fds.extend(files::id(name));
        !stop.load(Ordering::Relaxed)
    });
    listed.map_err(denied)?;
    if stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let mut sorted = Sorted::of(fds.len() as u64, false);
    let began = now();
    let mut told = began;
    for (done, fd) in fds.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        if let Ok(link) = files.link(&[pid.bytes(), b"/fd/", Decimal::new(*fd).bytes()], &mut text) {
            sort_link(&mut sorted, link);
        }
        let at = now();
        if at.0.saturating_sub(told.0) >= WORD_NS {
            told = at;
            let for_ns = at.0.saturating_sub(began.0);
            tell(DeepState::Reading { done: done as u64, total: fds.len() as u64, for_ns });
        }
    }
    Ok(Some(DeepState::Files(sorted.finish(PATHS_MAX, |path| String::from_utf8_lossy(path).as_ref().into()))))
}

/// The sizes of a `smaps_rollup`, bytes; its first line is an address range.
fn parse_rollup(text: &[u8]) -> Counters {
    let sizes = status::pairs(text).filter_map(|(key, value)| {
        let bytes = status::kib(value)?;
        Some((String::from_utf8_lossy(key).into_owned(), bytes))
    });
    Counters::from_pairs(sizes.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_key() -> TaskKey {
        let text = std::fs::read("/proc/self/stat").unwrap();
        TaskKey { pid: std::process::id(), start_ticks: stat::parse(&text).unwrap().start }
    }

    fn reader() -> DeepReader {
        let roots = Roots::default();
        DeepReader::new(&roots, Readers::start(&roots.proc).ok())
    }

    #[test]
    fn reads_own_memory_and_every_descriptor() {
        let mut reader = reader();
        let go = AtomicBool::new(false);
        let Some(DeepState::Files(files)) = reader.read(own_key(), DeepKind::Files, &go, &mut |_| {}) else {
            panic!("no files");
        };
        assert!(files.total >= 3 && !files.cut, "{files:?}");
        // Another test's thread may stand in D for a moment.
        for _ in 0..200 {
            match reader.read(own_key(), DeepKind::Memory, &go, &mut |_| {}) {
                Some(DeepState::Memory(sizes)) => {
                    assert!(sizes.get("Pss").is_some_and(|n| n > 0) && sizes.get("Rss") >= sizes.get("Pss"));
                    return;
                }
                Some(DeepState::Failed(why)) if why.contains("in D") => std::thread::sleep(Duration::from_millis(50)),
                other => panic!("{other:?}"),
            }
        }
        panic!("always a thread in D");
    }

    #[test]
    fn a_read_that_is_given_up_brings_nothing_and_another_process_is_not_read() {
        let mut reader = reader();
        assert_eq!(reader.read(own_key(), DeepKind::Files, &AtomicBool::new(true), &mut |_| {}), None);
        let other = TaskKey { start_ticks: 1, ..own_key() };
        let read = reader.read(other, DeepKind::Memory, &AtomicBool::new(false), &mut |_| {});
        assert_eq!(read, Some(DeepState::Failed("it has ended".into())));
    }

    #[test]
    fn sizes_of_a_rollup() {
        let text = b"55d0c8000000-7ffd5b1fe000 ---p 00000000 00:00 0                          [rollup]\n\
            Rss:                1684 kB\nPss:                 310 kB\nPss_Dirty:           120 kB\nTHPeligible:    0\n";
        let sizes = parse_rollup(text);
        assert_eq!((sizes.get("Rss"), sizes.get("Pss")), (Some(1684 * 1024), Some(310 * 1024)));
        assert_eq!(sizes.get("THPeligible"), None);
    }
}
