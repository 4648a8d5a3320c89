//! The configuration file: TOML, every key optional, every mistake told with the key and what it could be.

pub mod duration;
pub mod size;

use crate::detect::{RuleConfig, rules};
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
    /// `audit_log`: a file that every attempt to act appends a line of JSON to.
    pub audit_log: Option<PathBuf>,
    /// `audit_syslog`: whether the system's log gets that line too.
    pub audit_syslog: Option<bool>,
    /// `state_dir`: the directory that recordings and pictures of the screen go to.
    pub state_dir: Option<PathBuf>,
    /// `auto_save`: whether the last minutes are saved when work begins to fail.
    pub auto_save: Option<bool>,
    /// `auto_save_files`: how many files of those stay.
    pub auto_save_files: Option<usize>,
    /// `auto_save_size`: how many bytes of those stay.
    pub auto_save_size: Option<u64>,
    /// `rules.ID.KNOB`: thresholds; `rules.ID.enabled`: whether a rule is on.
    pub rules: RuleConfig,
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

/// The keys of the top level.
const KEYS: [&str; 12] = [
    "interval",
    "theme",
    "max_cpu",
    "ascii",
    "read_only",
    "audit_log",
    "audit_syslog",
    "state_dir",
    "auto_save",
    "auto_save_files",
    "auto_save_size",
    "rules",
];
/// Key of a rule that switches it off.
const ENABLED: &str = "enabled";

impl Config {
    /// The file at `path`.
    ///
    /// # Errors
    /// Every mistake in it: nothing is ignored.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read(path).map_err(|error| ConfigError::Unreadable { path: path.into(), error })?;
        Self::parse(&String::from_utf8_lossy(&text), path)
    }

    /// A file's text; `path` is only for messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let table: Table =
            text.parse().map_err(|error| ConfigError::Syntax { path: path.into(), error: Box::new(error) })?;
        let mut config = Self::default();
        for (key, value) in &table {
            config.set(key, value, path)?;
        }
        Ok(config)
    }

    fn set(&mut self, key: &str, value: &Value, path: &Path) -> Result<(), ConfigError> {
        let wrong = |problem: &str| ConfigError::Value { path: path.into(), key: key.into(), problem: problem.into() };
        let flag = || value.as_bool().ok_or_else(|| wrong("must be true or false"));
        match key {
            "interval" => self.interval = Some(interval(value).map_err(|e| wrong(&e))?),
            "theme" => self.theme = Some(value.as_str().ok_or_else(|| wrong("must be the name of a theme"))?.into()),
            "max_cpu" => {
                let percent = number(value).filter(|p| *p > 0.0 && *p <= 100.0);
                self.max_cpu = Some(percent.ok_or_else(|| wrong("must be a number above 0 and at most 100"))?);
            }
            "ascii" => self.ascii = Some(flag()?),
            "read_only" => self.read_only = Some(flag()?),
            "audit_log" => {
                self.audit_log = Some(absolute(value).ok_or_else(|| wrong("must be the absolute path of a file"))?);
            }
            "audit_syslog" => self.audit_syslog = Some(flag()?),
            "state_dir" => {
                let dir = absolute(value).ok_or_else(|| wrong("must be the absolute path of a directory"))?;
                self.state_dir = Some(dir);
            }
            "auto_save" => self.auto_save = Some(flag()?),
            "auto_save_files" => {
                let files = value.as_integer().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
                self.auto_save_files = Some(files.ok_or_else(|| wrong("must be a whole number, 1 or more"))?);
            }
            "auto_save_size" => {
                let text = value.as_str().ok_or_else(|| wrong("must be a size, for example \"256M\""))?;
                self.auto_save_size = Some(size::parse(text).map_err(|e| wrong(&e))?);
            }
            "rules" => {
                let table = value.as_table().ok_or_else(|| wrong("must be a table of rules"))?;
                self.set_rules("rules", table, path)?;
            }
            _ => return Err(unknown(path, key, KEYS.map(String::from).into_iter())),
        }
        Ok(())
    }

    /// The tables below `rules`. An id has a dot in it: `[rules."tcp.close_wait_pile"]` and `[rules.tcp.close_wait_pile]`
    /// mean the same.
    fn set_rules(&mut self, above: &str, table: &Table, path: &Path) -> Result<(), ConfigError> {
        for (key, value) in table {
            let key = format!("{above}.{key}");
            match value.as_table() {
                Some(table) => self.set_rules(&key, table, path)?,
                None => self.set_rule(&key, value, path)?,
            }
        }
        Ok(())
    }

    fn set_rule(&mut self, key: &str, value: &Value, path: &Path) -> Result<(), ConfigError> {
        let wrong = |problem: &str| ConfigError::Value { path: path.into(), key: key.into(), problem: problem.into() };
        let (id, knob) = key.strip_prefix("rules.").and_then(|k| k.rsplit_once('.')).unwrap_or_default();
        let known = if knob == ENABLED {
            let on = value.as_bool().ok_or_else(|| wrong("must be true or false"))?;
            rules().any(|r| r.id == id) && (on || self.rules.disable(id))
        } else {
            let number = number(value).filter(|n| n.is_finite() && *n >= 0.0);
            self.rules.set(id, knob, number.ok_or_else(|| wrong("must be a number, 0 or more"))?)
        };
        if known { Ok(()) } else { Err(unknown(path, key, rule_keys())) }
    }
}

