//! What goes into the app and what comes out of it.

use super::recording::{Playback, RecorderState, Recording};
use crate::model::Frame;
use crate::snapshot::{Action, Deep, DeepKind, Moment, Proposal, Subject, TaskKey, Text};
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
    /// A recording is open: from now on frames come from it. `None`: the screen is live again.
    Recording(Option<Arc<Recording>>),
    /// The recording that is shown has nothing between these times, and one of them is shown for what was wanted.
    Absent {
        /// Last sample before, nanoseconds since 1970-01-01 UTC.
        from_unix_ns: i64,
        /// First sample after.
        to_unix_ns: i64,
    },
    /// The host is recorded to a file, or no longer.
    Recorder(Option<RecorderState>),
    /// Something to tell the operator for a while.
    Notice(String),
    /// Time went on (about once a second): now on the boot clock, and the local zone's offset from UTC.
    Tick {
        /// Now, `CLOCK_BOOTTIME`.
        now: Moment,
        /// Seconds east of UTC.
        utc_offset_secs: i32,
    },
    /// The plan that [`Effect::Plan`] asked for, or why there is none.
    Planned {
        /// Its number.
        id: u64,
        /// The plan.
        plan: Result<Box<Proposal>, Text>,
    },
    /// What has become of an action so far; comes again until all is settled.
    Acted {
        /// Number of its plan.
        id: u64,
        /// The plan with outcomes.
        proposal: Box<Proposal>,
    },
    /// How far a deep read is, or what it brought.
    Deep(Box<Deep>),
}

/// What the caller must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The screen changed: draw it.
    Redraw,
    /// A drill-down shows this subject (`None`: no longer any): ask the sampler for its detail.
    Focus(Option<Subject>),
    /// Pin the targets, read the kernel, and answer with [`Event::Planned`]. Nothing may be sent.
    Plan {
        /// Number of the plan.
        id: u64,
        /// What for.
        action: Action,
    },
    /// Carry the plan of this number out, on the targets that were pinned when it was made, and answer with
    /// [`Event::Acted`]. The operator has seen the plan.
    Act {
        /// Number of the plan.
        id: u64,
        /// The word that was typed, where one was asked for.
        typed: Option<Text>,
    },
    /// The plan of this number is not wanted any more.
    Forget(u64),
    /// Read this of a task, and answer with [`Event::Deep`]; a read before it is given up.
    Read(TaskKey, DeepKind),
    /// Give the deep read up.
    StopReading,
    /// Move in the recording.
    Playback(Playback),
    /// Put a mark with this text into what is recorded.
    Mark(String),
    /// Write the last minutes to a file; a notice tells what came of it.
    SaveRing,
    /// Start recording to a file, or stop.
    Record,
    /// Save the screen as it is, as a picture and as text; a notice tells where.
    Picture,
    /// Leave.
    Quit,
}
