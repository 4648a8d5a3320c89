//! The command line: a public contract.

use crate::config::{duration, size};
use crate::export::Format;
use crate::snapshot::{Signal, TcpState};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  whytop                              the live screens; ? shows the keys
  whytop why                          look for 5 s, then say what is wrong, worst first
  whytop why --json --exit-code       the same for a script: 0 calm, 1 warning, 2 critical
  whytop show tcp --filter java       one pane as a table, once
  whytop log /var/log/messages        what a dead host's kernel log says
  whytop record host.whytop           keep samples in a file
  whytop doctor                       what can't be seen here, and what would fix it";

/// Says why a Linux host is dying: which process, container, limit or buffer is at fault, with the evidence.
#[derive(Clone, Debug, Parser)]
#[command(name = "whytop", version, about, after_help = EXAMPLES, disable_help_subcommand = true)]
#[command(long_about = "Says why a Linux host is dying: which process, container, limit or buffer is at fault, with \
the evidence under it and what to do next.\n\nWithout a command it shows the live screens. Without a terminal it looks \
for 5 s and prints what is wrong.\n\nIn the live screens w writes the last 10 minutes to a file, r records to one, P \
saves the screen, all below /var/lib/whytop (root) or ~/.local/state/whytop, or state_dir of the configuration.")]
pub struct Cli {
    /// What to do; without one, the live screens.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Time from one sample to the next, for example 500ms or 2s [default: 1s]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration::interval)]
    pub interval: Option<Duration>,
    /// Configuration file [default: $XDG_CONFIG_HOME/whytop/config.toml]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Colours of the live screens
    #[arg(long, global = true, value_name = "NAME")]
    pub theme: Option<String>,
    /// Promise to change nothing on this host: no action, and no file but where you ask for one
    #[arg(long, global = true)]
    pub read_only: bool,
    /// The /proc to read, for example a host's, mounted in a debug pod
    #[arg(long, global = true, value_name = "DIR", default_value = "/proc", value_hint = ValueHint::DirPath)]
    pub proc: PathBuf,
    /// The /sys to read
    #[arg(long, global = true, value_name = "DIR", default_value = "/sys", value_hint = ValueHint::DirPath)]
    pub sys: PathBuf,
    /// Most CPU that whytop itself may use, percent of one core; 100 = no cap [default: 10]
    #[arg(long, global = true, value_name = "PERCENT", value_parser = percent)]
    pub max_cpu: Option<f64>,
    /// Draw with ASCII characters only
    #[arg(long, global = true)]
    pub ascii: bool,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Look for a while, then say what is wrong, worst first
    #[command(after_help = WHY_EXAMPLES)]
    Why(WhyArgs),
    /// Show a recording in the live screens: play, step, seek, next anomaly
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
    /// Print one pane once, as a table or as JSON
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Take one raw sample of the kernel's counters
    #[command(after_help = SNAPSHOT_EXAMPLES)]
    Snapshot(JsonArg),
    /// Send a signal safely: say what it will do, do it to that process and no other, say what became of it
    #[command(after_help = KILL_EXAMPLES)]
    Kill(KillArgs),
    /// Read a kernel log as events: OOM kills, hung tasks, SYN floods, disk errors
    #[command(after_help = LOG_EXAMPLES)]
    Log(LogArgs),
    /// Write an outage up from its recording: timeline, stories, actions, marks
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArgs),
    /// Turn a recording into tables for DuckDB, ClickHouse, Spark or a spreadsheet
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// Keep samples in a file, for the time after the reboot
    #[command(after_help = RECORD_EXAMPLES)]
    Record(RecordArgs),
    /// Say what a recording holds
    #[command(after_help = INFO_EXAMPLES)]
    Info(InfoArgs),
    /// Try every interface here and say what can't be seen and what would fix it
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(JsonArg),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Draw the live screens once, without a terminal
    #[command(hide = true)]
    Screen(ScreenArgs),
    /// Print each finding as it opens, changes severity and closes, as the live screens have it
    #[command(hide = true)]
    Watch(WatchArgs),
    /// Print the manual page
    #[command(after_help = "Example:\n  whytop man | man -l -")]
    Man,
}

const WHY_EXAMPLES: &str = "\
Every source that a rule needs is read up to 4 times a second, at most one core is used.

