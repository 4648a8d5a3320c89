//! Puts the screen together: header, what the pane sums up, table, the selected row in full, keys.

use super::keys::{self, Place};
use super::layer::{Layer, PageState, Purpose};
use super::{App, header, help, scrub};
use crate::panes::{PANES, drill};
use crate::view::canvas::cells;
use crate::view::table::{self, Look};
use crate::view::text::{cut_left, printable, width};
use crate::view::{Canvas, Line, Role, State, Target};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Keys in the bar at most.
const BAR_KEYS: usize = 8;

impl App {
    /// Draws the whole screen into `buf`, whatever its size.
    pub fn draw(&mut self, buf: &mut Buffer) {
        let theme = self.options.theme.clone();
        let area = buf.area;
        let mut canvas = Canvas { buf, theme: &theme, ascii: self.options.ascii };
        canvas.ground(area, Role::Text);
        if area.width == 0 || area.height == 0 {
            return;
        }
        let taken = header::draw(&mut canvas, area, &self.frame, &self.about()).min(area.height);
        let bar = u16::from(area.height >= 4);
        let scrub = u16::from(self.replay.is_some() && area.height >= 5);
        let body = Rect { y: area.y + taken, height: area.height.saturating_sub(taken + bar + scrub), ..area };
        match self.layers.last() {
            Some(Layer::Help { scroll }) => {
                let places = self.places_below();
                help::draw(
                    &mut canvas,
                    body,
                    PANES.get(self.pane).copied(),
                    self.view().map(|v| v.view),
                    &places,
                    *scroll,
                );
            }
            Some(Layer::Sort { at }) => {
                let view = self.view();
                let heads = view.map(|v| v.view.heads()).unwrap_or_default();
                help::sort_menu(&mut canvas, body, &heads, *at, view.and_then(super::ViewState::sort));
            }
            Some(Layer::Kill(_)) => self.draw_kill(&mut canvas, body),
            Some(Layer::Spots { at }) => {
                if let Some(replay) = &self.replay {
                    scrub::list(&mut canvas, body, &replay.recording, *at, self.options.utc_offset_secs);
                }
            }
            _ if self.layers.iter().any(|l| matches!(l, Layer::Page(_))) => self.draw_page(&mut canvas, body),
            _ => self.draw_table(&mut canvas, body),
        }
        if let Some(replay) = self.replay.as_ref().filter(|_| scrub > 0) {
            let row = Rect { y: area.bottom() - 2, height: 1, ..area };
            scrub::draw(&mut canvas, row, replay, self.frame.snap.wall_unix_ns, self.options.utc_offset_secs);
        }
        if bar > 0 {
            self.draw_bar(&mut canvas, Rect { y: area.bottom() - 1, height: 1, ..area });
        }
    }

    fn about(&self) -> header::About {
        header::About {
            pane: self.pane,
            paused: self.held.is_some(),
            replay: self.replay.as_ref().map(|r| r.playing),
            recorder: self.recorder,
            read_only: self.options.read_only,
            now: self.now,
            utc_offset_secs: self.options.utc_offset_secs,
        }
    }

    /// The places of what lies under the help.
    fn places_below(&self) -> Vec<Place> {
        if self.layers.iter().any(|l| matches!(l, Layer::Page(_))) { vec![Place::Page] } else { self.places() }
    }

    fn draw_table(&mut self, canvas: &mut Canvas<'_>, body: Rect) {
        let frame = std::sync::Arc::clone(&self.frame);
        let Some(view) = self.view() else { return };
        let mut y = body.y;
        let low = body.height < 7;
        let state = view.view.section(&frame);
        if !low {
            y += self.draw_status(canvas, Rect { y, height: 1, ..body });
            for line in view.view.summary(&frame).iter().skip(1) {
                if y + 6 < body.bottom() {
                    let room = Rect { y, height: 1, ..body };
                    line.draw_cut(canvas, room);
                    y += 1;
                }
            }
        }
        if let Some(line) = state.line(frame.snap.at) {
            y += line.draw(canvas, Rect { y, height: body.bottom().saturating_sub(y), ..body }, 0);
        }
        let missing = matches!(state, State::Denied(_) | State::Absent(_));
        let footer = if missing || low { 0 } else { view.view.footer_rows().min(body.bottom().saturating_sub(y) / 3) };
        let footer_area = Rect { y: body.bottom() - footer, height: footer, ..body };
        let rows = Rect { y, height: (body.bottom() - footer).saturating_sub(y + u16::from(footer > 0)), ..body };
        let empty = view.listing.as_ref().is_none_or(|l| l.places.is_empty()) && view.ghost(&frame).is_none();
        if missing {
            return;
        }
        if empty {
            self.draw_empty(canvas, rows);
            return;
        }
        let shown = usize::from(rows.height.saturating_sub(1));
        self.table_rows = shown;
        let tagged: Vec<_> = self.tags.iter().map(|key| super::doable::tag_row(*key)).collect();
        let view = self.view_mut();
        view.scroll(shown);
        let ghost = view.ghost(&frame);
        if let Some(listing) = &view.listing {
            let look = Look {
                offset: view.offset,
                selected: Some(view.cursor),
                sort: view.sort(),
                found: &view.search,
                ghost: ghost.as_ref(),
                tagged: &tagged,
                stale: matches!(state, State::Stale(..)),
            };
            table::draw(canvas, rows, listing, &look);
        }
        if footer > 0 {
            canvas.rule(footer_area.y - 1);
            let lines =
                view.row().and_then(|row| view.listing.as_ref().map(|l| l.sheet.footer(row))).unwrap_or_default();
            draw_lines(canvas, footer_area, &lines);
        }
    }

