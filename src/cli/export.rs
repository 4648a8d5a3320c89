//! `whytop export`: the raw series of a recording as tidy tables.

use super::args::{ExportArgs, Global};
use super::out;
use super::recording::{Pass, Recording};
use super::setup::{BadUse, Settings};
use crate::export::{
    ACTIONS, Cell, DERIVED, ExportError, Format, MARKS, Origin, Rows, TABLES, Table, entry, finding, with_origin,
};
use crate::snapshot::{Moment, Snapshot};
use anyhow::Context;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

type Out = Rows<BufWriter<Box<dyn Write + Send>>>;

/// Names of all tables, in the order of `--help`.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|t| t.name).chain(DERIVED.iter().map(|d| d.name))
}

/// Reads the recording once and writes every table that is wanted.
pub fn run(global: &Global, args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(global)?;
    let recording = Recording::open(&args.file, args.redact)?;
    let wanted = |name: &str| args.section.as_ref().is_none_or(|s| s == name);
    let mut series = Vec::new();
    for table in TABLES.iter().filter(|t| wanted(t.name)) {
        series.push(Series { table, at: None, out: open(args, table.name, table.columns)? });
    }
    let mut origin = Origin::default();
    let pass = recording.walk(&settings, |snap| {
        origin.learn(snap);
        series.iter_mut().try_for_each(|s| s.step(snap, &origin).with_context(|| s.table.name))
    })?;
    let mut told: Vec<(&str, u64)> = Vec::new();
    for s in series {
        told.push((s.table.name, s.out.finish().context(s.table.name)?));
    }
    for derived in DERIVED.iter().filter(|d| wanted(d.name)) {
        let mut out = open(args, derived.name, derived.columns)?;
        for (unix_ns, own) in rows(derived.name, &pass, &recording) {
            out.push(origin.cells(unix_ns).iter().chain(&own)).context(derived.name)?;
        }
        told.push((derived.name, out.finish().context(derived.name)?));
    }
    for line in pass.damage {
        out::tell(&format!("whytop: {line}\n"));
    }
    if args.out.is_some() && std::io::stderr().is_terminal() {
        for (name, rows) in told {
            out::tell(&format!("{name}: {rows} rows\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Rows of a derived table: when, and its own cells.
fn rows<'a>(name: &str, pass: &'a Pass, recording: &'a Recording) -> Vec<(i64, Vec<Cell<'a>>)> {
    let entries = match name {
        name if name == MARKS.name => &recording.marks,
        name if name == ACTIONS.name => &recording.actions,
        _ => return pass.outage.episodes.iter().map(|e| (e.first_unix_ns, finding(e))).collect(),
    };
    entries.iter().map(|e| (e.unix_ns, entry(e))).collect()
}

/// One table that is being written.
struct Series {
    table: &'static Table,
    /// When its section was last read: one that was not read anew gives no rows again.
    at: Option<Moment>,
    out: Out,
}

impl Series {
    fn step(&mut self, snap: &Snapshot, origin: &Origin) -> Result<(), ExportError> {
        let Some(at) = (self.table.at)(snap).filter(|at| self.at != Some(*at)) else { return Ok(()) };
        self.at = Some(at);
        let first = origin.cells(snap.wall_of(at));
        let mut result = Ok(());
        (self.table.fill)(snap, &mut |own| {
            if result.is_ok() {
                result = self.out.push(first.iter().chain(own));
            }
        });
        result
    }
}

/// Where a table goes: the file or the pipe when it is the only one, else a file of its name in the directory.
fn open(args: &ExportArgs, name: &str, columns: &[crate::export::Column]) -> anyhow::Result<Out> {
    let to: Box<dyn Write + Send> = match (&args.out, &args.section) {
        (None, Some(_)) if args.format == Format::Parquet && std::io::stdout().is_terminal() => {
            return Err(BadUse::Export("Parquet is no text for a terminal: name a file with -o").into());
        }
        (None, Some(_)) => Box::new(std::io::stdout()),
        (None, None) => {
            return Err(
                BadUse::Export("every table is a file: name a directory with -o, or one table with --section").into()
            );
        }
        (Some(path), Some(_)) => Box::new(out::private_file(path).with_context(|| path.display().to_string())?),
        (Some(dir), None) => Box::new(in_directory(dir, name, args.format)?),
    };
    Ok(Rows::new(args.format, with_origin(columns), BufWriter::new(to))?)
}

fn in_directory(dir: &Path, name: &str, format: Format) -> anyhow::Result<std::fs::File> {
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let path = dir.join(format!("{name}.{}", format.extension()));
    out::private_file(&path).with_context(|| path.display().to_string())
}
