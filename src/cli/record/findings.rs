//! The lives of findings, as notes of a recording.

use crate::model::{Finding, Frame};
use crate::record::{FindingNote, Note};
use crate::snapshot::Subject;
use std::collections::BTreeMap;

/// A finding that stays true is noted again so often: of one that was never seen to end it is then known until when.
const AGAIN_NS: i64 = 600_000_000_000;

/// Which findings are known, and what was noted of them.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    known: BTreeMap<(&'static str, Subject), FindingNote>,
}

impl Findings {
    /// What a frame brings: findings that came, grew worse, ended, or stood for long.
    pub fn notes(&mut self, frame: &Frame) -> Vec<Note> {
        let now = frame.snap.wall_unix_ns;
        let mut notes = Vec::new();
        let mut current = BTreeMap::new();
        for finding in frame.findings.iter().filter(|f| f.active) {
            let key = (finding.id, finding.subject.clone());
            let mut note = note(finding, frame);
            let known = self.known.remove(&key);
            let is_told = known.as_ref().is_some_and(|known| {
                note.since = known.since;
                note.since_unix_ns = known.since_unix_ns;
                note.peak = note.peak.max(known.peak);
                known.severity == note.severity && now - known.last_unix_ns < AGAIN_NS
            });
            if is_told {
                // What was told stands, but for the peak, which the next note tells.
                note.last_unix_ns = known.map_or(now, |known| known.last_unix_ns);
            } else {
                notes.push(Note::Finding(note.clone()));
            }
            current.insert(key, note);
        }
        let ended = std::mem::replace(&mut self.known, current);
        notes.extend(ended.into_values().map(|note| ended_at(note, now)));
        notes
    }

    /// What is still true when the recording ends.
    pub fn end(self, now: i64) -> Vec<Note> {
        let still = |note| Note::Finding(FindingNote { last_unix_ns: now, ..note });
        self.known.into_values().map(still).collect()
    }
}

fn ended_at(note: FindingNote, now: i64) -> Note {
    Note::Finding(FindingNote { last_unix_ns: now, active: false, ..note })
}

fn note(finding: &Finding, frame: &Frame) -> FindingNote {
    FindingNote {
        id: finding.id.into(),
        subject: finding.subject.clone(),
        severity: finding.severity.word().into(),
        name: finding.label.name.clone(),
        message: finding.message.as_str().into(),
        since: finding.since,
        since_unix_ns: frame.snap.wall_of(finding.since),
        last_unix_ns: frame.snap.wall_unix_ns,
        active: true,
        peak: finding.value,
        unit: finding.unit.into(),
    }
}