/// Every key below `rules`.
fn rule_keys() -> impl Iterator<Item = String> {
    let keys = |r: &'static crate::detect::Rule| r.knobs.iter().map(|k| k.key).chain([ENABLED]);
    rules().flat_map(move |r| keys(r).map(|key| format!("rules.{}.{key}", r.id)))
}

fn number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|n| n as f64))
}

fn absolute(value: &Value) -> Option<PathBuf> {
    value.as_str().map(PathBuf::from).filter(|path| path.is_absolute())
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
        Config::parse(text, Path::new("c.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn every_key() {
        let rule = rules().find(|r| !r.knobs.is_empty()).unwrap();
        let (id, knob) = (rule.id, rule.knobs[0].key);
        let text = format!(
            "interval = \"500ms\"\ntheme = \"light\"\nmax_cpu = 5\nascii = true\nread_only = true\n\
             audit_log = \"/var/log/whytop.jsonl\"\naudit_syslog = true\n\
             state_dir = \"/srv/whytop\"\nauto_save = false\nauto_save_files = 3\nauto_save_size = \"2M\"\n\
             [rules.{id}]\n{knob} = 1e3\nenabled = false\n"
        );
        let mut rules = RuleConfig::default();
        assert!(rules.set(id, knob, 1000.0) && rules.disable(id));
        let want = Config {
            interval: Some(Duration::from_millis(500)),
            theme: Some("light".into()),
            max_cpu: Some(5.0),
            ascii: Some(true),
            read_only: Some(true),
            audit_log: Some("/var/log/whytop.jsonl".into()),
            audit_syslog: Some(true),
            state_dir: Some("/srv/whytop".into()),
            auto_save: Some(false),
            auto_save_files: Some(3),
            auto_save_size: Some(2 << 20),
            rules,
        };
        assert_eq!(parse(&text).unwrap(), want);
        assert_eq!(parse(&text.replace(id, &format!("\"{id}\""))).unwrap(), want);
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn every_rule_and_knob_can_be_set() {
        for key in rule_keys() {
            let value = if key.ends_with(".enabled") { "true" } else { "7" };
            parse(&format!("{key} = {value}")).unwrap();
        }
    }

    #[test]
    fn mistakes_are_told_with_the_key_and_what_it_could_be() {
        let told = |text| parse(text).unwrap_err();
        assert_eq!(told("intervall = 1"), "c.toml: unknown key `intervall`; did you mean `interval`?");
        assert_eq!(told("zzzzzz = 1"), "c.toml: unknown key `zzzzzz`");
        assert_eq!(
            told("[rules.tcp.syn_sent_pile]\nenabeld = 1"),
            "c.toml: unknown key `rules.tcp.syn_sent_pile.enabeld`; did you mean `rules.tcp.syn_sent_pile.enabled`?"
        );
        assert_eq!(told("ascii = 1"), "c.toml: `ascii` must be true or false");
        assert_eq!(told("max_cpu = 0"), "c.toml: `max_cpu` must be a number above 0 and at most 100");
        assert_eq!(told("audit_log = \"x.log\""), "c.toml: `audit_log` must be the absolute path of a file");
        assert_eq!(told("state_dir = \"x\""), "c.toml: `state_dir` must be the absolute path of a directory");
        assert_eq!(told("auto_save_files = 0"), "c.toml: `auto_save_files` must be a whole number, 1 or more");
        assert!(told("auto_save_size = 7").contains("must be a size, for example \"256M\""));
        assert!(told("auto_save_size = \"7\"").contains("between 1M"), "{}", told("auto_save_size = \"7\""));
        assert_eq!(told("interval = \"1ms\""), "c.toml: `interval` must lie between 100ms and 1h");
        assert_eq!(told("rules = 1"), "c.toml: `rules` must be a table of rules");
        assert_eq!(told("rules.x = 1"), "c.toml: unknown key `rules.x`");
        let text = "[rules.\"tcp.syn_sent_pile\"]\nenabled = \"no\"";
        assert_eq!(told(text), "c.toml: `rules.tcp.syn_sent_pile.enabled` must be true or false");
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
