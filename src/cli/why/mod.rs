//! `whytop why`: look for a while, or read a recording, then say what is wrong, worst first.

mod recorded;
mod tape;
mod text;

use super::args::{Global, WhyArgs};
use super::json::{Cost, Why};
use super::out;
use super::setup::{Host, Settings};
use super::text::Dress;
use crate::collect::sampler::Sampler;
use crate::detect::Window;
use crate::engine::Engine;
use crate::model::{Frame, Severity};
use crate::record::RecordError;
use crate::snapshot::Snapshot;
use crate::source::{Live, Source};
use crate::view::num;
use anyhow::Context as _;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;
use tape::Tape;

/// Exit status of `--exit-code` when the host could not be looked at.
pub const BLIND: u8 = 3;

/// Looks, prints, and says with its status what it found where `--exit-code` asks for it.
pub fn run(global: &Global, args: &WhyArgs) -> anyhow::Result<ExitCode> {
    let (looks, ascii) = if let Some(path) = &args.from {
        let settings = Settings::load(global)?;
        let _progress = Progress::start(&format!("reading {} …", path.display()));
        (recorded::looks(path, args.at.as_deref(), settings.rules)?, settings.ascii)
    } else {
        let mut host = Host::open(global)?;
        let sampler = host.eager_sampler();
        let _progress = Progress::start(&format!("looking for {} …", num::span(args.window.as_secs_f64())));
        let mut tape = args.tape.as_ref().map(|_| Tape::new()).transpose()?;
        let look = Look::take(sampler, host.engine(Window::Whole), args.window, tape.as_mut())?;
        if let Some((tape, path)) = tape.zip(args.tape.as_ref()) {
            tape.save(path).with_context(|| path.display().to_string())?;
        }
        (vec![look], host.settings.ascii)
    };
    if args.json {
        out::print_json(&Why::of(looks.iter().map(|l| (&l.frame, l.window_s, l.cost))))?;
    } else {
        let dress = Dress::for_stdout(ascii);
        let told = looks.iter().map(|l| text::render(&l.frame, &l.how(), dress)).collect::<Vec<_>>();
        out::print(&told.join("\n"))?;
    }
    let worst = looks.iter().map(|l| status(&l.frame)).filter(|s| *s != BLIND).max().unwrap_or(BLIND);
    Ok(if args.exit_code { ExitCode::from(worst) } else { ExitCode::SUCCESS })
}

/// What looking for a while gave.
pub struct Look {
    /// The last frame; its findings are those of the whole look.
    pub frame: Frame,
    /// From the first sample to the last, seconds.
    pub window_s: f64,
    /// What it cost.
    pub cost: Cost,
    /// At what.
    seen: Seen,
}

/// What a look was at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Host,
    Recording,
    /// A moment of a recording.
    Then,
}

impl Look {
    /// In words.
    fn how(&self) -> String {
        let Self { window_s, cost, .. } = self;
        match self.seen {
            Seen::Host => format!("looked for {window_s:.1} s, {} samples, {:.0} ms CPU", cost.samples, cost.cpu_ms),
            Seen::Recording => format!("recorded for {window_s:.1} s, {} samples", cost.samples),
            Seen::Then => "recorded, as it was then".into(),
        }
    }

    /// Samples as often as it may, from the first sample until `window` later; a tape keeps all of them.
    ///
    /// # Errors
    /// A sample that can't be recorded.
    pub fn take(
        sampler: Sampler,
        mut engine: Engine,
        window: Duration,
        mut tape: Option<&mut Tape>,
    ) -> Result<Self, RecordError> {
        let mut live = Live::new(sampler);
        let mut count = 0;
        let mut first = None;
        let mut frame = Frame::default();
        while let Some(snap) = live.look() {
            if let Some(tape) = &mut tape {
                tape.take(&snap)?;
            }
            frame = engine.step(snap);
            count += 1;
            let since = frame.snap.at.since(*first.get_or_insert(frame.snap.at));
            let left = window.saturating_sub(Duration::from_secs_f64(since));
            if left.is_zero() {
                break;
            }
            std::thread::sleep(live.due_in().min(left));
        }
        let own = &frame.snap.own;
        let cost = Cost { cpu_ms: own.cpu_ns as f64 / 1e6, samples: count, rss_bytes: own.rss_bytes };
        Ok(Self { window_s: frame.snap.at.since(first.unwrap_or_default()), cost, seen: Seen::Host, frame })
    }
}

/// Whether nothing was seen by which a host could be called well.
fn is_blind(snap: &Snapshot) -> bool {
    snap.tasks.data().is_none() && snap.sockets.data().is_none() && snap.memory.data().is_none()
}

fn status(frame: &Frame) -> u8 {
    if is_blind(&frame.snap) {
        return BLIND;
    }
    match frame.findings.iter().map(|f| f.severity).max() {
        None => 0,
        Some(Severity::Warning) => 1,
        Some(Severity::Critical) => 2,
    }
}

/// A word on standard error for as long as one has to wait, when a person may be waiting.
struct Progress {
    shown: bool,
}

impl Progress {
    fn start(what: &str) -> Self {
        let shown = std::io::stderr().is_terminal();
        if shown {
            out::tell(what);
        }
        Self { shown }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            out::tell("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Memory, Moment, Section};
    use std::sync::Arc;

    #[test]
    fn seeing_nothing_is_not_calm() {
        let mut frame = Frame::default();
        assert_eq!(status(&frame), BLIND);
        frame.snap = Arc::new(Snapshot { memory: Section::ok(Moment(1), Memory::default()), ..Snapshot::default() });
        assert_eq!(status(&frame), 0);
    }
}
