//! A recording's file while it is written: opened, locked, appended to.

use super::frame::{Frame, SYNC};
use super::{Header, Log, Reader, RecordError};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Between opening a file and locking it, another recorder may put a new one in its place; so often is tried.
const TRIES: u32 = 8;
/// What a recorder leaves that dies before its first frame is on the disk.
const STILLBORN_MAX: u64 = 64 << 10;

/// An open file at whose end a session goes on.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    log: Log,
    end: u64,
    /// Bytes that it goes on after.
    pub(super) held: u64,
    /// Bytes of a torn frame that were cut off on opening.
    pub(super) torn: u64,
}

impl LogFile {
    /// Opens or makes the file, locks it, and starts a session at its end.
    pub(super) fn open(path: &Path, header: &Header) -> Result<Self, RecordError> {
        let file = lock(path)?;
        let len = file.metadata()?.len();
        let resumed = match Reader::of(file.try_clone()?) {
            Ok(reader) => Some(Log::resume(&reader, header)?),
            Err(RecordError::Empty) => None,
            Err(RecordError::NotARecording) if is_stillborn(&file, len)? => None,
            Err(error) => return Err(error),
        };
        let (log, end, first) = if let Some(resumed) = resumed {
            resumed
        } else {
            let (log, first) = Log::new(header)?;
            (log, 0, first)
        };
        file.set_len(end)?;
        let mut opened = Self { path: path.into(), file, log, end, held: end, torn: len - end };
        opened.write(&first)?;
        opened.file.sync_all()?;
        sync_directory(path);
        Ok(opened)
    }

    /// A new file beside `path` that will take its place.
    pub(super) fn beside(path: &Path, header: &Header) -> Result<Self, RecordError> {
        let aside = aside(path);
        remove_aside(path);
        Self::open(&aside, header)
    }

    /// Puts this file in the place of `path`, whole.
    pub(super) fn take_place_of(&mut self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, path)?;
        sync_directory(path);
        self.path = path.into();
        Ok(())
    }

    /// Appends frames, all or none.
    pub(super) fn append(&mut self, frames: &[Frame]) -> Result<(), RecordError> {
        let before = self.log.clone();
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend(self.log.append(frame)?);
        }
        let written = self.write(&bytes);
        if written.is_err() {
            self.log = before;
        }
        Ok(written?)
    }

    /// Ends the session.
    pub(super) fn close(&mut self, wall_unix_ns: i64) -> Result<(), RecordError> {
        let bytes = self.log.close(wall_unix_ns)?;
        self.write(&bytes)?;
        Ok(self.file.sync_all()?)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(bytes, self.end) {
            // What was written of it would be a torn frame in the middle once more follows.
            let _ = self.file.set_len(self.end);
            return Err(error);
        }
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Waits until all is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Whether the path still leads to this file.
    pub(super) fn is_in_place(&self) -> bool {
        is_at(&self.path, &self.file)
    }

    /// Bytes.
    pub(super) fn len(&self) -> u64 {
        self.end
    }

    /// What has been written, for reading.
    pub(super) fn reader(&self) -> Result<Reader, RecordError> {
        Reader::of(self.file.try_clone()?)
    }
}

/// The name of the file that is made to take the place of `path`.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".rewriting");
    path.with_file_name(name)
}

/// Removes what an earlier recorder may have left of [`aside`].
pub(super) fn remove_aside(path: &Path) {
    let _ = std::fs::remove_file(aside(path));
}

fn lock(path: &Path) -> Result<File, RecordError> {
    for _ in 0..TRIES {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(RecordError::NotAFile);
        }
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_at(path, &file) => return Ok(file),
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(RecordError::Busy(Reader::of(file).map_or(0, |r| r.recorder_pid()))),
            Err(error) => return Err(RecordError::Io(error.into())),
        }
    }
    Err(RecordError::Busy(0))
}

fn is_at(path: &Path, file: &File) -> bool {
    let id = |meta: Metadata| (meta.dev(), meta.ino());
    let (there, here) = (std::fs::metadata(path).map(id), file.metadata().map(id));
    there.is_ok_and(|there| here.is_ok_and(|here| here == there))
}

/// Whether all there is are the first bytes of a recording, or zeros that a crash left for them.
fn is_stillborn(file: &File, len: u64) -> io::Result<bool> {
    if len > STILLBORN_MAX {
        return Ok(false);
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.starts_with(&SYNC) || bytes.iter().all(|b| *b == 0))
}

/// Makes a new or renamed file's name last.
fn sync_directory(path: &Path) {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _ = File::open(dir).and_then(|dir| dir.sync_all());
}
