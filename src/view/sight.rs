//! What can be seen and what can't, in words.

use super::{Line, Role, num};
use crate::model::Frame;
use crate::snapshot::{Gap, Moment, Section, Text};

/// A section's state without its data.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Read, when.
    Ok(Moment),
    /// Old: since when, and why.
    Stale(Moment, Text),
    /// Refused: what, and what would show it.
    Denied(Gap),
    /// Not there, and why.
    Absent(Text),
}

impl<T> From<&Section<T>> for State {
    fn from(section: &Section<T>) -> Self {
        match section {
            Section::Ok { at, .. } => Self::Ok(*at),
            Section::Stale { at, why, .. } => Self::Stale(*at, why.clone()),
            Section::Denied { need } => Self::Denied(Gap { what: need.what.clone(), fix: need.fix.clone() }),
            Section::Absent { why } => Self::Absent(why.clone()),
        }
    }
}

impl State {
    /// What the screen must say about it at `now`; `None` when it is simply there.
    #[must_use]
    pub fn line(&self, now: Moment) -> Option<Line> {
        match self {
            Self::Ok(_) => None,
            Self::Stale(at, why) => {
                let age = num::span(now.since(*at));
                Some(Line::plain(Role::Stale, format!("stale: read {age} ago; {why}")))
            }
            Self::Denied(need) => Some(
                Line::plain(Role::Warn, "not allowed to read ")
                    .text(need.what.to_string())
                    .dim(format!(" · would help: {}", need.fix)),
            ),
            Self::Absent(why) => Some(Line::plain(Role::Dim, format!("not here: {why}"))),
        }
    }
}

/// The worst state of several sections: one that is missing, before one that is old, before one that is read.
#[must_use]
pub fn worst<const N: usize>(states: [State; N]) -> State {
    let rank = |s: &State| match s {
        State::Ok(_) => 0,
        State::Stale(..) => 1,
        State::Absent(_) => 2,
        State::Denied(_) => 3,
    };
    states.into_iter().max_by_key(rank).unwrap_or(State::Ok(Moment::default()))
}

/// Everything that could not be seen in this look: refused sections and the gaps in the others.
#[must_use]
pub fn gaps(frame: &Frame) -> Vec<Gap> {
    let snap = &frame.snap;
    let states: [(&str, State); 10] = [
        ("host", (&snap.host).into()),
        ("cpu", (&snap.cpu).into()),
        ("tasks", (&snap.tasks).into()),
        ("sockets", (&snap.sockets).into()),
        ("net", (&snap.net).into()),
        ("cgroups", (&snap.cgroups).into()),
        ("memory", (&snap.memory).into()),
        ("pressure", (&snap.pressure).into()),
        ("slab", (&snap.slab).into()),
        ("kernel log", (&snap.klog).into()),
    ];
    let mut out: Vec<Gap> = states
        .into_iter()
        .filter_map(|(name, state)| match state {
            State::Ok(_) => None,
            State::Denied(gap) => Some(Gap { what: format!("{name} ({})", gap.what).into(), fix: gap.fix }),
            State::Absent(why) => Some(Gap { what: name.into(), fix: why }),
            State::Stale(at, why) => {
                let age = num::span(snap.at.since(at));
                Some(Gap { what: format!("{name}, {age} old").into(), fix: why })
            }
        })
        .collect();
    let parts = [
        snap.tasks.data().map(|d| &d.gaps),
        snap.sockets.data().map(|d| &d.gaps),
        snap.net.data().map(|d| &d.gaps),
        snap.cgroups.data().map(|d| &d.gaps),
        snap.slab.data().map(|d| &d.gaps),
    ];
    for gap in parts.into_iter().flatten().flatten() {
        if !out.contains(gap) {
            out.push(gap.clone());
        }
    }
    out
}
