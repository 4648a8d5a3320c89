//! The thread between a source and the screen: snapshots in, frames out, only the newest kept.

use super::files::{AutoSave, Files};
use super::kept::Kept;
use super::saves::Saves;
use crate::app::{self, Event, RecorderState, Recording};
use crate::collect::{now, wall_unix_ns};
use crate::engine::Engine;
use crate::model::Frame;
use crate::playback::Playback;
use crate::record::{Keep, Mark, Note, RecordError};
use crate::snapshot::{ActionRecord, Subject};
use crate::source::Source;
use crate::view::num;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Stack of the thread: rules join whole snapshots.
const STACK_BYTES: usize = 1024 * 1024;

/// How often files on their way are looked after, between samples.
const PUMP: Duration = Duration::from_millis(100);
/// Longest wait for them at the end, for each of both kinds. What others have then is still written.
const END_MS: u32 = 400;
/// Longest wait for the thread at the end.
const END: Duration = Duration::from_millis(1500);
/// How names of saved files end.
const EXTENSION: &str = "whytop";

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
    /// To save the ring.
    SaveRing,
    /// To start recording to a file, or to stop.
    Record,
    /// To save the screen, as a picture and as text.
    Picture {
        /// The picture.
        svg: String,
        /// The text.
        text: String,
    },
    /// To end.
    End,
}

/// Wishes on their way to the thread.
pub type Wishes = (Sender<Wish>, Receiver<Wish>);

/// The screen's end of a feed. Dropping it ends the thread after its sample.
pub struct Feed {
    shown: watch::Receiver<Shown>,
    told: mpsc::UnboundedReceiver<Event>,
    wishes: Sender<Wish>,
    ended: Receiver<Vec<String>>,
}

/// What comes out of a feed.
pub enum News {
    /// Another picture.
    Shown(Shown),
    /// Something to tell.
    Told(Event),
    /// There will be no more.
    End,
}

