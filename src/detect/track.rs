//! What is kept of one subject of one rule: the series of its value and of its counters.

use super::Measure;
use super::interned::{self, Word};
use crate::model::Series;
use crate::snapshot::Moment;
use serde::{Deserialize, Serialize};

/// A counter as the growth seen so far: it starts at 0, never falls, and a reset adds nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Growth {
    #[serde(deserialize_with = "interned::word")]
    name: Word,
    raw: u64,
    grown: Series,
}

/// The series of one subject.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Track {
    value: Series,
    counters: Vec<Growth>,
}

impl Track {
    /// Takes a measure. Of a subject `born` after the look at `born` its counters count from 0; of any other, what
    /// they held at its first sight is history.
    pub(super) fn take(&mut self, at: Moment, m: &Measure) {
        self.value.push(at, m.value);
        for &(name, raw) in &m.counters {
            let Some(growth) = self.counters.iter_mut().find(|g| g.name == name) else {
                let mut grown = Series::default();
                grown.push(m.born_after.unwrap_or(at), 0.0);
                if m.born_after.is_some() {
                    grown.push(at, raw as f64);
                }
                self.counters.push(Growth { name, raw, grown });
                continue;
            };
            let more = raw.saturating_sub(growth.raw);
            let sum = growth.grown.last().unwrap_or(0.0) + more as f64;
            growth.grown.push(at, sum);
            growth.raw = raw;
        }
    }

    /// The series of the value.
    #[must_use]
    pub fn value(&self) -> &Series {
        &self.value
    }

    /// The series of a counter's growth.
    pub(super) fn grown(&self, name: &str) -> Option<&Series> {
        self.counters.iter().find(|g| g.name == name).map(|g| &g.grown)
    }

    /// Bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.value.bytes() + self.counters.iter().map(|g| g.grown.bytes()).sum::<usize>()
    }

    /// Gives up what is older than two minutes.
    pub(super) fn forget_older(&mut self) {
        self.value.forget_older();
        self.counters.iter_mut().for_each(|g| g.grown.forget_older());
    }
}