    /// One row: the pane's views, what the open one sums up, and the filter.
    fn draw_status(&self, canvas: &mut Canvas<'_>, area: Rect) -> u16 {
        let Some(view) = self.view() else { return 0 };
        let summary = view.view.summary(&self.frame);
        let views = PANES.get(self.pane).map(|p| p.views).unwrap_or_default();
        if views.len() < 2 && summary.is_empty() && view.filter.is_empty() {
            return 0;
        }
        let mut x = area.x + 2;
        if views.len() > 1 {
            for each in views {
                let open = each.name() == view.view.name();
                let role = if open { Role::Title } else { Role::Dim };
                let room = area.right().saturating_sub(x);
                if open {
                    canvas.ground(Rect { x: x - 1, width: cells(width(each.name())) + 2, ..area }, Role::Selected);
                }
                x += canvas.put(x, area.y, room, each.name(), role) + 2;
            }
            x += 1;
        }
        let right = self.filter_words();
        let taken = cells(width(&right.1)) + u16::from(!right.1.is_empty()) * 2;
        if let Some(line) = summary.first() {
            let end = area.right().saturating_sub(taken);
            for span in &line.spans {
                x += canvas.put(x, area.y, end.saturating_sub(x), &span.text, span.role);
            }
        }
        let (role, words) = right;
        canvas.put_right(area.right().saturating_sub(1), area.y, area.width, &words, role);
        1
    }

    fn filter_words(&self) -> (Role, String) {
        let Some(view) = self.view() else { return (Role::Dim, String::new()) };
        if let Some(what) = &view.filter_error {
            return (Role::Warn, what.clone());
        }
        match &view.listing {
            Some(listing) if !view.filter.is_empty() => {
                let tagged = if self.tags.is_empty() {
                    String::new()
                } else {
                    format!("{} tagged: k is for them · ", self.tags.len())
                };
                let words = format!("\\ {}: {} match, {} hidden", view.filter, listing.matching, listing.hidden);
                (Role::Key, tagged + &words)
            }
            _ if !self.tags.is_empty() => (Role::Key, format!("{} tagged: k is for them, U untags", self.tags.len())),
            _ if view.follow => (Role::Key, "F: the first row stays selected".into()),
            _ => (Role::Dim, String::new()),
        }
    }

    fn draw_empty(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let Some(view) = self.view() else { return };
        let lines = match &view.listing {
            Some(listing) if !view.filter.is_empty() && listing.hidden > 0 => vec![
                Line::plain(Role::Text, format!("The filter `{}` hides all {} rows.", view.filter, listing.hidden)),
                Line::plain(Role::Dim, "Esc shows them again; \\ changes the filter."),
            ],
            _ => view.view.empty(&self.frame),
        };
        let indent = u16::from(area.height > 8);
        draw_lines(canvas, Rect { y: area.y + indent, height: area.height.saturating_sub(indent), ..area }, &lines);
    }

