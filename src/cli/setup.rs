//! What every command that looks at the host needs: settings, trees, and the start before any thread.

use super::args::Global;
use super::theme;
use super::tui::files::AutoSave;
use crate::act::AuditConfig;
use crate::collect::Roots;
use crate::collect::sampler::{Sampler, SamplerOptions};
use crate::config::{Config, ConfigError};
use crate::detect::{RuleConfig, Window};
use crate::engine::{Engine, EngineOptions};
use crate::panes::TableError;
use crate::startup::{self, LANE_STACK_BYTES, Startup};
use crate::view::{Theme, ThemeError};
use etcetera::BaseStrategy;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a command looks that is no screen: everything, up to 4 times a second, within one core.
const EAGER: SamplerOptions =
    SamplerOptions { interval: Duration::from_millis(250), max_cpu_pct: 95.0, eager: true, only: false };

/// What the ring that saves itself leaves on the disk at most.
const AUTO_SAVE: AutoSave = AutoSave { files: 10, bytes: 256 << 20 };

/// Longest wait for killed readers at the end, ms.
const READERS_END_MS: u32 = 100;

/// Settings that can't be used: the exit status tells them from trouble while looking.
#[derive(Debug, thiserror::Error)]
pub enum BadUse {
    /// In the configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// In `--theme`, or `theme` of the file.
    #[error(transparent)]
    Theme(#[from] ThemeError),
    /// What `show` is asked for.
    #[error(transparent)]
    Table(#[from] TableError),
    /// In `--keys`.
    #[error("--keys: {0:?} is no key: a letter, or Enter, Esc, Tab, Up, Down, PageDown")]
    Key(String),
    /// Where `export` writes to.
    #[error("{0}")]
    Export(&'static str),
    /// In `--at`.
    #[error("--at: {0:?} is no time: 03:12, 03:12:30, 2026-11-22T03:12:30Z, or -5m from the end")]
    Time(String),
    /// A time in `--at`, and from when to when there is something.
    #[error("--at: {0} lies outside the recording, which is from {1} to {2}")]
    Outside(String, String, String),
    /// `--cgroup` or `--thaw` name none.
    #[error("there is no cgroup {0}")]
    Cgroup(String),
    /// `--proc` or `--sys` name no tree.
    #[error("{flag} {}: {problem}", path.display())]
    Tree {
        /// Which flag.
        flag: &'static str,
        /// Its value.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
}

/// Flags over the configuration file over defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    pub interval: Duration,
    pub theme: Theme,
    pub max_cpu_pct: f64,
    pub ascii: bool,
    pub read_only: bool,
    pub audit: AuditConfig,
    pub rules: RuleConfig,
    pub places: Places,
}

/// Where the screens write, and what they write unasked.
#[derive(Clone, Debug)]
pub struct Places {
    /// The directory; `None` where there is no home.
    pub dir: Option<PathBuf>,
    /// How the ring saves itself when work begins to fail; `None` where it does not.
    pub auto: Option<AutoSave>,
}

impl Places {
    fn of(config: &Config, read_only: bool) -> Self {
        // Who promises to change nothing writes nothing unasked.
        let auto = config.auto_save.unwrap_or(true) && !read_only;
        let bounds = AutoSave {
            files: config.auto_save_files.unwrap_or(AUTO_SAVE.files),
            bytes: config.auto_save_size.unwrap_or(AUTO_SAVE.bytes),
        };
        Self { dir: config.state_dir.clone().or_else(state_dir), auto: auto.then_some(bounds) }
    }

    /// The file that `r` records to.
    pub fn recording(&self) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join("host.whytop"))
    }
}

/// `$XDG_STATE_HOME/whytop`; without that variable `/var/lib/whytop` for root and `~/.local/state/whytop` for others.
fn state_dir() -> Option<PathBuf> {
    let is_named = std::env::var_os("XDG_STATE_HOME").is_some_and(|dir| Path::new(&dir).is_absolute());
    if rustix::process::geteuid().is_root() && !is_named {
        return Some("/var/lib/whytop".into());
    }
    Some(etcetera::choose_base_strategy().ok()?.state_dir()?.join("whytop"))
}

impl Settings {
    /// Reads the configuration file, if there is one or `--config` names one.
    ///
    /// # Errors
    /// A file that is named and not there, and every mistake in it; a theme that is none.
    pub fn load(global: &Global) -> Result<Self, BadUse> {
        let config_dir = etcetera::choose_base_strategy().ok().map(|dirs| dirs.config_dir().join("whytop"));
        let config = match (&global.config, config_dir.as_ref().map(|dir| dir.join("config.toml"))) {
            (Some(path), _) => Config::load(path)?,
            (None, Some(path)) if path.exists() => Config::load(&path)?,
            (None, _) => Config::default(),
        };
        let read_only = global.read_only || config.read_only.unwrap_or(false);
        let places = Places::of(&config, read_only);
        let theme = global.theme.clone().or(config.theme).unwrap_or_else(|| "default".into());
        Ok(Self {
            interval: global.interval.or(config.interval).unwrap_or(Duration::from_secs(1)),
            theme: theme::load(&theme, config_dir.as_deref())?,
            max_cpu_pct: global.max_cpu.or(config.max_cpu).unwrap_or(10.0),
            ascii: global.ascii || config.ascii.unwrap_or(false),
            read_only,
            audit: AuditConfig { file: config.audit_log, syslog: config.audit_syslog.unwrap_or(false) },
            rules: config.rules,
            places,
        })
    }
}

/// The host to look at.
pub struct Host {
    pub settings: Settings,
    pub roots: Roots,
    pub startup: Startup,
    readers: Vec<Pid>,
}

impl Host {
    /// Prepares the process. No thread may have been started before.
    ///
    /// # Errors
    /// Settings that can't be used.
    pub fn open(global: &Global) -> Result<Self, BadUse> {
        Self::prepare(global, false)
    }

