//! Files that are written once and whole, by the writing process: the ring, pictures of the screen.

use super::wire::Report;
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Names that are tried where one is taken.
const NAMES: u32 = 100;

/// What is to be written, and where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Save {
    /// The directory; made when it is not there, for its owner only.
    pub dir: PathBuf,
    /// The name before the extension. Where it is taken, a number follows it: no file is written over.
    pub stem: String,
    /// Extension and content of each file.
    pub parts: Vec<(String, Vec<u8>)>,
    /// What stays of the files that were saved so before.
    pub keep: Option<Keep>,
}

/// How much stays of the files whose names begin and end alike; the oldest by name go first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// How their names begin.
    pub begins: String,
    /// How their names end.
    pub ends: String,
    /// So many at most.
    pub files: usize,
    /// So many bytes at most; the newest stays in any case.
    pub bytes: u64,
}

impl Save {
    /// Writes it; what came of it.
    pub(super) fn carry_out(&self) -> Report {
        match self.write() {
            Ok((paths, bytes)) => {
                let removed = self.keep.as_ref().map_or(0, |keep| keep.carry_out(&self.dir));
                Report::Saved { paths, bytes, removed }
            }
            Err(error) => Report::NotSaved { dir: self.dir.clone(), why: error.to_string() },
        }
    }

    fn write(&self) -> io::Result<(Vec<PathBuf>, u64)> {
        make_dir(&self.dir)?;
        let paths = self.free_paths()?;
        let written = self.parts.iter().zip(&paths).try_for_each(|((_, content), path)| write(path, content));
        if let Err(error) = written {
            for path in &paths {
                let _ = std::fs::remove_file(path);
            }
            return Err(error);
        }
        File::open(&self.dir)?.sync_all()?;
        Ok((paths, self.parts.iter().map(|(_, content)| content.len() as u64).sum()))
    }

    /// Makes empty files under the first name that none of them has.
    fn free_paths(&self) -> io::Result<Vec<PathBuf>> {
        for number in 1..=NAMES {
            let stem = if number == 1 { self.stem.clone() } else { format!("{}-{number}", self.stem) };
            let mut paths: Vec<PathBuf> = Vec::new();
            let made = self.parts.iter().try_for_each(|(extension, _)| {
                let path = self.dir.join(format!("{stem}.{extension}"));
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                paths.push(path);
                Ok::<(), io::Error>(())
            });
            let Err(error) = made else { return Ok(paths) };
            for path in paths {
                let _ = std::fs::remove_file(path);
            }
            if error.kind() != ErrorKind::AlreadyExists {
                return Err(error);
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }
}

/// Makes a directory, and those above it, for their owner only. One that is there is left as it is.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

impl Keep {
    /// Removes what is too much; how many files.
    fn carry_out(&self, dir: &Path) -> usize {
        let mut left: Vec<(PathBuf, u64)> = self.files_in(dir).unwrap_or_default();
        left.sort();
        let mut removed = 0;
        while left.len() > 1 && (left.len() > self.files || left.iter().map(|(_, len)| len).sum::<u64>() > self.bytes) {
            let (path, _) = left.remove(0);
            removed += usize::from(std::fs::remove_file(path).is_ok());
        }
        removed
    }

    fn files_in(&self, dir: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_ours = name.to_str().is_some_and(|n| n.starts_with(&self.begins) && n.ends_with(&self.ends));
            // Of the entry itself: a link is nothing that was saved.
            if let Some(meta) = entry.metadata().ok().filter(|meta| is_ours && meta.is_file()) {
                found.push((entry.path(), meta.len()));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn save(dir: &Path, stem: &str, bytes: usize) -> Save {
        let keep = Keep { begins: "auto-".into(), ends: ".x".into(), files: 3, bytes: 1000 };
        Save { dir: dir.into(), stem: stem.into(), parts: vec![("x".into(), vec![7; bytes])], keep: Some(keep) }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_made_whole_private_and_never_over_others() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        let pair = Save {
            dir: below.clone(),
            stem: "s".into(),
            parts: vec![("svg".into(), b"one".to_vec()), ("txt".into(), b"two!".to_vec())],
            keep: None,
        };
        let Report::Saved { paths, bytes: 7, removed: 0 } = pair.carry_out() else { panic!() };
        assert_eq!(paths, [below.join("s.svg"), below.join("s.txt")]);
        std::fs::remove_file(below.join("s.svg")).unwrap();
        let Report::Saved { paths, .. } = pair.carry_out() else { panic!() };
        assert_eq!(paths, [below.join("s-2.svg"), below.join("s-2.txt")], "they stay together");
        assert_eq!(names(&below), ["s-2.svg", "s-2.txt", "s.txt"]);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&below), mode(&paths[0])), (0o700, 0o600));
        assert_eq!(std::fs::read(&paths[1]).unwrap(), b"two!");
    }

    #[test]
    fn the_oldest_go_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("auto-0.y"), "another's").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("auto-1.x")).unwrap();
        for (stem, bytes) in [("auto-2", 10), ("auto-3", 10), ("auto-4", 10), ("auto-5", 10)] {
            assert!(matches!(save(dir.path(), stem, bytes).carry_out(), Report::Saved { .. }));
        }
        assert_eq!(names(dir.path()), ["auto-0.y", "auto-1.x", "auto-3.x", "auto-4.x", "auto-5.x"]);
        let Report::Saved { removed: 2, .. } = save(dir.path(), "auto-6", 985).carry_out() else { panic!() };
        assert_eq!(names(dir.path()), ["auto-0.y", "auto-1.x", "auto-5.x", "auto-6.x"]);
        save(dir.path(), "auto-7", 5000).carry_out();
        assert_eq!(names(dir.path()), ["auto-0.y", "auto-1.x", "auto-7.x"], "the newest stays");
    }

    #[test]
    fn what_can_not_be_written_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let Report::NotSaved { why, .. } = save(&file, "auto-1", 1).carry_out() else { panic!() };
        assert!(why.contains("exists") || why.contains("directory"), "{why}");
        let mut two = save(dir.path(), "auto-1", 1);
        two.parts.push(("no/such".into(), vec![1]));
        assert!(matches!(two.carry_out(), Report::NotSaved { .. }));
        assert_eq!(names(dir.path()), ["file"]);
    }
}