impl Feed {
    /// Starts the thread over the running host. Others than the screen may have wishes too.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn live(source: Box<dyn Source>, engine: Engine, files: Files, wishes: Wishes) -> io::Result<Self> {
        let Files { recorder, saves, auto } = files;
        let kept = Kept::new(recorder).map_err(io::Error::other)?;
        let live = LiveSide { source, engine, frame: Arc::default(), kept, auto, recording: None };
        Self::start(Some(live), None, saves, wishes)
    }

    /// Starts the thread over a recording, at a time of it, or playing from its start.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn replay(playback: Playback, recording: Arc<Recording>, saves: Saves) -> io::Result<Self> {
        Self::start(None, Some((playback, recording)), saves, channel())
    }

    fn start(
        live: Option<LiveSide>,
        tape: Option<(Playback, Arc<Recording>)>,
        saves: Saves,
        (wishes, wanted): Wishes,
    ) -> io::Result<Self> {
        let (publish, shown) = watch::channel(Shown::default());
        let (tell, told) = mpsc::unbounded_channel();
        let (end, ended) = channel();
        let desk = Desk { live, tape, saves, focus: None, publish, tell };
        let body = move || {
            let _ = end.send(desk.run(&wanted));
        };
        std::thread::Builder::new().name("feed".into()).stack_size(STACK_BYTES).spawn(body)?;
        Ok(Self { shown, told, wishes, ended })
    }

    /// Ends the thread, and what it has others write; what there is to say about that.
    pub fn end(self) -> Vec<String> {
        self.wish(Wish::End);
        self.ended.recv_timeout(END).unwrap_or_default()
    }

    /// Waits for something newer than what was taken last.
    pub async fn next(&mut self) -> News {
        tokio::select! {
            biased;
            Some(event) = self.told.recv() => News::Told(event),
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
    auto: Option<AutoSave>,
    /// What the screen was told of the recorder.
    recording: Option<RecorderState>,
}

impl LiveSide {
    /// Takes a look, and whether the ring is to be saved for what it showed; `None` when there are no more.
    fn look(&mut self) -> Option<bool> {
        let snap = Arc::new(self.source.look()?);
        self.kept.take(&snap, &self.engine);
        self.frame = Arc::new(self.engine.step_shared(snap));
        Some(self.kept.note(&self.frame))
    }
}

struct Desk {
    live: Option<LiveSide>,
    /// The recording that is shown, instead of the host where there is one.
    tape: Option<(Playback, Arc<Recording>)>,
    saves: Saves,
    /// The subject of the open drill-down.
    focus: Option<Subject>,
    publish: watch::Sender<Shown>,
    tell: mpsc::UnboundedSender<Event>,
}

impl Desk {
    /// Runs until nobody looks any more; the last words.
    fn run(mut self, wishes: &Receiver<Wish>) -> Vec<String> {
        if let Some((playback, _)) = &self.tape {
            let frame = Arc::clone(playback.frame());
            self.show(frame);
        }
        while self.turn(wishes) {}
        let mut words = self.saves.end(END_MS);
        words.extend(self.live.and_then(|live| live.kept.recorder.end(END_MS)));
        words
    }

    /// Waits for what is due or wanted, and does it; false at the end.
    fn turn(&mut self, wishes: &Receiver<Wish>) -> bool {
        let live = self.live.as_ref().map_or(Duration::MAX, |l| l.source.due_in());
        let tape = self.tape.as_ref().map_or(Duration::MAX, |(p, _)| p.due_in());
        let is_busy = self.saves.is_busy() || self.live.as_ref().is_some_and(|l| l.kept.recorder.is_busy());
        let mut look_now = false;
        match wishes.recv_timeout(live.min(tape).min(if is_busy { PUMP } else { Duration::MAX })) {
            Ok(first) => {
                for wish in std::iter::once(first).chain(wishes.try_iter()) {
                    if matches!(wish, Wish::End) {
                        return false;
                    }
                    look_now |= self.carry_out(wish);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        self.hear();
        self.play_on() && self.look(look_now)
    }

    /// Tells what has become of files.
    fn hear(&mut self) {
        let mut words = self.saves.hear();
        if let Some(live) = &mut self.live {
            words.extend(live.kept.recorder.hear());
            let shown = live.kept.recorder.shown();
            if shown != live.recording {
                live.recording.clone_from(&shown);
                let _ = self.tell.send(Event::Recorder(shown));
            }
        }
        for text in words {
            self.say(text);
        }
    }

    /// Tells what the recording does not hold, where one passes over it.
    fn tell_absent(&self, gap: Option<(i64, i64)>) {
        if let Some((from_unix_ns, to_unix_ns)) = gap {
            let _ = self.tell.send(Event::Absent { from_unix_ns, to_unix_ns });
        }
    }

    fn say(&self, text: impl Into<String>) {
        let _ = self.tell.send(Event::Notice(text.into()));
    }

    /// Takes a look when it is due, or wanted; false when there is no more to show.
    fn look(&mut self, wanted: bool) -> bool {
        let Some(live) = &mut self.live else { return !self.publish.is_closed() };
        if !wanted && !live.source.due_in().is_zero() {
            return true;
        }
        let Some(is_alarm) = live.look() else { return false };
        let frame = Arc::clone(&live.frame);
        if let Some(auto) = live.auto.filter(|_| is_alarm) {
            self.save_ring(Some(auto));
        }
        self.tape.is_some() || self.show(frame)
    }

    /// Saves the ring: asked for, or by itself within bounds.
    fn save_ring(&mut self, auto: Option<AutoSave>) {
        let Some(live) = &self.live else { return };
        let word = if auto.is_some() { "critical" } else { "ring" };
        let keep = auto.map(|AutoSave { files, bytes }| Keep {
            begins: format!("{word}-"),
            ends: format!(".{EXTENSION}"),
            files,
            bytes,
        });
        let saved = live.kept.file().map_err(|e| format!("not saved: {e}")).and_then(|(file, span_s)| {
            let cause = if auto.is_some() { ", for work is failing" } else { "" };
            let what = format!("the last {}{cause}", num::span(span_s));
            self.saves.save(what, word, vec![(EXTENSION.into(), file)], keep)
        });
        if let Err(why) = saved {
            self.say(why);
        }
    }

    /// Plays the recording on when that is due; false when nobody looks any more.
    fn play_on(&mut self) -> bool {
        let Some((playback, _)) = self.tape.as_mut().filter(|(p, _)| p.due_in().is_zero()) else { return true };
        let gap = playback.gap_ahead();
        let moved = playback.advance().map(|frame| frame.map(Arc::clone));
        self.tell_absent(gap);
        let Some((playback, _)) = &self.tape else { return true };
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
                self.say("marked");
                false
            }
            Wish::Keep(record) => {
                self.keep(record.wall_unix_ns, &Note::Action(record));
                false
            }
            Wish::SaveRing => {
                self.save_ring(None);
                false
            }
            Wish::Record => {
                self.record();
                false
            }
            Wish::Picture { svg, text } => {
                let parts = vec![("svg".into(), svg.into_bytes()), ("txt".into(), text.into_bytes())];
                if let Err(why) = self.saves.save("the screen".into(), "screen", parts, None) {
                    self.say(why);
                }
                false
            }
            Wish::End => false,
        }
    }

    /// Starts recording to a file, or stops.
    fn record(&mut self) {
        let Some(live) = &mut self.live else { return };
        let words = live.kept.recorder.toggle(&live.frame.snap);
        if let Some(why) = words {
            self.say(why);
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
        let gap;
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
                gap = playback.gap_ahead().filter(|_| samples > 0);
                playback.play(None);
                playback.step(samples).map(Arc::clone)
            }
            app::Playback::Seek(unix_ns) => {
                let sought = playback.seek(unix_ns).map(Arc::clone);
                gap = playback.gap_ahead().filter(|(from, _)| *from < unix_ns);
                sought
            }
            app::Playback::Rewind | app::Playback::Live => return,
        };
        self.tell_absent(gap);
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
        self.say(format!("the recording can't be read: {error}"));
        !self.publish.is_closed()
    }
}
