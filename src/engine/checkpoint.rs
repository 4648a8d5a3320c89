//! What an engine knows, in bytes: a recording keeps it beside a whole sample, so that a seek replays seconds, not hours.

use super::{Engine, EngineOptions};
use crate::detect::{Watch, Window, rules};
use crate::model::{Before, History, LogBook};
use crate::snapshot::{Moment, Snapshot};
use rustc_hash::FxHasher;
use serde::{Deserialize, Serialize};
use std::hash::{Hash, Hasher};
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

/// Changes with the layout of [`State`].
const LAYOUT: u32 = 4;
/// Bytes in front: which rules made it.
const PRINT_BYTES: usize = 8;
/// Bytes that a checkpoint may unpack to.
const UNPACKED_MAX: u64 = 256 << 20;
/// Fast enough to run once a minute beside the sampling.
const ZSTD_LEVEL: i32 = 3;
/// How far back the compressor sees: over a crowded host's whole state, and the look in front of it.
const WINDOW_LOG: u32 = 23;

/// Why a checkpoint is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Made under other rules or numbers, or by another version: what it knows must be replayed.
    #[error("made by other rules")]
    OtherRules,
    /// Its bytes say nothing.
    #[error("damaged")]
    Damaged,
}

/// What the next step depends on, but for the rules.
#[derive(Serialize, Deserialize)]
struct State<B, W, H, L> {
    before: B,
    watch: W,
    history: H,
    log: L,
    first_look: Option<Moment>,
    last: Option<(Moment, Arc<str>)>,
    steps: u64,
}

type Owned = State<Before, Watch, History, LogBook>;

impl Engine {
    /// What it knows before it takes the look `next`, as bytes that [`Engine::restore`] takes: the next frames are then
    /// the same as this engine's. What `next` holds too costs next to nothing.
    ///
    /// Of every series the last 20 minutes are kept.
    #[must_use]
    pub fn checkpoint(&self, next: &Snapshot) -> Vec<u8> {
        let state = State {
            before: &self.before,
            watch: &self.watch,
            history: &self.history,
            log: &self.log,
            first_look: self.first_look,
            last: self.last.clone(),
            steps: self.steps,
        };
        let plain = postcard::to_stdvec(&state).unwrap_or_default();
        let bytes = fingerprint(&self.options).to_le_bytes().to_vec();
        pack(&plain, &dictionary(next), bytes).unwrap_or_default()
    }

    /// Becomes the engine that made the checkpoint before it took the look `next`. Options and focus stay.
    ///
    /// # Errors
    /// When other rules made it, or it is damaged; the engine is then as before.
    pub fn restore(&mut self, checkpoint: &[u8], next: &Snapshot) -> Result<(), CheckpointError> {
        let (print, packed) = checkpoint.split_first_chunk::<PRINT_BYTES>().ok_or(CheckpointError::Damaged)?;
        if u64::from_le_bytes(*print) != fingerprint(&self.options) {
            return Err(CheckpointError::OtherRules);
        }
        let mut plain = Vec::new();
        zstd::Decoder::with_dictionary(packed, &dictionary(next))
            .and_then(|from| from.take(UNPACKED_MAX).read_to_end(&mut plain))
            .map_err(|_| CheckpointError::Damaged)?;
        let mut state: Owned = postcard::from_bytes(&plain).map_err(|_| CheckpointError::Damaged)?;
        state.watch.set_config(self.options.rules.clone());
        let State { before, watch, history, log, first_look, last, steps } = state;
        (self.watch, self.before, self.history, self.log) = (watch, before, history, log);
        (self.first_look, self.last, self.steps) = (first_look, last, steps);
        Ok(())
    }
}

/// A look as bytes: much of what the engine keeps of the looks before stands in it word for word.
fn dictionary(next: &Snapshot) -> Vec<u8> {
    postcard::to_stdvec(next).unwrap_or_default()
}

fn pack(plain: &[u8], dictionary: &[u8], into: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut packer = zstd::Encoder::with_dictionary(into, ZSTD_LEVEL, dictionary)?;
    packer.include_checksum(true)?;
    packer.window_log(WINDOW_LOG)?;
    packer.write_all(plain)?;
    packer.finish()
}

/// A number for the rules, their numbers and the window: the same under the same.
fn fingerprint(options: &EngineOptions) -> u64 {
    let mut print = FxHasher::default();
    (LAYOUT, env!("CARGO_PKG_VERSION"), options.series_bytes_max).hash(&mut print);
    match options.window {
        Window::Rolling(secs) => secs.to_bits().hash(&mut print),
        Window::Whole => u64::MAX.hash(&mut print),
    }
    for rule in rules() {
        (rule.id, rule.hold_s.to_bits(), options.rules.is_on(rule)).hash(&mut print);
        for knob in rule.knobs {
            (knob.key, options.rules.knob(rule.id, knob).to_bits()).hash(&mut print);
        }
    }
    print.finish()
}
