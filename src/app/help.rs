//! Help of a screen and its sort menu: both made from the tables of keys and columns.

use super::keys::{self, Place};
use crate::panes::Pane;
use crate::view::canvas::cells;
use crate::view::{Canvas, Head, Role, View};
use ratatui::layout::Rect;

/// Draws the help of a screen; `scroll` rows are above it.
pub(super) fn draw(
    canvas: &mut Canvas<'_>,
    area: Rect,
    pane: Option<&Pane>,
    view: Option<&'static dyn View>,
    places: &[Place],
    scroll: usize,
) {
    let mut rows: Vec<(String, String, Role)> = Vec::new();
    if let Some(pane) = pane {
        rows.push((pane.title.to_owned(), pane.question.to_owned(), Role::Title));
        for each in pane.views {
            if pane.views.len() > 1 {
                rows.push((format!("  {}", each.name()), each.question().to_owned(), Role::Text));
            }
        }
        rows.push(blank());
    }
    for binding in keys::BINDINGS.iter().filter(|b| !b.help.is_empty() && keys::fits(b, places)) {
        rows.push((format!("  {}", binding.label), binding.help.to_owned(), Role::Key));
    }
    rows.push(blank());
    rows.push((
        "Marks".into(),
        "! work is failing now · ~ it will fail · – not known · dim: zero or calm".into(),
        Role::Title,
    ));
    if let Some(view) = view.filter(|_| !places.contains(&Place::Page)) {
        rows.push(blank());
        rows.push(("Columns".into(), "by the names that the filter knows: state=D d>20 rss>2g".into(), Role::Title));
        rows.extend(view.heads().iter().map(|h| (format!("  {}", h.id), h.help.to_owned(), Role::Label)));
    }
    let scroll = scroll.min(rows.len().saturating_sub(usize::from(area.height)));
    for (i, (left, right, role)) in rows.iter().skip(scroll).take(usize::from(area.height)).enumerate() {
        let y = area.y + cells(i);
        canvas.put(area.x + 2, y, 14, left, *role);
        canvas.put(area.x + 17, y, area.width.saturating_sub(18), right, Role::Text);
    }
}

fn blank() -> (String, String, Role) {
    (String::new(), String::new(), Role::Text)
}

/// Draws the columns to choose from.
pub(super) fn sort_menu(canvas: &mut Canvas<'_>, area: Rect, heads: &[Head], at: usize, sort: Option<(usize, bool)>) {
    canvas.put(area.x + 2, area.y, area.width, "Sort by", Role::Title);
    let rows = usize::from(area.height.saturating_sub(1)).max(1);
    let first = (at + 1).saturating_sub(rows);
    for (i, head) in heads.iter().enumerate().skip(first).take(rows) {
        let y = area.y + 1 + cells(i - first);
        if i == at {
            canvas.ground(Rect { y, height: 1, ..area }, Role::Selected);
            canvas.put(area.x, y, 1, "▸", Role::Key);
        }
        let arrow = match sort {
            Some((column, true)) if column == i => "↓",
            Some((column, false)) if column == i => "↑",
            _ => " ",
        };
        canvas.put(area.x + 2, y, 1, arrow, Role::Key);
        canvas.put(area.x + 4, y, 13, head.id, Role::Label);
        canvas.put(area.x + 18, y, area.width.saturating_sub(19), head.help, Role::Text);
    }
}
