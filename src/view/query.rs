//! The filter language: `state=D d>20 port=61616 java !sidecar`, all of it together.

use super::{Cell, Head, Sheet};

/// A filter over a sheet's rows. Every term has to match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq)]
struct Term {
    negated: bool,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    /// Any text of the row holds it.
    Holds(String),
    /// A column compares with a value.
    Compares { column: usize, op: Op, value: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Equal,
    Unequal,
    Holds,
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// Longest first, so that `>=` is not read as `>`.
const OPS: [(&str, Op); 7] = [
    ("!=", Op::Unequal),
    (">=", Op::AtLeast),
    ("<=", Op::AtMost),
    ("=", Op::Equal),
    ("~", Op::Holds),
    (">", Op::Above),
    ("<", Op::Below),
];

impl Query {
    /// Reads a filter. An unknown column is an error that names those there are.
    pub fn parse(text: &str, heads: &[Head]) -> Result<Self, String> {
        let terms = words(text).iter().map(|w| term(w, heads)).collect::<Result<_, _>>()?;
        Ok(Self { terms })
    }

    /// Whether it lets everything through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether a row matches.
    #[must_use]
    pub fn matches(&self, sheet: &dyn Sheet, row: usize) -> bool {
        self.terms.iter().all(|term| {
            let hit = match &term.test {
                Test::Holds(text) => row_holds(sheet, row, text),
                Test::Compares { column, op, value } => compares(&sheet.cell(row, *column), *op, value),
            };
            hit != term.negated
        })
    }
}

/// Splits at spaces outside double quotes.
fn words(text: &str) -> Vec<String> {
    let (mut out, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for ch in text.chars() {
        match ch {
            '"' => quoted = !quoted,
            ' ' if !quoted => out.push(std::mem::take(&mut word)),
            _ => word.push(ch),
        }
    }
    out.push(word);
    out.retain(|w| !w.is_empty());
    out
}

fn term(word: &str, heads: &[Head]) -> Result<Term, String> {
    let (negated, word) = match word.strip_prefix('!') {
        Some(rest) if !rest.is_empty() => (true, rest),
        _ => (false, word),
    };
    let split = word.char_indices().find_map(|(at, _)| {
        let (name, rest) = word.split_at_checked(at)?;
        OPS.iter().find_map(|(sign, op)| rest.strip_prefix(sign).map(|value| (name, *op, value)))
    });
    let Some((name, op, value)) = split.filter(|(name, ..)| is_name(name)) else {
        return Ok(Term { negated, test: Test::Holds(word.to_lowercase()) });
    };
    let wanted = name.to_lowercase();
    let column = heads.iter().position(|h| h.id == wanted || h.header.to_lowercase() == wanted).ok_or_else(|| {
        let names: Vec<_> = heads.iter().map(|h| h.id).collect();
        format!("no column `{name}` here; columns: {}", names.join(" "))
    })?;
    let value = value.to_lowercase();
    if matches!(op, Op::Above | Op::AtLeast | Op::Below | Op::AtMost) && !is_number(&value) {
        return Err(format!("`{word}` needs a number, for example 20, 80%, 2G or 5m"));
    }
    Ok(Term { negated, test: Test::Compares { column, op, value } })
}

/// Whether a text is a number of some cell.
fn is_number(text: &str) -> bool {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit() && c != '.');
    let unit = text.strip_prefix(digits).unwrap_or_default();
    digits.parse::<f64>().is_ok() && matches!(unit, "" | "%" | "b" | "s" | "m" | "h" | "d" | "k" | "g" | "t")
}

/// A name in front of a sign is a column's; `10.0.0.9:80>` or `-Xmx=3g` is bare text.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '%'))
}

/// Whether any text of the row holds `needle` (in lower case).
#[must_use]
pub fn row_holds(sheet: &dyn Sheet, row: usize, needle: &str) -> bool {
    (0..sheet.heads().len()).any(|column| sheet.cell(row, column).texts().any(|t| t.to_lowercase().contains(needle)))
}

fn compares(cell: &Cell, op: Op, value: &str) -> bool {
    let number = || {
        let wanted = parse_number(value, cell)?;
        let has = match cell {
            // A use is compared as what is used; as a share when a percentage is asked for.
            Cell::Usage { used, .. } if !value.ends_with('%') => *used as f64,
            Cell::Usage { .. } => cell.value()? * 100.0,
            _ => cell.value()?,
        };
        Some((has, wanted))
    };
    let same_text = || cell.texts().any(|t| t.to_lowercase() == value);
    let equal = || same_text() || number().is_some_and(|(a, b)| (a - b).abs() < f64::EPSILON.max(b.abs() * 1e-9));
    match op {
        Op::Equal => equal(),
        Op::Unequal => !equal(),
        Op::Holds => cell.texts().any(|t| t.to_lowercase().contains(value)),
        Op::Above => number().is_some_and(|(a, b)| a > b),
        Op::AtLeast => number().is_some_and(|(a, b)| a >= b),
        Op::Below => number().is_some_and(|(a, b)| a < b),
        Op::AtMost => number().is_some_and(|(a, b)| a <= b),
    }
}

/// A number with a unit that fits the cell: `2g` of bytes, `5m` of time, `10k` of a count, `80%`.
fn parse_number(text: &str, cell: &Cell) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit() && c != '.');
    let unit = text.strip_prefix(digits)?;
    let value: f64 = digits.parse().ok()?;
    let bytes =
        matches!(cell, Cell::Bytes(_) | Cell::ByteGrowth(_) | Cell::ByteRate(_) | Cell::Usage { bytes: true, .. });
    let kilo: f64 = if bytes { 1024.0 } else { 1000.0 };
    Some(match (cell, unit) {
        (_, "" | "%" | "b") | (Cell::Span(_), "s") => value,
        (Cell::Span(_), "m") => value * 60.0,
        (Cell::Span(_), "h") => value * 3600.0,
        (Cell::Span(_), "d") => value * 86_400.0,
        (_, "k") => value * kilo,
        (_, "m") => value * kilo * kilo,
        (_, "g") => value * kilo.powi(3),
        (_, "t") => value * kilo.powi(4),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_unit_of_their_cell() {
        assert!(compares(&Cell::Bytes(3 << 30), Op::Above, "2g"));
        assert!(!compares(&Cell::Bytes(1 << 30), Op::Above, "2g"));
        assert!(compares(&Cell::Span(400.0), Op::Above, "5m"));
        assert!(compares(&Cell::Count(41_000), Op::AtLeast, "41k"));
        let half = Cell::Usage { used: 50, limit: Some(100), bytes: false };
        assert!(compares(&half, Op::AtLeast, "50%") && compares(&half, Op::Equal, "50"));
        assert!(!compares(&Cell::Unknown(""), Op::Below, "5"));
        assert!(compares(&Cell::text("D"), Op::Equal, "d"));
        assert!(compares(&Cell::Many(vec!["80".into(), "443".into()]), Op::Equal, "443"));
        assert!(!compares(&Cell::Count(7), Op::Above, "x"));
    }

    #[test]
    fn terms_and_bare_text() {
        assert_eq!(words("a  \"b c\" d"), ["a", "b c", "d"]);
        assert!(matches!(term("-Xmx=3g", &[]), Ok(Term { test: Test::Holds(_), .. })));
        assert!(term("nope=3", &[]).unwrap_err().contains("no column `nope`"));
        let heads = [crate::view::Column::<()>::number("rss", "RSS", 6, "", |_, ()| Cell::Blank).head];
        for bad in ["rss>", "rss>=abc", "rss<5x", "rss>-", "!rss<"] {
            assert!(term(bad, &heads).unwrap_err().contains("needs a number"), "{bad}");
        }
        assert!(["rss>2G", "rss<=.5", "rss>80%", "rss="].iter().all(|good| term(good, &heads).is_ok()));
        assert!(matches!(term("!java", &[]), Ok(Term { negated: true, .. })));
    }
}
