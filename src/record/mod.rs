//! The file format of recordings: writer, reader, seek, and what is saved from a damaged file.

#[cfg(test)]
mod anything;
mod check;
mod cursor;
mod delta;
mod file;
mod frame;
mod gather;
mod index;
mod keeper;
mod link;
mod log;
mod note;
mod parts;
mod reader;
mod rewrite;
mod ring;
mod sample;
mod save;
mod shape;
mod shred;
mod source;
mod tape;
mod wire;
mod writer;

pub use check::Check;
pub use cursor::Cursor;
pub use frame::{Frame, FrameKind};
pub use link::{Helper, Link, serve};
pub use log::Log;
pub use note::{FindingNote, Header, Lost, Mark, Note};
pub use reader::{Checkpoint, Gap, Reader};
pub use ring::Ring;
pub use save::{Keep, Save};
pub use wire::{Bounds, Destination, Report};
pub use writer::{KEY_SPAN_NS, Sink, Writer};

/// Why something can't be recorded or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The bytes are not what was written.
    #[error("damaged: {0}")]
    Damaged(&'static str),
    /// A delta whose keyframe could not be read.
    #[error("its keyframe is missing")]
    NoKeyframe,
    /// A file without a byte.
    #[error("is empty")]
    Empty,
    /// A file without a sound frame.
    #[error("is no recording of whytop")]
    NotARecording,
    /// A directory, a device, a pipe.
    #[error("is no regular file")]
    NotAFile,
    /// Another recorder has the file locked: its process, 0 when unknown.
    #[error("another process{} records to it", pid_words(*.0))]
    Busy(u32),
    /// A later version wrote it.
    #[error("written by a newer version of whytop")]
    Newer,
    /// A value that has no shape: a fault of this program, found by its tests.
    #[error("`{0}` can't be recorded")]
    Shape(&'static str),
    /// A value that this version's types can't hold.
    #[error("{0}")]
    Value(String),
    /// From the file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

fn pid_words(pid: u32) -> String {
    if pid == 0 { String::new() } else { format!(" ({pid})") }
}

impl serde::ser::Error for RecordError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Value(message.to_string())
    }
}

impl serde::de::Error for RecordError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Value(message.to_string())
    }
}

#[cfg(test)]
mod tests;
