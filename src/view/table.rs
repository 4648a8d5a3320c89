//! Draws a listing: only the rows that can be seen are made into text.

use super::canvas::cells;
use super::line::{mark, severity_role};
use super::listing::{Listing, Place, guide};
use super::text::{printable, width};
use super::{Canvas, Cell, Head, Role, RowId};
use crate::model::Severity;
use ratatui::layout::Rect;

/// What the table needs to know beyond its rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look<'a> {
    /// The first place shown.
    pub offset: usize,
    /// The selected place.
    pub selected: Option<usize>,
    /// The column sorted by and whether from the top.
    pub sort: Option<(usize, bool)>,
    /// Text to point out, in lower case.
    pub found: &'a str,
    /// The selected row as it was when it ended, with what to say about it.
    pub ghost: Option<&'a Ghost>,
    /// The rows that are tagged.
    pub tagged: &'a [RowId],
    /// Whether everything is dim (stale).
    pub stale: bool,
}

/// A row whose subject has gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Ghost {
    /// Its cells when last seen.
    pub cells: Vec<Cell>,
    /// `ended 12s ago`.
    pub note: String,
}

/// A column's place on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    column: usize,
    x: u16,
    columns: u16,
}

/// Columns in front of the first: the pin and the mark.
const MARGIN: u16 = 2;

/// Draws headers and rows into `area`; the rest of it stays as it was.
pub fn draw(canvas: &mut Canvas<'_>, area: Rect, listing: &Listing, look: &Look<'_>) {
    if area.height == 0 || area.width < MARGIN + 1 {
        return;
    }
    let seen = |rows: u16| {
        let window = listing.places.get(look.offset..).unwrap_or_default();
        window.get(..usize::from(rows).min(window.len())).unwrap_or_default()
    };
    let heads = listing.sheet.heads();
    let slots = lay_out(heads, &lit_columns(listing, seen(area.height)), area);
    // On a narrow screen no column with a header may be left.
    let headed = slots.iter().any(|s| heads.get(s.column).is_some_and(|h| !h.header.is_empty()));
    let window = seen(area.height - u16::from(headed));
    let mut y = area.y;
    if headed {
        draw_heads(canvas, y, heads, &slots, look);
        y += 1;
    }
    for (i, place) in window.iter().enumerate() {
        let at = look.offset + i;
        let selected = look.selected == Some(at);
        if let (true, Some(ghost)) = (selected, look.ghost) {
            draw_ghost(canvas, Rect { y, height: 1, ..area }, heads, &slots, ghost);
            y += 1;
            if y >= area.bottom() {
                break;
            }
        }
        let row_area = Rect { y, height: 1, ..area };
        draw_row(canvas, row_area, listing, place, &slots, look, selected && look.ghost.is_none());
        y += 1;
        if y >= area.bottom() {
            break;
        }
    }
    if let (true, Some(ghost)) = (y < area.bottom() && look.selected == Some(look.offset + window.len()), look.ghost) {
        draw_ghost(canvas, Rect { y, height: 1, ..area }, heads, &slots, ghost);
    }
}

/// Columns in which a visible row is lit: they stay at every width.
fn lit_columns(listing: &Listing, window: &[Place]) -> Vec<bool> {
    let sheet = &*listing.sheet;
    let mut lit = vec![false; sheet.heads().len()];
    for place in window {
        if sheet.severity(place.row).is_none() {
            continue;
        }
        for (flag, head) in lit.iter_mut().zip(sheet.heads()) {
            *flag |= cell_severity(listing, place.row, head).is_some();
        }
    }
    lit
}

/// What holds against this very value: an active finding about the row's subject that lights this column.
fn cell_severity(listing: &Listing, row: usize, head: &Head) -> Option<Severity> {
    if head.lights.is_empty() {
        return None;
    }
    let subjects = listing.sheet.subjects(row);
    let findings = &listing.sheet.frame().findings;
    findings
        .iter()
        .filter(|f| f.active && subjects.contains(&f.subject) && head.lights.iter().any(|id| f.id.starts_with(id)))
        .map(|f| f.severity)
        .max()
}

