//! The live screens: keys, frames, signals and the clock in; the terminal out.

mod acts;
mod deep;
pub mod feed;
pub mod files;
mod hands;
mod kept;
mod recorder;
pub mod saves;
mod signals;
mod terminal;

use super::args::{Global, WhyArgs};
use super::screen::plain;
use super::setup::{self, Host, Settings};
use crate::app::{App, AppOptions, Effect, Event, Recording};
use crate::collect::{now, wall_unix_ns};
use crate::detect::Window;
use crate::snapshot::Snapshot;
use crate::source::Live;
use crate::view::svg::{Paper, svg};
use anyhow::Context as _;
use crossterm::event::{Event as TermEvent, EventStream, KeyCode, KeyEvent, KeyModifiers};
use feed::{Feed, News, Shown, Wish};
use files::Files;
use futures_util::{FutureExt, StreamExt};
use hands::Hands;
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use rustix::process::Pid;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;
use terminal::Screen;

pub use terminal::unfit;

/// How long processes that write get to end, ms.
const WRITERS_END_MS: u32 = 100;
/// The number of SIGHUP.
const HANG_UP: i32 = 1;

/// How the screens ended.
enum End {
    Quit,
    Signal(i32),
    Error(anyhow::Error),
}

/// The live screens, or `why` as text where they can't be drawn.
///
/// # Errors
/// As [`Host::open_for_screens`]; and when the terminal can't be taken, or is lost.
pub fn run(global: &Global) -> anyhow::Result<ExitCode> {
    if let Some(why_not) = unfit() {
        super::out::tell(&format!("whytop: {why_not}: no live screens, this is `whytop why`\n"));
        let window = Duration::from_secs(5);
        let args = WhyArgs { window, from: None, at: None, tape: None, json: false, exit_code: false };
        return super::why::run(global, &args);
    }
    // Before any thread, and before what `open` opens.
    let writers = Files::fork();
    let pids = writers.iter().filter_map(|helper| Pid::from_raw(i32::try_from(helper.pid).ok()?)).collect();
    let mut host = Host::open_for_screens(global)?;
    let wishes = channel();
    let keep = wishes.0.clone();
    let hands = Hands::start(&mut host, move |record| {
        let _ = keep.send(Wish::Keep(Box::new(record)));
    })?;
    let files = Files::new(&host.settings, writers);
    let source = Box::new(Live::new(host.live_sampler()));
    let feed = Feed::live(source, host.engine(Window::default()), files, wishes)?;
    let status = screens(options(&host.settings), feed, Some(hands))?;
    setup::reap(pids, WRITERS_END_MS);
    Ok(ExitCode::from(status))
}

/// How the screens start under these settings.
pub fn options(settings: &Settings) -> AppOptions {
    AppOptions {
        theme: settings.theme.clone(),
        ascii: settings.ascii,
        read_only: settings.read_only,
        pane: "why".into(),
        utc_offset_secs: utc_offset_secs(&TimeZone::system()),
    }
}

/// Shows the screens until the user leaves or a signal comes; the exit status comes back.
pub fn screens(options: AppOptions, feed: Feed, hands: Option<Hands>) -> anyhow::Result<u8> {
    terminal::install_panic_hook();
    let signals = signals::watch().context("signals can't be waited for")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let screen = terminal::enter().context("the terminal can't be taken")?;
    let zone = TimeZone::system();
    let mut main = Loop { app: App::new(options), screen, feed, hands, recording: None, known: Arc::default(), zone };
    let end = runtime.block_on(main.run(signals));
    terminal::leave();
    // What was done last is kept too.
    drop(main.hands.take());
    for words in main.feed.end() {
        super::out::tell(&format!("whytop: {}\n", crate::view::text::printable(&words)));
    }
    match end {
        End::Quit => Ok(0),
        End::Signal(number) => Ok(u8::try_from(status_of(number)).unwrap_or(u8::MAX)),
        End::Error(e) => Err(e),
    }
}

/// The exit status after a signal, as shells count.
fn status_of(signal: i32) -> i32 {
    128 + signal
}

/// Offset of the local time zone now, seconds east of UTC; 0 when there is none.
fn utc_offset_secs(zone: &TimeZone) -> i32 {
    let now = jiff::Timestamp::from_nanosecond(i128::from(wall_unix_ns()));
    now.map_or(0, |at| zone.to_offset(at).seconds())
}

struct Loop {
    app: App,
    screen: Screen,
    /// `None`: nothing can be read or changed beyond what the feed brings. Ends before the feed, which keeps its last words.
    hands: Option<Hands>,
    feed: Feed,
    /// The recording that is shown.
    recording: Option<Arc<Recording>>,
    /// The newest live look.
    known: Arc<Snapshot>,
    /// Read once: looking it up later could wait for a sick disk.
    zone: TimeZone,
}

