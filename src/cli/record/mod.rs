//! `whytop record`: samples the host and keeps them in a file, for the time after the reboot.

pub mod findings;

use super::args::{Global, RecordArgs};
use super::out;
use super::setup::{self, Host};
use super::tape::{File, Tape, Word};
use crate::collect::{now, wall_unix_ns};
use crate::detect::Window;
use crate::engine::Engine;
use crate::record::{Bounds, Link};
use crate::snapshot::Snapshot;
use crate::source::{Live, Source};
use anyhow::{Context as _, bail};
use rustix::process::Pid;
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
/// One that writes, and one for when it dies.
const WRITERS: usize = 2;

/// Records until `--for` is over or a signal comes.
///
/// # Errors
/// As [`Host::open`]; a file that can't be recorded to.
pub fn run(global: &Global, args: &RecordArgs) -> anyhow::Result<ExitCode> {
    let path = std::path::absolute(&args.file).with_context(|| args.file.display().to_string())?;
    // Before any thread, and before what `open` opens.
    let writers = crate::startup::fork_writers(WRITERS).context("no process can be started that writes")?;
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
    let file = File { path: &path, bounds, makes_dir: false };
    let tape = Tape::open(Link::new(writers), file, host.settings.interval, &first)?;
    let mut recorder = Recorder { live, engine: host.engine(Window::default()), tape };
    let writers = recorder.pids();
    let status = runtime.block_on(recorder.run(first, args.window, signals));
    // Their orders ended with the recorder.
    setup::reap(writers, WRITERS_END_MS);
    status
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
    live: Live,
    engine: Engine,
    tape: Tape,
}

impl Recorder {
    fn pids(&mut self) -> Vec<Pid> {
        self.tape.link().pids().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect()
    }

    async fn run(
        mut self,
        first: Snapshot,
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

    fn record(&mut self, snap: Snapshot) -> anyhow::Result<()> {
        self.tape.take(&snap, &self.engine)?;
        self.tape.note_findings(&self.engine.step_shared(Arc::new(snap)));
        Ok(())
    }

    /// Takes in what the writing process told.
    fn hear(&mut self) -> anyhow::Result<()> {
        for word in self.tape.hear() {
            match word {
                Word::Over(why) => bail!("{}: {why}", self.tape.path().display()),
                other => self.tell(other),
            }
        }
        Ok(())
    }

    fn tell(&self, word: Word) {
        match word {
            Word::Opened(how) => {
                let name = self.tape.path().display();
                out::tell(&printable(&format!("whytop: records to {name}{how}")));
            }
            Word::Said(text) | Word::Over(text) => self.say(&text),
            Word::Closed => self.say(&self.tape.finished()),
        }
    }

    fn say(&self, text: &str) {
        out::tell(&printable(&format!("whytop: {}: {text}", self.tape.path().display())));
    }

    /// Closes the file, or says who still holds what it lacks.
    fn end(mut self) -> ExitCode {
        self.tape.end(wall_unix_ns());
        match self.tape.wait_for_end(CLOSE_MS) {
            Ok(words) => {
                for word in words {
                    self.tell(word);
                }
                ExitCode::SUCCESS
            }
            Err(why) => {
                self.say(&why);
                ExitCode::FAILURE
            }
        }
    }
}

/// One line without controls.
fn printable(line: &str) -> String {
    crate::view::text::printable(line).into_owned() + "\n"
}
