//! A recording's file, opened, and what lies on the way through it.

use super::json::rfc3339;
use super::setup::BadUse;
use crate::app::{Recording, Spot, SpotKind, when};
use crate::model::Severity;
use crate::record::{Cursor, FindingNote, KEY_SPAN_NS, Note, Reader, RecordError};
use crate::report::{Entry, acted, marked};
use anyhow::Context as _;
use std::path::Path;

/// Keyframes of a recording whose every sample is looked at for gaps: some five hours. Of a longer one a minute is less
/// than a cell of the scrub bar.
const SEEN_KEYS: usize = 300;
/// Gaps of such a one that are measured to the sample; of more, the minute.
const MEASURED_MAX: usize = 64;
/// Samples that are further apart than this, beyond a keyframe's span, leave a gap.
const SLACK_NS: i64 = 10_000_000_000;
/// What may lie outside a recording and still mean its first or last sample: a time is typed in minutes.
const NEAR_NS: i64 = 60_000_000_000;

/// Opens a recording that holds a sample at least.
///
/// # Errors
/// A file that can't be read, is no recording, or holds none.
pub fn open(path: &Path) -> anyhow::Result<(Reader, Recording)> {
    let name = || path.display().to_string();
    let reader = Reader::open(path).with_context(name)?;
    let shown = recording(&reader, false).with_context(name)?;
    Ok((reader, shown.with_context(|| format!("{}: holds no sample", name()))?))
}

/// The time that somebody typed, within the recording; `-5m` counts from its end.
///
/// # Errors
/// What is no time, or one that the recording does not reach.
pub fn time(text: &str, of: &Recording, utc_offset_secs: i32) -> Result<i64, BadUse> {
    let range = (of.from_unix_ns, of.to_unix_ns);
    let at = when::parse(text, range, of.to_unix_ns, utc_offset_secs).ok_or_else(|| BadUse::Time(text.into()))?;
    let within = at.clamp(of.from_unix_ns, of.to_unix_ns);
    if at.abs_diff(within) > NEAR_NS.unsigned_abs() && !text.trim_start().starts_with(['-', '+']) {
        return Err(BadUse::Outside(text.into(), rfc3339(of.from_unix_ns), rfc3339(of.to_unix_ns)));
    }
    Ok(within)
}

/// What lies on the way through a recording; `None` when it has no sample.
///
/// # Errors
/// From reading it.
pub fn recording(reader: &Reader, is_ring: bool) -> Result<Option<Recording>, RecordError> {
    let Some((from_unix_ns, to_unix_ns)) = reader.span() else { return Ok(None) };
    let mut spots: Vec<Spot> = Vec::new();
    for note in reader.notes()? {
        match note {
            Note::Mark(mark) => spots.push(at_once(marked(mark.wall_unix_ns, &mark.text), SpotKind::Mark)),
            Note::Action(done) => spots.push(at_once(acted(&done, true), SpotKind::Action)),
            Note::Finding(found) => add_finding(&mut spots, &found),
            Note::Lost(_) => {}
        }
    }
    for spot in &mut spots {
        spot.from_unix_ns = spot.from_unix_ns.clamp(from_unix_ns, to_unix_ns);
        spot.to_unix_ns = spot.to_unix_ns.clamp(spot.from_unix_ns, to_unix_ns);
    }
    spots.sort_by_key(|s| s.from_unix_ns);
    Ok(Some(Recording { from_unix_ns, to_unix_ns, spots, gaps: gaps(reader)?, is_ring, plays: false }))
}

fn at_once(entry: Entry, kind: SpotKind) -> Spot {
    Spot { from_unix_ns: entry.unix_ns, to_unix_ns: entry.unix_ns, kind, text: entry.text }
}

/// A finding is noted when it comes and again when it goes: the last note counts.
fn add_finding(spots: &mut Vec<Spot>, found: &FindingNote) {
    let severity = if &*found.severity == Severity::Critical.word() { Severity::Critical } else { Severity::Warning };
    let spot = Spot {
        from_unix_ns: found.since_unix_ns,
        to_unix_ns: found.last_unix_ns,
        kind: SpotKind::Finding(severity),
        text: format!("{}  {}", found.id, found.message),
    };
    let begins = format!("{}  ", found.id);
    let same = |s: &&mut Spot| s.from_unix_ns == spot.from_unix_ns && s.text.starts_with(&begins);
    match spots.iter_mut().rev().find(same) {
        Some(known) => *known = spot,
        None => spots.push(spot),
    }
}

/// Spans without samples; of a long recording those where a keyframe comes later than its minute.
fn gaps(reader: &Reader) -> Result<Vec<(i64, i64)>, RecordError> {
    let keys: Vec<i64> = reader.key_times().collect();
    if keys.len() <= SEEN_KEYS {
        return reader.pauses();
    }
    let late = keys.iter().zip(keys.iter().skip(1)).filter(|(a, b)| **b - **a > KEY_SPAN_NS + SLACK_NS);
    let mut gaps = Vec::new();
    for (&before, &after) in late {
        let last = if gaps.len() < MEASURED_MAX { last_before(reader, after)? } else { None };
        gaps.push((last.unwrap_or(before), after));
    }
    Ok(gaps)
}

fn last_before(reader: &Reader, unix_ns: i64) -> Result<Option<i64>, RecordError> {
    let cursor: Cursor = reader.at(unix_ns.saturating_sub(1))?;
    cursor.next_time()
}
