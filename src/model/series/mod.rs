//! One quantity over time, change-compressed, in three tiers: every sample for 2 minutes, one in 10 s for 20 minutes,
//! one a minute for 24 hours. What never changes costs one point.

mod packed;

use crate::snapshot::Moment;
use packed::Packed;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const SECOND: u64 = 1_000_000_000;
const FINE_SPAN: u64 = 120 * SECOND;
const MID_SPAN: u64 = 20 * 60 * SECOND;
const MID_STEP: u64 = 10 * SECOND;
const COARSE_SPAN: u64 = 24 * 3600 * SECOND;
const COARSE_STEP: u64 = 60 * SECOND;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    at: Moment,
    value: f64,
}

#[derive(Clone, Debug, Default)]
struct Tiers {
    fine: VecDeque<Point>,
    mid: VecDeque<Point>,
    coarse: VecDeque<Point>,
}

/// A step function: a point says from when on a value held, the last one holds up to [`Series::seen`].
///
/// Thousands of subjects have some that never change: the newest point stands in the series itself.
///
/// Serialized, it holds what of it the last 20 minutes need: no look reaches further back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(into = "Packed", from = "Packed")]
pub struct Series {
    newest: Option<Point>,
    seen: Moment,
    tiers: Option<Box<Tiers>>,
}

impl Series {
    /// Takes a sample. One that is not later than the last is ignored.
    pub fn push(&mut self, at: Moment, value: f64) {
        match self.newest {
            Some(_) if at <= self.seen => return,
            Some(newest) if newest.value.to_bits() == value.to_bits() => {}
            Some(newest) => {
                self.tiers.get_or_insert_default().fine.push_back(newest);
                self.newest = Some(Point { at, value });
            }
            None => self.newest = Some(Point { at, value }),
        }
        self.seen = at;
        self.age();
    }

    /// The newest value.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        self.newest.map(|p| p.value)
    }

    /// When the last sample was taken.
    #[must_use]
    pub fn seen(&self) -> Moment {
        self.seen
    }

    /// When the oldest value known began to hold.
    #[must_use]
    pub fn first_at(&self) -> Option<Moment> {
        self.points().next().map(|p| p.at)
    }

    /// The value that held at `at`; `None` before the first sample.
    #[must_use]
    pub fn value_at(&self, at: Moment) -> Option<f64> {
        let newest = self.newest?;
        if newest.at <= at {
            return Some(newest.value);
        }
        let held = |points: &VecDeque<Point>| {
            let after = points.partition_point(|p| p.at <= at);
            after.checked_sub(1).and_then(|i| points.get(i)).map(|p| p.value)
        };
        let tiers = self.tiers.as_ref()?;
        held(&tiers.fine).or_else(|| held(&tiers.mid)).or_else(|| held(&tiers.coarse))
    }

    /// The value at `at`, or the first one known where `at` lies before it.
    #[must_use]
    pub fn value_from(&self, at: Moment) -> Option<f64> {
        self.value_at(at).or_else(|| self.points().next().map(|p| p.value))
    }

    /// How often the value changed after `from`, as far as the fine tier tells (2 minutes). The first value seen is no
    /// change.
    #[must_use]
    pub fn changes_since(&self, from: Moment) -> u32 {
        let first = self.first_at();
        let fine = self.tiers.iter().flat_map(|t| &t.fine);
        let changes = fine.chain(&self.newest).filter(|p| p.at > from && Some(p.at) != first).count();
        u32::try_from(changes).unwrap_or(u32::MAX)
    }

    /// At most `count` evenly spaced values of the time from `from` to `to`, oldest first; times before the first
    /// sample are left out.
    fn spaced(&self, from: Moment, to: Moment, count: usize) -> Vec<f32> {
        let steps = u64::try_from(count.saturating_sub(1).max(1)).unwrap_or(1);
        let step = to.0.saturating_sub(from.0) / steps;
        #[expect(clippy::cast_possible_truncation, reason = "a sparkline needs three digits")]
        let value = |i: u64| self.value_at(Moment(to.0.saturating_sub(i * step))).map(|v| v as f32);
        let mut values: Vec<f32> = (0..=steps).map_while(value).collect();
        values.truncate(count);
        values.reverse();
        values
    }

    /// A sparkline: at most `count` points up to `now`, over what was seen, from 1 s a point to 2 minutes in all.
    #[must_use]
    pub fn spark(&self, now: Moment, count: usize) -> Vec<f32> {
        let least = SECOND.saturating_mul(u64::try_from(count.saturating_sub(1)).unwrap_or(0));
        let seen = self.first_at().map_or(0, |first| now.0.saturating_sub(first.0));
        let span = seen.clamp(least.min(FINE_SPAN), FINE_SPAN);
        self.spaced(Moment(now.0.saturating_sub(span)), now, count)
    }

    /// Bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let points = |t: &Tiers| t.fine.capacity() + t.mid.capacity() + t.coarse.capacity();
        let tiers = |t: &Tiers| points(t) * size_of::<Point>() + size_of::<Tiers>();
        size_of::<Self>() + self.tiers.as_deref().map_or(0, tiers)
    }

    /// Gives up what is older than two minutes.
    pub fn forget_older(&mut self) {
        if let Some(tiers) = &mut self.tiers {
            (tiers.mid, tiers.coarse) = (VecDeque::new(), VecDeque::new());
        }
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        let tiers = self.tiers.iter().flat_map(|t| t.coarse.iter().chain(&t.mid).chain(&t.fine));
        tiers.chain(&self.newest)
    }

    fn age(&mut self) {
        let (Some(tiers), Some(newest)) = (&mut self.tiers, self.newest) else { return };
        let Tiers { fine, mid, coarse } = tiers.as_mut();
        while let Some(p) = superseded(fine, Some(newest.at), self.seen, FINE_SPAN) {
            thin(mid, p, MID_STEP);
        }
        while let Some(p) = superseded(mid, fine.front().map(|p| p.at), self.seen, MID_SPAN) {
            thin(coarse, p, COARSE_STEP);
        }
        while superseded(coarse, mid.front().map(|p| p.at), self.seen, COARSE_SPAN).is_some() {}
        if fine.is_empty() && mid.is_empty() && coarse.is_empty() {
            self.tiers = None;
        }
    }
}

