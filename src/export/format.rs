//! Rows into a file, one format after another behind the same face.

use super::ExportError;
use super::cell::Cell;
use super::parquet::ParquetRows;
use super::table::Column;
use serde::ser::{SerializeMap, Serializer};
use std::io::Write;

/// File formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A JSON object a line
    Jsonl,
    /// Comma-separated values with a header; unknown values are empty
    Csv,
    /// Apache Parquet, compressed with zstd
    Parquet,
}

impl Format {
    /// Ending of a file's name.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

/// A table that is being written.
pub struct Rows<W: Write + Send> {
    columns: Vec<Column>,
    kind: Sink<W>,
    count: u64,
}

enum Sink<W: Write + Send> {
    Jsonl(W),
    Csv(Box<csv::Writer<W>>),
    Parquet(Box<ParquetRows<W>>),
}

impl<W: Write + Send> Rows<W> {
    /// Begins a table of these columns.
    ///
    /// # Errors
    /// When its first bytes can't be written.
    pub fn new(format: Format, columns: Vec<Column>, to: W) -> Result<Self, ExportError> {
        let kind = match format {
            Format::Jsonl => Sink::Jsonl(to),
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(to);
                csv.write_record(columns.iter().map(|c| c.name))?;
                Sink::Csv(Box::new(csv))
            }
            Format::Parquet => Sink::Parquet(Box::new(ParquetRows::new(&columns, to)?)),
        };
        Ok(Self { columns, kind, count: 0 })
    }

    /// One row: the cells of all columns, in their order.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn push<'c, 't: 'c>(&mut self, cells: impl Iterator<Item = &'c Cell<'t>>) -> Result<(), ExportError> {
        self.count += 1;
        match &mut self.kind {
            Sink::Jsonl(to) => {
                let mut json = serde_json::Serializer::new(&mut *to);
                let mut object = json.serialize_map(None)?;
                for (column, cell) in self.columns.iter().zip(cells) {
                    match cell {
                        Cell::None => object.serialize_entry(column.name, &())?,
                        Cell::Text(text) => object.serialize_entry(column.name, text)?,
                        Cell::Int(n) => object.serialize_entry(column.name, n)?,
                        Cell::Float(n) => object.serialize_entry(column.name, n)?,
                        Cell::Bool(truth) => object.serialize_entry(column.name, truth)?,
                        Cell::Time(at) => object.serialize_entry(column.name, &time(*at))?,
                    }
                }
                SerializeMap::end(object)?;
                to.write_all(b"\n")?;
            }
            Sink::Csv(csv) => {
                for cell in cells {
                    match cell {
                        Cell::None => csv.write_field("")?,
                        Cell::Text(text) => csv.write_field(&**text)?,
                        Cell::Int(n) => csv.write_field(n.to_string())?,
                        Cell::Float(n) => csv.write_field(n.to_string())?,
                        Cell::Bool(truth) => csv.write_field(if *truth { "true" } else { "false" })?,
                        Cell::Time(at) => csv.write_field(time(*at))?,
                    }
                }
                csv.write_record(None::<&[u8]>)?;
            }
            Sink::Parquet(parquet) => parquet.push(cells)?,
        }
        Ok(())
    }

    /// Writes what is left; the number of rows.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn finish(self) -> Result<u64, ExportError> {
        match self.kind {
            Sink::Jsonl(mut to) => to.flush()?,
            Sink::Csv(mut csv) => csv.flush()?,
            Sink::Parquet(parquet) => parquet.finish()?,
        }
        Ok(self.count)
    }
}

/// RFC 3339 in UTC with microseconds, as every engine reads it.
fn time(unix_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(unix_ns)).map_or_else(|_| String::new(), |at| format!("{at:.6}"))
}
