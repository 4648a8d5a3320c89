//! A pane once, as rows of cells: what `whytop show` prints.

use super::by_name;
use crate::model::{Frame, Severity};
use crate::snapshot::{Gap, Subject};
use crate::view::{Arrange, Cell, Head, Listing, Query, State, sight};
use std::sync::Arc;

/// Which rows, and in which order.
#[derive(Clone, Debug, Default)]
pub struct TableOptions {
    /// A view of the pane; `None` = the one it opens with.
    pub view: Option<String>,
    /// Column id to sort by: numbers from the top, text from A.
    pub sort: Option<String>,
    /// A filter in the query language.
    pub filter: String,
    /// Rows at most.
    pub top: Option<usize>,
}

/// Rows of cells.
#[derive(Clone, Debug)]
pub struct Table {
    /// The columns. Those that are never drawn have `least` 0.
    pub heads: Vec<Head>,
    /// The rows, in order.
    pub rows: Vec<TableRow>,
    /// Rows that match, before `top`.
    pub matching: usize,
    /// What could not be seen of it.
    pub state: State,
    /// What could not be seen of the whole look.
    pub gaps: Vec<Gap>,
}

/// One row.
#[derive(Clone, Debug)]
pub struct TableRow {
    /// What lights it.
    pub severity: Option<Severity>,
    /// What it is about.
    pub subject: Option<Subject>,
    /// Its cells, one a column.
    pub cells: Vec<Cell>,
}

/// What is wrong with what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// No such pane.
    #[error("no pane `{0}`; panes: {names}", names = super::PANES.iter().map(|p| p.name).collect::<Vec<_>>().join(" "))]
    Pane(String),
    /// No such view.
    #[error("no view `{view}`; views: {views}")]
    View {
        /// What was asked for.
        view: String,
        /// What there is.
        views: String,
    },
    /// No such column.
    #[error("no column `{column}`; columns: {columns}")]
    Column {
        /// What was asked for.
        column: String,
        /// What there is.
        columns: String,
    },
    /// A filter that can't be read.
    #[error("filter: {0}")]
    Filter(String),
}

/// A pane's rows in a frame.
pub fn table(frame: &Arc<Frame>, pane: &str, options: &TableOptions) -> Result<Table, TableError> {
    let pane = by_name(pane).ok_or_else(|| TableError::Pane(pane.to_owned()))?;
    let view = match &options.view {
        None => pane.views.first(),
        Some(name) => pane.views.iter().find(|v| v.name() == name),
    };
    let view = view.ok_or_else(|| TableError::View {
        view: options.view.clone().unwrap_or_default(),
        views: pane.views.iter().map(|v| v.name()).collect::<Vec<_>>().join(" "),
    })?;
    let heads = view.heads();
    let name = options.sort.as_deref().unwrap_or(view.sort());
    let column = heads.iter().position(|h| h.id == name);
    if let (None, Some(column)) = (column, &options.sort) {
        let columns = heads.iter().map(|h| h.id).collect::<Vec<_>>().join(" ");
        return Err(TableError::Column { column: column.clone(), columns });
    }
    let sort = column.and_then(|at| heads.get(at).map(|h| (at, h.right)));
    let query = Query::parse(&options.filter, &heads).map_err(TableError::Filter)?;
    let listing = Listing::new(view.sheet(frame), &Arrange { sort, query, ..Arrange::default() });
    let rows = listing
        .places
        .iter()
        .take(options.top.unwrap_or(usize::MAX))
        .map(|p| TableRow {
            severity: listing.sheet.severity(p.row),
            subject: listing.sheet.id(p.row).map(|id| id.subject),
            cells: (0..heads.len()).map(|column| listing.sheet.cell(p.row, column)).collect(),
        })
        .collect();
    Ok(Table { heads, rows, matching: listing.matching, state: view.section(frame), gaps: sight::gaps(frame) })
}
