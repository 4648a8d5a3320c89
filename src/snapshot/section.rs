//! Unknown is a value: a part of a snapshot is read, stale, denied or absent, and says why.

use super::{Moment, Text};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One part of a snapshot, with its own sample time. Rates use `at`, never the snapshot's time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Section<T> {
    /// Read in this sample, or unchanged since its lane last ran (`at` then lies back).
    Ok {
        /// When the kernel was read.
        at: Moment,
        /// What it said.
        data: Arc<T>,
    },
    /// The lane is late: the last data, and why it is old.
    Stale {
        /// When the kernel was last read.
        at: Moment,
        /// What it said then.
        data: Arc<T>,
        /// Why nothing newer is here.
        why: Text,
    },
    /// The kernel refused.
    Denied {
        /// What would show it.
        need: Need,
    },
    /// This kernel has no such thing, or it has not been read yet.
    Absent {
        /// Why.
        why: Text,
    },
}

/// What a denied read needs, in words an operator can act on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Need {
    /// The file or message that was refused, for example `/dev/kmsg`.
    pub what: Text,
    /// The capability or sysctl that would help, for example `CAP_SYSLOG or kernel.dmesg_restrict=0`.
    pub fix: Text,
}

/// A part of an otherwise good section that could not be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Gap {
    /// What is missing, for example `owners of other users' sockets`.
    pub what: Text,
    /// What would show it.
    pub fix: Text,
}

impl<T> Default for Section<T> {
    fn default() -> Self {
        Self::Absent { why: "not read yet".into() }
    }
}

impl<T> Section<T> {
    /// Freshly read data.
    pub fn ok(at: Moment, data: T) -> Self {
        Self::Ok { at, data: Arc::new(data) }
    }

    /// A refusal of `what`, with what would help.
    pub fn denied(what: impl Into<Text>, fix: impl Into<Text>) -> Self {
        Self::Denied { need: Need { what: what.into(), fix: fix.into() } }
    }

    /// Something this host does not have.
    pub fn absent(why: impl Into<Text>) -> Self {
        Self::Absent { why: why.into() }
    }

    /// The data, fresh or stale.
    #[must_use]
    pub fn data(&self) -> Option<&T> {
        match self {
            Self::Ok { data, .. } | Self::Stale { data, .. } => Some(data),
            Self::Denied { .. } | Self::Absent { .. } => None,
        }
    }

    /// The data's shared handle, fresh or stale.
    #[must_use]
    pub fn shared(&self) -> Option<&Arc<T>> {
        match self {
            Self::Ok { data, .. } | Self::Stale { data, .. } => Some(data),
            Self::Denied { .. } | Self::Absent { .. } => None,
        }
    }

    /// When the kernel was read, for data fresh or stale.
    #[must_use]
    pub fn at(&self) -> Option<Moment> {
        match self {
            Self::Ok { at, .. } | Self::Stale { at, .. } => Some(*at),
            Self::Denied { .. } | Self::Absent { .. } => None,
        }
    }

    /// `ok`, `stale`, `denied` or `absent`: the words of the JSON contract.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ok { .. } => "ok",
            Self::Stale { .. } => "stale",
            Self::Denied { .. } => "denied",
            Self::Absent { .. } => "absent",
        }
    }

    /// This section as it looks when its lane did not answer in time.
    #[must_use]
    pub fn grown_stale(self, why: impl Into<Text>) -> Self {
        match self {
            Self::Ok { at, data } | Self::Stale { at, data, .. } => Self::Stale { at, data, why: why.into() },
            other => other,
        }
    }
}
