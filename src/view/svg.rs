//! A buffer as an SVG picture: every character at its own place, so that no font can push a row sideways.

use super::{Role, Theme};
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use std::fmt::Write as _;

/// Width of a column and height of a row, in the picture's units.
const COLUMN: f64 = 8.43;
const ROW: f64 = 17.0;
/// Where a row's text stands.
const BASE: f64 = 13.0;
const FONT: f64 = 14.0;

/// The ground and the text of a terminal, for colours that are the terminal's own.
#[derive(Clone, Copy, Debug)]
pub struct Paper {
    /// The ground, `#rrggbb`.
    pub ground: [u8; 3],
    /// The text.
    pub text: [u8; 3],
}

impl Paper {
    /// Light text on a dark ground.
    pub const DARK: Self = Self { ground: [0x16, 0x19, 0x1d], text: [0xd8, 0xdc, 0xe0] };
    /// Dark text on a light ground.
    pub const LIGHT: Self = Self { ground: [0xfb, 0xfb, 0xf8], text: [0x22, 0x24, 0x28] };

    /// The ground that a theme is made for: its selected row's is a shade of it.
    #[must_use]
    pub fn of(theme: &Theme) -> Self {
        match theme.style(Role::Selected).bg {
            Some(Color::Rgb(r, g, b)) if u16::from(r) + u16::from(g) + u16::from(b) > 384 => Self::LIGHT,
            _ => Self::DARK,
        }
    }
}

/// The picture of a buffer.
#[must_use]
pub fn svg(buf: &Buffer, paper: Paper) -> String {
    let area = buf.area;
    let (width, height) = (f64::from(area.width) * COLUMN + 16.0, f64::from(area.height) * ROW + 16.0);
    let mut out = String::new();
    line(
        &mut out,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"-8 -8 {width:.0} {height:.0}\">"
        ),
    );
    let ground = hex(paper.ground);
    line(&mut out, format_args!("<rect x=\"-8\" y=\"-8\" width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{ground}\"/>"));
    line(
        &mut out,
        format_args!("<g font-family=\"DejaVu Sans Mono, monospace\" font-size=\"{FONT}\" xml:space=\"preserve\">"),
    );
    for y in area.top()..area.bottom() {
        for x in area.left()..area.right() {
            if let Some(cell) = buf.cell((x, y)) {
                draw(&mut out, cell, f64::from(x - area.x) * COLUMN, f64::from(y - area.y) * ROW, paper);
            }
        }
    }
    out.push_str("</g>\n</svg>\n");
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let written = writeln!(out, "{text}");
    debug_assert!(written.is_ok(), "writing to a String can't fail");
}

fn draw(out: &mut String, cell: &Cell, x: f64, y: f64, paper: Paper) {
    let mut fg = rgb(cell.fg).unwrap_or(paper.text);
    let mut bg = rgb(cell.bg);
    if cell.modifier.contains(Modifier::REVERSED) {
        let ground = bg.unwrap_or(paper.ground);
        bg = Some(fg);
        fg = ground;
    }
    if cell.modifier.contains(Modifier::DIM) {
        let ground = bg.unwrap_or(paper.ground);
        fg = std::array::from_fn(|i| mix(fg.get(i), ground.get(i)));
    }
    let fill = hex(fg);
    if let Some(bg) = bg {
        // A little wider than a column, so that no seam shows between neighbours.
        line(
            out,
            format_args!(
                "<rect x=\"{x:.2}\" y=\"{y}\" width=\"{:.2}\" height=\"{ROW}\" fill=\"{}\"/>",
                COLUMN + 0.4,
                hex(bg)
            ),
        );
    }
    let symbol = cell.symbol();
    let mut chars = symbol.chars();
    match (chars.next(), chars.next()) {
        (None | Some(' '), None) => {}
        (Some(ch), None) if shape(ch).is_some() => {
            for [left, top, w, h] in shape(ch).unwrap_or_default() {
                let (left, top) = (x + left * COLUMN, y + top * ROW);
                line(
                    out,
                    format_args!(
                        "<rect x=\"{left:.2}\" y=\"{top:.2}\" width=\"{:.2}\" height=\"{:.2}\" fill=\"{fill}\"/>",
                        w * COLUMN,
                        h * ROW
                    ),
                );
            }
        }
        _ => {
            let bold = if cell.modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
            let italic = if cell.modifier.contains(Modifier::ITALIC) { " font-style=\"italic\"" } else { "" };
            let under =
                if cell.modifier.contains(Modifier::UNDERLINED) { " text-decoration=\"underline\"" } else { "" };
            let text = escaped(symbol);
            line(
                out,
                format_args!(
                    "<text x=\"{x:.2}\" y=\"{:.2}\" fill=\"{fill}\"{bold}{italic}{under}>{text}</text>",
                    y + BASE
                ),
            );
        }
    }
}

