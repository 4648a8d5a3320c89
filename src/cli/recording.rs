//! What `report` and `export` share: a recording, read through once.

use super::setup::Settings;
use crate::engine::{Engine, EngineOptions};
use crate::record::{Cursor, Note, Reader};
use crate::report::{Entry, Outage, acted, marked};
use crate::snapshot::{Host, Snapshot};
use crate::view::num;
use anyhow::Context;
use std::path::Path;

/// An open recording and what else it holds.
pub struct Recording {
    pub reader: Reader,
    pub actions: Vec<Entry>,
    pub marks: Vec<Entry>,
    redact: bool,
}

/// What reading through gave.
#[derive(Default)]
pub struct Pass {
    pub outage: Outage,
    pub host: Option<Host>,
    pub damage: Vec<String>,
}

impl Recording {
    /// Opens it; with `redact`, command lines are left out of all that is read.
    pub fn open(path: &Path, redact: bool) -> anyhow::Result<Self> {
        let reader = Reader::open(path).with_context(|| path.display().to_string())?;
        let (mut actions, mut marks) = (Vec::new(), Vec::new());
        for note in reader.notes().with_context(|| path.display().to_string())? {
            match note {
                Note::Mark(mark) => marks.push(marked(mark.wall_unix_ns, &mark.text)),
                Note::Action(record) => actions.push(acted(&record, redact)),
                Note::Finding(_) | Note::Lost(_) => {}
            }
        }
        Ok(Self { reader, actions, marks, redact })
    }

    /// Reads every sample in the order of time, and gives each to `see`.
    pub fn walk(
        &self,
        settings: &Settings,
        mut see: impl FnMut(&Snapshot) -> anyhow::Result<()>,
    ) -> anyhow::Result<Pass> {
        let mut engine = Engine::new(EngineOptions { rules: settings.rules.clone(), ..EngineOptions::default() });
        let mut pass = Pass::default();
        let mut cursor = self.reader.start()?;
        while let Some(mut snap) = cursor.next_snapshot()? {
            if self.redact {
                snap.redact();
            }
            see(&snap)?;
            if let Some(host) = snap.host.data() {
                pass.host = Some(host.clone());
            }
            pass.outage.step(&engine.step(snap));
        }
        pass.damage = self.damage(&cursor)?;
        Ok(pass)
    }

    /// What the file lost, in words.
    fn damage(&self, cursor: &Cursor) -> anyhow::Result<Vec<String>> {
        let mut damage: Vec<String> = cursor
            .gaps()
            .iter()
            .map(|gap| format!("{} of the file could not be read.", num::prose_bytes(gap.bytes)))
            .collect();
        if self.reader.torn_tail() > 0 {
            damage.push("The last frame was not written to its end.".into());
        }
        for note in self.reader.notes()? {
            if let Note::Lost(lost) = note {
                damage.push(format!("{} samples could not be written: {}.", lost.samples, lost.why));
            }
        }
        Ok(damage)
    }
}
