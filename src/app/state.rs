//! What a view of a pane remembers: sort, filter, tree, selection. The selection is pinned to a row's identity.

use crate::model::Frame;
use crate::snapshot::Moment;
use crate::view::query::row_holds;
use crate::view::table::Ghost;
use crate::view::{Arrange, Cell, Listing, Query, RowId, Tree, View, num};
use rustc_hash::FxHashSet;
use std::sync::Arc;

/// Seconds for which a selected row that has ended stays.
const GHOST_SECS: f64 = 60.0;

/// A view and what the operator did to it.
pub(super) struct ViewState {
    pub view: &'static dyn View,
    /// Column and whether from the top; `None` = the view's own.
    sort: Option<(usize, bool)>,
    tree: Option<bool>,
    /// The filter as typed, and what is wrong with it.
    pub filter: String,
    pub filter_error: Option<String>,
    /// What was searched for, in lower case.
    pub search: String,
    toggled: FxHashSet<RowId>,
    /// The first row stays selected.
    pub follow: bool,
    /// Whether a key chose the selected row, or went on from it: from then on it stays selected, wherever it moves.
    pub chosen: bool,
    selected: Option<RowId>,
    /// Its place, or where it stood when it ended.
    pub cursor: usize,
    pub offset: usize,
    gone: Option<Gone>,
    /// The cells of the selected row, kept for the moment it ends.
    last_cells: Vec<Cell>,
    pub listing: Option<Listing>,
}

struct Gone {
    cells: Vec<Cell>,
    since: Moment,
}

impl ViewState {
    pub fn new(view: &'static dyn View) -> Self {
        Self {
            view,
            sort: None,
            tree: None,
            filter: String::new(),
            filter_error: None,
            search: String::new(),
            toggled: FxHashSet::default(),
            follow: false,
            chosen: false,
            selected: None,
            cursor: 0,
            offset: 0,
            gone: None,
            last_cells: Vec::new(),
            listing: None,
        }
    }

    /// The column sorted by.
    pub fn sort(&self) -> Option<(usize, bool)> {
        if self.view.tree() == Tree::Fixed {
            return None;
        }
        self.sort.or_else(|| {
            let heads = self.view.heads();
            let at = heads.iter().position(|h| h.id == self.view.sort())?;
            heads.get(at).map(|h| (at, h.right))
        })
    }

    /// Sorts by a column: numbers from the top, text from A; the same column again turns it round.
    pub fn sort_by(&mut self, column: usize, frame: &Arc<Frame>) {
        let natural = self.view.heads().get(column).is_some_and(|h| h.right);
        self.sort = match self.sort() {
            Some((at, from_top)) if at == column => Some((column, !from_top)),
            _ => Some((column, natural)),
        };
        self.arrange(frame);
    }

    pub fn is_tree(&self) -> bool {
        match self.view.tree() {
            Tree::Never => false,
            Tree::Fixed => true,
            Tree::Off => self.tree.unwrap_or(false),
            Tree::On => self.tree.unwrap_or(true),
        }
    }

    pub fn switch_tree(&mut self, frame: &Arc<Frame>) {
        self.tree = Some(!self.is_tree());
        self.arrange(frame);
    }

    pub fn set_filter(&mut self, filter: String, frame: &Arc<Frame>) {
        self.filter = filter;
        self.arrange(frame);
    }

    /// Makes the listing anew from `frame`, and finds the selected row in it.
    pub fn arrange(&mut self, frame: &Arc<Frame>) {
        let query = match Query::parse(&self.filter, &self.view.heads()) {
            Ok(query) => {
                self.filter_error = None;
                query
            }
            Err(what) => {
                self.filter_error = Some(what);
                Query::default()
            }
        };
        let how = Arrange { sort: self.sort(), query, tree: self.is_tree(), toggled: self.toggled.clone() };
        self.listing = Some(Listing::new(self.view.sheet(frame), &how));
        self.find_selected(frame);
    }

