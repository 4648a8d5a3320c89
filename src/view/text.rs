//! Hostile text made printable, and cut to a number of columns.

use std::borrow::Cow;
use std::fmt::Write as _;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Marks that may be stacked on one character before the rest are escaped.
const MARKS_MAX: usize = 2;

/// `text` with everything escaped that a terminal would act on, that reorders it, or that can't be seen: control
/// characters, bidirectional overrides, zero-width characters, piles of combining marks.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut marks = 0;
    for ch in text.chars() {
        let mark = ch.width() == Some(0);
        marks = if mark { marks + 1 } else { 0 };
        if ch.is_control() || is_invisible(ch) || marks > MARKS_MAX {
            escape(&mut out, ch);
        } else {
            out.push(ch);
        }
    }
    Cow::Owned(out)
}

fn escape(out: &mut String, ch: char) {
    match ch {
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        _ => {
            let code = u32::from(ch);
            let written = if code < 0x100 { write!(out, "\\x{code:02x}") } else { write!(out, "\\u{{{code:x}}}") };
            debug_assert!(written.is_ok(), "writing to a String can't fail");
        }
    }
}

/// Characters without a glyph of their own that change how their neighbours are shown or compared.
fn is_invisible(ch: char) -> bool {
    matches!(u32::from(ch),
        0x00ad | 0x034f | 0x061c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f
        | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x3164
        | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff)
}

/// Columns that printable text takes.
#[must_use]
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Printable `text` cut to `columns`, never inside a character; what is cut off is shown by `…`.
#[must_use]
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let room = columns.saturating_sub(1);
    let (mut used, mut out) = (0, String::new());
    for cluster in text.graphemes(true) {
        let wide = width(cluster);
        if used + wide > room {
            break;
        }
        used += wide;
        out.push_str(cluster);
    }
    if columns > 0 {
        out.push('…');
    }
    Cow::Owned(out)
}

/// Text cut at its beginning to `columns`, for what ends in the name that counts.
#[must_use]
pub fn cut_left(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let room = columns.saturating_sub(1);
    let (mut used, mut from) = (0, text.len());
    for (at, cluster) in text.grapheme_indices(true).rev() {
        used += width(cluster);
        if used > room {
            break;
        }
        from = at;
    }
    let end = text.get(from..).unwrap_or_default();
    Cow::Owned(if columns > 0 { format!("…{end}") } else { String::new() })
}

/// Characters that the screens use beyond ASCII, and their stand-ins.
const STAND_INS: (&str, &str) = ("·›▸→…»←◂↑↓×–—─│├└●•○▁▂▃▄▅▆▇█━µ", ".>>>>><<^vx---||`**o_.-=+*#@=u");

/// The plain-ASCII stand-in of a character, one column for one column.
#[must_use]
pub fn ascii(ch: char) -> char {
    if ch.is_ascii() {
        return ch;
    }
    let (fancy, plain) = STAND_INS;
    fancy.chars().zip(plain.chars()).find(|(f, _)| *f == ch).map_or('?', |(_, plain)| plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_what_a_terminal_would_act_on() {
        assert_eq!(printable("plain"), "plain");
        assert_eq!(printable("a\x1b[31mb\x07"), "a\\x1b[31mb\\x07");
        assert_eq!(printable("a\nb\tc"), "a\\nb\\tc");
        assert_eq!(printable("\u{9b}2J"), "\\x9b2J");
        assert_eq!(printable("evil\u{202e}gpj"), "evil\\u{202e}gpj");
        assert_eq!(printable("a\u{200b}b\u{feff}"), "a\\u{200b}b\\u{feff}");
        assert_eq!(printable("Bücher 漢字"), "Bücher 漢字");
        assert_eq!(printable("z\u{300}\u{301}\u{302}"), "z\u{300}\u{301}\\u{302}");
    }

    #[test]
    fn cuts_by_columns_between_characters() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("漢字漢字", 5), "漢字…");
        assert_eq!(cut("漢字漢字", 4), "漢…");
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
        assert_eq!(cut("abc", 0), "");
        assert_eq!(cut_left("abcdef", 6), "abcdef");
        assert_eq!(cut_left("abcdef", 4), "…def");
        assert_eq!(cut_left("漢字漢字", 4), "…字");
        assert_eq!(cut_left("abc", 0), "");
    }

    #[test]
    fn every_fancy_character_has_a_plain_one() {
        assert_eq!(STAND_INS.0.chars().count(), STAND_INS.1.len());
        assert_eq!(['▁', '█', '›', '漢', 'x'].map(ascii), ['_', '@', '>', '?', 'x']);
    }

    proptest! {
        #[test]
        fn printable_text_never_holds_a_control_character(text in "\\PC*|.*") {
            let shown = printable(&text);
            prop_assert!(!shown.chars().any(|c| c.is_control() || is_invisible(c)));
        }

        #[test]
        fn a_cut_never_takes_more_columns(text in ".*", columns in 0usize..40) {
            prop_assert!(width(&cut(&printable(&text), columns)) <= columns);
        }
    }
}
