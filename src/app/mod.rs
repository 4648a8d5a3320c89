//! The screen as a pure machine: events in, effects out, and a buffer drawn. No I/O, no clock, no globals.

mod event;

pub use event::{AppOptions, Effect, Event};

use crate::model::Frame;
use crate::snapshot::Moment;
use ratatui::buffer::Buffer;
use std::sync::Arc;

/// The whole interactive program but for its terminal and its source of frames.
#[derive(Debug)]
pub struct App {
    options: AppOptions,
    frame: Arc<Frame>,
    now: Moment,
}

impl App {
    /// The program before its first frame.
    #[must_use]
    pub fn new(options: AppOptions) -> Self {
        Self { options, frame: Arc::default(), now: Moment::default() }
    }

    /// Takes one event; what the caller must do comes back, in order.
    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Key(key) if key.code == crossterm::event::KeyCode::Char('q') => vec![Effect::Quit],
            Event::Key(_) => Vec::new(),
            Event::Resize => vec![Effect::Redraw],
            Event::Frame(frame) => {
                self.frame = frame;
                vec![Effect::Redraw]
            }
            Event::Tick { now, utc_offset_secs } => {
                self.now = now;
                self.options.utc_offset_secs = utc_offset_secs;
                vec![Effect::Redraw]
            }
        }
    }

    /// Draws the whole screen into `buf`, whatever its size.
    pub fn draw(&mut self, buf: &mut Buffer) {
        let area = buf.area;
        let clock = crate::view::num::clock(self.frame.snap.wall_of(self.now), self.options.utc_offset_secs);
        let style = self.options.theme.style(crate::view::Role::Title);
        buf.set_stringn(area.x, area.y, format!("whytop {clock}"), usize::from(area.width), style);
    }
}