Exit status with --exit-code: 0 calm, 1 warning, 2 critical (at any time in the window), 3 the host could not be looked at.

Examples:
  whytop why                          look for 5 s
  whytop why --for 1m                 slow leaks need a longer look
  whytop why --json | jq .stories     for a script
  whytop why --from outage.whytop     what a recording says, and with --at what was true then
  whytop why --exit-code >/dev/null || page-someone";

/// `why`.
#[derive(Args, Clone, Debug)]
pub struct WhyArgs {
    /// How long to look
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = duration::window)]
    pub window: Duration,
    /// Read this recording instead of looking at the host
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "window")]
    pub from: Option<PathBuf>,
    /// What was true at this time of the recording: 03:12, 03:12:30, RFC 3339, or -5m from its end
    #[arg(long, value_name = "TIME", requires = "from", allow_hyphen_values = true)]
    pub at: Option<String>,
    /// Keep the samples of the look in this recording: tests ask both the same
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "from", value_hint = ValueHint::FilePath)]
    pub tape: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Exit with 0 when calm, 1 on a warning, 2 on a critical finding, 3 when the host could not be looked at
    #[arg(long)]
    pub exit_code: bool,
}

const REPLAY_EXAMPLES: &str = "\
Keys: Space plays or holds, [ ] step, { } go to where a finding began, @ to a time, m lists what happened, < > set the
speed, ? shows all. Nothing can be done to the host.

Examples:
  whytop replay outage.whytop
  whytop replay outage.whytop --at 03:12
  whytop replay outage.whytop --at=-5m   five minutes before its end";

/// `replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// The recording
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Begin at this time, held: 03:12, 03:12:30, RFC 3339, or -5m from the end
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub at: Option<String>,
}

const SHOW_EXAMPLES: &str = "\
The host is looked at for one interval, so that rates are known. Every row is printed, where the screens open with
those in trouble; --view shows those, and other ways to group them.

Examples:
  whytop show tcp                     sockets by state for every process
  whytop show tcp --view remote       by where they go to
  whytop show tasks --view trouble    what hangs, and where
  whytop show tasks --filter 'rss>1G' --sort rss
  whytop show cgroups --sort memory --top 10
  whytop show memory --json | jq '.rows[0]'";

/// `show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The pane
    #[arg(value_name = "PANE", value_parser = PossibleValuesParser::new(crate::panes::PANES.iter().map(|p| p.name)))]
    pub pane: String,
    /// One of its views: remote, listener or netns of tcp; trouble of tasks; containers of cgroups
    #[arg(long, value_name = "VIEW")]
    pub view: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Sort by this column
    #[arg(long, value_name = "COL")]
    pub sort: Option<String>,
    /// Only rows that match, for example java, state=D or rss>1G
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Only the first N rows
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
}

const SNAPSHOT_EXAMPLES: &str = "\
Counters are the kernel's own, nothing is derived. Without --json a summary of the sections is printed.

Examples:
  whytop snapshot                     which sections could be read, and what each cost
  whytop snapshot --json > before.json";

const KILL_EXAMPLES: &str = "\
What the signal will do is read from the kernel and printed before anything is sent; the process is held by a pidfd, so
that nothing can reach another that got its pid. What ends a container, a session or many processes asks for a typed
word. Never touched: pid 1, kernel threads, whytop itself and what it runs below (your shell, sshd, tmux).

Exit status: 0 all became as asked, 1 not all (or a pid was gone), 2 refused or not confirmed, 3 bad use.

Examples:
  whytop kill --plan 812              what SIGTERM would do to it, and what goes with it
  whytop kill 812                     send it, watch for 5 s, say what became of it
  whytop kill --signal KILL 812 813   to both
  whytop kill --tree 812              it and all below it, leaves first
  whytop kill --cgroup /docker/0a1b   everything in a cgroup, until it is empty
  whytop kill --thaw /docker/0a1b     let a frozen cgroup go on
  whytop kill --reap 812              ask a parent to take its zombies away
  whytop kill 812 --sockets --state close_wait --remote 10.0.0.5:61616
  whytop kill --json --yes 812 | jq '.plans[0].outcome'";

