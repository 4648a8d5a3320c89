//! A line of prose: labelled, marked, coloured by role, and perhaps leading somewhere.

use super::text::{printable, width};
use super::{Canvas, Role, Target, canvas::cells};
use crate::model::Severity;
use ratatui::layout::Rect;

/// A piece of text in one role.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The text, perhaps hostile.
    pub text: String,
    /// Its role.
    pub role: Role,
}

/// A line of prose. It is wrapped where it is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// What it is about, at the left edge.
    pub label: &'static str,
    /// Its mark.
    pub mark: Option<Severity>,
    /// What it says.
    pub spans: Vec<Span>,
    /// Where Enter leads from it.
    pub target: Option<Target>,
}

/// Columns of the label.
pub const LABEL_COLUMNS: u16 = 10;

/// The mark of a severity, so that it never shows by hue alone.
#[must_use]
pub fn mark(severity: Option<Severity>) -> &'static str {
    match severity {
        Some(Severity::Critical) => "!",
        Some(Severity::Warning) => "~",
        None => " ",
    }
}

/// The role of a severity, or another where there is none.
#[must_use]
pub fn severity_role(severity: Option<Severity>, calm: Role) -> Role {
    match severity {
        Some(Severity::Critical) => Role::Crit,
        Some(Severity::Warning) => Role::Warn,
        None => calm,
    }
}

impl Line {
    /// An empty line with a label.
    #[must_use]
    pub fn of(label: &'static str) -> Self {
        Self { label, ..Self::default() }
    }

    /// An unlabelled line of one span.
    #[must_use]
    pub fn plain(role: Role, text: impl Into<String>) -> Self {
        Self::default().with(role, text)
    }

    /// Adds a span.
    #[must_use]
    pub fn with(mut self, role: Role, text: impl Into<String>) -> Self {
        self.spans.push(Span { text: text.into(), role });
        self
    }

    /// Adds ordinary text.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.with(Role::Text, text)
    }

    /// Adds dim text.
    #[must_use]
    pub fn dim(self, text: impl Into<String>) -> Self {
        self.with(Role::Dim, text)
    }

    /// Marks it, when there is a severity.
    #[must_use]
    pub fn marked(mut self, severity: Option<Severity>) -> Self {
        self.mark = severity;
        self
    }

    /// Makes Enter lead somewhere.
    #[must_use]
    pub fn to(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// The words alone.
    #[must_use]
    pub fn words(&self) -> String {
        self.spans.iter().map(|s| s.text.as_str()).collect()
    }

    /// Rows it takes in `columns`, and what stands in each.
    fn wrapped(&self, columns: u16) -> Vec<Vec<Span>> {
        wrap(&self.spans, usize::from(columns.max(1)))
    }

    fn indent(&self) -> u16 {
        if self.label.is_empty() { 2 } else { LABEL_COLUMNS + 2 }
    }

    /// Rows it takes when drawn `columns` wide.
    #[must_use]
    pub fn rows(&self, columns: u16) -> u16 {
        cells(self.wrapped(columns.saturating_sub(self.indent() + 1)).len()).max(1)
    }

    /// Draws it in one row, cut at its end.
    pub fn draw_cut(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let mut x = self.draw_label(canvas, area);
        for span in &self.spans {
            x += canvas.put(x, area.y, area.right().saturating_sub(x + 1), &span.text, span.role);
        }
    }

    /// Draws mark and label; returns where the words begin.
    fn draw_label(&self, canvas: &mut Canvas<'_>, area: Rect) -> u16 {
        canvas.put(area.x + 1, area.y, 1, mark(self.mark), severity_role(self.mark, Role::Text));
        canvas.put(area.x + 2, area.y, LABEL_COLUMNS, self.label, Role::Label);
        area.x + self.indent()
    }

    /// Draws it into `area`, wrapped, and cut at its bottom; returns the rows it took.
    pub fn draw(&self, canvas: &mut Canvas<'_>, area: Rect, skip: u16) -> u16 {
        let indent = self.indent();
        if skip == 0 {
            self.draw_label(canvas, area);
        }
        let rows = self.wrapped(area.width.saturating_sub(indent + 1));
        let mut y = area.y;
        for row in rows.iter().skip(usize::from(skip)) {
            if y >= area.bottom() {
                break;
            }
            let mut x = area.x + indent;
            for span in row {
                x += canvas.put(x, y, area.right().saturating_sub(x), &span.text, span.role);
            }
            y += 1;
        }
        (y - area.y).max(1)
    }
}

/// Breaks spans into rows at spaces; a word longer than a row is broken anywhere.
fn wrap(spans: &[Span], columns: usize) -> Vec<Vec<Span>> {
    let mut rows: Vec<Vec<Span>> = vec![Vec::new()];
    let mut used = 0;
    for span in spans {
        let text = printable(&span.text);
        for word in text.split_inclusive(' ') {
            let mut word = word;
            let needs = width(word.trim_end());
            if used > 0 && used + needs > columns {
                rows.push(Vec::new());
                used = 0;
            }
            while width(word.trim_end()) > columns {
                let (head, tail) = split(word, columns);
                push(&mut rows, head, span.role);
                if !tail.is_empty() {
                    rows.push(Vec::new());
                }
                word = tail;
            }
            if used == 0 && rows.len() > 1 && word.trim().is_empty() {
                continue;
            }
            used += width(word);
            push(&mut rows, word, span.role);
        }
    }
    rows
}

/// The first part of `word` that fits `columns`, at least one character, and the rest.
fn split(word: &str, columns: usize) -> (&str, &str) {
    let mut used = 0;
    let mut end = 0;
    for (at, cluster) in unicode_segmentation::UnicodeSegmentation::grapheme_indices(word, true) {
        used += width(cluster);
        if used > columns && end > 0 {
            break;
        }
        end = at + cluster.len();
    }
    word.split_at_checked(end).unwrap_or((word, ""))
}

fn push(rows: &mut [Vec<Span>], text: &str, role: Role) {
    let Some(row) = rows.last_mut() else { return };
    match row.last_mut() {
        Some(last) if last.role == role => last.text.push_str(text),
        _ => row.push(Span { text: text.to_owned(), role }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(line: &Line, columns: u16) -> Vec<String> {
        line.wrapped(columns).iter().map(|r| r.iter().map(|s| s.text.trim_end()).collect()).collect()
    }

    #[test]
    fn wraps_at_spaces_and_breaks_what_is_longer_than_a_row() {
        let line = Line::default().text("one two ").dim("three four");
        assert_eq!(rows(&line, 9), ["one two", "three", "four"]);
        assert_eq!(rows(&Line::default().text("abcdefghij k"), 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(rows(&Line::default().text("漢字漢"), 3), ["漢", "字", "漢"]);
        assert_eq!(rows(&Line::default(), 3), [""]);
        assert_eq!(rows(&Line::default().text("漢"), 1), ["漢"]);
    }
}
