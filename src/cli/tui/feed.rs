//! The thread between a source and the screen: snapshots in, frames out, only the newest kept.

use super::kept::Kept;
use crate::app::{self, Recording};
use crate::collect::{now, wall_unix_ns};
use crate::engine::Engine;
use crate::model::Frame;
use crate::playback::Playback;
use crate::record::{Mark, Note, RecordError};
use crate::snapshot::{ActionRecord, Subject};
use crate::source::Source;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Stack of the thread: rules join whole snapshots.
const STACK_BYTES: usize = 1024 * 1024;

/// What is to be seen.
#[derive(Clone, Default)]
pub struct Shown {
    /// The picture.
    pub frame: Arc<Frame>,
    /// The recording it is from; `None` for the running host.
    pub recording: Option<Arc<Recording>>,
}

/// What the screen wants of the thread.
pub enum Wish {
    /// The detail of a subject.
    Focus(Option<Subject>),
    /// To move in the recording.
    Playback(app::Playback),
    /// To keep a mark with this text.
    Mark(String),
    /// To keep what the operator did.
    Keep(Box<ActionRecord>),
}

/// Wishes on their way to the thread.
pub type Wishes = (Sender<Wish>, Receiver<Wish>);

/// The screen's end of a feed. Dropping it ends the thread after its sample.
pub struct Feed {
    shown: watch::Receiver<Shown>,
    notices: mpsc::UnboundedReceiver<String>,
    wishes: Sender<Wish>,
}

/// What comes out of a feed.
pub enum News {
    /// Another picture.
    Shown(Shown),
    /// Something to tell.
    Notice(String),
    /// There will be no more.
    End,
}

impl Feed {
    /// Starts the thread over the running host. Others than the screen may have wishes too.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn live(source: Box<dyn Source>, engine: Engine, wishes: Wishes) -> io::Result<Self> {
        let kept = Kept::new().map_err(io::Error::other)?;
        Self::start(Some(LiveSide { source, engine, frame: Arc::default(), kept }), None, wishes)
    }

    /// Starts the thread over a recording, at a time of it, or playing from its start.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn replay(playback: Playback, recording: Arc<Recording>) -> io::Result<Self> {
        Self::start(None, Some((playback, recording)), channel())
    }

    fn start(
        live: Option<LiveSide>,
        tape: Option<(Playback, Arc<Recording>)>,
        (wishes, wanted): Wishes,
    ) -> io::Result<Self> {
        let (publish, shown) = watch::channel(Shown::default());
        let (tell, notices) = mpsc::unbounded_channel();
        let desk = Desk { live, tape, focus: None, publish, tell };
        let body = move || desk.run(&wanted);
        std::thread::Builder::new().name("feed".into()).stack_size(STACK_BYTES).spawn(body)?;
        Ok(Self { shown, notices, wishes })
    }

    /// Waits for something newer than what was taken last.
    pub async fn next(&mut self) -> News {
        tokio::select! {
            biased;
            Some(notice) = self.notices.recv() => News::Notice(notice),
            changed = self.shown.changed() => match changed {
                Ok(()) => News::Shown(self.shown.borrow_and_update().clone()),
                Err(_) => News::End,
            },
        }
    }

    /// Asks for something, at once.
    pub fn wish(&self, wish: Wish) {
        let _ = self.wishes.send(wish);
    }
}

/// The running host.
struct LiveSide {
    source: Box<dyn Source>,
    engine: Engine,
    frame: Arc<Frame>,
    kept: Kept,
}

impl LiveSide {
    /// Takes a look; false when there are no more.
    fn look(&mut self) -> bool {
        let Some(snap) = self.source.look() else { return false };
        let snap = Arc::new(snap);
        self.kept.take(&snap, &self.engine);
        self.frame = Arc::new(self.engine.step_shared(snap));
        self.kept.note(&self.frame);
        true
    }
}

struct Desk {
    live: Option<LiveSide>,
    /// The recording that is shown, instead of the host where there is one.
    tape: Option<(Playback, Arc<Recording>)>,
    /// The subject of the open drill-down.
    focus: Option<Subject>,
    publish: watch::Sender<Shown>,
    tell: mpsc::UnboundedSender<String>,
}

