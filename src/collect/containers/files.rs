//! Runtimes' files: read by readers, kept for a moment, and asked for as a look-up comes upon them.

use crate::collect::readers::{Answer, FileAsk, Readers, read_here};
use crate::snapshot::Moment;
use rustc_hash::FxHashMap;
use rustix::fs::CWD;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// Files that are not of one container stay good this long.
const FRESH_SECS: f64 = 10.0;

/// What has been read, and what is on its way.
#[derive(Debug)]
pub struct Files {
    /// Without them files are read here and now.
    readers: Option<Readers<FileAsk>>,
    seen: FxHashMap<Arc<Path>, Seen>,
    answers: Vec<Answer<FileAsk>>,
}

#[derive(Debug)]
struct Seen {
    at: Moment,
    /// `None`: it has not come yet.
    bytes: Option<Result<Arc<[u8]>, Errno>>,
}

impl Files {
    /// Reads through `readers`.
    pub fn new(readers: Option<Readers<FileAsk>>) -> Self {
        Self { readers, seen: FxHashMap::default(), answers: Vec::new() }
    }

    /// Takes the answers that are there, and sends what was asked for. `true`: something has come.
    pub fn turn(&mut self, at: Moment) -> bool {
        if let Some(readers) = &mut self.readers {
            readers.turn(at, &mut self.answers);
        }
        let came = !self.answers.is_empty();
        for Answer { ask, bytes } in self.answers.drain(..) {
            if let Some(seen) = self.seen.get_mut(&ask.path) {
                *seen = Seen { at, bytes: Some(bytes.map(Arc::from)) };
            }
        }
        came
    }

    /// Forgets what has become old.
    pub fn sweep(&mut self, at: Moment) {
        self.seen.retain(|_, seen| seen.bytes.is_none() || at.since(seen.at) < FRESH_SECS);
    }

    /// Readers that can still answer; `None` where none are used.
    pub fn alive(&self) -> Option<usize> {
        self.readers.as_ref().map(Readers::alive)
    }

    /// Whether some place got a reader stuck.
    pub fn hang(&self, at: Moment) -> bool {
        self.readers.as_ref().is_some_and(|readers| readers.leaves_alone(at))
    }

    fn ask(&mut self, ask: FileAsk, at: Moment) {
        let seen = Seen { at, bytes: None };
        self.seen.insert(Arc::clone(&ask.path), seen);
        let bytes = match &mut self.readers {
            None => read_here(CWD, &ask),
            Some(readers) => {
                if readers.ask(ask.clone(), at) {
                    return;
                }
                Err(Errno::AGAIN)
            }
        };
        self.answers.push(Answer { ask, bytes });
    }
}

/// One run of one look-up: it goes through all that it needs, and is run again while something is pending.
#[derive(Debug)]
pub struct Look<'a> {
    files: &'a mut Files,
    at: Moment,
    /// Whether something was not there yet: what this run finds may not be the best.
    pub pending: bool,
    /// Whether a file was there that we may not read.
    pub denied: bool,
}

impl<'a> Look<'a> {
    /// A run at `at`.
    pub fn new(files: &'a mut Files, at: Moment) -> Self {
        Self { files, at, pending: false, denied: false }
    }

    /// A regular file of at most `max` bytes, in or below `place`; `None` also while it is on its way.
    pub fn file(&mut self, place: &Path, file: &Path, max: u32) -> Option<Arc<[u8]>> {
        self.get(place, file, Some(max))
    }

    /// The names in `dir`, as many as make 4 kB.
    pub fn names(&mut self, dir: &Path) -> Vec<OsString> {
        let bytes = self.get(dir, dir, None).unwrap_or_default();
        bytes.split(|b| *b == 0).filter(|name| !name.is_empty()).map(|name| OsStr::from_bytes(name).into()).collect()
    }

    fn get(&mut self, place: &Path, path: &Path, max: Option<u32>) -> Option<Arc<[u8]>> {
        let Some(seen) = self.files.seen.get(path) else {
            self.files.ask(FileAsk { place: place.into(), path: path.into(), max }, self.at);
            self.pending = true;
            return None;
        };
        match &seen.bytes {
            None => self.pending = true,
            Some(Ok(bytes)) => return Some(Arc::clone(bytes)),
            Some(Err(error)) => self.denied |= matches!(*error, Errno::ACCESS | Errno::PERM),
        }
        None
    }
}
