//! Rows into a Parquet file, a group of them at a time.

use super::ExportError;
use super::cell::{Cell, Kind};
use super::table::Column;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use std::io::Write;
use std::sync::Arc;

/// Rows of a group: what is held in memory at a time.
const GROUP_ROWS: usize = 64 * 1024;

/// The values of one column in the group that is being filled. `defined[i]` is 1 where row `i` has a value.
struct Held {
    values: Values,
    defined: Vec<i16>,
}

enum Values {
    Text(Vec<ByteArray>),
    Int(Vec<i64>),
    Float(Vec<f64>),
    Bool(Vec<bool>),
}

impl Held {
    fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Text => Values::Text(Vec::new()),
            Kind::Int | Kind::Time => Values::Int(Vec::new()),
            Kind::Float => Values::Float(Vec::new()),
            Kind::Bool => Values::Bool(Vec::new()),
        };
        Self { values, defined: Vec::new() }
    }

    /// A cell of another type than the column's counts as unknown.
    fn push(&mut self, cell: &Cell<'_>) {
        let known = match (&mut self.values, cell) {
            (Values::Text(held), Cell::Text(text)) => {
                held.push(ByteArray::from(text.as_bytes().to_vec()));
                true
            }
            (Values::Int(held), Cell::Int(n)) => {
                held.push(*n);
                true
            }
            (Values::Int(held), Cell::Time(ns)) => {
                held.push(ns.div_euclid(1000));
                true
            }
            (Values::Float(held), Cell::Float(n)) => {
                held.push(*n);
                true
            }
            (Values::Bool(held), Cell::Bool(truth)) => {
                held.push(*truth);
                true
            }
            _ => false,
        };
        self.defined.push(i16::from(known));
    }

    fn clear(&mut self) {
        self.defined.clear();
        match &mut self.values {
            Values::Text(held) => held.clear(),
            Values::Int(held) => held.clear(),
            Values::Float(held) => held.clear(),
            Values::Bool(held) => held.clear(),
        }
    }
}

/// A Parquet file that is being written.
pub struct ParquetRows<W: Write + Send> {
    file: SerializedFileWriter<W>,
    held: Vec<Held>,
    rows: usize,
}

impl<W: Write + Send> ParquetRows<W> {
    /// Begins a file of these columns.
    pub fn new(columns: &[Column], to: W) -> Result<Self, ExportError> {
        let fields = columns.iter().map(|c| field(c).map(Arc::new)).collect::<Result<_, ParquetError>>()?;
        let schema = Arc::new(Type::group_type_builder("whytop").with_fields(fields).build()?);
        let level = ZstdLevel::try_new(3)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(concat!("whytop ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let file = SerializedFileWriter::new(to, schema, Arc::new(properties))?;
        Ok(Self { file, held: columns.iter().map(|c| Held::new(c.kind)).collect(), rows: 0 })
    }

    /// One row.
    pub fn push<'c, 't: 'c>(&mut self, cells: impl Iterator<Item = &'c Cell<'t>>) -> Result<(), ExportError> {
        let mut cells = cells;
        for held in &mut self.held {
            held.push(cells.next().unwrap_or(&Cell::None));
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        let mut group = self.file.next_row_group()?;
        let mut held = self.held.iter();
        while let Some(mut column) = group.next_column()? {
            let Some(Held { values, defined }) = held.next() else { break };
            let defined = Some(defined.as_slice());
            match values {
                Values::Text(values) => column.typed::<ByteArrayType>().write_batch(values, defined, None)?,
                Values::Int(values) => column.typed::<Int64Type>().write_batch(values, defined, None)?,
                Values::Float(values) => column.typed::<DoubleType>().write_batch(values, defined, None)?,
                Values::Bool(values) => column.typed::<BoolType>().write_batch(values, defined, None)?,
            };
            column.close()?;
        }
        group.close()?;
        self.held.iter_mut().for_each(Held::clear);
        self.rows = 0;
        Ok(())
    }

    /// Writes what is held, and the footer.
    pub fn finish(mut self) -> Result<(), ExportError> {
        if self.rows > 0 {
            self.flush()?;
        }
        self.file.close()?;
        Ok(())
    }
}

fn field(column: &Column) -> Result<Type, ParquetError> {
    let (physical, logical) = match column.kind {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Int => (Physical::INT64, None),
        Kind::Float => (Physical::DOUBLE, None),
        Kind::Bool => (Physical::BOOLEAN, None),
        Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
    };
    Type::primitive_type_builder(column.name, physical)
        .with_logical_type(logical)
        .with_repetition(Repetition::OPTIONAL)
        .build()
}
