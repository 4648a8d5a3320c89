//! Recording to a file from the live screens, by the same processes as `whytop record`.

use crate::app::RecorderState;
use crate::cli::tape::{File, Tape, Word};
use crate::collect::{now, wall_unix_ns};
use crate::engine::Engine;
use crate::model::Frame;
use crate::record::{Bounds, Helper, Link, Note};
use crate::snapshot::{Moment, Snapshot};
use std::path::PathBuf;
use std::time::Duration;

/// A file that takes longer to close is told.
const SLOW_S: f64 = 3.0;

/// The file that `r` records to, and whether it does.
pub struct Recorder {
    path: Option<PathBuf>,
    interval: Duration,
    state: State,
}

enum State {
    /// The processes that write; `None` where there are none.
    Idle(Option<Box<Link>>),
    On(Box<Tape>),
    /// Closing since then; whether it was told that this takes long.
    Ending(Box<Tape>, Moment, bool),
}

impl Recorder {
    /// Records to `path`; `None` where no directory is known.
    pub fn new(path: Option<PathBuf>, interval: Duration, helpers: Vec<Helper>) -> Self {
        let link = (!helpers.is_empty()).then(|| Box::new(Link::new(helpers)));
        Self { path, interval, state: State::Idle(link) }
    }

    /// Starts or stops; `first` is the newest sample. What can't be done, or is under way, in words.
    pub fn toggle(&mut self, first: &Snapshot) -> Option<String> {
        match std::mem::replace(&mut self.state, State::Idle(None)) {
            State::On(tape) => {
                self.stop(tape);
                None
            }
            State::Ending(tape, since, told) => {
                self.state = State::Ending(tape, since, told);
                Some("not recorded: the disk has not answered since the last recording".into())
            }
            State::Idle(link) => self.start(link, first).err(),
        }
    }

    fn start(&mut self, link: Option<Box<Link>>, first: &Snapshot) -> Result<(), String> {
        let link = link.ok_or("not recorded: no process that writes could be started")?;
        let Some(path) = self.path.clone() else {
            self.state = State::Idle(Some(link));
            return Err("not recorded: no directory is known; set state_dir in the configuration".into());
        };
        let file = File { path: &path, bounds: Bounds::default(), makes_dir: true };
        let tape = Tape::open(*link, file, self.interval, first).map_err(|e| format!("not recorded: {e}"))?;
        self.state = State::On(Box::new(tape));
        Ok(())
    }

    fn stop(&mut self, mut tape: Box<Tape>) {
        tape.end(wall_unix_ns());
        self.state = State::Ending(tape, now(), false);
    }

    /// Takes a sample that the engine is about to step; what went wrong, in words.
    pub fn take(&mut self, snap: &Snapshot, engine: &Engine) {
        if let State::On(tape) = &mut self.state {
            // A sample that can't be recorded is a fault that tests find; the next one may do.
            let _ = tape.take(snap, engine);
        }
    }

    /// Notes which findings came and went with a frame.
    pub fn note_findings(&mut self, frame: &Frame) {
        if let State::On(tape) = &mut self.state {
            tape.note_findings(frame);
        }
    }

    /// Adds a note.
    pub fn note(&mut self, wall_unix_ns: i64, note: &Note) {
        if let State::On(tape) = &mut self.state {
            tape.note(wall_unix_ns, note);
        }
    }

    /// Whether the processes that write have something to do.
    pub fn is_busy(&self) -> bool {
        !matches!(self.state, State::Idle(_))
    }

    /// What the header shows.
    pub fn shown(&self) -> Option<RecorderState> {
        match &self.state {
            State::On(tape) if tape.is_open() || !tape.is_well() => {
                Some(RecorderState { bytes: tape.bytes(), is_well: tape.is_well() })
            }
            State::Idle(_) | State::On(_) | State::Ending(..) => None,
        }
    }

    /// What has become of the file, in words.
    pub fn hear(&mut self) -> Vec<String> {
        let (mut tape, ending) = match std::mem::replace(&mut self.state, State::Idle(None)) {
            idle @ State::Idle(_) => {
                self.state = idle;
                return Vec::new();
            }
            State::On(tape) => (tape, None),
            State::Ending(tape, since, told) => (tape, Some((since, told))),
        };
        let name = tape.path().display().to_string();
        let mut words = Vec::new();
        let mut is_over = false;
        for word in tape.hear() {
            is_over |= matches!(word, Word::Over(_) | Word::Closed);
            words.push(match word {
                Word::Opened(how) => format!("records to {name}{how}"),
                Word::Said(text) => format!("recording: {text}"),
                Word::Over(why) => format!("not recorded: {name}: {why}"),
                Word::Closed => format!("recorded to {name}: {}", tape.finished()),
            });
        }
        self.state = match ending {
            _ if is_over => State::Idle(Some(Box::new(tape.into_link())).filter(|link| link.pid().is_some())),
            None => State::On(tape),
            Some((since, told)) => {
                let is_slow = now().since(since) > SLOW_S;
                if is_slow && !told {
                    words.push(tape.unfinished());
                }
                State::Ending(tape, since, told || is_slow)
            }
        };
        words
    }

    /// Closes the file, within a time; the last words.
    pub fn end(mut self, wait_ms: u32) -> Option<String> {
        if let State::On(tape) = std::mem::replace(&mut self.state, State::Idle(None)) {
            self.stop(tape);
        }
        let State::Ending(mut tape, ..) = self.state else { return None };
        let name = tape.path().display().to_string();
        Some(match tape.wait_for_end(wait_ms) {
            Ok(_) => format!("recorded to {name}: {}", tape.finished()),
            Err(why) => format!("{name}: {why}"),
        })
    }
}
