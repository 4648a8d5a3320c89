//! `whytop why`: look for a while, then say what is wrong, worst first.

mod text;

use super::args::{Global, WhyArgs};
use super::json::{Cost, Why};
use super::out;
use super::setup::Host;
use super::text::Dress;
use crate::collect::sampler::Sampler;
use crate::detect::Window;
use crate::engine::Engine;
use crate::model::{Frame, Severity};
use crate::snapshot::Snapshot;
use crate::source::{Live, Source};
use crate::view::num;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

/// Exit status of `--exit-code` when the host could not be looked at.
pub const BLIND: u8 = 3;

/// Looks, prints, and says with its status what it found where `--exit-code` asks for it.
pub fn run(global: &Global, args: &WhyArgs) -> anyhow::Result<ExitCode> {
    let mut host = Host::open(global)?;
    let sampler = host.eager_sampler();
    let progress = Progress::start(args.window);
    let look = Look::take(sampler, host.engine(Window::Whole), args.window);
    drop(progress);
    if args.json {
        out::print_json(&Why::new(&look.frame, look.window_s, look.cost))?;
    } else {
        let dress = Dress::for_stdout(host.settings.ascii);
        out::print(&text::render(&look.frame, look.window_s, look.cost, dress))?;
    }
    Ok(if args.exit_code { ExitCode::from(status(&look.frame)) } else { ExitCode::SUCCESS })
}

/// What looking for a while gave.
pub struct Look {
    /// The last frame; its findings are those of the whole look.
    pub frame: Frame,
    /// From the first sample to the last, seconds.
    pub window_s: f64,
    /// What it cost.
    pub cost: Cost,
}

impl Look {
    /// Samples as often as it may, from the first sample until `window` later.
    pub fn take(sampler: Sampler, mut engine: Engine, window: Duration) -> Self {
        let mut live = Live::new(sampler);
        let mut count = 0;
        let mut first = None;
        let mut frame = Frame::default();
        while let Some(snap) = live.look() {
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
        Self { window_s: frame.snap.at.since(first.unwrap_or_default()), cost, frame }
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
    fn start(window: Duration) -> Self {
        let shown = std::io::stderr().is_terminal();
        if shown {
            out::tell(&format!("looking for {} …", num::span(window.as_secs_f64())));
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
