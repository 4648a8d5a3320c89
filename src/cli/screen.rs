//! `whytop screen` (hidden): the live screens without a terminal, as text or as a picture. The README's picture and
//! bug reports are made with it.

use super::args::{Global, ScreenArgs};
use super::out;
use super::setup::{BadUse, Host};
use super::tui;
use crate::app::{App, Effect, Event};
use crate::collect::now;
use crate::detect::Window;
use crate::engine::Engine;
use crate::snapshot::{Moment, Subject};
use crate::source::{Live, Source};
use crate::view::svg::{Paper, svg};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Looks for `--for`, presses the keys with a look after each, and prints the screen.
///
/// # Errors
/// As [`Host::open`]; a key that is none; and when the screen can't be written.
pub fn run(global: &Global, args: &ScreenArgs) -> anyhow::Result<ExitCode> {
    let keys = args.keys.split_whitespace().map(key).collect::<Result<Vec<_>, _>>()?;
    let mut host = Host::open(global)?;
    let options = tui::options(&host.settings);
    let (width, height) = args.size;
    let mut buf = Buffer::empty(Rect::new(0, 0, width, height));
    let mut show =
        Show { app: App::new(options), source: Live::new(host.live_sampler()), engine: host.engine(Window::default()) };
    show.look(args.window);
    for key in keys {
        // A drawing before each key: lists learn their height from it.
        show.app.draw(&mut buf);
        show.step(Event::Key(key));
        show.look(Duration::ZERO);
    }
    buf.reset();
    show.app.draw(&mut buf);
    out::print(&if args.svg { svg(&buf, Paper::DARK) } else { text(&buf) })?;
    Ok(ExitCode::SUCCESS)
}

struct Show {
    app: App,
    source: Live,
    engine: Engine,
}

impl Show {
    /// Feeds looks to the app for `span`, one at least.
    fn look(&mut self, span: Duration) {
        let end = Moment(now().0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)));
        loop {
            if let Some(snap) = self.source.look() {
                let frame = Arc::new(self.engine.step(snap));
                self.step(Event::Frame(frame));
            }
            let due = self.source.due_in();
            if now().0.saturating_add(u64::try_from(due.as_nanos()).unwrap_or(u64::MAX)) > end.0 {
                return;
            }
            std::thread::sleep(due);
        }
    }

    fn step(&mut self, event: Event) {
        for effect in self.app.step(event) {
            if let Effect::Focus(subject) = effect {
                self.source.set_focus(match &subject {
                    Some(Subject::Task(key)) => Some(*key),
                    _ => None,
                });
                self.engine.set_focus(subject);
            }
        }
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

fn text(buf: &Buffer) -> String {
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
