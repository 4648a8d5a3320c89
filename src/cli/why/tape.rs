//! `why --tape` (hidden): keeps the samples of a look, so that `--from` can be asked the same.

use crate::record::{Frame, Header, Log, RecordError, Writer};
use crate::snapshot::Snapshot;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The samples of a look, as a recorder makes them.
pub struct Tape {
    writer: Writer<Vec<Frame>>,
    header: Option<Header>,
    last_unix_ns: i64,
}

impl Tape {
    /// An empty one.
    ///
    /// # Errors
    /// No memory for the compressor.
    pub fn new() -> Result<Self, RecordError> {
        Ok(Self { writer: Writer::with_base(Vec::new())?, header: None, last_unix_ns: 0 })
    }

    /// Keeps a sample.
    ///
    /// # Errors
    /// A sample that can't be recorded.
    pub fn take(&mut self, snap: &Snapshot) -> Result<(), RecordError> {
        self.header.get_or_insert_with(|| Header::of(snap));
        self.last_unix_ns = snap.wall_unix_ns;
        self.writer.push(snap, None)
    }

    /// Writes the recording.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn save(self, path: &Path) -> Result<(), RecordError> {
        let (mut log, mut bytes) = Log::new(&self.header.unwrap_or_default())?;
        for frame in self.writer.into_sink() {
            bytes.extend(log.append(&frame)?);
        }
        bytes.extend(log.close(self.last_unix_ns)?);
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(file.write_all(&bytes)?)
    }
}
