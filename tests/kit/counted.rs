//! A sheet that counts how many cells are asked of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use whytop::model::{Frame, Severity};
use whytop::snapshot::Subject;
use whytop::view::{Arrange, Cell, Column, Head, Line, Listing, RowId, Sheet, Target};

struct Counted {
    heads: Vec<Head>,
    rows: usize,
    frame: Arc<Frame>,
    asked: Arc<AtomicUsize>,
}

/// A listing of that many rows, and the count of cells made.
pub fn counted(rows: usize) -> (Listing, Arc<AtomicUsize>) {
    let columns: [Column<()>; 2] =
        [Column::number("n", "N", 6, "", |_, ()| Cell::Blank), Column::text("t", "T", 10, 60, "", |_, ()| Cell::Blank)];
    let asked = Arc::new(AtomicUsize::new(0));
    let heads = columns.iter().map(|c| c.head).collect();
    let sheet = Counted { heads, rows, frame: Arc::default(), asked: Arc::clone(&asked) };
    (Listing::new(Box::new(sheet), &Arrange::default()), asked)
}

impl Sheet for Counted {
    fn frame(&self) -> &Arc<Frame> {
        &self.frame
    }

    fn heads(&self) -> &[Head] {
        &self.heads
    }

    fn len(&self) -> usize {
        self.rows
    }

    fn cell(&self, row: usize, column: usize) -> Cell {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if column == 0 { Cell::Count(row as u64) } else { Cell::text(format!("row {row}")) }
    }

    fn id(&self, row: usize) -> Option<RowId> {
        Some(RowId::part(Subject::Host, row.to_string()))
    }

    fn severity(&self, _: usize) -> Option<Severity> {
        None
    }

    fn subjects(&self, _: usize) -> Vec<Subject> {
        Vec::new()
    }

    fn parent(&self, _: usize) -> Option<usize> {
        None
    }

    fn folded(&self, _: usize) -> bool {
        false
    }

    fn target(&self, _: usize) -> Option<Target> {
        None
    }

    fn footer(&self, _: usize) -> Vec<Line> {
        Vec::new()
    }
}
