//! The scrub bar of a recording: where one is, what stood when, and what is missing. And the list of its spots.

use super::recording::{Recording, Spot, SpotKind};
use super::replay::Replay;
use crate::model::Severity;
use crate::view::canvas::cells;
use crate::view::line::severity_role;
use crate::view::text::width;
use crate::view::{Canvas, Role, num};
use ratatui::layout::Rect;

/// Below this width there is the bar only.
const NARROW: u16 = 40;
const DAY_NS: i64 = 86_400_000_000_000;

/// Draws the bar in one row.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, replay: &Replay, at_unix_ns: i64, utc_offset_secs: i32) {
    let recording = &*replay.recording;
    let (mut left, mut right) = (area.x + 1, area.right().saturating_sub(1));
    if area.width >= NARROW {
        let clock = |unix_ns: i64| stamp(recording, unix_ns, utc_offset_secs);
        left += canvas.put(left, area.y, 20, &clock(recording.from_unix_ns), Role::Dim) + 1;
        let speed = format!("{:>3}×", num::number(replay.speed()));
        right -= canvas.put_right(right, area.y, 5, &speed, if replay.playing { Role::Good } else { Role::Dim }) + 1;
        let end = if recording.is_ring { "now".into() } else { clock(recording.to_unix_ns) };
        right -= canvas.put_right(right, area.y, 20, &end, Role::Dim) + 1;
    }
    let columns = right.saturating_sub(left);
    let column = |unix_ns: i64| column_of(recording, unix_ns, columns);
    for x in 0..columns {
        canvas.put(left + x, area.y, 1, "─", Role::Rule);
    }
    // The worst is drawn last: it stays where several share a cell.
    let mut spots: Vec<&Spot> = recording.spots.iter().collect();
    spots.sort_by_key(|s| rank(s.kind));
    for spot in &spots {
        if let SpotKind::Finding(severity) = spot.kind {
            for x in column(spot.from_unix_ns)..=column(spot.to_unix_ns) {
                canvas.put(left + x, area.y, 1, "━", severity_role(Some(severity), Role::Text));
            }
        }
    }
    for &(from, to) in &recording.gaps {
        for x in column(from)..=column(to) {
            canvas.put(left + x, area.y, 1, "·", Role::Dim);
        }
    }
    for spot in spots {
        canvas.put(left + column(spot.from_unix_ns), area.y, 1, spot.kind.sign(), role_of(spot.kind));
    }
    if columns > 0 {
        canvas.put(left + column(at_unix_ns), area.y, 1, "●", Role::Title);
    }
}

fn rank(kind: SpotKind) -> u8 {
    match kind {
        SpotKind::Finding(Severity::Warning) => 0,
        SpotKind::Finding(Severity::Critical) => 1,
        SpotKind::Action => 2,
        SpotKind::Mark => 3,
    }
}

fn role_of(kind: SpotKind) -> Role {
    match kind {
        SpotKind::Finding(severity) => severity_role(Some(severity), Role::Text),
        SpotKind::Mark | SpotKind::Action => Role::Key,
    }
}

/// The cell of a time.
fn column_of(recording: &Recording, unix_ns: i64, columns: u16) -> u16 {
    let span = i128::from(recording.to_unix_ns) - i128::from(recording.from_unix_ns);
    let into = i128::from(unix_ns) - i128::from(recording.from_unix_ns);
    let last = i128::from(columns.saturating_sub(1));
    let at = if span > 0 { (into * last + span / 2) / span } else { 0 };
    u16::try_from(at.clamp(0, last)).unwrap_or(0)
}

/// The clock, and the day where the recording spans more than one.
pub(super) fn stamp(recording: &Recording, unix_ns: i64, utc_offset_secs: i32) -> String {
    let clock = num::clock(unix_ns, utc_offset_secs);
    let day = |unix_ns: i64| unix_ns.saturating_add(i64::from(utc_offset_secs) * 1_000_000_000).div_euclid(DAY_NS);
    if day(recording.from_unix_ns) == day(recording.to_unix_ns) {
        return clock;
    }
    format!("{} {clock}", num::month_day(unix_ns, utc_offset_secs))
}

/// Draws the list of findings, marks and actions.
pub(super) fn list(canvas: &mut Canvas<'_>, area: Rect, recording: &Recording, at: usize, utc_offset_secs: i32) {
    canvas.put(area.x + 2, area.y, area.width, "Findings, marks and actions", Role::Title);
    let rows = usize::from(area.height.saturating_sub(1)).max(1);
    let first = (at + 1).saturating_sub(rows);
    for (i, spot) in recording.spots.iter().enumerate().skip(first).take(rows) {
        let y = area.y + 1 + cells(i - first);
        if i == at {
            canvas.ground(Rect { y, height: 1, ..area }, Role::Selected);
            canvas.put(area.x, y, 1, "▸", Role::Key);
        }
        let stamp = stamp(recording, spot.from_unix_ns, utc_offset_secs);
        let mut x = area.x + 2;
        x += canvas.put(x, y, area.width, &stamp, Role::Label) + 1;
        x += canvas.put(x, y, 1, spot.kind.sign(), role_of(spot.kind)) + 1;
        let lasted = (spot.to_unix_ns.saturating_sub(spot.from_unix_ns)) as f64 / 1e9;
        let note = if lasted > 0.0 { num::span(lasted) } else { String::new() };
        let room = area.right().saturating_sub(x + 2 + cells(width(&note)));
        canvas.put(x, y, room, &spot.text, Role::Text);
        canvas.put_right(area.right().saturating_sub(1), y, 8, &note, Role::Dim);
    }
}
