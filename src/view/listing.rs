//! A sheet filtered, sorted and, if wanted, arranged as a tree.

use super::{Cell, Query, RowId, Sheet};
use rustc_hash::FxHashSet;
use std::cmp::Reverse;

/// How a sheet is arranged.
#[derive(Clone, Debug, Default)]
pub struct Arrange {
    /// The column to sort by and whether from the top; `None` keeps the rows' own order.
    pub sort: Option<(usize, bool)>,
    /// Which rows pass.
    pub query: Query,
    /// Whether rows hang under their parents.
    pub tree: bool,
    /// Rows that are folded though they start open, or open though they start folded.
    pub toggled: FxHashSet<RowId>,
}

/// A row's place on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The row in the sheet.
    pub row: usize,
    /// How deep it hangs.
    pub depth: u8,
    /// Bit d: an ancestor at depth d (or the row itself) has a later sibling, so its guide goes on.
    pub more: u64,
    /// Rows folded under it.
    pub folded: bool,
}

/// A sheet in the order of the screen.
pub struct Listing {
    /// Where cells come from.
    pub sheet: Box<dyn Sheet>,
    /// The rows to show, in order.
    pub places: Vec<Place>,
    /// Rows that match the filter.
    pub matching: usize,
    /// Rows that it hides.
    pub hidden: usize,
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing")
            .field("places", &self.places.len())
            .field("hidden", &self.hidden)
            .finish_non_exhaustive()
    }
}

/// Deepest level with a guide of its own.
const DEPTH_MAX: u8 = 60;

impl Listing {
    /// Arranges a sheet: trouble on top, then the sort column, then identity so that equal rows keep their places.
    #[must_use]
    pub fn new(sheet: Box<dyn Sheet>, how: &Arrange) -> Self {
        let matches: Vec<bool> = (0..sheet.len()).map(|row| how.query.matches(&*sheet, row)).collect();
        let matching = matches.iter().filter(|m| **m).count();
        let mut shown = matches;
        if how.tree {
            for row in 0..shown.len() {
                if shown.get(row) == Some(&true) {
                    for up in ancestors(&*sheet, row) {
                        if let Some(slot) = shown.get_mut(up) {
                            *slot = true;
                        }
                    }
                }
            }
        }
        let visible = shown.iter().filter(|s| **s).count();
        let hidden = sheet.len() - visible;
        let ranked = ranked(&*sheet, how, &shown);
        let places = if how.tree {
            grow(&*sheet, &ranked, &shown, &how.toggled)
        } else {
            ranked.into_iter().map(|row| Place { row, depth: 0, more: 0, folded: false }).collect()
        };
        Self { sheet, places, matching, hidden }
    }

    /// Where a row stands.
    #[must_use]
    pub fn find(&self, id: &RowId) -> Option<usize> {
        self.places.iter().position(|p| self.sheet.id(p.row).as_ref() == Some(id))
    }

    /// Which row stands at a place.
    #[must_use]
    pub fn id_at(&self, place: usize) -> Option<RowId> {
        self.sheet.id(self.places.get(place)?.row)
    }
}

/// A row's ancestors, nearest first; a circle ends it.
fn ancestors(sheet: &dyn Sheet, row: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(sheet.parent(row), |up| sheet.parent(*up)).take(usize::from(DEPTH_MAX))
}

/// The visible rows, sorted.
fn ranked(sheet: &dyn Sheet, how: &Arrange, shown: &[bool]) -> Vec<usize> {
    let rows: Vec<usize> = (0..sheet.len()).filter(|row| shown.get(*row) == Some(&true)).collect();
    let Some((column, from_top)) = how.sort else { return rows };
    let mut severity: Vec<_> = (0..sheet.len()).map(|row| sheet.severity(row)).collect();
    if how.tree {
        // Trouble deep in a tree brings its ancestors up.
        for row in &rows {
            let worst = severity.get(*row).copied().flatten();
            for up in ancestors(sheet, *row) {
                if let Some(slot) = severity.get_mut(up) {
                    *slot = (*slot).max(worst);
                }
            }
        }
    }
    let mut keyed: Vec<(usize, Cell, Option<RowId>)> =
        rows.into_iter().map(|row| (row, sheet.cell(row, column), sheet.id(row))).collect();
    keyed.sort_by(|(a, cell_a, id_a), (b, cell_b, id_b)| {
        let by_severity = Reverse(severity.get(*a)).cmp(&Reverse(severity.get(*b)));
        let by_cell = if from_top { cell_b.order(cell_a) } else { cell_a.order(cell_b) };
        by_severity.then(by_cell).then_with(|| id_a.cmp(id_b))
    });
    keyed.into_iter().map(|(row, ..)| row).collect()
}

/// Hangs sorted rows under their parents.
fn grow(sheet: &dyn Sheet, ranked: &[usize], shown: &[bool], toggled: &FxHashSet<RowId>) -> Vec<Place> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); sheet.len()];
    let mut roots = Vec::new();
    for row in ranked {
        match sheet.parent(*row).filter(|up| up != row && shown.get(*up) == Some(&true)) {
            Some(up) => {
                if let Some(slot) = children.get_mut(up) {
                    slot.push(*row);
                }
            }
            None => roots.push(*row),
        }
    }
    let mut places = Vec::with_capacity(ranked.len());
    let mut stack: Vec<(usize, u8, u64)> = roots.iter().rev().map(|r| (*r, 0, 0)).collect();
    while let Some((row, depth, more)) = stack.pop() {
        let below = children.get_mut(row).map(std::mem::take).unwrap_or_default();
        let folded = !below.is_empty() && sheet.id(row).is_some_and(|id| sheet.folded(row) != toggled.contains(&id));
        places.push(Place { row, depth, more, folded });
        if folded || depth >= DEPTH_MAX {
            continue;
        }
        let last = below.len().saturating_sub(1);
        for (i, child) in below.into_iter().enumerate().rev() {
            let goes_on = if i < last { 1 << (depth + 1) } else { 0 };
            stack.push((child, depth + 1, more | goes_on));
        }
    }
    places
}

/// The guide in front of a row of a tree: `│  ├─ `.
#[must_use]
pub fn guide(place: &Place) -> String {
    let mut out = String::new();
    for depth in 1..=place.depth {
        let on = place.more >> depth & 1 == 1;
        out.push_str(match (depth == place.depth, on) {
            (true, true) => "├─",
            (true, false) => "└─",
            (false, true) => "│ ",
            (false, false) => "  ",
        });
    }
    out
}
