//! How many colours the terminal has.

use ratatui::style::{Color, Style};

/// Depth of colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// 24-bit (`COLORTERM=truecolor`).
    True,
    /// The 256 of xterm.
    Ansi256,
    /// The 16 of ECMA-48 terminals, in the user's own shades.
    #[default]
    Ansi16,
    /// None: `NO_COLOR`, or a terminal without.
    None,
}

/// The chromatic ones of the sixteen, by which of red (1), green (2) and blue (4) are on; dark and bright.
const HUES: [(Color, Color); 8] = [
    (Color::Black, Color::DarkGray),
    (Color::Red, Color::LightRed),
    (Color::Green, Color::LightGreen),
    (Color::Yellow, Color::LightYellow),
    (Color::Blue, Color::LightBlue),
    (Color::Magenta, Color::LightMagenta),
    (Color::Cyan, Color::LightCyan),
    (Color::Gray, Color::White),
];

impl Depth {
    /// The style as this depth can show it.
    #[must_use]
    pub fn limit(self, mut style: Style) -> Style {
        style.fg = style.fg.and_then(|c| self.colour(c));
        style.bg = style.bg.and_then(|c| self.colour(c));
        style
    }

    fn colour(self, colour: Color) -> Option<Color> {
        let Color::Rgb(r, g, b) = colour else { return (self != Self::None).then_some(colour) };
        match self {
            Self::True => Some(colour),
            Self::Ansi256 => Some(Color::Indexed(cube(r, g, b))),
            Self::Ansi16 => Some(nearest([r, g, b])),
            Self::None => None,
        }
    }
}

/// The nearest of xterm's 6×6×6 cube and grey ramp.
fn cube(r: u8, g: u8, b: u8) -> u8 {
    let level = |c: u8| match c {
        0..48 => 0u8,
        48..115 => 1,
        _ => (c - 35) / 40,
    };
    let shade = |l: u8| if l == 0 { 0 } else { 55 + 40 * l };
    let [lr, lg, lb] = [r, g, b].map(level);
    let grey = (u16::from(r) + u16::from(g) + u16::from(b)) / 3;
    let step = u8::try_from(grey.saturating_sub(3) / 10).unwrap_or(23).min(23);
    let ramp = 8 + 10 * step;
    let by_cube = distance([r, g, b], [lr, lg, lb].map(shade));
    let by_grey = distance([r, g, b], [ramp; 3]);
    if by_grey < by_cube { 232 + step } else { 16 + 36 * lr + 6 * lg + lb }
}

/// The one of the sixteen with the same hue: users choose their own shades, so only the hue carries meaning.
fn nearest(rgb: [u8; 3]) -> Color {
    let high = rgb.into_iter().max().unwrap_or(0);
    let low = rgb.into_iter().min().unwrap_or(0);
    if high - low < 32 {
        return match high {
            0..48 => Color::Black,
            48..160 => Color::DarkGray,
            160..240 => Color::Gray,
            _ => Color::White,
        };
    }
    // A channel is on when it is nearer to the highest than to the lowest.
    let on = |c: u8, bit: usize| if u16::from(c) * 2 > u16::from(high) + u16::from(low) { bit } else { 0 };
    let [r, g, b] = rgb;
    let (dark, bright) = HUES.get(on(r, 1) | on(g, 2) | on(b, 4)).copied().unwrap_or((Color::Gray, Color::White));
    if high > 200 { bright } else { dark }
}

fn distance(a: [u8; 3], b: [u8; 3]) -> u32 {
    a.iter().zip(b).map(|(x, y)| u32::from(x.abs_diff(y)).pow(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_find_their_neighbours() {
        assert_eq!(cube(255, 0, 0), 196);
        assert_eq!(cube(138, 138, 138), 245);
        assert_eq!(nearest([255, 90, 90]), Color::LightRed);
        assert_eq!(nearest([138, 90, 0]), Color::Yellow);
        assert_eq!(nearest([229, 181, 103]), Color::LightYellow);
        assert_eq!(nearest([127, 167, 201]), Color::LightCyan);
        assert_eq!(nearest([135, 175, 135]), Color::Green);
        assert_eq!(nearest([130, 130, 130]), Color::DarkGray);
        let style = Style::new().fg(Color::Rgb(255, 0, 0)).bg(Color::Blue);
        assert_eq!(Depth::None.limit(style), Style::new());
        assert_eq!(Depth::True.limit(style), style);
    }
}
