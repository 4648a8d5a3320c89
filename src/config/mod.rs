//! The configuration file: TOML, every key optional, every mistake told with the key and what it could be.

pub mod duration;

use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::{Table, Value};

/// What a configuration file may set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `interval`: a duration such as `"500ms"`, or seconds.
    pub interval: Option<Duration>,
    /// `theme`: the name of a theme.
    pub theme: Option<String>,
    /// `max_cpu`: percent of one core.
    pub max_cpu: Option<f64>,
    /// `ascii`: draw with ASCII characters only.
    pub ascii: Option<bool>,
    /// `read_only`: change nothing on this host.
    pub read_only: Option<bool>,
    /// `rules.ID.KNOB`: thresholds, as `ID.KNOB` and value.
    pub knobs: Vec<(String, f64)>,
}

/// Why a configuration file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// As `read(2)`.
        error: std::io::Error,
    },
    /// It is not TOML.
    #[error("{}: {error}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// A key that means nothing.
    #[error("{}: unknown key `{key}`{}", path.display(), meant(nearest.as_deref()))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key, dotted.
        key: String,
        /// The most similar key there is.
        nearest: Option<String>,
    },
    /// A value that its key can't have.
    #[error("{}: `{key}` {problem}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, dotted.
        key: String,
        /// What is wrong with it, and what it could be.
        problem: String,
    },
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean `{key}`?"))
}

/// Keys outside of `rules`.
const KEYS: [&str; 5] = ["interval", "theme", "max_cpu", "ascii", "read_only"];

impl Config {
    /// The file at `path`. `knobs` are the `ID.KNOB` that rules have.
    ///
    /// # Errors
    /// Every mistake in it: nothing is ignored.
    pub fn load(path: &Path, knobs: &[String]) -> Result<Self, ConfigError> {
        let text = std::fs::read(path).map_err(|error| ConfigError::Unreadable { path: path.into(), error })?;
        Self::parse(&String::from_utf8_lossy(&text), path, knobs)
    }

    /// A file's text; `path` is only for messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path, knobs: &[String]) -> Result<Self, ConfigError> {
        let table: Table =
            text.parse().map_err(|error| ConfigError::Syntax { path: path.into(), error: Box::new(error) })?;
        let mut config = Self::default();
        for (key, value) in &table {
            let wrong =
                |problem: &str| ConfigError::Value { path: path.into(), key: key.clone(), problem: problem.into() };
            match key.as_str() {
                "interval" => config.interval = Some(interval(value).map_err(|e| wrong(&e))?),
                "theme" => {
                    config.theme = Some(value.as_str().ok_or_else(|| wrong("must be the name of a theme"))?.into())
                }
                "max_cpu" => {
                    let percent = number(value).filter(|p| *p > 0.0 && *p <= 100.0);
                    config.max_cpu = Some(percent.ok_or_else(|| wrong("must be a number above 0 and at most 100"))?);
                }
                "ascii" => config.ascii = Some(value.as_bool().ok_or_else(|| wrong("must be true or false"))?),
                "read_only" => config.read_only = Some(value.as_bool().ok_or_else(|| wrong("must be true or false"))?),
                "rules" => {
                    let rules = value.as_table().ok_or_else(|| wrong("must be a table of rules"))?;
                    rules_below("", rules, path, knobs, &mut config.knobs)?;
                }
                _ => return Err(unknown(path, key, KEYS.iter().map(ToString::to_string).chain(["rules".into()]))),
            }
        }
        Ok(config)
    }
}

