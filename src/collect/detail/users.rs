//! Names of users, from the host's `/etc/passwd`: on a disk, so a reader reads it.

use crate::collect::readers::{FileAsk, Readers};
use crate::collect::{Roots, now};
use crate::snapshot::{Moment, Text};
use rustc_hash::FxHashMap;
use std::path::Path;
use std::sync::Arc;

/// Most bytes of the file.
const BYTES_MAX: u32 = 4 << 20;
/// It is read again after so long.
const KEPT_NS: u64 = 300_000_000_000;

#[derive(Debug)]
pub(super) struct Users {
    path: Arc<Path>,
    readers: Option<Readers<FileAsk>>,
    asked: Option<Moment>,
    names: FxHashMap<u32, Text>,
}

impl Users {
    pub fn new(roots: &Roots, readers: Option<Readers<FileAsk>>) -> Self {
        let path = roots.host_root().join("etc/passwd").into();
        Self { path, readers, asked: None, names: FxHashMap::default() }
    }

    /// Asks for the file when it is due, and takes it when it has come. Never waits.
    pub fn turn(&mut self) {
        let Some(readers) = &mut self.readers else { return };
        let now = now();
        if self.asked.is_none_or(|at| now.0.saturating_sub(at.0) > KEPT_NS) {
            self.asked = Some(now);
            let file = FileAsk { place: Arc::clone(&self.path), path: Arc::clone(&self.path), max: Some(BYTES_MAX) };
            readers.ask(file, now);
        }
        let mut answers = Vec::new();
        readers.turn(now, &mut answers);
        for bytes in answers.into_iter().filter_map(|answer| answer.bytes.ok()) {
            self.names = parse(&bytes);
        }
    }

    pub fn name(&self, uid: u32) -> Option<Text> {
        self.names.get(&uid).cloned()
    }
}

/// User ids and names; the first of several names of one id.
pub(crate) fn parse(text: &[u8]) -> FxHashMap<u32, Text> {
    let mut names = FxHashMap::default();
    for line in text.split(|b| *b == b'\n') {
        let mut fields = line.split(|b| *b == b':');
        let (name, uid) = (fields.next(), fields.nth(1));
        let uid = uid.and_then(|uid| std::str::from_utf8(uid).ok()?.parse().ok());
        if let (Some(name), Some(uid)) = (name, uid) {
            names.entry(uid).or_insert_with(|| Text::from(String::from_utf8_lossy(name).as_ref()));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_an_id_counts_and_bad_lines_lose_themselves() {
        let names = parse(b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n#\n+::::::\napp:x:999:9::/:\n\xff:x:7:7");
        assert_eq!(names.get(&0).map(|n| &**n), Some("root"));
        assert_eq!(names.get(&999).map(|n| &**n), Some("app"));
        assert_eq!(names.len(), 3);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(noise: Vec<u8>) { let _ = parse(&noise); }
    }
}