/// Gives every column its place. Calm ones that are least worth keeping go first when there is no room.
fn lay_out(heads: &[Head], lit: &[bool], area: Rect) -> Vec<Slot> {
    let room = area.width.saturating_sub(MARGIN);
    let mut kept: Vec<usize> = (0..heads.len()).filter(|i| heads.get(*i).is_some_and(|h| h.least > 0)).collect();
    let least = |kept: &[usize], gap: u16| -> u16 {
        let sum: u16 = kept.iter().filter_map(|i| heads.get(*i)).map(|h| h.least).sum();
        sum + gap * cells(kept.len().saturating_sub(1))
    };
    while kept.len() > 1 && least(&kept, 1) > room {
        let worth = |i: &usize| {
            let keep = heads.get(*i).map_or(0, |h| u16::from(h.keep));
            keep + if lit.get(*i) == Some(&true) { 100 } else { 0 }
        };
        // Of equals the rightmost goes.
        let Some((at, _)) = kept.iter().enumerate().rev().min_by_key(|(_, i)| worth(i)) else { break };
        kept.remove(at);
    }
    let gap = if least(&kept, 2) <= room { 2 } else { 1 };
    let mut spare = room.saturating_sub(least(&kept, gap));
    let mut x = area.x + MARGIN;
    kept.iter()
        .filter_map(|i| heads.get(*i).map(|h| (*i, h)))
        .map(|(column, head)| {
            let more = spare.min(head.most.saturating_sub(head.least));
            spare -= more;
            let slot = Slot { column, x, columns: (head.least + more).min(area.right().saturating_sub(x)) };
            x = (x + head.least + more + gap).min(area.right());
            slot
        })
        .collect()
}

fn draw_heads(canvas: &mut Canvas<'_>, y: u16, heads: &[Head], slots: &[Slot], look: &Look<'_>) {
    for slot in slots {
        let Some(head) = heads.get(slot.column) else { continue };
        let sorted = look.sort.filter(|(column, _)| *column == slot.column);
        let arrow = match sorted {
            Some((_, true)) => "↓",
            Some((_, false)) => "↑",
            None => "",
        };
        let role = if sorted.is_some() { Role::Title } else { Role::Head };
        if head.right {
            // The arrow may stand in the gap in front, so that a narrow header keeps all its letters.
            let right = slot.x + slot.columns;
            let taken = canvas.put_right(right, y, slot.columns, head.header, role);
            canvas.put_right(right.saturating_sub(taken), y, 1, arrow, role);
        } else {
            let taken = canvas.put(slot.x, y, slot.columns, head.header, role);
            canvas.put(slot.x + taken, y, slot.columns.saturating_sub(taken), arrow, role);
        }
    }
}

fn draw_row(
    canvas: &mut Canvas<'_>,
    area: Rect,
    listing: &Listing,
    place: &Place,
    slots: &[Slot],
    look: &Look<'_>,
    selected: bool,
) {
    if selected {
        canvas.ground(area, Role::Selected);
        canvas.put(area.x, area.y, 1, "▸", Role::Key);
    }
    let tagged = !look.tagged.is_empty() && listing.sheet.id(place.row).is_some_and(|id| look.tagged.contains(&id));
    if tagged {
        canvas.put(area.x, area.y, 1, if selected { "»" } else { "•" }, Role::Key);
    }
    let sheet = &*listing.sheet;
    let severity = sheet.severity(place.row);
    canvas.put(area.x + 1, area.y, 1, mark(severity), severity_role(severity, Role::Text));
    for slot in slots {
        let Some(head) = sheet.heads().get(slot.column) else { continue };
        let cell = sheet.cell(place.row, slot.column);
        let known = !matches!(cell, Cell::Blank | Cell::Unknown(_));
        let against = if severity.is_some() && known { cell_severity(listing, place.row, head) } else { None };
        let calm = if look.stale { Role::Stale } else { Role::Text };
        let role = match against {
            Some(_) => severity_role(against, calm),
            None if head.names => severity_role(severity, calm),
            None => calm,
        };
        let mut slot = *slot;
        if head.tree && (place.depth > 0 || place.folded) {
            let mut lead = guide(place);
            if place.folded {
                lead.push_str("+ ");
            } else if place.depth > 0 {
                lead.push(' ');
            }
            let taken = canvas.put(slot.x, area.y, slot.columns, &lead, Role::Rule);
            slot.x += taken;
            slot.columns -= taken.min(slot.columns);
        }
        draw_cell(canvas, area.y, &slot, head, &cell, (role, against));
        if !look.found.is_empty() && cell.texts().next().is_some() {
            point_out(canvas, area.y, &slot, look.found);
        }
    }
}

