//! `whytop screen` (hidden): the screens without a terminal, live or over a recording, as text or as a picture. The
//! pictures of the README and of bug reports are made with it.

use super::args::{Global, ScreenArgs};
use super::out;
use super::reel;
use super::setup::{BadUse, Host, Settings};
use super::tui;
use crate::app::{App, AppOptions, Effect, Event};
use crate::collect::now;
use crate::detect::Window;
use crate::engine::{Engine, EngineOptions};
use crate::playback::Playback;
use crate::snapshot::{Moment, Subject};
use crate::source::{Live, Source};
use crate::view::svg::{Paper, svg};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Looks for `--for`, or goes to `--at` of a recording, presses the keys with a look after each, and prints the screen.
///
/// # Errors
/// As [`Host::open`]; a key that is none; a recording that can't be read; and when the screen can't be written.
pub fn run(global: &Global, args: &ScreenArgs) -> anyhow::Result<ExitCode> {
    if let Some(file) = args.from.as_ref().filter(|_| args.cast) {
        out::print(&super::cast::cast(&Settings::load(global)?, file, args)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let keys = args.keys.split_whitespace().map(key).collect::<Result<Vec<_>, _>>()?;
    let (width, height) = args.size;
    let mut buf = Buffer::empty(Rect::new(0, 0, width, height));
    let mut show = match &args.from {
        Some(file) => Show::recorded(&Settings::load(global)?, file, args.at.as_deref())?,
        None => Show::live(Host::open(global)?, args.window),
    };
    for key in keys {
        // A drawing before each key: lists learn their height from it.
        show.app.draw(&mut buf);
        show.step(Event::Key(key))?;
        show.look()?;
    }
    buf.reset();
    show.app.draw(&mut buf);
    out::print(&if args.svg { svg(&buf, Paper::of(show.app.theme())) } else { plain(&buf) })?;
    Ok(ExitCode::SUCCESS)
}

struct Show {
    app: App,
    feed: Feed,
}

/// Where frames come from.
enum Feed {
    Live(Box<(Live, Engine)>),
    Recorded(Box<Playback>),
}

impl Show {
    /// This host, looked at for `span`.
    fn live(mut host: Host, span: Duration) -> Self {
        let (source, engine) = (Live::new(host.live_sampler()), host.engine(Window::default()));
        let app = App::new(tui::options(&host.settings));
        let mut show = Self { app, feed: Feed::Live(Box::new((source, engine))) };
        let end = Moment(now().0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)));
        while let Feed::Live(live) = &mut show.feed {
            let frame = live.0.look().map(|snap| live.1.step(snap));
            let due = live.0.due_in();
            if let Some(frame) = frame {
                show.app.step(Event::Frame(Arc::new(frame)));
            }
            if now().0.saturating_add(u64::try_from(due.as_nanos()).unwrap_or(u64::MAX)) > end.0 {
                break;
            }
            std::thread::sleep(due);
        }
        show
    }

    /// A recording, held at a time of it, or at its end. Clocks are UTC: the picture is the same everywhere.
    fn recorded(settings: &Settings, file: &Path, at: Option<&str>) -> anyhow::Result<Self> {
        let options = AppOptions { read_only: true, utc_offset_secs: 0, ..tui::options(settings) };
        let (reader, shown) = reel::open(file)?;
        let at = at.map_or(Ok(shown.to_unix_ns), |at| reel::time(at, &shown, 0))?;
        let rules = EngineOptions { rules: settings.rules.clone(), ..EngineOptions::default() };
        let mut playback = Playback::new(reader, rules)?;
        let frame = Arc::clone(playback.seek(at)?);
        let mut app = App::new(options);
        app.step(Event::Recording(Some(Arc::new(shown))));
        app.step(Event::Frame(frame));
        Ok(Self { app, feed: Feed::Recorded(Box::new(playback)) })
    }

    /// One more look at a live host; a recording stands still.
    fn look(&mut self) -> anyhow::Result<()> {
        let Feed::Live(live) = &mut self.feed else { return Ok(()) };
        let Some(snap) = live.0.look() else { return Ok(()) };
        let frame = Arc::new(live.1.step(snap));
        self.step(Event::Frame(frame))
    }

    fn step(&mut self, event: Event) -> anyhow::Result<()> {
        for effect in self.app.step(event) {
            let Effect::Focus(subject) = effect else { continue };
            match &mut self.feed {
                Feed::Live(live) => {
                    live.0.set_focus(match &subject {
                        Some(Subject::Task(key)) => Some(*key),
                        _ => None,
                    });
                    live.1.set_focus(subject);
                }
                Feed::Recorded(playback) => {
                    let frame = Arc::clone(playback.set_focus(subject)?);
                    self.app.step(Event::Frame(frame));
                }
            }
        }
        Ok(())
    }
}

/// A key by its name (`Enter`, `Down`) or its letter.
fn key(word: &str) -> Result<KeyEvent, BadUse> {
    let code = match word {
        "Enter" => KeyCode::Enter,
        "Esc" => KeyCode::Esc,
        "Tab" => KeyCode::Tab,
        "Up" => KeyCode::Up,
        "Down" => KeyCode::Down,
        "PageDown" => KeyCode::PageDown,
        _ => match word.chars().collect::<Vec<_>>().as_slice() {
            [letter] => KeyCode::Char(*letter),
            _ => return Err(BadUse::Key(word.into())),
        },
    };
    Ok(KeyEvent::new(code, KeyModifiers::NONE))
}

/// The screen as text, without colours.
pub fn plain(buf: &Buffer) -> String {
    let row = |y: u16| {
        let cells = (buf.area.left()..buf.area.right()).filter_map(|x| buf.cell((x, y)));
        let line: String = cells.map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", line.trim_end())
    };
    (buf.area.top()..buf.area.bottom()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_names_or_are_letters() {
        assert_eq!(key("Enter").unwrap().code, KeyCode::Enter);
        assert_eq!(key("?").unwrap().code, KeyCode::Char('?'));
        assert!(key("Return").is_err());
    }
}
