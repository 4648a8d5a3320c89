//! What goes into the app and what comes out of it.

use crate::model::Frame;
use crate::snapshot::{Moment, Subject};
use crate::view::Theme;
use crossterm::event::KeyEvent;
use std::sync::Arc;

/// How the app starts.
#[derive(Clone, Debug)]
pub struct AppOptions {
    /// Colours: [`Theme::load`] with the terminal's depth (`Depth::None` for `NO_COLOR`).
    pub theme: Theme,
    /// Draw with ASCII characters only.
    pub ascii: bool,
    /// Nothing may be changed on this host; said in the header.
    pub read_only: bool,
    /// Name of the pane to open; an unknown name opens the first.
    pub pane: String,
    /// Offset of the local time zone, seconds east of UTC.
    pub utc_offset_secs: i32,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A key was pressed. Releases are ignored.
    Key(KeyEvent),
    /// The terminal has another size; the next buffer carries it.
    Resize,
    /// A new look at the host.
    Frame(Arc<Frame>),
    /// Time went on (about once a second): now on the boot clock, and the local zone's offset from UTC.
    Tick {
        /// Now, `CLOCK_BOOTTIME`.
        now: Moment,
        /// Seconds east of UTC.
        utc_offset_secs: i32,
    },
}

/// What the caller must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The screen changed: draw it.
    Redraw,
    /// A drill-down shows this subject (`None`: no longer any): ask the sampler for its detail.
    Focus(Option<Subject>),
    /// Leave.
    Quit,
}
