//! `why --from`: the same rules over a recording.

use super::{Look, Seen};
use crate::cli::json::Cost;
use crate::cli::reel;
use crate::detect::{RuleConfig, Window};
use crate::engine::{Engine, EngineOptions};
use crate::model::{Frame, Severity, Story};
use crate::playback::Playback;
use crate::record::Reader;
use crate::snapshot::{Moment, Snapshot};
use anyhow::Context as _;
use jiff::tz::TimeZone;
use std::path::Path;

/// What a recording says: one look for each boot in it, in their order; at a time, that moment's alone.
///
/// # Errors
/// A file that is no recording or holds no sample; a time that is none.
pub fn looks(path: &Path, at: Option<&str>, rules: RuleConfig) -> anyhow::Result<Vec<Look>> {
    let (reader, shown) = reel::open(path)?;
    let name = || path.display().to_string();
    let Some(at) = at else { return whole(&reader, rules).with_context(name) };
    let offset = TimeZone::system().to_offset(jiff::Timestamp::from_nanosecond(i128::from(shown.to_unix_ns))?);
    let at = reel::time(at, &shown, offset.seconds())?;
    let mut playback = Playback::new(reader, EngineOptions { rules, ..EngineOptions::default() })?;
    let frame = then(Frame::clone(playback.seek(at).with_context(name)?));
    Ok(vec![Look { seen: Seen::Then, ..look(frame, 0.0, 1) }])
}

fn look(frame: Frame, window_s: f64, samples: u64) -> Look {
    let own = &frame.snap.own;
    let cost = Cost { cpu_ms: own.cpu_ns as f64 / 1e6, samples, rss_bytes: own.rss_bytes };
    Look { frame, window_s, cost, seen: Seen::Recording }
}

/// All samples in one window, as `why --for` looks: from the first one of a boot to its last.
fn whole(reader: &Reader, rules: RuleConfig) -> anyhow::Result<Vec<Look>> {
    let mut engine = Engine::new(EngineOptions { window: Window::Whole, rules, ..EngineOptions::default() });
    let mut cursor = reader.start()?;
    let mut looks = Vec::new();
    let mut open: Option<(Frame, Moment, u64)> = None;
    while let Some(snap) = cursor.next_snapshot()? {
        let (mut first, mut count) = (snap.at, 0);
        if let Some((frame, began, samples)) = open.take() {
            if is_same_boot(&frame.snap, &snap) {
                (first, count) = (began, samples);
            } else {
                let window_s = frame.snap.at.since(began);
                looks.push(look(over(frame), window_s, samples));
            }
        }
        open = Some((engine.step(snap), first, count + 1));
    }
    looks.extend(open.map(|(frame, began, samples)| {
        let window_s = frame.snap.at.since(began);
        look(frame, window_s, samples)
    }));
    Ok(looks)
}

fn is_same_boot(old: &Snapshot, new: &Snapshot) -> bool {
    let boot = |s: &Snapshot| s.host.data().map(|h| h.boot_id.clone()).filter(|id| !id.is_empty());
    new.at >= old.at && boot(old).zip(boot(new)).is_none_or(|(a, b)| a == b)
}

/// Nothing of a boot that has ended is still true.
fn over(mut frame: Frame) -> Frame {
    frame.findings.iter_mut().for_each(|f| f.active = false);
    frame
}

/// What was true at the moment of the frame, and no longer what had been.
fn then(mut frame: Frame) -> Frame {
    let mut places = Vec::with_capacity(frame.findings.len());
    let mut kept = 0;
    for finding in &frame.findings {
        places.push(finding.active.then_some(kept));
        kept += usize::from(finding.active);
    }
    let place = |i: &usize| places.get(*i).copied().flatten();
    frame.findings.retain(|f| f.active);
    for finding in &mut frame.findings {
        finding.explained_by = finding.explained_by.iter().filter_map(place).collect();
    }
    let findings = &frame.findings;
    let told = |mut story: Story| {
        let root = place(&story.root);
        story.findings = story.findings.iter().filter_map(place).collect();
        story.root = root.or(story.findings.first().copied())?;
        let members = || story.findings.iter().filter_map(|i| findings.get(*i));
        story.severity = members().map(|f| f.severity).max().unwrap_or(Severity::Warning);
        if root.is_none() {
            story.summary = members().next()?.message.clone();
        }
        Some(story)
    };
    frame.stories = std::mem::take(&mut frame.stories).into_iter().filter_map(told).collect();
    frame
}