/// Blocks, bars and Braille as rectangles (left, top, width, height, as parts of a cell): fonts leave seams between them.
fn shape(ch: char) -> Option<Vec<[f64; 4]>> {
    let full = 1.02;
    Some(match ch {
        '▁'..='█' => {
            let eighths = f64::from(u32::from(ch) - 0x2580) / 8.0;
            // Sparklines keep a little air above, and between their columns.
            vec![[0.04, 1.0 - eighths * 0.86 - 0.06, 0.92, eighths * 0.86]]
        }
        '─' => vec![[0.0, 0.53, full, 0.06]],
        '━' => vec![[0.0, 0.45, full, 0.2]],
        '│' => vec![[0.46, 0.0, 0.12, full]],
        '├' => vec![[0.46, 0.0, 0.12, full], [0.5, 0.53, 0.52, 0.06]],
        '└' => vec![[0.46, 0.0, 0.12, 0.59], [0.5, 0.53, 0.52, 0.06]],
        '\u{2801}'..='\u{28ff}' => {
            let bits = u32::from(ch) - 0x2800;
            let places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)];
            let on = places.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
            on.map(|(_, (x, y))| [0.17 + 0.46 * f64::from(*x), 0.08 + 0.24 * f64::from(*y), 0.2, 0.11]).collect()
        }
        _ => return None,
    })
}

fn mix(a: Option<&u8>, b: Option<&u8>) -> u8 {
    let (a, b) = (u16::from(a.copied().unwrap_or(0)), u16::from(b.copied().unwrap_or(0)));
    u8::try_from((a * 55 + b * 45) / 100).unwrap_or(u8::MAX)
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A colour's shade; `None` for the terminal's own.
fn rgb(colour: Color) -> Option<[u8; 3]> {
    Some(match colour {
        Color::Reset => return None,
        Color::Rgb(r, g, b) => [r, g, b],
        Color::Indexed(i @ 16..=231) => {
            let i = i - 16;
            [i / 36, i / 6 % 6, i % 6].map(|l| if l == 0 { 0 } else { 55 + 40 * l })
        }
        Color::Indexed(i @ 232..) => [8 + 10 * (i - 232); 3],
        Color::Black | Color::Indexed(0) => [0, 0, 0],
        Color::Red | Color::Indexed(1) => [205, 49, 49],
        Color::Green | Color::Indexed(2) => [13, 188, 121],
        Color::Yellow | Color::Indexed(3) => [229, 196, 16],
        Color::Blue | Color::Indexed(4) => [36, 114, 200],
        Color::Magenta | Color::Indexed(5) => [188, 63, 188],
        Color::Cyan | Color::Indexed(6) => [17, 168, 205],
        Color::Gray | Color::Indexed(7) => [204, 204, 204],
        Color::DarkGray | Color::Indexed(8) => [118, 118, 118],
        Color::LightRed | Color::Indexed(9) => [241, 96, 96],
        Color::LightGreen | Color::Indexed(10) => [35, 209, 139],
        Color::LightYellow | Color::Indexed(11) => [245, 245, 67],
        Color::LightBlue | Color::Indexed(12) => [90, 154, 240],
        Color::LightMagenta | Color::Indexed(13) => [214, 112, 214],
        Color::LightCyan | Color::Indexed(14) => [41, 184, 219],
        Color::White | Color::Indexed(15) => [255, 255, 255],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    #[test]
    fn a_light_theme_has_light_paper_and_every_other_dark() {
        for name in Theme::BUILT_IN {
            let theme = Theme::built_in(name, crate::view::theme::Depth::True).unwrap();
            assert_eq!(Paper::of(&theme).ground == Paper::LIGHT.ground, *name == "light", "{name}");
        }
    }

    #[test]
    fn characters_stand_at_their_own_columns_and_markup_is_escaped() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 4, 1));
        buf.set_string(0, 0, "a<█", Style::new().fg(Color::Rgb(1, 2, 3)));
        let picture = svg(&buf, Paper::DARK);
        assert!(picture.contains("<text x=\"0.00\" y=\"13.00\" fill=\"#010203\">a</text>"));
        assert!(picture.contains(&format!("<text x=\"{COLUMN:.2}\" y=\"13.00\" fill=\"#010203\">&lt;</text>")));
        assert_eq!(picture.matches("<rect").count(), 2, "the ground and one block");
    }
}
