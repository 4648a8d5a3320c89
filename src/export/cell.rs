//! One value of a table.

use crate::snapshot::{NetnsId, Text};
use std::borrow::Cow;
use std::net::IpAddr;

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// 64-bit signed integer; kernel counters above its range are held at its end.
    Int,
    /// Double.
    Float,
    /// Boolean.
    Bool,
    /// Point in time, UTC, microseconds.
    Time,
}

/// One value; [`Cell::None`] where the kernel does not tell or has no such thing.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Not known.
    None,
    /// Text.
    Text(Cow<'a, str>),
    /// Integer.
    Int(i64),
    /// Number.
    Float(f64),
    /// Truth.
    Bool(bool),
    /// Nanoseconds since 1970-01-01 UTC.
    Time(i64),
}

impl Cell<'_> {
    /// Its type; `None` for an unknown value, which fits every column.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::None => return None,
            Self::Text(_) => Kind::Text,
            Self::Int(_) => Kind::Int,
            Self::Float(_) => Kind::Float,
            Self::Bool(_) => Kind::Bool,
            Self::Time(_) => Kind::Time,
        })
    }
}

impl From<u64> for Cell<'_> {
    fn from(n: u64) -> Self {
        Self::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Cell<'_> {
    fn from(n: u32) -> Self {
        Self::Int(n.into())
    }
}

impl From<u16> for Cell<'_> {
    fn from(n: u16) -> Self {
        Self::Int(n.into())
    }
}

impl From<i64> for Cell<'_> {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl From<f64> for Cell<'_> {
    fn from(n: f64) -> Self {
        Self::Float(n)
    }
}

impl From<bool> for Cell<'_> {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<&'a Text> for Cell<'a> {
    fn from(text: &'a Text) -> Self {
        Self::Text((&**text).into())
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<IpAddr> for Cell<'_> {
    fn from(addr: IpAddr) -> Self {
        Self::Text(addr.to_string().into())
    }
}

impl From<NetnsId> for Cell<'_> {
    fn from(id: NetnsId) -> Self {
        id.0.into()
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell<'_> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}
