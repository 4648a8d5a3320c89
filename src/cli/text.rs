//! Text for people: wrapped lines, few colours, everything from the kernel made printable.

use crate::view::text::{ascii, cut, printable, width};
use std::borrow::Cow;
use std::io::IsTerminal;

/// Columns of text output at most.
pub const COLUMNS: usize = 100;

/// How text is dressed: colours only for a terminal that may have them, frames only where they can be drawn.
#[derive(Clone, Copy, Debug)]
pub struct Dress {
    /// Whether colours are used.
    pub colour: bool,
    /// ASCII characters only.
    pub ascii: bool,
}

impl Dress {
    /// For standard output: `NO_COLOR` (not empty) and a pipe switch colours off.
    pub fn for_stdout(ascii: bool) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { colour: std::io::stdout().is_terminal() && !no_color && !dumb, ascii }
    }

    /// Work is failing now.
    pub fn critical(self, text: &str) -> Cow<'_, str> {
        self.paint("1;31", text)
    }

    /// It will fail.
    pub fn warning(self, text: &str) -> Cow<'_, str> {
        self.paint("1;33", text)
    }

    /// Good news.
    pub fn good(self, text: &str) -> Cow<'_, str> {
        self.paint("32", text)
    }

    /// Secondary.
    pub fn dim(self, text: &str) -> Cow<'_, str> {
        self.paint("2", text)
    }

    /// The name of what follows.
    pub fn bold(self, text: &str) -> Cow<'_, str> {
        self.paint("1", text)
    }

    /// Printable text in the characters that may be used.
    pub fn drawn(self, text: &str) -> Cow<'_, str> {
        if self.ascii { text.chars().map(ascii).collect() } else { text.into() }
    }

    fn paint<'a>(self, code: &str, text: &'a str) -> Cow<'a, str> {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m").into() } else { text.into() }
    }
}

/// `text`, made printable and broken at spaces into lines of `columns` at most; a longer word is cut hard. At most
/// `most` lines: what doesn't fit is cut off with `…`.
pub fn wrap(text: &str, columns: usize, most: usize) -> Vec<String> {
    let text = printable(text);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        for piece in pieces(word, columns) {
            let gap = usize::from(!line.is_empty());
            if width(&line) + gap + width(&piece) > columns && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&piece);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    if lines.len() > most {
        let rest = lines.drain(most.saturating_sub(1)..).collect::<Vec<_>>().join(" ");
        lines.push(cut(&rest, columns).into_owned());
    }
    lines
}

/// A word in pieces of `columns` at most.
fn pieces(word: &str, columns: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for ch in word.chars() {
        if let Some(last) = pieces.last_mut() {
            if width(last) + width(ch.encode_utf8(&mut [0; 4])) > columns.max(1) {
                pieces.push(ch.into());
            } else {
                last.push(ch);
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn breaks_at_spaces_and_cuts_what_does_not_fit() {
        assert_eq!(wrap("one two three", 7, 9), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij kl", 4, 9), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("one two three four", 7, 2), ["one two", "three …"]);
        assert_eq!(wrap("", 7, 2), Vec::<String>::new());
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        let dress = |colour| Dress { colour, ascii: false };
        assert_eq!(dress(false).critical("x"), "x");
        assert_eq!(dress(true).critical("x"), "\x1b[1;31mx\x1b[0m");
    }

    proptest! {
        #[test]
        fn lines_fit_and_hold_no_controls(text in any::<String>(), columns in 2..120usize, most in 1..9usize) {
            let lines = wrap(&text, columns, most);
            prop_assert!(lines.len() <= most);
            for line in lines {
                prop_assert!(width(&line) <= columns, "{line:?}");
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
    }
}
