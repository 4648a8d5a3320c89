//! What the screens know of a recording beside the frame they show: where it begins and ends, and what lies on the way.

use crate::model::Severity;

/// A recording, as its scrub bar and its list of spots show it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// First sample, nanoseconds since 1970-01-01 UTC.
    pub from_unix_ns: i64,
    /// Last sample.
    pub to_unix_ns: i64,
    /// What lies on the way, by time.
    pub spots: Vec<Spot>,
    /// Spans without samples.
    pub gaps: Vec<(i64, i64)>,
    /// Whether it is the ring of this session: its end is now, and one can go back to the live screen.
    pub is_ring: bool,
    /// Whether it plays when it opens.
    pub plays: bool,
}

/// A file that the host is recorded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecorderState {
    /// Its bytes.
    pub bytes: u64,
    /// Whether its disk takes what comes.
    pub is_well: bool,
}

/// Something that happened in a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Spot {
    /// When it began, nanoseconds since 1970-01-01 UTC.
    pub from_unix_ns: i64,
    /// When it was over; the same as its beginning for what takes no time.
    pub to_unix_ns: i64,
    /// What it is.
    pub kind: SpotKind,
    /// In words.
    pub text: String,
}

/// Kinds of spots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpotKind {
    /// A finding stood.
    Finding(Severity),
    /// The operator set a mark.
    Mark,
    /// The operator acted.
    Action,
}

impl SpotKind {
    /// Its sign on the scrub bar and in the list.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Finding(Severity::Critical) => "!",
            Self::Finding(Severity::Warning) => "~",
            Self::Mark => "m",
            Self::Action => "k",
        }
    }
}

impl Recording {
    /// The nearest beginning of a finding after `at`, or before it.
    pub(super) fn anomaly(&self, at: i64, after: bool) -> Option<i64> {
        let starts = self.spots.iter().filter(|s| matches!(s.kind, SpotKind::Finding(_))).map(|s| s.from_unix_ns);
        if after { starts.filter(|&t| t > at).min() } else { starts.filter(|&t| t < at).max() }
    }
}

/// What a screen over a recording asks of its player.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Playback {
    /// Go from the live screen into the ring.
    Rewind,
    /// Play, so many times as fast as it happened.
    Play(f64),
    /// Hold.
    Pause,
    /// So many samples on, or back.
    Step(i64),
    /// To the last sample at or before a time, nanoseconds since 1970-01-01 UTC.
    Seek(i64),
    /// From the ring back to the live screen.
    Live,
}