/// Takes the first point out when its successor, here or at `after` in the next tier, already held before the tier's
/// span began.
fn superseded(points: &mut VecDeque<Point>, after: Option<Moment>, now: Moment, span: u64) -> Option<Point> {
    let start = Moment(now.0.saturating_sub(span));
    points.get(1).map(|p| p.at).or(after).filter(|&next| next <= start)?;
    points.pop_front()
}

/// Keeps the last point of each step.
fn thin(points: &mut VecDeque<Point>, p: Point, step: u64) {
    match points.back_mut().filter(|last| last.at.0 / step == p.at.0 / step) {
        Some(last) => *last = p,
        None => points.push_back(p),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment(secs * SECOND)
    }

    #[test]
    fn what_never_changes_costs_one_point() {
        let mut s = Series::default();
        (1..=10_000).for_each(|t| s.push(at(t), 7.0));
        assert_eq!(s.points().count(), 1);
        assert_eq!(s.value_at(at(5000)), Some(7.0));
        assert_eq!(s.value_at(at(0)), None);
        assert_eq!(s.seen(), at(10_000));
    }

    #[test]
    fn a_day_of_changes_stays_within_its_tiers() {
        let mut s = Series::default();
        (1..=100_000u32).for_each(|t| s.push(at(t.into()), f64::from(t)));
        let n = s.points().count();
        assert!((1600..1720).contains(&n), "120 + 120 + 1440 points, got {n}");
        assert_eq!(s.value_at(at(99_990)), Some(99_990.0));
        let hour_ago = s.value_at(at(96_400)).unwrap();
        assert!((hour_ago - 96_400.0).abs() <= 60.0, "{hour_ago}");
        assert!(s.bytes() < 64 * 1024);
    }

    #[test]
    fn spacing_leaves_out_what_was_not_seen() {
        let mut s = Series::default();
        (100..=103u32).for_each(|t| s.push(at(t.into()), f64::from(t)));
        assert_eq!(s.spaced(at(88), at(103), 16), [100.0, 101.0, 102.0, 103.0]);
        assert_eq!(s.spaced(at(100), at(103), 2), [100.0, 103.0]);
        assert_eq!(s.spark(at(103), 16), [100.0, 101.0, 102.0, 103.0]);
        (104..=400u32).for_each(|t| s.push(at(t.into()), f64::from(t)));
        assert_eq!(s.spark(at(400), 3), [280.0, 340.0, 400.0]);
    }

    #[test]
    fn time_that_goes_back_is_ignored() {
        let mut s = Series::default();
        s.push(at(10), 1.0);
        s.push(at(9), 2.0);
        s.push(at(10), 3.0);
        assert_eq!(s.last(), Some(1.0));
    }
}
