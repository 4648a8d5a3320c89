//! Cells carry meaning; how a number looks is decided here, once, for screens, text tables and JSON.

use super::line::Span;
use super::text::printable;
use super::{Role, num, spark};
use crate::snapshot::Text;
use std::cmp::Ordering;

/// What a cell holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing to say.
    Blank,
    /// Not known, and why.
    Unknown(&'static str),
    /// A count.
    Count(u64),
    /// Bytes.
    Bytes(u64),
    /// Events a second.
    Rate(f64),
    /// Growth a second, signed.
    Growth(f64),
    /// Growth of bytes a second, signed.
    ByteGrowth(f64),
    /// Bytes a second.
    ByteRate(f64),
    /// Percent.
    Percent(f64),
    /// Seconds.
    Span(f64),
    /// A plain number in the unit of its row.
    Number(f64),
    /// Text, perhaps hostile.
    Text(Text),
    /// Text that sums its row up.
    Title(Text),
    /// Several texts, each of which a filter may match.
    Many(Vec<Text>),
    /// What is used of a limit; `bytes` says the unit.
    Usage {
        /// Used.
        used: u64,
        /// The limit; `None` = none.
        limit: Option<u64>,
        /// Bytes rather than a count.
        bytes: bool,
    },
    /// A short history.
    Spark {
        /// Values, oldest first.
        values: Vec<f32>,
        /// What they are held against.
        limit: Option<f32>,
    },
}

impl Cell {
    /// Text.
    #[must_use]
    pub fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    /// A count that may be unknown.
    #[must_use]
    pub fn count(n: Option<u64>, why: &'static str) -> Self {
        n.map_or(Self::Unknown(why), Self::Count)
    }

    /// Bytes that may be unknown.
    #[must_use]
    pub fn bytes(n: Option<u64>, why: &'static str) -> Self {
        n.map_or(Self::Unknown(why), Self::Bytes)
    }

    /// The number to sort, compare and print as JSON; `None` for text and what is unknown.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Count(n) | Self::Bytes(n) => Some(*n as f64),
            Self::Rate(v)
            | Self::Growth(v)
            | Self::ByteGrowth(v)
            | Self::ByteRate(v)
            | Self::Percent(v)
            | Self::Span(v)
            | Self::Number(v) => Some(*v),
            Self::Usage { used, limit: Some(limit), .. } if *limit > 0 => Some(*used as f64 / *limit as f64),
            Self::Usage { used, .. } => Some(*used as f64),
            Self::Spark { values, .. } => values.last().map(|v| f64::from(*v)),
            Self::Blank | Self::Unknown(_) | Self::Text(_) | Self::Title(_) | Self::Many(_) => None,
        }
    }

    /// The texts in it.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let (one, many) = match self {
            Self::Text(t) | Self::Title(t) => (Some(&**t), [].as_slice()),
            Self::Many(m) => (None, m.as_slice()),
            _ => (None, [].as_slice()),
        };
        one.into_iter().chain(many.iter().map(|t| &**t))
    }

    /// Order for sorting, ascending; what is unknown comes first.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        match (self.value(), other.value()) {
            (Some(a), Some(b)) => {
                // A share of a limit and a use without limit don't compare: limited ones are larger.
                let limited = |c: &Self| matches!(c, Self::Usage { limit: Some(_), .. });
                limited(self).cmp(&limited(other)).then(a.total_cmp(&b))
            }
            (Some(_), None) => Ordering::Greater,
            (None, Some(_)) => Ordering::Less,
            (None, None) => {
                let caseless =
                    |c: &Self| c.texts().flat_map(str::chars).flat_map(char::to_lowercase).collect::<String>();
                caseless(self).cmp(&caseless(other))
            }
        }
    }

    /// The words in it, in at most `columns` where it is a number.
    #[must_use]
    pub fn words(&self, columns: usize) -> String {
        match self {
            Self::Blank => String::new(),
            Self::Unknown(_) => "–".into(),
            Self::Count(n) => num::count(*n, columns),
            Self::Bytes(n) => num::bytes(*n),
            Self::Rate(v) | Self::Number(v) => num::number(*v),
            Self::Growth(v) => num::growth(*v),
            Self::ByteGrowth(v) => num::byte_growth(*v),
            Self::ByteRate(v) => num::bytes(num::whole(*v)),
            Self::Percent(v) => num::percent(*v),
            Self::Span(v) => num::span(*v),
            Self::Text(t) | Self::Title(t) => printable(t).into_owned(),
            Self::Many(m) => m.iter().map(|t| printable(t)).collect::<Vec<_>>().join(" "),
            Self::Usage { used, limit, bytes } => {
                let show = |n: u64| if *bytes { num::bytes(n) } else { num::short(n) };
                limit.map_or_else(|| show(*used), |limit| format!("{}/{}", show(*used), show(limit)))
            }
            Self::Spark { values, limit } => spark::line(values, *limit, spark::COLUMNS),
        }
    }

    /// Whether it is calm: zero, blank or unknown.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        match self {
            Self::Blank | Self::Unknown(_) => true,
            Self::Usage { used, .. } => *used == 0,
            Self::Text(_) | Self::Title(_) | Self::Many(_) | Self::Spark { .. } => false,
            _ => self.value().is_some_and(|v| v.abs() < 0.05),
        }
    }

    /// What to draw in `columns`.
    #[must_use]
    pub fn spans(&self, columns: usize, role: Role) -> Vec<Span> {
        let role = if role == Role::Text && self.is_calm() { Role::Dim } else { role };
        let words = self.words(columns);
        match self {
            Self::Spark { .. } => vec![Span { text: words, role: if role == Role::Text { Role::Bar } else { role } }],
            Self::Title(_) => vec![Span { text: words, role: if role == Role::Text { Role::Title } else { role } }],
            Self::Usage { used, limit, .. } if columns >= USAGE_COLUMNS => {
                // The slash stands at one place in all rows, whether there is a limit or not.
                let (now, most) = words.split_once('/').map_or((words.as_str(), ""), |(n, m)| (n, m));
                let slash = if limit.is_some() { '/' } else { ' ' };
                let bar = if columns >= USAGE_COLUMNS + 5 { columns - USAGE_COLUMNS - 1 } else { 0 };
                let full = limit.map_or(0, |limit| spark::filled(*used, limit, bar));
                let filled = if role == Role::Text || role == Role::Dim { Role::Bar } else { role };
                let rest = if limit.is_some() { "─" } else { " " };
                vec![
                    Span { text: format!("{now:>5}{slash}{most:<5}{}", if bar > 0 { " " } else { "" }), role },
                    Span { text: "━".repeat(full), role: filled },
                    Span { text: rest.repeat(bar - full), role: Role::Rule },
                ]
            }
            _ => vec![Span { text: words, role }],
        }
    }

    /// The value for JSON: numbers unrounded, `null` for what is unknown.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Text(t) | Self::Title(t) => (&**t).into(),
            Self::Many(m) => m.iter().map(|t| &**t).collect::<Vec<_>>().into(),
            Self::Count(n) | Self::Bytes(n) => (*n).into(),
            Self::Usage { used, limit, .. } => serde_json::json!({ "used": used, "limit": limit }),
            Self::Spark { values, .. } => values.clone().into(),
            _ => self.value().map_or(serde_json::Value::Null, Into::into),
        }
    }
}

