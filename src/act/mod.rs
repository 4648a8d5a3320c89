//! The only code that changes the system.
//!
//! ```text
//! selection ──▶ Pin (pidfd, start time) ─┐
//! Action ────────────────────────────────┴▶ propose ─▶ Facts ─▶ plan (pure) ─▶ Prepared{Proposal}
//!                                                                                 │ shown, consented to
//!                      ActionRecord ◀── finish ◀── look ◀── Running ◀── carry_out ┘
//!                      (audit line)              (outcomes)        (sends)
//! ```
//!
//! Nothing is sent but by [`Act::carry_out`], and that only to what was pinned and planned. KILL is never sent unasked.

mod audit;
mod census;
mod cgroup;
mod facts;
mod fate;
mod freezer;
mod guard;
mod lookup;
mod pin;
mod plan;
mod prepare;
mod read;
mod running;
mod sockets;
mod supervise;
mod sys;
#[cfg(test)]
mod tests;
mod tree;
mod wait;
mod watch;

pub use audit::AuditConfig;
pub use lookup::Lookup;
pub use pin::{Identity, Pin, PinError, SendError};
pub use prepare::Prepared;
pub use running::{Consent, Running};

use crate::collect::Roots;
use crate::snapshot::{CgroupKey, NetnsId, TaskKey};
use census::Census;
use read::Reader;
use rustix::io::Errno;

/// How this whytop may act.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Nothing may be done.
    pub read_only: bool,
    /// `tui` or `kill`: for the record.
    pub by: &'static str,
    /// How processes are told apart.
    pub identity: Identity,
    /// Where each attempt is written to.
    pub audit: AuditConfig,
}

/// The hand of whytop. It reads, waits and sends: never on the thread that draws.
#[derive(Debug)]
pub struct Act {
    roots: Roots,
    options: Options,
    reader: Reader,
}

impl Act {
    /// A hand on the system that `roots` shows. What may hang is read by the readers of `lookup`.
    ///
    /// # Errors
    /// When `/proc` can't be opened.
    pub fn new(roots: &Roots, lookup: Lookup, options: Options) -> Result<Self, Errno> {
        Ok(Self { roots: roots.clone(), options, reader: Reader::new(roots, lookup)? })
    }

    /// Holds the process that was selected, so that whatever is sent later reaches it or nobody.
    ///
    /// # Errors
    /// When it is not there any more.
    pub fn pin(&self, key: TaskKey) -> Result<Pin, PinError> {
        Pin::take(self.reader.proc(), key, self.options.identity)
    }

    /// Holds whichever process has this pid now.
    ///
    /// # Errors
    /// When there is none, or the number is a thread's.
    pub fn pin_pid(&self, pid: u32) -> Result<Pin, PinError> {
        Pin::of_pid(self.reader.proc(), pid, self.options.identity)
    }

    /// The cgroup that a person named by its path in a hierarchy, or by its directory.
    #[must_use]
    pub fn cgroup_key(&self, named: &str) -> Option<CgroupKey> {
        cgroup::key_of(self.reader.trees(), named)
    }

    /// The network namespace of a process.
    #[must_use]
    pub fn netns_of(&mut self, pid: u32) -> Option<NetnsId> {
        self.reader.netns(pid).map(NetnsId)
    }

    fn census(&self) -> Census {
        Census::take(&self.roots.proc).unwrap_or_default()
    }
}
