//! Which theme, and how many colours this terminal has.

use crate::view::{Depth, Theme, ThemeError};
use std::path::Path;

/// The theme `name`: built in, a file below `themes` of the configuration folder, or a path.
pub fn load(name: &str, config_dir: Option<&Path>) -> Result<Theme, ThemeError> {
    let read = |name: &str| {
        let below = config_dir.map(|dir| dir.join("themes").join(format!("{name}.toml")));
        let paths = [below, Some(name.into())];
        paths
            .into_iter()
            .flatten()
            .find_map(|path| std::fs::read(path).ok())
            .map(|b| String::from_utf8_lossy(&b).into())
    };
    Theme::load(name, depth(&|name| std::env::var(name).ok()), &read)
}

/// Depth of colour, by the variables that terminals and their users set.
fn depth(var: &dyn Fn(&str) -> Option<String>) -> Depth {
    let set = |name| var(name).filter(|v| !v.is_empty());
    let term = set("TERM").unwrap_or_default();
    if set("NO_COLOR").is_some() || ["dumb", "vt100", "vt102", "vt220"].contains(&term.as_str()) || term.ends_with("-m")
    {
        Depth::None
    } else if set("COLORTERM").is_some_and(|c| c == "truecolor" || c == "24bit") || term.ends_with("-direct") {
        Depth::True
    } else if term.contains("256color") {
        Depth::Ansi256
    } else {
        Depth::Ansi16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_follows_what_the_terminal_says() {
        let of =
            |vars: &[(&str, &str)]| depth(&|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()));
        assert_eq!(of(&[("TERM", "xterm")]), Depth::Ansi16);
        assert_eq!(of(&[("TERM", "screen-256color")]), Depth::Ansi256);
        assert_eq!(of(&[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")]), Depth::True);
        assert_eq!(of(&[("TERM", "xterm-256color"), ("NO_COLOR", "1")]), Depth::None);
        assert_eq!(of(&[("TERM", "xterm"), ("NO_COLOR", "")]), Depth::Ansi16);
        assert_eq!(of(&[("TERM", "vt100")]), Depth::None);
    }

    #[test]
    fn a_file_of_the_configuration_folder_is_a_theme() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("themes")).unwrap();
        std::fs::write(dir.path().join("themes/mine.toml"), "inherits = \"default\"\n[roles]\n").unwrap();
        assert_eq!(load("mine", Some(dir.path())).unwrap().name, "mine");
        assert!(matches!(load("nope", Some(dir.path())), Err(ThemeError::Missing(name)) if name == "nope"));
    }
}
