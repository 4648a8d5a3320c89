//! A kernel file that is read in every pass: its descriptor stays open, so that a full descriptor table cannot blind us.

use crate::snapshot::Section;
use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::path::PathBuf;

/// A file read from its beginning again and again.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    fd: Option<OwnedFd>,
}

impl Kept {
    /// The file at `path`; it is opened when it is first read.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, fd: None }
    }

    /// Reads the whole file into `buf`, which is emptied first and keeps its capacity.
    ///
    /// # Errors
    /// As `open(2)` and `pread(2)`; the file is then opened anew in the next pass.
    pub fn read(&mut self, buf: &mut Vec<u8>) -> Result<(), Errno> {
        let fd = match self.fd.take() {
            Some(fd) => fd,
            None => rustix::fs::open(&self.path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?,
        };
        read_from_start(&fd, buf)?;
        self.fd = Some(fd);
        Ok(())
    }
}

/// The section of a file that could not be read: denied where `need` would help, else absent.
#[must_use]
pub fn unread<T>(what: &str, need: &str, error: Errno) -> Section<T> {
    match error {
        Errno::ACCESS | Errno::PERM => Section::denied(what, need),
        Errno::NOENT => Section::absent(format!("no {what}")),
        other => Section::absent(format!("{what} cannot be read: {other}")),
    }
}

fn read_from_start(fd: &OwnedFd, buf: &mut Vec<u8>) -> Result<(), Errno> {
    buf.clear();
    buf.reserve(4096);
    loop {
        if buf.capacity() - buf.len() < 1024 {
            buf.reserve(buf.capacity());
        }
        let offset = u64::try_from(buf.len()).map_err(|_| Errno::FBIG)?;
        match rustix::io::pread(fd, spare_capacity(buf), offset) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_changed_file_is_read_anew_from_its_start() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut kept = Kept::new(file.path().to_owned());
        let mut buf = Vec::new();
        file.write_all(&[b'x'; 10_000]).unwrap();
        kept.read(&mut buf).unwrap();
        assert_eq!(buf.len(), 10_000);
        file.write_all(b"more").unwrap();
        kept.read(&mut buf).unwrap();
        assert!(buf.ends_with(b"xmore"));
    }

    #[test]
    fn a_missing_file_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("late");
        let mut kept = Kept::new(path.clone());
        let mut buf = Vec::new();
        assert_eq!(kept.read(&mut buf), Err(Errno::NOENT));
        std::fs::write(path, b"1").unwrap();
        assert_eq!(kept.read(&mut buf), Ok(()));
        assert_eq!(buf, b"1");
    }
}
