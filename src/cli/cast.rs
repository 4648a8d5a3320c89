//! A recording played into an asciicast (version 2): what a terminal would have shown, for the README and for players.

use super::args::ScreenArgs;
use super::reel;
use super::setup::Settings;
use super::tui;
use crate::app::{App, AppOptions, Event};
use crate::engine::EngineOptions;
use crate::playback::Playback;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use serde_json::json;
use std::cell::RefCell;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// What a backend wrote, which keeps its writer to itself.
#[derive(Clone, Debug, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The asciicast of a whole recording: a header line, then one line of output a sample.
///
/// # Errors
/// A recording that can't be read.
pub fn cast(settings: &Settings, file: &Path, args: &ScreenArgs) -> anyhow::Result<String> {
    let options = AppOptions { read_only: true, utc_offset_secs: 0, ..tui::options(settings) };
    let (reader, shown) = reel::open(file)?;
    let rules = EngineOptions { rules: settings.rules.clone(), ..EngineOptions::default() };
    let mut playback = Playback::new(reader, rules)?;
    let mut app = App::new(options);
    let from = shown.from_unix_ns;
    app.step(Event::Recording(Some(Arc::new(shown))));
    let (width, height) = args.size;
    let written = Written::default();
    let viewport = Viewport::Fixed(Rect::new(0, 0, width, height));
    let mut terminal = Terminal::with_options(CrosstermBackend::new(written.clone()), TerminalOptions { viewport })?;
    let mut out = json!({"version": 2, "width": width, "height": height, "title": "whytop replay"}).to_string() + "\n";
    while let Some(frame) = playback.advance()?.map(Arc::clone) {
        let at = frame.snap.wall_unix_ns.saturating_sub(from) as f64 / 1e9;
        app.step(Event::Frame(frame));
        terminal.draw(|frame| app.draw(frame.buffer_mut()))?;
        let bytes = written.0.take();
        let text = String::from_utf8_lossy(&bytes);
        out += &(json!([(at * 1000.0).round() / 1000.0, "o", text]).to_string() + "\n");
    }
    Ok(out)
}