/// `kill`.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct KillArgs {
    /// Processes
    #[arg(value_name = "PID", required_unless_present_any = ["cgroup", "thaw"], value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub pids: Vec<u32>,
    /// The signal, by name or number
    #[arg(long, short, value_name = "SIGNAL", default_value = "TERM", value_parser = signal)]
    pub signal: Signal,
    /// Only say what it would do
    #[arg(long)]
    pub plan: bool,
    /// Answer every question with yes; a refusal stays one
    #[arg(long, short)]
    pub yes: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Watch what becomes of it for so long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::wait)]
    pub wait: Duration,
    /// The processes below each PID too
    #[arg(long, group = "what")]
    pub tree: bool,
    /// Kill (SIGKILL) everything in this cgroup: its path, or its directory
    #[arg(long, value_name = "PATH", conflicts_with_all = ["pids", "signal"], group = "what")]
    pub cgroup: Option<String>,
    /// Thaw this cgroup
    #[arg(long, value_name = "PATH", conflicts_with_all = ["pids", "signal"], group = "what")]
    pub thaw: Option<String>,
    /// Ask each PID to take its zombies away (SIGCHLD)
    #[arg(long, conflicts_with = "signal", group = "what")]
    pub reap: bool,
    /// Destroy TCP sockets of each PID instead
    #[arg(long, conflicts_with = "signal", group = "what")]
    pub sockets: bool,
    /// Only sockets in this state, for example close_wait
    #[arg(long, value_name = "STATE", requires = "sockets", value_parser = state)]
    pub state: Option<TcpState>,
    /// Only sockets to this address, or address and port
    #[arg(long, value_name = "ADDR[:PORT]", requires = "sockets", value_parser = remote)]
    pub remote: Option<Remote>,
    /// Only sockets at this local port
    #[arg(long, value_name = "PORT", requires = "sockets")]
    pub local_port: Option<u16>,
}

fn signal(text: &str) -> Result<Signal, String> {
    Signal::parse(text).ok_or_else(|| "is no signal: a name such as TERM, or a number from 1 to 64".into())
}

fn state(text: &str) -> Result<TcpState, String> {
    let name = text.to_ascii_lowercase().replace('-', "_");
    let known = TcpState::ALL.into_iter().find(|state| state.name() == name);
    known.ok_or_else(|| format!("must be one of {}", TcpState::ALL.map(TcpState::name).join(", ")))
}

/// A far address, and perhaps its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote(pub IpAddr, pub Option<u16>);

fn remote(text: &str) -> Result<Remote, String> {
    if let Ok(at) = text.parse::<SocketAddr>() {
        return Ok(Remote(at.ip(), Some(at.port())));
    }
    let addr = text.trim_start_matches('[').trim_end_matches(']').parse();
    addr.map(|addr| Remote(addr, None)).map_err(|_| "must be an address, or address:port".into())
}

const LOG_EXAMPLES: &str = "\
Understands dmesg, dmesg -T and -x, syslog, journalctl -k and raw /dev/kmsg, of kernels from 2.6 on.

Examples:
  whytop log                          this kernel's log
  whytop log /var/log/messages        what is left of a dead host
  journalctl -k -b -1 | whytop log -  the boot before
  whytop log --json dmesg.txt | jq '.events[] | select(.kind == \"oom_kill\")'";

/// `log`.
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// Files to read, - for standard input; without one, this kernel's log
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

const REPORT_EXAMPLES: &str = "\
The same findings as on the screens, with first and last times, peaks, evidence and charts. All times are UTC.

Examples:
  whytop report outage.wtr -o outage.md
  whytop report outage.wtr --format html --redact -o outage.html
  whytop report outage.wtr --format json | jq '.stories[].summary'";

/// `report`.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// The recording
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Markdown, one self-contained HTML file, or JSON
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "md")]
    pub format: ReportFormat,
    /// Leave command lines of processes out
    #[arg(long)]
    pub redact: bool,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
}

/// Forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Markdown, charts as text
    Md,
    /// One self-contained HTML file, charts as SVG
    Html,
    /// JSON
    Json,
}

const EXPORT_EXAMPLES: &str = "\
Every row has host, boot_id and time, so tables of many hosts can be read together. Counters are the kernel's own; a
section that was not read anew gives no row again.

Examples:
  whytop export outage.wtr --format parquet -o outage/
  whytop export outage.wtr --format csv --section tasks > tasks.csv
  duckdb -c \"SELECT host, max(load1) FROM 'hosts/*/cpu.parquet' GROUP BY host\"";

