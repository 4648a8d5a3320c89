//! Recordings as tidy tables for other engines: one row an observation, host and time in every row.
//!
//! ```text
//! Snapshot ─▶ tables (one file each) ─▶ rows of cells ─▶ jsonl | csv | Parquet
//! ```

mod cell;
mod derived;
mod format;
mod parquet;
mod table;
mod tables;

pub use cell::{Cell, Kind};
pub use derived::{ACTIONS, DERIVED, Derived, FINDINGS, MARKS, entry, finding};
pub use format::{Format, Rows};
pub use table::{Column, Origin, Table, with_origin};
pub use tables::TABLES;

/// Why a table can't be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// From the file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// From the CSV writer.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// From the JSON writer.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// From the Parquet writer.
    #[error(transparent)]
    Parquet(#[from] ::parquet::errors::ParquetError),
}