    /// The same for the live screens, which drill down and act.
    ///
    /// # Errors
    /// Settings that can't be used.
    pub fn open_for_screens(global: &Global) -> Result<Self, BadUse> {
        Self::prepare(global, true)
    }

    fn prepare(global: &Global, screens: bool) -> Result<Self, BadUse> {
        let settings = Settings::load(global)?;
        let roots = Roots { proc: tree("--proc", &global.proc)?, sys: tree("--sys", &global.sys)? };
        let startup = startup::prepare(&roots, screens);
        let pids = startup.readers.pids();
        let readers = pids.filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect();
        Ok(Self { settings, roots, startup, readers })
    }

    /// A sampler for a command that looks for a while: everything, often, within one core.
    pub fn eager_sampler(&mut self) -> Sampler {
        self.sampler(EAGER)
    }

    /// A sampler for a command that looks once.
    pub fn patient_sampler(&mut self) -> Sampler {
        self.sampler(SamplerOptions { only: true, ..EAGER })
    }

    /// A sampler for the live screens: at the interval and below the cap that are set.
    pub fn live_sampler(&mut self) -> Sampler {
        let Settings { interval, max_cpu_pct, .. } = self.settings;
        self.sampler(SamplerOptions { interval, max_cpu_pct, eager: false, only: false })
    }

    /// An engine whose findings reach back as far as `window`.
    pub fn engine(&self, window: Window) -> Engine {
        Engine::new(EngineOptions { window, rules: self.settings.rules.clone(), ..EngineOptions::default() })
    }

    fn sampler(&mut self, options: SamplerOptions) -> Sampler {
        Sampler::start(self.roots.clone(), options, LANE_STACK_BYTES, std::mem::take(&mut self.startup.readers))
    }
}

/// The readers are ended and waited for: left to a pid 1 that never waits, as in many a container, they would stay as
/// zombies. One that hangs in D is left behind; the kernel's reaping of it is no one's to wait for.
impl Drop for Host {
    fn drop(&mut self) {
        let is_ours = |pid: &Pid| matches!(waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None));
        self.readers.retain(is_ours);
        for pid in &self.readers {
            let _ = kill_process(*pid, Signal::KILL);
        }
        reap(std::mem::take(&mut self.readers), READERS_END_MS);
    }
}

/// Waits for forked processes that are ending, so long at most.
pub fn reap(mut pids: Vec<Pid>, wait_ms: u32) {
    for _ in 0..wait_ms {
        pids.retain(|pid| matches!(waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None)));
        if pids.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn tree(flag: &'static str, path: &Path) -> Result<PathBuf, BadUse> {
    let bad = |problem: String| BadUse::Tree { flag, path: path.into(), problem };
    let kind = std::fs::metadata(path).map_err(|e| bad(e.to_string()))?;
    if kind.is_dir() { Ok(path.into()) } else { Err(bad("not a directory".into())) }
}
