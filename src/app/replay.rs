//! The keys of a recording: play, step, seek, anomalies, marks.

use super::keys::Action;
use super::layer::{Layer, Purpose};
use super::recording::{Playback, Recording};
use super::{App, Effect, scrub, when};
use std::sync::Arc;

/// How many times as fast as it happened.
const SPEEDS: [f64; 7] = [0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// As it happened.
const NORMAL: usize = 1;

/// A recording that is open.
#[derive(Clone, Debug)]
pub(super) struct Replay {
    pub recording: Arc<Recording>,
    pub playing: bool,
    speed: usize,
}

impl Replay {
    /// How many times as fast as it happened it plays.
    pub fn speed(&self) -> f64 {
        SPEEDS.get(self.speed).copied().unwrap_or(1.0)
    }

    fn change_speed(&mut self, faster: bool) {
        self.speed = if faster { (self.speed + 1).min(SPEEDS.len() - 1) } else { self.speed.saturating_sub(1) };
    }
}

impl App {
    /// Takes a recording to show, or the end of it: then the screen is live again.
    pub(super) fn open_recording(&mut self, recording: Option<Arc<Recording>>) {
        let Some(recording) = recording else {
            self.replay = None;
            return;
        };
        self.held = None;
        self.now_unix_ns = recording.to_unix_ns;
        self.replay = Some(Replay { playing: recording.plays, speed: NORMAL, recording });
        // The key that led into the ring is meant for it.
        if let Some(action) = self.rewinding.take() {
            self.replay_act(action);
        }
    }

    /// A recording that has been played to its end stands still.
    pub(super) fn note_end(&mut self) {
        let shown = self.frame.snap.wall_unix_ns;
        if let Some(replay) = &mut self.replay
            && !replay.recording.is_ring
            && shown >= replay.recording.to_unix_ns
        {
            replay.playing = false;
        }
    }

    /// Goes from the live screen into the ring, with the key that asked for it.
    pub(super) fn rewind(&mut self, action: Action) {
        self.rewinding = Some(action);
        self.ask(Playback::Rewind);
    }

    pub(super) fn replay_act(&mut self, action: Action) {
        let Some(replay) = &mut self.replay else { return };
        let at = self.now_unix_ns;
        match action {
            Action::Play => {
                replay.playing = !replay.playing;
                let (playing, speed) = (replay.playing, replay.speed());
                self.ask(if playing { Playback::Play(speed) } else { Playback::Pause });
            }
            Action::Slower | Action::Faster => {
                replay.change_speed(action == Action::Faster);
                if replay.playing {
                    let speed = replay.speed();
                    self.ask(Playback::Play(speed));
                }
            }
            Action::StepBack | Action::StepOn => {
                replay.playing = false;
                self.ask(Playback::Step(if action == Action::StepOn { 1 } else { -1 }));
            }
            Action::NextAnomaly | Action::PreviousAnomaly => {
                let after = action == Action::NextAnomaly;
                match replay.recording.anomaly(at, after) {
                    Some(to) => self.seek(to),
                    None if after => self.say("no finding begins after this"),
                    None => self.say("no finding begins before this"),
                }
            }
            Action::JumpTo => self.prompt(Purpose::Jump),
            Action::Spots => {
                let spots = &replay.recording.spots;
                let here = spots.iter().rposition(|s| s.from_unix_ns <= at).unwrap_or(0);
                if spots.is_empty() {
                    self.say("no finding, mark or action in the recording");
                } else {
                    self.layers.push(Layer::Spots { at: here });
                }
            }
            Action::Live => self.ask(Playback::Live),
            _ => {}
        }
    }

    /// To a time; what is not yet shown counts for the next key.
    fn seek(&mut self, to_unix_ns: i64) {
        self.now_unix_ns = to_unix_ns;
        self.ask(Playback::Seek(to_unix_ns));
    }

    /// Says what the recording does not hold.
    pub(super) fn say_absent(&mut self, from_unix_ns: i64, to_unix_ns: i64) {
        let Some(replay) = &self.replay else { return };
        let stamp = |unix_ns| scrub::stamp(&replay.recording, unix_ns, self.options.utc_offset_secs);
        let words = format!("nothing is recorded from {} to {}", stamp(from_unix_ns), stamp(to_unix_ns));
        self.say(words);
    }

    /// Takes what was typed as a time; false when it is none.
    pub(super) fn jump(&mut self, text: &str) -> bool {
        let Some(replay) = &self.replay else { return true };
        let (from, to) = (replay.recording.from_unix_ns, replay.recording.to_unix_ns);
        let wanted = when::parse(text, (from, to), self.now_unix_ns, self.options.utc_offset_secs);
        if let Some(at) = wanted {
            self.seek(at.clamp(from, to));
        }
        wanted.is_some()
    }

    pub(super) fn spots_act(&mut self, action: Option<Action>) {
        let count = self.replay.as_ref().map_or(0, |r| r.recording.spots.len());
        let Some(Layer::Spots { at }) = self.layers.last_mut() else { return };
        let last = count.saturating_sub(1);
        match action {
            Some(Action::Up) => *at = at.saturating_sub(1),
            Some(Action::Down) => *at = (*at + 1).min(last),
            Some(Action::PageUp) => *at = at.saturating_sub(10),
            Some(Action::PageDown | Action::Play) => *at = (*at + 10).min(last),
            Some(Action::Home) => *at = 0,
            Some(Action::End) => *at = last,
            Some(Action::Enter) => {
                let chosen = *at;
                self.layers.pop();
                let to = self.replay.as_ref().and_then(|r| Some(r.recording.spots.get(chosen)?.from_unix_ns));
                if let Some(to) = to {
                    self.seek(to);
                }
            }
            _ => {
                self.layers.pop();
            }
        }
    }

    fn ask(&mut self, what: Playback) {
        self.effects.push(Effect::Playback(what));
    }
}
