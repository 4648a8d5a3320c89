//! Tables as data: columns with a value function, rows that are small handles into a frame.

use super::{Cell, Line, RowId, State, Target};
use crate::model::{Frame, Severity};
use crate::snapshot::Subject;
use std::sync::Arc;

/// What is known of a column but its value.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Its name in filters, `--sort` and JSON.
    pub id: &'static str,
    /// What stands above it.
    pub header: &'static str,
    /// One sentence on what it holds.
    pub help: &'static str,
    /// Columns at least; 0 = never drawn, for filters and JSON only.
    pub least: u16,
    /// Columns at most.
    pub most: u16,
    /// Numbers stand at the right, and sort from the top.
    pub right: bool,
    /// Who stays longest on a narrow screen: the highest.
    pub keep: u8,
    /// Whether the tree is drawn in it.
    pub tree: bool,
    /// Whether it names the row, and so lights up with it.
    pub names: bool,
    /// Findings (ids, or the start of ids) that light it.
    pub lights: &'static [&'static str],
}

/// A column of rows of type `R`.
pub struct Column<R: 'static> {
    /// All but the value.
    pub head: Head,
    /// The value.
    pub value: fn(&Frame, &R) -> Cell,
}

impl<R> Column<R> {
    /// A column of numbers `columns` wide.
    #[must_use]
    pub const fn number(
        id: &'static str,
        header: &'static str,
        columns: u16,
        help: &'static str,
        value: fn(&Frame, &R) -> Cell,
    ) -> Self {
        let head = Head {
            id,
            header,
            help,
            least: columns,
            most: columns,
            right: true,
            keep: 50,
            tree: false,
            names: false,
            lights: &[],
        };
        Self { head, value }
    }

    /// A column of text of `least` to `most` columns.
    #[must_use]
    pub const fn text(
        id: &'static str,
        header: &'static str,
        least: u16,
        most: u16,
        help: &'static str,
        value: fn(&Frame, &R) -> Cell,
    ) -> Self {
        let mut column = Self::number(id, header, least, help, value);
        column.head.most = most;
        column.head.right = false;
        column
    }

    /// A column that is never drawn.
    #[must_use]
    pub const fn hidden(id: &'static str, help: &'static str, value: fn(&Frame, &R) -> Cell) -> Self {
        Self::number(id, "", 0, help, value)
    }

    /// Lets it grow to `most` columns (bars).
    #[must_use]
    pub const fn up_to(mut self, most: u16) -> Self {
        self.head.most = most;
        self
    }

    /// Says how long it stays on a narrow screen (50 = as long as most).
    #[must_use]
    pub const fn keep(mut self, keep: u8) -> Self {
        self.head.keep = keep;
        self
    }

    /// Draws the tree in it.
    #[must_use]
    pub const fn tree(mut self) -> Self {
        self.head.tree = true;
        self
    }

    /// Makes it light up with its row.
    #[must_use]
    pub const fn names(mut self) -> Self {
        self.head.names = true;
        self
    }

    /// Makes these findings light it.
    #[must_use]
    pub const fn lights(mut self, ids: &'static [&'static str]) -> Self {
        self.head.lights = ids;
        self
    }
}

/// A row and the row it hangs under.
#[derive(Clone, Debug)]
pub struct Entry<R> {
    /// The row.
    pub row: R,
    /// Its parent's place in the same list.
    pub parent: Option<usize>,
    /// Whether what hangs under it is folded until asked for.
    pub folded: bool,
}

impl<R> Entry<R> {
    /// A row under nothing.
    pub fn flat(row: R) -> Self {
        Self { row, parent: None, folded: false }
    }
}

/// Whether a table is a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// It has none.
    Never,
    /// On demand.
    Off,
    /// Unless switched off.
    On,
    /// Always, and in the order its rows come in.
    Fixed,
}

/// One way to look at a pane's rows: all of it as data.
pub struct Grid<R: 'static> {
    /// Its name.
    pub name: &'static str,
    /// The question it answers.
    pub question: &'static str,
    /// The columns, left to right.
    pub columns: &'static [Column<R>],
    /// Its rows.
    pub rows: fn(&Frame) -> Vec<Entry<R>>,
    /// Which row is which.
    pub id: fn(&Frame, &R) -> RowId,
    /// Subjects whose findings light a row beside its own.
    pub also: fn(&Frame, &R) -> Vec<Subject>,
    /// What lights a row, where that is not its subjects' findings.
    pub own_severity: Option<fn(&Frame, &R) -> Option<Severity>>,
    /// Where Enter leads.
    pub target: fn(&Frame, &R) -> Option<Target>,
    /// The column it is sorted by.
    pub sort: &'static str,
    /// Whether it is a tree.
    pub tree: Tree,
    /// What can be seen.
    pub section: fn(&Frame) -> State,
    /// Lines above the table.
    pub summary: fn(&Frame) -> Vec<Line>,
    /// The selected row in full, below the table.
    pub footer: fn(&Frame, &R) -> Vec<Line>,
    /// Rows kept for the footer.
    pub footer_rows: u16,
    /// What an empty table means.
    pub empty: fn(&Frame) -> Vec<Line>,
}

