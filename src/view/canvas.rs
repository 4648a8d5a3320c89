//! A buffer to draw on by role. Whatever is asked for, nothing is drawn outside, and nothing unprintable.

use super::text::{ascii, cut, printable, width};
use super::{Role, Theme};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::borrow::Cow;

/// A buffer, the theme, and whether only ASCII may be drawn.
pub struct Canvas<'a> {
    /// The cells.
    pub buf: &'a mut Buffer,
    /// What roles look like.
    pub theme: &'a Theme,
    /// ASCII stand-ins for everything else.
    pub ascii: bool,
}

/// A length in columns or rows; what does not fit a screen is the largest there is.
#[must_use]
pub fn cells(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

impl Canvas<'_> {
    /// The whole of it.
    #[must_use]
    pub fn area(&self) -> Rect {
        self.buf.area
    }

    /// Writes `text` at (x, y) in at most `columns`; returns the columns it took.
    pub fn put(&mut self, x: u16, y: u16, columns: u16, text: &str, role: Role) -> u16 {
        let area = self.buf.area;
        if y < area.top() || y >= area.bottom() || x < area.left() || x >= area.right() {
            return 0;
        }
        let room = usize::from(columns.min(area.right() - x));
        let shown = printable(text);
        let shown = cut(&shown, room);
        let shown: Cow<'_, str> = if self.ascii && !shown.is_ascii() { Cow::Owned(plain(&shown)) } else { shown };
        let ground = self.theme.style(Role::Selected).bg;
        let selected = ground.is_some() && self.buf.cell((x, y)).and_then(|c| c.style().bg) == ground;
        let style = if selected { self.theme.on_selected(role) } else { self.theme.style(role) };
        self.buf.set_stringn(x, y, &shown, room, style);
        cells(width(&shown))
    }

    /// Writes `text` so that it ends before `right`.
    pub fn put_right(&mut self, right: u16, y: u16, columns: u16, text: &str, role: Role) -> u16 {
        let shown = printable(text);
        let taken = cells(width(&shown)).min(columns);
        self.put(right.saturating_sub(taken), y, taken, &shown, role)
    }

    /// Lays a role's ground under a row of cells.
    pub fn ground(&mut self, area: Rect, role: Role) {
        let style = self.theme.style(role);
        self.buf.set_style(area.intersection(self.buf.area), style);
    }

    /// A rule across the screen.
    pub fn rule(&mut self, y: u16) {
        let area = self.buf.area;
        self.put(area.x, y, area.width, &"─".repeat(usize::from(area.width)), Role::Rule);
    }
}

/// Text in ASCII, as wide as it was.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for ch in text.chars() {
        match unicode_width::UnicodeWidthChar::width(ch) {
            Some(0) | None => {}
            Some(columns) => out.extend(std::iter::repeat_n(ascii(ch), columns)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_nothing_unprintable() {
        let theme = Theme::probe();
        let mut buf = Buffer::empty(Rect::new(0, 0, 6, 2));
        let mut canvas = Canvas { buf: &mut buf, theme: &theme, ascii: false };
        assert_eq!(canvas.put(9, 0, 5, "out", Role::Text), 0);
        assert_eq!(canvas.put(0, 9, 5, "out", Role::Text), 0);
        assert_eq!(canvas.put(0, 0, 99, "a\x1b[2J", Role::Text), 6);
        assert_eq!(canvas.put_right(6, 1, 4, "漢", Role::Text), 2);
        canvas.ascii = true;
        canvas.put(0, 1, 4, "│漢", Role::Text);
        let row = |y: u16| (0..6).map(|x| buf[(x, y)].symbol()).collect::<String>();
        assert_eq!(row(0), "a\\x1b…");
        assert_eq!(row(1), "|?? 漢 ", "a wide character covers the cell after it");
    }
}