impl Loop {
    async fn run(&mut self, mut signals: tokio::sync::watch::Receiver<i32>) -> End {
        let mut keys = EventStream::new();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            let done = tokio::select! {
                biased;
                _ = signals.changed() => Some(End::Signal(*signals.borrow())),
                key = keys.next() => self.typed(key, &mut keys),
                news = self.feed.next() => match news {
                    News::Shown(shown) => self.show(shown),
                    News::Told(event) => self.step(event),
                    News::End => Some(End::Error(anyhow::anyhow!("no more samples can be taken"))),
                },
                Some(answer) = answer_of(&mut self.hands) => self.step(answer),
                _ = ticks.tick() => self.step(Event::Tick { now: now(), utc_offset_secs: utc_offset_secs(&self.zone) }),
            };
            if let Some(end) = done {
                return end;
            }
        }
    }

    /// One key or resize, and all that wait behind it: a pasted text is one redraw.
    fn typed(&mut self, first: Option<std::io::Result<TermEvent>>, keys: &mut EventStream) -> Option<End> {
        let mut effects = Vec::new();
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                Some(Ok(TermEvent::Key(key))) if is_ctrl(key, 'c') => return Some(End::Quit),
                Some(Ok(TermEvent::Key(key))) if is_ctrl(key, 'z') => match terminal::suspend() {
                    Ok(screen) => {
                        self.screen = screen;
                        effects.push(Effect::Redraw);
                    }
                    Err(e) => return Some(End::Error(anyhow::Error::new(e).context("the terminal is gone"))),
                },
                Some(Ok(TermEvent::Key(key))) => effects.extend(self.app.step(Event::Key(key))),
                Some(Ok(TermEvent::Resize(..))) => effects.extend(self.app.step(Event::Resize)),
                Some(Ok(_)) => {}
                // The terminal has gone; the kernel's SIGHUP is on its way, or went to another process group.
                Some(Err(_)) | None => return Some(End::Signal(HANG_UP)),
            }
            next = keys.next().now_or_never();
        }
        self.carry_out(effects)
    }

    /// A picture, and the recording it is from where that is another one.
    fn show(&mut self, shown: Shown) -> Option<End> {
        let mut effects = Vec::new();
        if shown.recording.is_none() {
            self.known = Arc::clone(&shown.frame.snap);
        }
        let same = |a: &Arc<Recording>, b: &Arc<Recording>| Arc::ptr_eq(a, b);
        let is_known = match (&self.recording, &shown.recording) {
            (Some(a), Some(b)) => same(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        if !is_known {
            self.recording.clone_from(&shown.recording);
            effects = self.app.step(Event::Recording(shown.recording));
        }
        effects.extend(self.app.step(Event::Frame(shown.frame)));
        self.carry_out(effects)
    }

    fn step(&mut self, event: Event) -> Option<End> {
        let effects = self.app.step(event);
        self.carry_out(effects)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Option<End> {
        let mut dirty = false;
        for effect in effects {
            match effect {
                Effect::Redraw => dirty = true,
                Effect::Focus(subject) => self.feed.wish(Wish::Focus(subject)),
                Effect::Playback(to) => self.feed.wish(Wish::Playback(to)),
                Effect::Mark(text) => self.feed.wish(Wish::Mark(text)),
                Effect::SaveRing => self.feed.wish(Wish::SaveRing),
                Effect::Record => self.feed.wish(Wish::Record),
                Effect::Picture => self.picture(),
                Effect::Quit => return Some(End::Quit),
                other => {
                    if let Some(hands) = &mut self.hands {
                        hands.carry_out(other, Some(Arc::clone(&self.known)));
                    }
                }
            }
        }
        if !dirty {
            return None;
        }
        let Self { app, screen, .. } = self;
        let drawn = screen.draw(|frame| app.draw(frame.buffer_mut()));
        drawn.err().map(|_| End::Signal(HANG_UP))
    }
}

impl Loop {
    /// Has the screen saved as it is.
    fn picture(&mut self) {
        let mut buf = Buffer::empty(self.screen.get_frame().area());
        self.app.draw(&mut buf);
        let paper = Paper::of(self.app.theme());
        self.feed.wish(Wish::Picture { svg: svg(&buf, paper), text: plain(&buf) });
    }
}

/// The next answer of the hands; without any it never comes.
async fn answer_of(hands: &mut Option<Hands>) -> Option<Event> {
    match hands {
        Some(hands) => hands.next().await,
        None => std::future::pending().await,
    }
}

fn is_ctrl(key: KeyEvent, letter: char) -> bool {
    key.code == KeyCode::Char(letter) && key.modifiers.contains(KeyModifiers::CONTROL)
}