/// Columns of `used/limit`: two numbers of five and a slash.
const USAGE_COLUMNS: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_sort_by_value_and_show_what_is_unknown() {
        assert_eq!(Cell::Count(9).order(&Cell::Count(10)), Ordering::Less);
        assert_eq!(Cell::Unknown("x").order(&Cell::Count(0)), Ordering::Less);
        assert_eq!(Cell::text("b").order(&Cell::text("A")), Ordering::Greater);
        let use_of = |used, limit| Cell::Usage { used, limit, bytes: true };
        assert_eq!(use_of(1 << 40, None).order(&use_of(1, Some(2))), Ordering::Less);
        assert_eq!(use_of(1 << 30, Some(2 << 30)).words(11), "1.0G/2.0G");
        assert_eq!(Cell::Unknown("no PSI").words(5), "–");
        assert_eq!(Cell::Unknown("no PSI").json(), serde_json::Value::Null);
        assert_eq!(Cell::text("a\x1bb").words(9), "a\\x1bb");
        assert_eq!(Cell::text("a\x1bb").json(), "a\x1bb");
    }

    #[test]
    fn usage_has_number_and_bar_in_one_cell() {
        let cell = Cell::Usage { used: 1 << 30, limit: Some(2 << 30), bytes: true };
        let spans = cell.spans(20, Role::Text);
        assert_eq!(spans.iter().map(|s| s.text.as_str()).collect::<String>(), " 1.0G/2.0G  ━━━━────");
        let shown =
            |cell: &Cell, columns| cell.spans(columns, Role::Text).iter().map(|s| s.text.clone()).collect::<String>();
        assert_eq!(shown(&cell, 11), " 1.0G/2.0G ");
        assert_eq!(shown(&cell, 9), "1.0G/2.0G");
        assert_eq!(shown(&Cell::Usage { used: 1 << 30, limit: None, bytes: true }, 11), " 1.0G      ");
    }
}
