//! `whytop record`: samples the host and keeps them in a file, for the time after the reboot.

pub mod findings;

use super::args::{Global, RecordArgs};
use super::out;
use super::setup::{self, Host};
use crate::collect::{now, wall_unix_ns};
use crate::detect::Window;
use crate::engine::Engine;
use crate::record::{Bounds, Destination, Header, Link, Report, Writer};
use crate::snapshot::Moment;
use crate::source::{Live, Source};
use crate::view::num;
use anyhow::{Context as _, bail};
use findings::Findings;
use rustix::process::Pid;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often what waits is offered to the writing process, between samples.
const PUMP: Duration = Duration::from_millis(100);
/// How long the file gets to close.
const CLOSE_MS: u32 = 3000;
/// How long processes that write get to end.
const WRITERS_END_MS: u32 = 100;
/// So many keyframes from one checkpoint of the engine to the next.
const CHECKPOINT_KEYS: u64 = 5;
/// A disk that has taken nothing for so many intervals, and seconds, is told.
const SILENT_INTERVALS: f64 = 5.0;
const SILENT_S: f64 = 5.0;

/// Records until `--for` is over or a signal comes.
///
/// # Errors
/// As [`Host::open`]; a file that can't be recorded to.
pub fn run(global: &Global, args: &RecordArgs) -> anyhow::Result<ExitCode> {
    let path = std::path::absolute(&args.file).with_context(|| args.file.display().to_string())?;
    // Before any thread, and before what `open` opens.
    let writers = crate::startup::fork_writers().context("no process can be started that writes")?;
    let mut host = Host::open(global)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let signals = {
        let _inside = runtime.enter();
        Signals::install().context("signals can't be waited for")?
    };
    let mut live = Live::new(host.live_sampler());
    let first = live.look().context("no sample can be taken")?;
    let bounds = Bounds {
        max_bytes: args.max_size,
        max_age_ns: i64::try_from(args.max_age.as_nanos()).unwrap_or(i64::MAX),
        ..Bounds::default()
    };
    let header = Header { interval_ns: nanos(host.settings.interval), ..Header::of(&first) };
    let link = Link::open(writers, Destination { path: path.clone(), header, bounds });
    let mut recorder = Recorder {
        path,
        live,
        engine: host.engine(Window::default()),
        writer: Writer::with_base(link)?,
        findings: Findings::default(),
        interval: host.settings.interval,
        samples: 0,
        keys: 0,
        bytes: 0,
        is_open: false,
        synced: now(),
        is_silent: false,
    };
    let writers = recorder.pids();
    let status = runtime.block_on(recorder.run(first, args.window, signals));
    // Their orders ended with the recorder.
    setup::reap(writers, WRITERS_END_MS);
    status
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The signals that end a recording.
struct Signals([Signal; 4]);

impl Signals {
    fn install() -> std::io::Result<Self> {
        let kinds = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()];
        let [a, b, c, d] = kinds.map(signal);
        Ok(Self([a?, b?, c?, d?]))
    }

    async fn any(&mut self) {
        let [a, b, c, d] = &mut self.0;
        tokio::select! {
            _ = a.recv() => {},
            _ = b.recv() => {},
            _ = c.recv() => {},
            _ = d.recv() => {},
        }
    }
}

struct Recorder {
    path: PathBuf,
    live: Live,
    engine: Engine,
    writer: Writer<Link>,
    findings: Findings,
    interval: Duration,
    samples: u64,
    keys: u64,
    /// Bytes of the file.
    bytes: u64,
    is_open: bool,
    /// When the disk last had everything.
    synced: Moment,
    /// Whether it was told that the disk does not answer.
    is_silent: bool,
}

impl Recorder {
    fn pids(&mut self) -> Vec<Pid> {
        self.writer.sink().pids().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect()
    }

    async fn run(
        mut self,
        first: crate::snapshot::Snapshot,
        window: Option<Duration>,
        mut signals: Signals,
    ) -> anyhow::Result<ExitCode> {
        let start = first.at;
        let mut next = Some(first);
        while let Some(snap) = next {
            self.record(snap)?;
            let left = window.map(|window| window.saturating_sub(Duration::from_secs_f64(now().since(start))));
            if left.is_some_and(|left| left <= self.live.due_in()) {
                tokio::time::sleep(left.unwrap_or_default()).await;
                break;
            }
            if self.wait(&mut signals).await? {
                break;
            }
            next = self.live.look();
        }
        Ok(self.end())
    }

