//! `whytop replay`: the screens over a recording.

use super::args::{Global, ReplayArgs};
use super::reel;
use super::setup::Settings;
use super::tui::{self, feed::Feed, saves::Saves};
use crate::engine::EngineOptions;
use crate::playback::Playback;
use anyhow::Context as _;
use std::process::ExitCode;
use std::sync::Arc;

/// Shows a recording from its start, or held at a time of it.
///
/// # Errors
/// Settings that can't be used; a file that is no recording or holds no sample; a time that is none; and when the
/// terminal can't be taken, or is lost.
pub fn run(global: &Global, args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(global)?;
    if let Some(why_not) = tui::unfit() {
        anyhow::bail!("{why_not}: no screens can be shown; `whytop why --from` prints what a recording says");
    }
    // Before any thread. Pictures of the screens are all there is to write.
    let writers = crate::startup::fork_writers(1).unwrap_or_default();
    let saves = Saves::new(settings.places.dir.clone(), writers);
    let options = tui::options(&settings);
    let (reader, mut shown) = reel::open(&args.file)?;
    let rules = EngineOptions { rules: settings.rules, ..EngineOptions::default() };
    let mut playback = Playback::new(reader, rules)?;
    if let Some(at) = &args.at {
        let at = reel::time(at, &shown, options.utc_offset_secs)?;
        playback.seek(at).with_context(|| args.file.display().to_string())?;
    } else {
        shown.plays = true;
        playback.advance()?;
        playback.play(Some(1.0));
    }
    let read_only = crate::app::AppOptions { read_only: true, ..options };
    Ok(ExitCode::from(tui::screens(read_only, Feed::replay(playback, Arc::new(shown), saves)?, None)?))
}
