//! One line of the kernel's, freed from whatever it was wrapped in.

use crate::snapshot::Moment;

/// A line the kernel printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// What the kernel printed, without leading blanks.
    pub text: &'a str,
    /// Line of the file (1-based), or sequence number of the record.
    pub no: u64,
    /// Time since boot, where the wrapping says it.
    pub at: Option<Moment>,
    /// A clock to measure silence with: since boot, or the wall's.
    pub clock: Option<Clock>,
    /// Who printed it, where the kernel says it.
    pub caller: Option<Caller>,
    /// The wall-clock stamp as written; empty when there is none.
    pub stamp: &'a str,
    /// How often the line came: syslog daemons fold repeated ones.
    pub repeat: u64,
}

/// A clock of the log, milliseconds. Only differences between readings of one kind mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// Since boot.
    Boot(i64),
    /// Of the wall, in an unknown zone, in the year 0 where the log has none.
    Wall(i64),
}

impl Clock {
    /// Milliseconds from `earlier` to this; `None` when the two are of different kinds.
    pub fn since(self, earlier: Self) -> Option<i64> {
        match (self, earlier) {
            (Self::Boot(now), Self::Boot(then)) | (Self::Wall(now), Self::Wall(then)) => Some(now.saturating_sub(then)),
            _ => None,
        }
    }
}

/// `[T123]` or `[C0]` of `CONFIG_PRINTK_CALLER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A task, by thread id.
    Task(u32),
    /// A CPU, in interrupt context.
    Cpu(u32),
}

impl Caller {
    /// Reads `T123` or `C0`.
    pub fn parse(word: &[u8]) -> Option<Self> {
        let (kind, digits) = word.split_first()?;
        let n = std::str::from_utf8(digits).ok()?.parse().ok()?;
        match kind {
            b'T' => Some(Self::Task(n)),
            b'C' => Some(Self::Cpu(n)),
            _ => None,
        }
    }

    /// Whether two lines may be of one report: callers that are known must be equal.
    pub fn may_be(a: Option<Self>, b: Option<Self>) -> bool {
        a.is_none() || b.is_none() || a == b
    }
}

impl Line<'_> {
    /// Whether more than `ms` of the log's own time passed since `earlier`; unknown clocks say no.
    pub fn is_later_than(&self, earlier: Option<Clock>, ms: i64) -> bool {
        match (self.clock, earlier) {
            (Some(now), Some(then)) => now.since(then).is_some_and(|gap| gap > ms),
            _ => false,
        }
    }
}
