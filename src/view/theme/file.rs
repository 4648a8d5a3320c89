//! Theme files: TOML with a palette, styles by role, and an heir's parent.

use super::Role;
use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Parents above a theme at most; more is a circle.
const DEPTH_MAX: usize = 8;

/// What is wrong with a theme file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ThemeError {
    /// No such theme.
    #[error(
        "no theme `{0}`: give one of default, light, high-contrast, colour-blind, mono, or the path of a theme file"
    )]
    Missing(String),
    /// Not TOML, or a key that themes don't have.
    #[error("theme {file}: {what}")]
    Malformed {
        /// Which file.
        file: String,
        /// What the parser said.
        what: String,
    },
    /// A role that the program does not have.
    #[error("theme {file}: unknown role `{role}`; the roles are {roles}", roles = role_names())]
    UnknownRole {
        /// Which file.
        file: String,
        /// The name.
        role: String,
    },
    /// A role that neither the file nor its parents style.
    #[error(
        "theme {file}: role `{role}` is missing; add `{role} = {{ fg = \"…\" }}` under [roles], or inherits = \"default\""
    )]
    MissingRole {
        /// Which file.
        file: String,
        /// The role.
        role: &'static str,
    },
    /// A colour that is neither in the palette nor one that can be read.
    #[error(
        "theme {file}: role `{role}`: unknown colour `{colour}`; use #rrggbb, a name like `red` or `bright-red`, a number 0-255, or add it to [palette]"
    )]
    UnknownColour {
        /// Which file.
        file: String,
        /// The role.
        role: String,
        /// What it says.
        colour: String,
    },
    /// Parents in a circle.
    #[error("theme {0}: its `inherits` go in a circle")]
    Circle(String),
}

fn role_names() -> String {
    Role::ALL.iter().map(|r| r.name()).collect::<Vec<_>>().join(", ")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThemeFile {
    inherits: Option<String>,
    #[serde(default)]
    palette: BTreeMap<String, String>,
    #[serde(default)]
    roles: BTreeMap<String, RoleStyle>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "the modifiers of a terminal cell are independent flags")]
struct RoleStyle {
    fg: Option<String>,
    bg: Option<String>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    reverse: bool,
}

fn embedded(name: &str) -> Option<&'static str> {
    Some(match name {
        "default" => include_str!("../../../themes/default.toml"),
        "light" => include_str!("../../../themes/light.toml"),
        "high-contrast" => include_str!("../../../themes/high-contrast.toml"),
        "colour-blind" => include_str!("../../../themes/colour-blind.toml"),
        "mono" => include_str!("../../../themes/mono.toml"),
        _ => return None,
    })
}

/// The styles of a theme in the order of [`Role::ALL`], its parents' where it has none of its own.
pub(super) fn resolve(name: &str, read: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Style>, ThemeError> {
    let (mut roles, mut palette) = (BTreeMap::new(), BTreeMap::new());
    let mut next = Some(name.to_owned());
    let mut depth = 0;
    while let Some(current) = next {
        depth += 1;
        if depth > DEPTH_MAX {
            return Err(ThemeError::Circle(name.to_owned()));
        }
        let text = embedded(&current).map(str::to_owned).or_else(|| read(&current));
        let Some(text) = text else { return Err(ThemeError::Missing(current)) };
        let file: ThemeFile =
            toml::from_str(&text).map_err(|e| ThemeError::Malformed { file: current.clone(), what: e.to_string() })?;
        for (role, style) in file.roles {
            if !Role::ALL.iter().any(|r| r.name() == role) {
                return Err(ThemeError::UnknownRole { file: current, role });
            }
            roles.entry(role).or_insert(style);
        }
        for (colour, value) in file.palette {
            palette.entry(colour).or_insert(value);
        }
        next = file.inherits;
    }
    Role::ALL
        .iter()
        .map(|role| {
            let missing = || ThemeError::MissingRole { file: name.to_owned(), role: role.name() };
            style(name, role.name(), roles.get(role.name()).ok_or_else(missing)?, &palette)
        })
        .collect()
}

fn style(file: &str, role: &str, from: &RoleStyle, palette: &BTreeMap<String, String>) -> Result<Style, ThemeError> {
    let colour = |named: &Option<String>| {
        named.as_ref().map_or(Ok(None), |named| {
            let value = palette.get(named).unwrap_or(named);
            parse_colour(value).map(Some).ok_or_else(|| ThemeError::UnknownColour {
                file: file.to_owned(),
                role: role.to_owned(),
                colour: named.clone(),
            })
        })
    };
    let mut style = Style { fg: colour(&from.fg)?, bg: colour(&from.bg)?, ..Style::default() };
    for (on, modifier) in [
        (from.bold, Modifier::BOLD),
        (from.dim, Modifier::DIM),
        (from.italic, Modifier::ITALIC),
        (from.underline, Modifier::UNDERLINED),
        (from.reverse, Modifier::REVERSED),
    ] {
        if on {
            style = style.add_modifier(modifier);
        }
    }
    Ok(style)
}

/// `#rrggbb`, a name (`red`, `bright-red`), or a number of the 256.
fn parse_colour(text: &str) -> Option<Color> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &'static str) -> String {
        resolve("mine.toml", &|name| (name == "mine.toml").then(|| text.to_owned())).unwrap_err().to_string()
    }

    #[test]
    fn an_heir_changes_only_what_it_names() {
        let mine =
            "inherits = \"default\"\n[palette]\nblood = \"#aa0000\"\n[roles]\ncrit = { fg = \"blood\", bold = true }\n";
        let styles = resolve("mine", &|n| (n == "mine").then(|| mine.to_owned())).expect("a theme");
        let base = resolve("default", &|_| None).expect("default");
        for (i, role) in Role::ALL.iter().enumerate() {
            assert_eq!(styles[i] == base[i], *role != Role::Crit, "{}", role.name());
        }
        assert_eq!(styles[Role::Crit as usize].fg, Some(Color::Rgb(0xaa, 0, 0)));
    }

    #[test]
    fn errors_name_file_role_and_remedy() {
        assert!(error("[roles]\nglow = {}").contains("mine.toml: unknown role `glow`; the roles are text, dim"));
        assert!(error("[roles]\ntext = {}").contains("mine.toml: role `dim` is missing; add `dim = {"));
        assert!(
            error("inherits = \"default\"\n[roles]\ncrit = { fg = \"blod\" }")
                .contains("role `crit`: unknown colour `blod`")
        );
        assert!(error("inherits = \"mine.toml\"").contains("go in a circle"));
        assert!(error("inherits = \"gone\"").contains("no theme `gone`"));
        assert!(error("[roles]\ncrit = { glow = true }").contains("theme mine.toml:"));
    }
}