/// `export`.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// The recording
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Format of the tables
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Format,
    /// Only this table [default: all]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(super::export::names()))]
    pub section: Option<String>,
    /// Leave command lines of processes out
    #[arg(long)]
    pub redact: bool,
    /// A directory for all tables, a file for one [default: standard output, for one]
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::AnyPath)]
    pub out: Option<PathBuf>,
}

const RECORD_EXAMPLES: &str = "\
A sample is on the disk at most one interval after it was taken. A file that exists is continued. What is older than
four hours is thinned to a sample in 10 s; the copy that this makes beside FILE is within --max-size. A disk that is
full, gone or stuck stops neither the sampling nor the end; what is lost is told.

Examples:
  whytop record /var/lib/whytop/host.whytop
  whytop record out.whytop --for 10m --interval 500ms
  whytop record /var/lib/whytop/host.whytop --max-size 4G --max-age 7d";

/// `record`.
#[derive(Args, Clone, Debug)]
pub struct RecordArgs {
    /// The file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Stop after this time
    #[arg(long = "for", value_name = "TIME", value_parser = duration::span)]
    pub window: Option<Duration>,
    /// Most bytes on the disk
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = size::parse)]
    pub max_size: u64,
    /// How far it reaches back
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration::span)]
    pub max_age: Duration,
}

const INFO_EXAMPLES: &str = "\
Examples:
  whytop info host.whytop             host, time range, size, gaps, findings, marks, actions
  whytop info --json host.whytop | jq .gaps";

/// `info`.
#[derive(Args, Clone, Debug)]
pub struct InfoArgs {
    /// The recording
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

const DOCTOR_EXAMPLES: &str = "\
Nothing is guessed from the user id: each interface is tried.

Examples:
  whytop doctor
  whytop doctor --json | jq '.checks[] | select(.state != \"ok\")'";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  whytop completions bash > /etc/bash_completion.d/whytop
  whytop completions zsh > \"${fpath[1]}/_whytop\"
  whytop completions fish > ~/.config/fish/completions/whytop.fish";

/// `screen`.
#[derive(Args, Clone, Debug)]
pub struct ScreenArgs {
    /// Columns and rows
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "120x40", value_parser = columns_and_rows)]
    pub size: (u16, u16),
    /// How long to look before the first key
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = duration::window)]
    pub window: Duration,
    /// Keys to press, by letter or name, for example "3 Down Enter"
    #[arg(long, value_name = "KEYS", default_value = "")]
    pub keys: String,
    /// Over a recording instead of this host
    #[arg(long, value_name = "FILE", conflicts_with = "window", value_hint = ValueHint::FilePath)]
    pub from: Option<PathBuf>,
    /// Time in the recording, UTC [default: its end]
    #[arg(long, value_name = "TIME", requires = "from", allow_hyphen_values = true)]
    pub at: Option<String>,
    /// Print a picture (SVG) instead of text
    #[arg(long)]
    pub svg: bool,
    /// Play the whole recording into an asciicast
    #[arg(long, requires = "from", conflicts_with_all = ["svg", "at", "keys"])]
    pub cast: bool,
}

/// `watch`.
#[derive(Args, Clone, Copy, Debug)]
pub struct WatchArgs {
    /// How long to watch; without it, until a signal comes
    #[arg(long = "for", value_name = "TIME", value_parser = duration::window)]
    pub window: Option<Duration>,
    /// Print JSON, a line each
    #[arg(long)]
    pub json: bool,
}

fn columns_and_rows(text: &str) -> Result<(u16, u16), String> {
    let sides = text.split_once('x').map(|(w, h)| (w.parse::<u16>(), h.parse::<u16>()));
    match sides {
        Some((Ok(w @ 1..=500), Ok(h @ 1..=300))) => Ok((w, h)),
        _ => Err("must be columns and rows, for example 120x40".into()),
    }
}

/// A command whose only option is `--json`.
#[derive(Args, Clone, Copy, Debug)]
pub struct JsonArg {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').parse::<f64>();
    match number {
        Ok(n) if n > 0.0 && n <= 100.0 => Ok(n),
        Ok(_) => Err("must be above 0 and at most 100 (100 = no cap)".into()),
        Err(_) => Err("must be a number of percent, for example 5".into()),
    }
}