    fn draw_page(&mut self, canvas: &mut Canvas<'_>, body: Rect) {
        let cx = self.cx();
        let mut crumbs = PANES.get(self.pane).map_or_else(String::new, |p| p.title.to_owned());
        let mut top = None;
        for layer in &self.layers {
            if let Layer::Page(state) = layer {
                let page = drill::page(&cx, &state.target);
                crumbs.push_str(" › ");
                crumbs.push_str(&page.title);
                top = Some(page);
            }
        }
        let Some(page) = top else { return };
        // The end of the way counts: what one is looking at.
        let crumbs = printable(&crumbs);
        let crumbs = cut_left(&crumbs, usize::from(body.width.saturating_sub(1)));
        let taken = canvas.put(body.x + 1, body.y, body.width.saturating_sub(1), &crumbs, Role::Title);
        let room = body.width.saturating_sub(taken + 4);
        canvas.put_right(body.right().saturating_sub(1), body.y, room, &page.note, Role::Dim);
        let gap = if body.height > 8 { 2 } else { 1 };
        let area = Rect { y: body.y + gap, height: body.height.saturating_sub(gap), ..body };
        let state = self.layers.iter_mut().rev().find_map(|l| match l {
            Layer::Page(state) => Some(state),
            _ => None,
        });
        if let Some(state) = state {
            draw_page_lines(canvas, area, &page, state);
        }
    }

    fn draw_bar(&self, canvas: &mut Canvas<'_>, area: Rect) {
        if let Some(Layer::Prompt { purpose, input, .. }) = self.layers.last() {
            self.draw_prompt(canvas, area, *purpose, input);
            return;
        }
        let (back, places): (String, Vec<Place>) = match self.layers.last() {
            Some(Layer::Help { .. }) => ("any other key: back".into(), Vec::new()),
            Some(Layer::Sort { .. }) => ("Enter sort by it · Esc back".into(), Vec::new()),
            Some(Layer::Kill(_)) => return self.draw_kill_bar(canvas, area),
            Some(Layer::Spots { .. }) => ("Enter go there · Esc back".into(), Vec::new()),
            _ => (self.way_back(), self.places()),
        };
        let right = self.told().map_or_else(|| (back.as_str(), Role::Dim), |told| (told, Role::Title));
        let mut x = area.x + 1;
        let end = area.right().saturating_sub(cells(width(right.0)) + 2);
        if !matches!(self.layers.last(), Some(Layer::Help { .. } | Layer::Sort { .. } | Layer::Spots { .. })) {
            let fits = keys::BINDINGS.iter().filter(|b| !b.word.is_empty() && keys::fits(b, &places));
            // The way back stands in its own corner; help and quit stand in the header where that is wide enough.
            let fits = fits.filter(|b| b.action != keys::Action::Back);
            let wide = header::has_help(area.width);
            let fits = fits.filter(|b| !wide || !matches!(b.action, keys::Action::Help | keys::Action::Quit));
            for binding in fits.take(BAR_KEYS) {
                let needs = cells(width(binding.label) + 1 + binding.word.len());
                if x + needs > end {
                    break;
                }
                x += canvas.put(x, area.y, needs, binding.label, Role::Key) + 1;
                x += canvas.put(x, area.y, needs, binding.word, Role::Dim) + 2;
            }
        }
        canvas.put_right(area.right().saturating_sub(1), area.y, area.width.saturating_sub(x), right.0, right.1);
    }

    /// `Esc back to …`.
    fn way_back(&self) -> String {
        let pages: Vec<&PageState> =
            self.layers.iter().filter_map(|l| if let Layer::Page(p) = l { Some(p) } else { None }).collect();
        match pages.len() {
            0 => String::new(),
            1 => format!("Esc back to {}", PANES.get(self.pane).map_or("", |p| p.title)),
            n => {
                let cx = self.cx();
                let below = pages.get(n - 2).map(|p| drill::page(&cx, &p.target).title).unwrap_or_default();
                format!("Esc back to {below}")
            }
        }
    }

    fn draw_prompt(&self, canvas: &mut Canvas<'_>, area: Rect, purpose: Purpose, input: &tui_input::Input) {
        let (sign, hint) = match purpose {
            Purpose::Search => ("/", "Enter keeps it, n goes on, Esc leaves it"),
            Purpose::Jump => {
                ("@", "03:12  03:12:30  2026-11-22T03:12:30Z  -5m  +30s · Enter goes there, Esc leaves it")
            }
            Purpose::Mark => ("m", "what happens now? · Enter marks it, Esc leaves it"),
            Purpose::Filter => ("\\", "state=D  d>20  port=61616  text  !text · Enter keeps it, Esc leaves it"),
        };
        let mut x = area.x + 1;
        x += canvas.put(x, area.y, 1, sign, Role::Key);
        let start = x;
        x += canvas.put(x, area.y, area.right().saturating_sub(x + 1), input.value(), Role::Input);
        let cursor = start + cells(input.visual_cursor());
        canvas.ground(Rect { x: cursor.min(area.right().saturating_sub(1)), width: 1, ..area }, Role::Found);
        let (role, words) = match self.filter_words() {
            (role, words) if purpose == Purpose::Filter && !words.is_empty() => {
                (role, words.split_once(": ").map_or(words.clone(), |(_, count)| count.to_owned()))
            }
            _ => (Role::Dim, hint.to_owned()),
        };
        let room = area.right().saturating_sub(x + 4);
        canvas.put_right(area.right().saturating_sub(1), area.y, room, &words, role);
    }
}