    fn find_selected(&mut self, frame: &Arc<Frame>) {
        let Some(listing) = &self.listing else { return };
        if self.follow {
            self.select(0);
            return;
        }
        // Until a key chose a row, a list in an order of its own shows what leads it: the worst story, the newest event.
        let unchosen = !self.chosen && self.view.tree() == Tree::Fixed;
        if self.selected.is_none() || unchosen {
            // A tree begins with what is calm: one starts at the first row that is lit.
            let lit = listing.places.iter().position(|p| listing.sheet.severity(p.row).is_some());
            self.select(if self.cursor == 0 || unchosen { lit.unwrap_or(0) } else { self.cursor });
            return;
        }
        let Some(id) = &self.selected else { return };
        if let Some(at) = listing.find(id) {
            self.cursor = at;
            self.gone = None;
            self.remember();
            return;
        }
        // Hidden by the filter or a fold, it is not gone.
        let hidden = (0..listing.sheet.len()).any(|row| listing.sheet.id(row).as_ref() == Some(id));
        let now = frame.snap.at;
        if hidden || self.last_cells.is_empty() {
            self.select(self.cursor);
            return;
        }
        let since = self.gone.as_ref().map_or(now, |g| g.since);
        if now.since(since) > GHOST_SECS {
            self.select(self.cursor);
        } else if self.gone.is_none() {
            self.gone = Some(Gone { cells: std::mem::take(&mut self.last_cells), since });
            self.last_cells = self.gone.as_ref().map(|g| g.cells.clone()).unwrap_or_default();
        }
        self.cursor = self.cursor.min(self.len());
    }

    /// The selected row as it was when it ended.
    pub fn ghost(&self, frame: &Frame) -> Option<Ghost> {
        let gone = self.gone.as_ref()?;
        let age = num::span(frame.snap.at.since(gone.since));
        Some(Ghost { cells: gone.cells.clone(), note: format!("ended {age} ago") })
    }

    pub fn len(&self) -> usize {
        self.listing.as_ref().map_or(0, |l| l.places.len())
    }

    /// The selected row in the sheet; `None` when there is none or it has ended.
    pub fn row(&self) -> Option<usize> {
        let listing = self.listing.as_ref().filter(|_| self.gone.is_none())?;
        listing.places.get(self.cursor).map(|p| p.row)
    }

    /// Pins the row at a place, the nearest there is.
    pub fn select(&mut self, place: usize) {
        self.gone = None;
        self.cursor = place.min(self.len().saturating_sub(1));
        self.selected = self.listing.as_ref().and_then(|l| l.id_at(self.cursor));
        self.remember();
    }

    fn remember(&mut self) {
        let Some(listing) = &self.listing else { return };
        let Some(place) = listing.places.get(self.cursor) else { return };
        self.last_cells = (0..listing.sheet.heads().len()).map(|c| listing.sheet.cell(place.row, c)).collect();
    }

    pub fn move_by(&mut self, rows: isize) {
        self.follow = false;
        self.chosen = true;
        self.select(self.cursor.saturating_add_signed(rows));
    }

    /// Folds the selected row, or goes to its parent; unfolds it.
    pub fn fold(&mut self, fold: bool, frame: &Arc<Frame>) {
        self.chosen = true;
        let Some((listing, row)) = self.listing.as_ref().zip(self.row()) else { return };
        let folded = listing.places.get(self.cursor).is_some_and(|p| p.folded);
        let depth = listing.places.get(self.cursor).map_or(0, |p| p.depth);
        let has_children = listing.places.get(self.cursor + 1).is_some_and(|p| p.depth > depth);
        if fold != folded && (has_children || folded) {
            if let Some(id) = listing.sheet.id(row)
                && !self.toggled.remove(&id)
            {
                self.toggled.insert(id);
            }
            self.arrange(frame);
        } else if fold && depth > 0 {
            let parent = listing.sheet.parent(row);
            let at = listing.places.iter().position(|p| Some(p.row) == parent);
            if let Some(at) = at {
                self.select(at);
            }
        }
    }

    /// Goes to the next row that holds the searched text; `from` is 0 to stay where one is when it does.
    pub fn find(&mut self, from: isize) -> bool {
        let Some(listing) = self.listing.as_ref().filter(|_| !self.search.is_empty()) else { return false };
        let count = listing.places.len();
        let back = from < 0;
        let found = (0..count).find_map(|step| {
            let ahead = (step + from.unsigned_abs()) % count.max(1);
            let at = if back { (self.cursor + count - ahead) % count } else { (self.cursor + ahead) % count };
            let row = listing.places.get(at)?.row;
            row_holds(&*listing.sheet, row, &self.search).then_some(at)
        });
        if let Some(at) = found {
            self.follow = false;
            self.chosen = true;
            self.select(at);
        }
        found.is_some()
    }

    /// Moves the window so that the selected row is in it.
    pub fn scroll(&mut self, rows: usize) {
        let rows = rows.max(1);
        let last = self.len().saturating_sub(rows);
        let low = (self.cursor + 1).saturating_sub(rows);
        self.offset = self.offset.clamp(low.min(self.cursor), self.cursor).min(last.max(low));
    }
}

impl std::fmt::Debug for ViewState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViewState")
            .field("view", &self.view.name())
            .field("filter", &self.filter)
            .field("selected", &self.selected)
            .finish_non_exhaustive()
    }
}
