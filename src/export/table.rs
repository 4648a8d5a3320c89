//! What a table is: columns with types and words, and how a snapshot fills them.

use super::cell::{Cell, Kind};
use crate::snapshot::{Moment, Snapshot};

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name: the kernel's word and the unit.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it holds.
    pub doc: &'static str,
}

/// Gives the rows of a snapshot, one after another.
pub type Fill = for<'a> fn(&'a Snapshot, &mut dyn FnMut(&[Cell<'a>]));

/// One table over snapshots.
#[derive(Clone, Copy)]
pub struct Table {
    /// Its name: that of `--section` and of its file.
    pub name: &'static str,
    /// What a row is.
    pub doc: &'static str,
    /// Its own columns, after those of [`with_origin`].
    pub columns: &'static [Column],
    /// When its part of a snapshot was read; `None` where it was not.
    pub at: fn(&Snapshot) -> Option<Moment>,
    /// Gives each row's own cells.
    pub fill: Fill,
}

/// The columns that every row of every table begins with.
const ORIGIN: [Column; 3] = [
    Column { name: "host", kind: Kind::Text, doc: "host name" },
    Column { name: "boot_id", kind: Kind::Text, doc: "boot of that host: counters begin anew with each" },
    Column { name: "time", kind: Kind::Time, doc: "when the kernel was read" },
];

/// All columns of a table: host, boot and time, then its own.
#[must_use]
pub fn with_origin(own: &[Column]) -> Vec<Column> {
    ORIGIN.into_iter().chain(own.iter().copied()).collect()
}

/// What every row begins with.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Host name.
    pub host: String,
    /// Boot id.
    pub boot_id: String,
}

impl Origin {
    /// The host of a snapshot; that of the one before where this one can't tell.
    pub fn learn(&mut self, snap: &Snapshot) {
        if let Some(host) = snap.host.data() {
            (*host.name).clone_into(&mut self.host);
            (*host.boot_id).clone_into(&mut self.boot_id);
        }
    }

    /// The first cells of a row that was seen then.
    #[must_use]
    pub fn cells(&self, wall_unix_ns: i64) -> [Cell<'_>; 3] {
        [self.host.as_str().into(), self.boot_id.as_str().into(), Cell::Time(wall_unix_ns)]
    }
}

/// A table as a list of columns: name, type, value, words.
macro_rules! table {
    ($name:literal, $doc:literal, $section:ident, |$snap:ident, $data:ident| $rows:expr, |$row:pat_param| {
        $($column:ident: $kind:ident = $value:expr, $words:literal;)+
    }) => {
        /// The table of this file.
        pub const TABLE: $crate::export::Table = $crate::export::Table {
            name: $name,
            doc: $doc,
            columns: &[$($crate::export::Column {
                name: stringify!($column),
                kind: $crate::export::Kind::$kind,
                doc: $words,
            }),+],
            at: |snap| snap.$section.at(),
            fill: |$snap, give| {
                let Some($data) = $snap.$section.data() else { return };
                for $row in $rows {
                    give(&[$($crate::export::Cell::from($value)),+]);
                }
            },
        };
    };
}
pub(super) use table;