impl Desk {
    fn run(mut self, wishes: &Receiver<Wish>) {
        if let Some((playback, _)) = &self.tape {
            let frame = Arc::clone(playback.frame());
            self.show(frame);
        }
        loop {
            let live = self.live.as_ref().map_or(Duration::MAX, |l| l.source.due_in());
            let tape = self.tape.as_ref().map_or(Duration::MAX, |(p, _)| p.due_in());
            let mut look_now = false;
            match wishes.recv_timeout(live.min(tape)) {
                Ok(first) => {
                    for wish in std::iter::once(first).chain(wishes.try_iter()) {
                        look_now |= self.carry_out(wish);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if !self.play_on() || !self.look(look_now) {
                return;
            }
        }
    }

    /// Takes a look when it is due, or wanted; false when there is no more to show.
    fn look(&mut self, wanted: bool) -> bool {
        let Some(live) = &mut self.live else { return !self.publish.is_closed() };
        if !wanted && !live.source.due_in().is_zero() {
            return true;
        }
        let more = live.look();
        let frame = Arc::clone(&live.frame);
        more && (self.tape.is_some() || self.show(frame))
    }

    /// Plays the recording on when that is due; false when nobody looks any more.
    fn play_on(&mut self) -> bool {
        let Some((playback, _)) = self.tape.as_mut().filter(|(p, _)| p.due_in().is_zero()) else { return true };
        let moved = playback.advance().map(|frame| frame.map(Arc::clone));
        match moved {
            // What has been rewound and played to its end goes on live.
            Ok(Some(_)) if playback.is_at_end() && self.live.is_some() => self.go_live(),
            Ok(Some(frame)) => self.show(frame),
            Ok(None) => true,
            Err(e) => self.fail(&e),
        }
    }

    /// Does what is wanted; whether a look at the host is wanted at once.
    fn carry_out(&mut self, wish: Wish) -> bool {
        match wish {
            Wish::Focus(subject) => self.focus(subject),
            Wish::Playback(to) => {
                self.move_to(to);
                false
            }
            Wish::Mark(text) => {
                let mark = Mark { at: now(), wall_unix_ns: wall_unix_ns(), text: text.into() };
                self.keep(mark.wall_unix_ns, &Note::Mark(mark));
                let _ = self.tell.send("marked".into());
                false
            }
            Wish::Keep(record) => {
                self.keep(record.wall_unix_ns, &Note::Action(record));
                false
            }
        }
    }

    fn keep(&mut self, wall_unix_ns: i64, note: &Note) {
        if let Some(live) = &mut self.live {
            live.kept.add(wall_unix_ns, note);
        }
    }

    fn focus(&mut self, subject: Option<Subject>) -> bool {
        self.focus.clone_from(&subject);
        if let Some((playback, _)) = &mut self.tape {
            let shown = playback.set_focus(subject).map(Arc::clone);
            match shown {
                Ok(frame) => self.show(frame),
                Err(e) => self.fail(&e),
            };
            return false;
        }
        let Some(live) = &mut self.live else { return false };
        live.source.set_focus(match &subject {
            Some(Subject::Task(key)) => Some(*key),
            _ => None,
        });
        live.engine.set_focus(subject);
        true
    }

    fn move_to(&mut self, to: app::Playback) {
        match to {
            app::Playback::Live => {
                self.go_live();
                return;
            }
            app::Playback::Rewind => return self.rewind(),
            _ => {}
        }
        let Some((playback, _)) = &mut self.tape else { return };
        let moved = match to {
            app::Playback::Play(speed) => {
                playback.play(Some(speed));
                return;
            }
            app::Playback::Pause => {
                playback.play(None);
                return;
            }
            app::Playback::Step(samples) => {
                playback.play(None);
                playback.step(samples).map(Arc::clone)
            }
            app::Playback::Seek(unix_ns) => playback.seek(unix_ns).map(Arc::clone),
            app::Playback::Rewind | app::Playback::Live => return,
        };
        match moved {
            Ok(frame) => self.show(frame),
            Err(e) => self.fail(&e),
        };
    }

    /// Opens the ring at its end.
    fn rewind(&mut self) {
        let Some(live) = self.live.as_ref().filter(|_| self.tape.is_none()) else { return };
        let opened = live.kept.rewind(live.engine.options()).and_then(|(mut playback, recording)| {
            playback.set_focus(self.focus.clone())?;
            playback.seek(recording.to_unix_ns)?;
            Ok((playback, Arc::new(recording)))
        });
        match opened {
            Ok(tape) => {
                let frame = Arc::clone(tape.0.frame());
                self.tape = Some(tape);
                self.show(frame);
            }
            Err(e) => {
                self.fail(&e);
            }
        }
    }

    fn go_live(&mut self) -> bool {
        let Some(live) = &self.live else { return true };
        let frame = Arc::clone(&live.frame);
        self.tape = None;
        self.show(frame)
    }

    /// Shows a picture; false when nobody looks any more.
    fn show(&self, frame: Arc<Frame>) -> bool {
        let recording = self.tape.as_ref().map(|(_, recording)| Arc::clone(recording));
        self.publish.send(Shown { frame, recording }).is_ok()
    }

    fn fail(&mut self, error: &RecordError) -> bool {
        if let Some((playback, _)) = &mut self.tape {
            playback.play(None);
        }
        self.tell.send(format!("the recording can't be read: {error}")).is_ok()
    }
}
