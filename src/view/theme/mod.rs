//! Themes: what each role of the screen looks like.
//!
//! Code names roles only. A theme file gives each role a style; the terminal's depth of colour is applied last, so a
//! theme needs no second version for sixteen colours.

mod depth;
mod file;

pub use depth::Depth;
pub use file::ThemeError;

use ratatui::style::{Color, Modifier, Style};

macro_rules! roles {
    ($($(#[$doc:meta])* $role:ident $name:literal $letter:literal)*) => {
        /// What a piece of the screen means.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Role { $($(#[$doc])* $role,)* }

        impl Role {
            /// Every role.
            pub const ALL: &[Self] = &[$(Self::$role),*];

            /// Its name in a theme file.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$role => $name,)* }
            }

            /// Its letter in a role grid (screen tests).
            #[must_use]
            pub fn letter(self) -> char {
                match self { $(Self::$role => $letter,)* }
            }
        }
    };
}

roles! {
    /// Ordinary text and numbers.
    Text "text" '.'
    /// Calm, secondary or zero.
    Dim "dim" 'd'
    /// The label of a value.
    Label "label" 'l'
    /// Where one is: the program's name, the pane, a breadcrumb.
    Title "title" 't'
    /// Column headers.
    Head "head" 'h'
    /// Rules between parts of the screen.
    Rule "rule" 'r'
    /// Work is failing now.
    Crit "crit" '!'
    /// It will fail.
    Warn "warn" '~'
    /// Good news: live, nothing is wrong.
    Good "good" 'g'
    /// A sparkline or the filled part of a gauge.
    Bar "bar" 'b'
    /// A key that can be pressed.
    Key "key" 'k'
    /// Data that is old, and why.
    Stale "stale" 'a'
    /// A subject that has ended.
    Ended "ended" 'e'
    /// Text that a search found.
    Found "found" 'f'
    /// The line one types into.
    Input "input" 'i'
    /// The selected row's ground; other roles are drawn on it.
    Selected "selected" 's'
}

/// A style for every role.
#[derive(Clone, Debug, PartialEq)]
pub struct Theme {
    /// Its name.
    pub name: String,
    styles: Vec<Style>,
}

impl Theme {
    /// The names of the themes inside the program.
    pub const BUILT_IN: &[&str] = &["default", "light", "high-contrast", "colour-blind", "mono"];

    /// The theme `name`: one inside the program, or the text that `read` gives for it (a path or a name of a file in the
    /// configuration folder). Reading is the caller's, so that this stays pure.
    pub fn load(name: &str, depth: Depth, read: &dyn Fn(&str) -> Option<String>) -> Result<Self, ThemeError> {
        let styles = file::resolve(name, read)?;
        Ok(Self { name: name.to_owned(), styles: styles.into_iter().map(|s| depth.limit(s)).collect() }.legible(depth))
    }

    /// A theme inside the program.
    pub fn built_in(name: &str, depth: Depth) -> Result<Self, ThemeError> {
        Self::load(name, depth, &|_| None)
    }

    /// A theme in which every role has a colour of its own, so that a test can tell them apart in a buffer.
    #[must_use]
    pub fn probe() -> Self {
        let colour = |i: usize| Color::Indexed(u8::try_from(i + 16).unwrap_or(u8::MAX));
        let style = |(i, role): (usize, &Role)| match role {
            Role::Selected => Style::new().bg(colour(i)),
            _ => Style::new().fg(colour(i)),
        };
        Self { name: "probe".into(), styles: Role::ALL.iter().enumerate().map(style).collect() }
    }

    /// How a role looks.
    #[must_use]
    pub fn style(&self, role: Role) -> Style {
        self.styles.get(role as usize).copied().unwrap_or_default()
    }

    /// How a role looks on the selected row's ground. Of sixteen colours none can be relied on to be seen on another, so
    /// there severities bring a ground of their own and the rest takes the colour of text.
    #[must_use]
    pub fn on_selected(&self, role: Role) -> Style {
        let style = self.style(role);
        let few = !matches!(self.style(Role::Selected).bg, None | Some(Color::Rgb(..) | Color::Indexed(_)));
        match role {
            _ if !few || style.bg.is_some() => style,
            Role::Crit => Style { fg: Some(Color::White), bg: Some(Color::Red), ..style },
            Role::Warn => Style { fg: Some(Color::Black), bg: Some(Color::Yellow), ..style },
            _ => Style { fg: Some(Color::Reset), ..style },
        }
    }

    /// Without colours severity and selection still have to be seen.
    fn legible(mut self, depth: Depth) -> Self {
        if depth == Depth::None {
            for (role, modifier) in [
                (Role::Crit, Modifier::BOLD | Modifier::REVERSED),
                (Role::Warn, Modifier::BOLD | Modifier::UNDERLINED),
                (Role::Selected, Modifier::REVERSED),
                (Role::Found, Modifier::UNDERLINED),
                (Role::Key, Modifier::BOLD),
                (Role::Title, Modifier::BOLD),
            ] {
                if let Some(style) = self.styles.get_mut(role as usize) {
                    *style = style.add_modifier(modifier);
                }
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_theme_has_every_role_at_every_depth() {
        for name in Theme::BUILT_IN {
            for depth in [Depth::True, Depth::Ansi256, Depth::Ansi16, Depth::None] {
                let theme = Theme::built_in(name, depth).expect(name);
                let [crit, warn, text] = [Role::Crit, Role::Warn, Role::Text].map(|r| theme.style(r));
                assert_ne!(crit, warn, "{name} {depth:?}");
                assert_ne!(crit, text, "{name} {depth:?}");
                assert_ne!(warn, text, "{name} {depth:?}");
                assert_ne!(theme.style(Role::Selected), Style::default(), "{name} {depth:?}");
            }
        }
    }

    #[test]
    fn nothing_vanishes_on_the_selected_row() {
        for name in Theme::BUILT_IN {
            for depth in [Depth::True, Depth::Ansi256, Depth::Ansi16] {
                let theme = Theme::built_in(name, depth).expect(name);
                let ground = theme.style(Role::Selected).bg;
                for role in Role::ALL.iter().filter(|r| **r != Role::Selected) {
                    let style = theme.on_selected(*role);
                    assert!(
                        ground.is_none() || style.fg != ground || style.bg.is_some(),
                        "{name} {depth:?} {}",
                        role.name()
                    );
                }
            }
        }
    }

    #[test]
    fn severity_survives_the_loss_of_colour() {
        for name in Theme::BUILT_IN {
            let theme = Theme::built_in(name, Depth::None).expect(name);
            for role in Role::ALL {
                let style = theme.style(*role);
                assert_eq!((style.fg, style.bg), (None, None), "{name} {}", role.name());
            }
            assert!(theme.style(Role::Crit).add_modifier.contains(Modifier::BOLD), "{name}");
            assert!(theme.style(Role::Selected).add_modifier.contains(Modifier::REVERSED), "{name}");
        }
    }

    /// WCAG relative luminance of a colour; `None` for the terminal's own.
    fn luminance(colour: Option<Color>) -> Option<f64> {
        let Some(Color::Rgb(r, g, b)) = colour else { return None };
        let linear = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.039_28 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        Some(0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b))
    }

    fn contrast(a: f64, b: f64) -> f64 {
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn loud_roles_stand_out_from_their_ground() {
        // (theme, luminance of the ground it is meant for)
        for (name, ground) in [("default", 0.0), ("light", 1.0), ("high-contrast", 0.0), ("colour-blind", 0.0)] {
            let theme = Theme::built_in(name, Depth::True).expect(name);
            for role in [Role::Crit, Role::Warn, Role::Dim, Role::Label, Role::Good, Role::Key, Role::Found] {
                let style = theme.style(role);
                let below = luminance(style.bg).unwrap_or(ground);
                let Some(fg) = luminance(style.fg) else { continue };
                let least = if matches!(role, Role::Crit | Role::Warn) { 4.5 } else { 3.0 };
                assert!(contrast(fg, below) >= least, "{name} {}: {:.1}", role.name(), contrast(fg, below));
                let selected = luminance(theme.style(Role::Selected).bg);
                if let (None, Some(selected)) = (style.bg, selected) {
                    let c = contrast(fg, selected);
                    assert!(c >= 2.5, "{name} {} on the selected row: {c:.1}", role.name());
                }
            }
        }
    }
}
