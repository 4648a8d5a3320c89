//! A document as Markdown, with text sparklines.

use super::document::{Block, amount};
use crate::view::spark;
use crate::view::text::printable;
use std::fmt::Write as _;

/// Columns of a sparkline.
const SPARK_COLUMNS: usize = 48;

/// The document as GitHub-flavoured Markdown.
#[must_use]
pub fn markdown(blocks: &[Block<'_>]) -> String {
    let mut out = String::new();
    for block in blocks {
        match block {
            Block::Heading(level, text) => {
                let _ = writeln!(out, "{} {}\n", "#".repeat(usize::from(*level)), escaped(text));
            }
            Block::Text(text) => {
                let _ = writeln!(out, "{}\n", escaped(text));
            }
            Block::Verdict(severity, text) => {
                let _ = writeln!(out, "**{severity}** {}\n", escaped(text));
            }
            Block::List(items) => {
                for item in items {
                    let _ = writeln!(out, "- {}", escaped(item));
                }
                out.push('\n');
            }
            Block::Command(command) => {
                let _ = writeln!(out, "    {}\n", printable(command));
            }
            Block::Table(head, rows) => {
                let _ = writeln!(out, "| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
                for row in rows {
                    let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
                    let _ = writeln!(out, "| {} |", cells.join(" | "));
                }
                out.push('\n');
            }
            Block::Charts(charts) => {
                out.push_str("```text\n");
                let name = charts.iter().map(|c| c.0.chars().count()).max().unwrap_or_default();
                for (label, reel, unit, limit) in charts {
                    let line = sparkline(reel.points(), *limit);
                    let last = reel.last().unwrap_or_default();
                    let peak = amount(reel.peak(), unit);
                    let _ = writeln!(out, "{label:name$}  {line}  peak {peak}, at the end {}", amount(last, unit));
                }
                out.push_str("```\n\n");
            }
        }
    }
    out
}

/// The series over its whole span in [`SPARK_COLUMNS`] columns, the largest value of each.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a column number; a spark is coarse")]
fn sparkline(points: &[(i64, f64)], limit: Option<f64>) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let columns = SPARK_COLUMNS.min(points.len());
    let span = last.0.saturating_sub(first.0).max(1) as f64;
    let mut values = vec![f32::NAN; columns];
    for (at, value) in points {
        let column = (at.saturating_sub(first.0) as f64 / span * columns as f64) as usize;
        if let Some(slot) = values.get_mut(column.min(columns.saturating_sub(1))) {
            *slot = slot.max(*value as f32);
        }
    }
    // Between two samples the value was what it was.
    let mut before = 0.0;
    for slot in &mut values {
        if slot.is_nan() {
            *slot = before;
        }
        before = *slot;
    }
    spark::line(&values, limit.map(|l| l as f32), columns)
}

/// Text that Markdown and a table cell leave as it is.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for ch in printable(text).chars() {
        if matches!(ch, '|' | '*' | '_' | '`' | '<' | '[' | ']' | '\\' | '#' | '~') {
            out.push('\\');
        }
        out.push(ch);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let blocks = [Block::Table(vec!["a"], vec![vec!["x|y<b>\u{1b}[31m`".into()]])];
        let text = markdown(&blocks);
        assert!(text.contains("x\\|y\\<b>") && !text.contains('\u{1b}') && text.contains("\\`"), "{text}");
    }

    #[test]
    fn a_chart_spans_its_whole_time() {
        let points: Vec<(i64, f64)> = (0..480).map(|n| (n, if n < 240 { 0.0 } else { 8.0 })).collect();
        let line = sparkline(&points, None);
        assert_eq!(line.chars().count(), SPARK_COLUMNS);
        assert_ne!(line.chars().next(), line.chars().last());
    }
}