fn draw_cell(
    canvas: &mut Canvas<'_>,
    y: u16,
    slot: &Slot,
    head: &Head,
    cell: &Cell,
    (role, against): (Role, Option<Severity>),
) {
    let spans = cell.spans(usize::from(slot.columns), role);
    let taken = cells(spans.iter().map(|s| width(&printable(&s.text))).sum()).min(slot.columns);
    let mut x = if head.right { slot.x + slot.columns - taken } else { slot.x };
    if against.is_some() && head.right && x > 0 {
        canvas.put(x - 1, y, 1, mark(against), role);
    }
    for span in spans {
        let room = (slot.x + slot.columns).saturating_sub(x);
        x += canvas.put(x, y, room, &span.text, span.role);
    }
}

/// Points out what a search found in a drawn cell.
fn point_out(canvas: &mut Canvas<'_>, y: u16, slot: &Slot, found: &str) {
    let symbols: Vec<String> = (slot.x..slot.x + slot.columns)
        .map(|x| canvas.buf.cell((x, y)).map_or(" ", |c| c.symbol()).to_lowercase())
        .collect();
    let style = canvas.theme.style(Role::Found);
    for start in 0..symbols.len() {
        let mut rest = found;
        let mut end = start;
        while let Some(left) = symbols.get(end).filter(|s| !s.is_empty()).and_then(|s| rest.strip_prefix(s.as_str())) {
            rest = left;
            end += 1;
        }
        if rest.is_empty() {
            for x in slot.x + cells(start)..slot.x + cells(end) {
                if let Some(cell) = canvas.buf.cell_mut((x, y)) {
                    cell.set_style(style);
                }
            }
        }
    }
}

fn draw_ghost(canvas: &mut Canvas<'_>, area: Rect, heads: &[Head], slots: &[Slot], ghost: &Ghost) {
    canvas.ground(area, Role::Selected);
    canvas.put(area.x, area.y, 1, "▸", Role::Key);
    for slot in slots {
        if let (Some(head), Some(cell)) = (heads.get(slot.column), ghost.cells.get(slot.column)) {
            let words = cell.words(usize::from(slot.columns));
            if head.right {
                canvas.put_right(slot.x + slot.columns, area.y, slot.columns, &words, Role::Ended);
            } else {
                canvas.put(slot.x, area.y, slot.columns, &words, Role::Ended);
            }
        }
    }
    canvas.put_right(area.right().saturating_sub(1), area.y, area.width, &format!(" {} ", ghost.note), Role::Stale);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Column;

    fn heads() -> Vec<Head> {
        let columns: [Column<()>; 4] = [
            Column::number("a", "A", 5, "", |_, ()| Cell::Blank).keep(10),
            Column::number("b", "B", 5, "", |_, ()| Cell::Blank),
            Column::hidden("h", "", |_, ()| Cell::Blank),
            Column::text("c", "C", 6, u16::MAX, "", |_, ()| Cell::Blank).keep(90),
        ];
        columns.iter().map(|c| c.head).collect()
    }

    fn shown(width: u16, lit: [bool; 4]) -> Vec<(usize, u16)> {
        let slots = lay_out(&heads(), &lit, Rect::new(0, 0, width, 5));
        assert!(slots.iter().all(|s| s.x + s.columns <= width), "{slots:?}");
        slots.iter().map(|s| (s.column, s.columns)).collect()
    }

    #[test]
    fn calm_columns_go_first_and_lit_ones_stay() {
        assert_eq!(shown(40, [false; 4]), [(0, 5), (1, 5), (3, 24)]);
        assert_eq!(shown(16, [false; 4]), [(1, 5), (3, 7)]);
        assert_eq!(shown(16, [true, false, false, false]), [(0, 5), (3, 7)]);
        assert_eq!(shown(8, [false; 4]), [(3, 6)]);
        assert_eq!(shown(4, [false; 4]), [(3, 2)]);
    }
}
