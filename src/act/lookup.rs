//! Reads that may hang: command lines, kernel stacks, files on disks. Readers do them, and a plan waits for none longer
//! than it can explain.

use crate::collect::readers::{Answer, Ask, FileAsk, Kind, Readers, Request};
use crate::collect::{io, now};
use crate::snapshot::{TaskKey, Text};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A plan waits so long for a read, ns.
const PATIENCE_NS: u64 = 400_000_000;
/// Between two looks at whether an answer has come.
const TURN: Duration = Duration::from_micros(200);

/// The readers of act. Without them it reads by itself, and may hang: for tests, and where none could be forked.
#[derive(Debug, Default)]
pub struct Lookup {
    /// For command lines and kernel stacks.
    pub tasks: Option<Readers<Ask>>,
    /// For files.
    pub files: Option<Readers<FileAsk>>,
}

impl Lookup {
    /// The command line, arguments joined by a space; `None` when it is empty or does not come.
    pub fn cmdline(&mut self, key: TaskKey) -> Option<Text> {
        let TaskKey { pid, start_ticks } = key;
        let ask = Ask { kind: Kind::Cmdline, pid, tid: pid, start_ticks };
        let bytes = match &mut self.tasks {
            Some(readers) => ask_all(readers, vec![ask]).pop()?.bytes.ok()?,
            None => read(&PathBuf::from(format!("/proc/{pid}/cmdline"))).ok()?,
        };
        let joined = bytes.split(|b| *b == 0).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
        let text = joined.trim_end();
        (!text.is_empty()).then(|| text.into())
    }

    /// Kernel stacks of threads, as bytes of their files; those that were read.
    pub fn stacks(&mut self, key: TaskKey, tids: &[u32]) -> Vec<(u32, Vec<u8>)> {
        let TaskKey { pid, start_ticks } = key;
        let Some(readers) = &mut self.tasks else {
            let file = |tid: &u32| PathBuf::from(format!("/proc/{pid}/task/{tid}/stack"));
            return tids.iter().filter_map(|tid| Some((*tid, read(&file(tid)).ok()?))).collect();
        };
        let asks = tids.iter().map(|tid| Ask { kind: Kind::Stack, pid, tid: *tid, start_ticks }).collect();
        ask_all(readers, asks).into_iter().filter_map(|answer| Some((answer.ask.tid, answer.bytes.ok()?))).collect()
    }

    /// A regular file of at most `max` bytes.
    pub fn file(&mut self, path: &Path, max: u32) -> Result<Vec<u8>, Errno> {
        let Some(readers) = &mut self.files else { return read(path) };
        let ask = FileAsk { place: path.into(), path: path.into(), max: Some(max) };
        ask_all(readers, vec![ask]).pop().map_or(Err(Errno::TIMEDOUT), |answer| answer.bytes)
    }

    /// The names in a directory.
    pub fn names(&mut self, path: &Path) -> Result<Vec<Vec<u8>>, Errno> {
        let Some(readers) = &mut self.files else {
            let entries = std::fs::read_dir(path).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
            return Ok(entries.flatten().map(|entry| entry.file_name().into_encoded_bytes()).collect());
        };
        let ask = FileAsk { place: path.into(), path: path.into(), max: None };
        let names = ask_all(readers, vec![ask]).pop().map_or(Err(Errno::TIMEDOUT), |answer| answer.bytes)?;
        Ok(names.split(|b| *b == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    io::read_path(path, &mut bytes).map(|()| bytes)
}

/// Asks, and waits for the answers that come in time. An answer to an earlier question is passed over.
fn ask_all<R: Request + PartialEq>(readers: &mut Readers<R>, asks: Vec<R>) -> Vec<Answer<R>> {
    let began = now();
    let mut open: Vec<R> = asks.into_iter().filter(|ask| readers.ask(ask.clone(), began)).collect();
    let (mut came, mut answers) = (Vec::new(), Vec::new());
    while !open.is_empty() && now().0.saturating_sub(began.0) < PATIENCE_NS {
        readers.turn(now(), &mut answers);
        for answer in answers.drain(..) {
            if let Some(at) = open.iter().position(|ask| *ask == answer.ask) {
                open.swap_remove(at);
                came.push(answer);
            }
        }
        if !open.is_empty() {
            std::thread::sleep(TURN);
        }
    }
    came
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::readers::Readers;

    #[test]
    fn readers_answer_as_a_read_here_does() {
        let mut here = Lookup::default();
        let proc = Path::new("/proc");
        let mut there = Lookup { tasks: Readers::start(proc).ok(), files: Readers::start(proc).ok() };
        let key = TaskKey { pid: std::process::id(), start_ticks: 0 };
        assert!(here.cmdline(key).is_some());
        assert_eq!(there.cmdline(key), here.cmdline(key));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "x=1").unwrap();
        for lookup in [&mut here, &mut there] {
            assert_eq!(lookup.file(file.path(), 100).as_deref(), Ok(&b"x=1"[..]));
            assert_eq!(lookup.file(Path::new("/nowhere/at/all"), 100), Err(Errno::NOENT));
            assert!(lookup.names(Path::new("/proc/self")).unwrap().contains(&b"stat".to_vec()));
        }
    }
}