/// Draws lines below one another. Where there is no room for all of it, the longest give way, so that each is there.
fn draw_lines(canvas: &mut Canvas<'_>, area: Rect, lines: &[Line]) {
    let mut heights: Vec<u16> = lines.iter().map(|l| l.rows(area.width)).collect();
    while heights.iter().sum::<u16>() > area.height {
        match heights.iter_mut().max() {
            Some(longest) if *longest > 1 => *longest -= 1,
            _ => break,
        }
    }
    let mut y = area.y;
    for (line, height) in lines.iter().zip(heights) {
        if y >= area.bottom() {
            return;
        }
        let room = Rect { y, height: height.min(area.bottom() - y), ..area };
        if height == 1 {
            line.draw_cut(canvas, room);
        } else {
            line.draw(canvas, room, 0);
            if line.rows(area.width) > height {
                canvas.put(area.right().saturating_sub(1), room.bottom().saturating_sub(1), 1, "…", Role::Dim);
            }
        }
        y += height;
    }
}

/// The selected line of a page: the one that leads where the last selected one led, else the first that leads anywhere.
pub(super) fn selected_line(state: &PageState, page: &drill::Page) -> Option<usize> {
    let wanted: Option<&Target> = state.selected.as_ref();
    let same = page.lines.iter().enumerate().filter(|(_, l)| wanted.is_some() && l.target.as_ref() == wanted);
    let nearest = same.min_by_key(|(i, _)| i.abs_diff(state.line)).map(|(i, _)| i);
    nearest.or_else(|| page.lines.iter().position(|l| l.target.is_some()))
}

fn draw_page_lines(canvas: &mut Canvas<'_>, area: Rect, page: &drill::Page, state: &mut PageState) {
    let heights: Vec<u16> = page.lines.iter().map(|l| l.rows(area.width)).collect();
    let starts: Vec<u16> =
        heights.iter().scan(0u16, |top, h| Some(std::mem::replace(top, top.saturating_add(*h)))).collect();
    let total: u16 = heights.iter().fold(0, |sum, h| sum.saturating_add(*h));
    let rows =
        |at: usize| starts.get(at).copied().zip(heights.get(at).copied()).map(|(top, h)| (top, top.saturating_add(h)));
    let mut selected = selected_line(state, page);
    if let (true, Some((top, bottom))) = (state.led, selected.and_then(rows)) {
        let low = bottom.saturating_sub(area.height).min(top);
        state.scroll = state.scroll.clamp(low, top);
    }
    state.scroll = state.scroll.min(total.saturating_sub(area.height));
    if !state.led {
        let seen = |at: usize| {
            rows(at)
                .is_some_and(|(top, bottom)| bottom > state.scroll && top < state.scroll.saturating_add(area.height))
        };
        if !selected.is_some_and(seen) {
            let visible = page.lines.iter().enumerate().position(|(at, l)| l.target.is_some() && seen(at));
            selected = visible.or(selected);
        }
    }
    state.rows = (total, area.height);
    if let Some(at) = selected {
        state.line = at;
        state.selected = page.lines.get(at).and_then(|l| l.target.clone());
    }
    let mut top = 0;
    for (i, (line, height)) in page.lines.iter().zip(&heights).enumerate() {
        let bottom = top + height;
        if bottom > state.scroll && top < state.scroll + area.height {
            let skip = state.scroll.saturating_sub(top);
            let y = area.y + top.saturating_sub(state.scroll);
            let rows = (height - skip).min(area.bottom().saturating_sub(y));
            let room = Rect { y, height: rows, ..area };
            if selected == Some(i) {
                canvas.ground(room, Role::Selected);
                canvas.put(area.x, y, 1, "▸", Role::Key);
            }
            line.draw(canvas, room, skip);
        }
        top = bottom;
    }
    if total > area.height {
        let below = total.saturating_sub(state.scroll + area.height);
        if below > 0 {
            let words = format!(" {below} more rows below ");
            canvas.put_right(area.right().saturating_sub(1), area.bottom() - 1, 24, &words, Role::Stale);
        }
    }
}
