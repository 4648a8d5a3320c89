//! Draws the layer in which one acts.

use super::kill::{CHOICES, Stage};
use super::layer::Layer;
use super::{App, plan};
use crate::panes::PANES;
use crate::snapshot::Decision;
use crate::view::canvas::cells;
use crate::view::text::{cut_left, printable, width};
use crate::view::{Canvas, Role};
use ratatui::layout::Rect;

/// Below this width lines have no labels, and the way back is one word.
const NARROW: u16 = 40;

impl App {
    /// The plan in full, below its breadcrumb.
    pub(super) fn draw_kill(&mut self, canvas: &mut Canvas<'_>, body: Rect) {
        let (frame, now) = (std::sync::Arc::clone(&self.frame), self.now);
        let pane = PANES.get(self.pane).map_or("", |p| p.title);
        let Some(Layer::Kill(kill)) = self.layers.last_mut() else { return };
        let crumbs = format!("{pane} › {}", plan::title(&frame, &kill.action, kill.proposal()));
        let crumbs = printable(&crumbs);
        let crumbs = cut_left(&crumbs, usize::from(body.width.saturating_sub(1)));
        let taken = canvas.put(body.x + 1, body.y, body.width.saturating_sub(1), &crumbs, Role::Title);
        let note = match kill.stage {
            Stage::Sent { .. } => "sent",
            _ => "pinned · nothing sent",
        };
        let room = body.width.saturating_sub(taken + 4);
        canvas.put_right(body.right().saturating_sub(1), body.y, room, note, Role::Dim);
        let gap = if body.height > 8 { 2 } else { 1 };
        let area = Rect { y: body.y + gap, height: body.height.saturating_sub(gap), ..body };
        let mut lines = plan::lines(kill, now);
        if area.width < NARROW {
            // Labels would take most of it.
            for line in &mut lines {
                line.label = "";
            }
        }
        let heights: Vec<u16> = lines.iter().map(|l| l.rows(area.width)).collect();
        let total = heights.iter().fold(0_u16, |sum, h| sum.saturating_add(*h));
        if let Some(row) = plan::led_row(kill) {
            let low = (row + 1).saturating_sub(area.height);
            kill.scroll = kill.scroll.clamp(low, row.max(low));
        }
        kill.scroll = kill.scroll.min(total.saturating_sub(area.height));
        let mut top = 0;
        for (line, height) in lines.iter().zip(&heights) {
            let bottom = top + height;
            if bottom > kill.scroll && top < kill.scroll + area.height {
                let skip = kill.scroll.saturating_sub(top);
                let y = area.y + top.saturating_sub(kill.scroll);
                let rows = (height - skip).min(area.bottom().saturating_sub(y));
                line.draw(canvas, Rect { y, height: rows, ..area }, skip);
            }
            top = bottom;
        }
        let below = total.saturating_sub(kill.scroll + area.height);
        if below > 0 && area.height > 2 {
            let words = format!(" {below} more rows below ");
            canvas.put_right(area.right().saturating_sub(1), area.bottom().saturating_sub(1), 24, &words, Role::Stale);
        }
    }

    /// The keys that count now, the way back in its corner.
    pub(super) fn draw_kill_bar(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let Some(Layer::Kill(kill)) = self.layers.last() else { return };
        let mut keys: Vec<(String, &str)> = Vec::new();
        let mut back = "Esc leave it";
        match &kill.stage {
            Stage::Typing { proposal, input, wrong } => {
                let word = proposal.confirm.as_deref().unwrap_or_default();
                return typing(canvas, area, word, input, *wrong);
            }
            Stage::Shown(proposal) => {
                match proposal.decision {
                    Decision::Allowed => keys.push(("Enter".into(), "do it")),
                    Decision::Confirm => keys.push(("Enter".into(), "type the word")),
                    Decision::Refused => {}
                }
                if kill.signal().is_some() {
                    keys.push(("s".into(), "signal"));
                }
                let fits = CHOICES.iter().filter(|choice| choice.fits(&self.frame, kill));
                keys.extend(fits.map(|choice| (choice.key.to_string(), choice.word)));
            }
            Stage::Sent { .. } => {
                back = if kill.is_settled() { "Esc back" } else { "Esc back; it goes on being watched" };
                if kill.offers_kill(self.now) {
                    keys.push(("9".into(), "plan SIGKILL for what is left"));
                }
            }
            Stage::Choosing { .. } => {
                keys.push(("Enter".into(), "plan for it"));
                back = "Esc back to the plan";
            }
            Stage::Planning | Stage::Failed(_) => {}
        }
        if area.width < NARROW {
            back = "Esc";
        }
        let mut x = area.x + 1;
        let end = area.right().saturating_sub(cells(width(back)) + 2);
        for (key, word) in keys {
            let needs = cells(width(&key) + 1 + word.len());
            if x + needs > end {
                break;
            }
            x += canvas.put(x, area.y, needs, &key, Role::Key) + 1;
            x += canvas.put(x, area.y, needs, word, Role::Dim) + 2;
        }
        canvas.put_right(area.right().saturating_sub(1), area.y, area.right().saturating_sub(x), back, Role::Dim);
    }
}

/// The line in which the word is typed.
fn typing(canvas: &mut Canvas<'_>, area: Rect, word: &str, input: &tui_input::Input, wrong: bool) {
    let mut x = area.x + 1;
    let ask = if wrong { "Not that. Type " } else { "Type " };
    x += canvas.put(x, area.y, area.width, ask, if wrong { Role::Warn } else { Role::Text });
    x += canvas.put(x, area.y, area.right().saturating_sub(x), word, Role::Key);
    x += canvas.put(x, area.y, area.right().saturating_sub(x), ": ", Role::Text);
    let start = x;
    canvas.put(x, area.y, area.right().saturating_sub(x + 1), input.value(), Role::Input);
    let cursor = start + cells(input.visual_cursor());
    canvas.ground(Rect { x: cursor.min(area.right().saturating_sub(1)), width: 1, ..area }, Role::Found);
    let used = start + cells(width(input.value()));
    let room = area.right().saturating_sub(used + 4);
    canvas.put_right(area.right().saturating_sub(1), area.y, room, "Enter does it, Esc leaves it", Role::Dim);
}