/// A grid whatever its rows are.
pub trait View: Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// The question it answers.
    fn question(&self) -> &'static str;
    /// The columns.
    fn heads(&self) -> Vec<Head>;
    /// The column it is sorted by.
    fn sort(&self) -> &'static str;
    /// Whether it is a tree.
    fn tree(&self) -> Tree;
    /// Its rows in a frame.
    fn sheet(&'static self, frame: &Arc<Frame>) -> Box<dyn Sheet>;
    /// What can be seen.
    fn section(&self, frame: &Frame) -> State;
    /// Lines above the table.
    fn summary(&self, frame: &Frame) -> Vec<Line>;
    /// Rows kept for the footer.
    fn footer_rows(&self) -> u16;
    /// What an empty table means.
    fn empty(&self, frame: &Frame) -> Vec<Line>;
}

impl<R: Send + Sync + 'static> View for Grid<R> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn question(&self) -> &'static str {
        self.question
    }

    fn heads(&self) -> Vec<Head> {
        self.columns.iter().map(|c| c.head).collect()
    }

    fn sort(&self) -> &'static str {
        self.sort
    }

    fn tree(&self) -> Tree {
        self.tree
    }

    fn sheet(&'static self, frame: &Arc<Frame>) -> Box<dyn Sheet> {
        Box::new(Made { grid: self, heads: self.heads(), rows: (self.rows)(frame), frame: Arc::clone(frame) })
    }

    fn section(&self, frame: &Frame) -> State {
        (self.section)(frame)
    }

    fn summary(&self, frame: &Frame) -> Vec<Line> {
        (self.summary)(frame)
    }

    fn footer_rows(&self) -> u16 {
        self.footer_rows
    }

    fn empty(&self, frame: &Frame) -> Vec<Line> {
        (self.empty)(frame)
    }
}

/// The rows of a view in one frame. A cell is made when it is asked for.
pub trait Sheet: Send + Sync {
    /// The frame they are of.
    fn frame(&self) -> &Arc<Frame>;
    /// The columns.
    fn heads(&self) -> &[Head];
    /// Rows.
    fn len(&self) -> usize;
    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// A cell; blank outside.
    fn cell(&self, row: usize, column: usize) -> Cell;
    /// Which row it is; `None` outside.
    fn id(&self, row: usize) -> Option<RowId>;
    /// What lights it: the worst active finding about one of its subjects.
    fn severity(&self, row: usize) -> Option<Severity>;
    /// The subjects whose findings light it.
    fn subjects(&self, row: usize) -> Vec<Subject>;
    /// The row it hangs under.
    fn parent(&self, row: usize) -> Option<usize>;
    /// Whether it starts folded.
    fn folded(&self, row: usize) -> bool;
    /// Where Enter leads.
    fn target(&self, row: usize) -> Option<Target>;
    /// It in full.
    fn footer(&self, row: usize) -> Vec<Line>;
}

struct Made<R: 'static> {
    grid: &'static Grid<R>,
    heads: Vec<Head>,
    rows: Vec<Entry<R>>,
    frame: Arc<Frame>,
}

impl<R: Send + Sync + 'static> Sheet for Made<R> {
    fn frame(&self) -> &Arc<Frame> {
        &self.frame
    }

    fn heads(&self) -> &[Head] {
        &self.heads
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell {
        match (self.rows.get(row), self.grid.columns.get(column)) {
            (Some(entry), Some(column)) => (column.value)(&self.frame, &entry.row),
            _ => Cell::Blank,
        }
    }

    fn id(&self, row: usize) -> Option<RowId> {
        self.rows.get(row).map(|e| (self.grid.id)(&self.frame, &e.row))
    }

    fn severity(&self, row: usize) -> Option<Severity> {
        let entry = self.rows.get(row)?;
        if let Some(own) = self.grid.own_severity {
            return own(&self.frame, &entry.row);
        }
        self.subjects(row).iter().filter_map(|s| self.frame.severity_of(s)).max()
    }

    fn subjects(&self, row: usize) -> Vec<Subject> {
        let Some(entry) = self.rows.get(row) else { return Vec::new() };
        let mut subjects = (self.grid.also)(&self.frame, &entry.row);
        subjects.push((self.grid.id)(&self.frame, &entry.row).subject);
        subjects
    }

    fn parent(&self, row: usize) -> Option<usize> {
        self.rows.get(row).and_then(|e| e.parent)
    }

    fn folded(&self, row: usize) -> bool {
        self.rows.get(row).is_some_and(|e| e.folded)
    }

    fn target(&self, row: usize) -> Option<Target> {
        self.rows.get(row).and_then(|e| (self.grid.target)(&self.frame, &e.row))
    }

    fn footer(&self, row: usize) -> Vec<Line> {
        self.rows.get(row).map(|e| (self.grid.footer)(&self.frame, &e.row)).unwrap_or_default()
    }
}