    /// Waits until the next sample is due; whether a signal came.
    async fn wait(&mut self, signals: &mut Signals) -> anyhow::Result<bool> {
        loop {
            self.hear()?;
            let due = self.live.due_in();
            if due.is_zero() {
                return Ok(false);
            }
            tokio::select! {
                biased;
                () = signals.any() => return Ok(true),
                () = tokio::time::sleep(due.min(PUMP)) => {}
            }
        }
    }

    fn record(&mut self, snap: crate::snapshot::Snapshot) -> anyhow::Result<()> {
        let wall = snap.wall_unix_ns;
        let mut checkpoint = None;
        if self.writer.wants_checkpoint(wall) {
            if self.keys.is_multiple_of(CHECKPOINT_KEYS) {
                checkpoint = Some(self.engine.checkpoint(&snap));
            }
            self.keys += 1;
        }
        self.writer.push(&snap, checkpoint.as_deref())?;
        let frame = self.engine.step_shared(Arc::new(snap));
        for note in self.findings.notes(&frame) {
            // A note that is lost goes with the samples beside it, which are told.
            let _ = self.writer.note(wall, &note);
        }
        self.samples += 1;
        Ok(())
    }

    /// Takes in what the writing process told.
    fn hear(&mut self) -> anyhow::Result<()> {
        for report in self.writer.sink().reports() {
            self.heard(report)?;
        }
        if self.writer.sink().pid().is_none() {
            bail!("{}: every process that writes was ended", self.path.display());
        }
        let silent_s = now().since(self.synced);
        if !self.is_silent && silent_s > (self.interval.as_secs_f64() * SILENT_INTERVALS).max(SILENT_S) {
            self.is_silent = true;
            self.say(&format!("the disk has not answered for {}; samples wait in memory", num::span(silent_s)));
        }
        Ok(())
    }

    fn heard(&mut self, report: Report) -> anyhow::Result<()> {
        match report {
            Report::Opened { bytes, torn } => {
                let name = self.path.display();
                self.is_open = true;
                self.synced = now();
                let goes_on = if bytes > 0 { ", goes on after what it holds" } else { "" };
                let cut = if torn > 0 {
                    format!("; {} of a torn frame were cut off", num::prose_bytes(torn))
                } else {
                    String::new()
                };
                out::tell(&printable(&format!("whytop: records to {name}{goes_on}{cut}")));
            }
            Report::Refused { why } if !self.is_open => bail!("{}: {why}", self.path.display()),
            Report::Refused { why } | Report::Trouble { why } => {
                self.say(&format!("{why}: samples are lost until that is over"));
            }
            Report::Recovered { lost } => {
                self.say(&format!("records again; {} lost", samples_words(lost.samples)));
            }
            Report::NeedsKey => self.writer.start_over(),
            Report::Synced { bytes, .. } => {
                self.bytes = bytes;
                self.synced = now();
                if std::mem::take(&mut self.is_silent) {
                    self.say("the disk answers again");
                }
            }
            Report::NotThinned { why } => self.say(&format!("old samples could not be thinned: {why}")),
            Report::Closed => {}
            Report::Died => self.say("the process that writes was ended"),
        }
        Ok(())
    }

    fn say(&self, text: &str) {
        out::tell(&printable(&format!("whytop: {}: {text}", self.path.display())));
    }

    /// Closes the file, or says who still holds what it lacks.
    fn end(mut self) -> ExitCode {
        let wall = wall_unix_ns();
        for note in std::mem::take(&mut self.findings).end(wall) {
            let _ = self.writer.note(wall, &note);
        }
        let link = self.writer.sink();
        let pid = link.pid().unwrap_or_default();
        if !link.close(wall, CLOSE_MS) {
            let lost = link.waiting_bytes();
            let gone = if lost > 0 { format!("; {} are lost", num::prose_bytes(lost as u64)) } else { String::new() };
            self.say(&format!("the disk does not answer: process {pid} writes what it has when it does{gone}"));
            return ExitCode::FAILURE;
        }
        self.hear_the_end();
        let size = Path::new(&self.path).metadata().map_or(self.bytes, |meta| meta.len());
        self.say(&format!("{}, {}", samples_words(self.samples), num::prose_bytes(size)));
        ExitCode::SUCCESS
    }

    /// The last words that were on their way.
    fn hear_the_end(&mut self) {
        for report in self.writer.sink().reports() {
            if let Report::Trouble { why } = report {
                self.say(&why);
            }
        }
    }
}

fn samples_words(n: u64) -> String {
    if n == 1 { "1 sample".into() } else { format!("{} samples", num::grouped(n)) }
}

/// One line without controls.
fn printable(line: &str) -> String {
    crate::view::text::printable(line).into_owned() + "\n"
}
