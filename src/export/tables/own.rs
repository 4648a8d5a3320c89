//! What looking cost.
use crate::snapshot::Snapshot;
use crate::export::{Cell, Column, Kind, Table};

/// The table of this file; it has no section of its own: it comes with every sample.
pub const TABLE: Table = Table {
    name: "own",
    doc: "what looking cost, one row a sample",
    columns: &[
        Column { name: "cpu_ns", kind: Kind::Int, doc: "CPU time of whytop so far" },
        Column { name: "rss_bytes", kind: Kind::Int, doc: "its resident memory" },
        Column { name: "interval_ns", kind: Kind::Int, doc: "time from one sample to the next" },
    ],
    at: |snap: &Snapshot| Some(snap.at),
    fill: |snap, give| give(&[Cell::from(snap.own.cpu_ns), snap.own.rss_bytes.into(), snap.own.interval_ns.into()]),
};