/// The thresholds below `rules`. An id has dots in it: `[rules."tcp.close_wait_pile"]` and `[rules.tcp.close_wait_pile]`
/// mean the same.
fn rules_below(
    above: &str,
    table: &Table,
    path: &Path,
    knobs: &[String],
    into: &mut Vec<(String, f64)>,
) -> Result<(), ConfigError> {
    for (key, value) in table {
        let name = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        if let Some(table) = value.as_table() {
            rules_below(&name, table, path, knobs, into)?;
            continue;
        }
        let key = format!("rules.{name}");
        if !knobs.contains(&name) {
            return Err(unknown(path, &key, knobs.iter().map(|k| format!("rules.{k}"))));
        }
        let Some(number) = number(value).filter(|n| n.is_finite() && *n >= 0.0) else {
            return Err(ConfigError::Value { path: path.into(), key, problem: "must be a number, 0 or more".into() });
        };
        into.push((name, number));
    }
    Ok(())
}

fn number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|n| n as f64))
}

fn interval(value: &Value) -> Result<Duration, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        other => number(other).ok_or("must be a duration such as \"500ms\", or seconds")?.to_string(),
    };
    duration::interval(&text)
}

fn unknown(path: &Path, key: &str, keys: impl Iterator<Item = String>) -> ConfigError {
    ConfigError::UnknownKey { path: path.into(), key: key.into(), nearest: nearest(key, keys) }
}

/// The most similar of `names`, if any is similar enough to have been meant.
pub fn nearest(name: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let near = names.map(|n| (distance(name, &n), n)).min()?;
    (near.0 <= name.chars().count().div_ceil(3)).then_some(near.1)
}

/// Levenshtein's distance: letters to add, drop or change.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, above) in b.chars().zip(row.iter_mut().skip(1)) {
            let cost = (diagonal + usize::from(x != y)).min(*above + 1).min(left + 1);
            diagonal = std::mem::replace(above, cost);
            left = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Config, String> {
        let knobs = ["tcp.close_wait_pile.count".into(), "net.link_saturated.speed_mbit".into()];
        Config::parse(text, Path::new("c.toml"), &knobs).map_err(|e| e.to_string())
    }

    #[test]
    fn every_key() {
        let text = "interval = \"500ms\"\ntheme = \"light\"\nmax_cpu = 5\nascii = true\nread_only = true\n\
                    [rules.\"tcp.close_wait_pile\"]\ncount = 300\n[rules.net.link_saturated]\nspeed_mbit = 1e3\n";
        let mut config = parse(text).unwrap();
        config.knobs.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(
            config,
            Config {
                interval: Some(Duration::from_millis(500)),
                theme: Some("light".into()),
                max_cpu: Some(5.0),
                ascii: Some(true),
                read_only: Some(true),
                knobs: vec![
                    ("net.link_saturated.speed_mbit".into(), 1000.0),
                    ("tcp.close_wait_pile.count".into(), 300.0)
                ],
            }
        );
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn mistakes_are_told_with_the_key_and_what_it_could_be() {
        let told = |text| parse(text).unwrap_err();
        assert_eq!(told("intervall = 1"), "c.toml: unknown key `intervall`; did you mean `interval`?");
        assert_eq!(told("zzzzzz = 1"), "c.toml: unknown key `zzzzzz`");
        assert_eq!(
            told("[rules.tcp.close_wait_pile]\ncuont = 1"),
            "c.toml: unknown key `rules.tcp.close_wait_pile.cuont`; did you mean `rules.tcp.close_wait_pile.count`?"
        );
        assert_eq!(told("ascii = 1"), "c.toml: `ascii` must be true or false");
        assert_eq!(told("max_cpu = 0"), "c.toml: `max_cpu` must be a number above 0 and at most 100");
        assert_eq!(told("interval = \"1ms\""), "c.toml: `interval` must lie between 100ms and 1h");
        assert_eq!(told("rules = 1"), "c.toml: `rules` must be a table of rules");
        assert_eq!(
            told("[rules.\"tcp.close_wait_pile\"]\ncount = \"many\""),
            "c.toml: `rules.tcp.close_wait_pile.count` must be a number, 0 or more"
        );
        assert!(told("a = [").contains("c.toml: "), "{}", told("a = ["));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn distance_is_one(a in "[a-c]{0,6}", b in "[a-c]{0,6}") {
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
        }
    }
}
