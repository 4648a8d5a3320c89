//! One quantity over time, change-compressed, in three tiers: every sample for 2 minutes, one in 10 s for 20 minutes,
//! one a minute for 24 hours. What never changes costs one point.

use crate::snapshot::Moment;
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
struct Older {
    mid: VecDeque<Point>,
    coarse: VecDeque<Point>,
}

/// A step function: a point says from when on a value held, the last one holds up to [`Series::seen`].
#[derive(Clone, Debug, Default)]
pub struct Series {
    fine: VecDeque<Point>,
    older: Option<Box<Older>>,
    seen: Moment,
}

impl Series {
    /// Takes a sample. One that is not later than the last is ignored.
    pub fn push(&mut self, at: Moment, value: f64) {
        if !self.fine.is_empty() && at <= self.seen {
            return;
        }
        self.seen = at;
        if self.last().is_none_or(|last| last.to_bits() != value.to_bits()) {
            self.fine.push_back(Point { at, value });
        }
        self.age();
    }

    /// The newest value.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        self.fine.back().map(|p| p.value)
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
        let held = |points: &VecDeque<Point>| {
            let after = points.partition_point(|p| p.at <= at);
            after.checked_sub(1).and_then(|i| points.get(i)).map(|p| p.value)
        };
        let older = || self.older.as_ref().and_then(|o| held(&o.mid).or_else(|| held(&o.coarse)));
        held(&self.fine).or_else(older)
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
        let changes = self.fine.iter().filter(|p| p.at > from && Some(p.at) != first).count();
        u32::try_from(changes).unwrap_or(u32::MAX)
    }

    /// At most `count` evenly spaced values of the time from `from` to `to`, oldest first; times before the first
    /// sample are left out.
    #[must_use]
    pub fn spaced(&self, from: Moment, to: Moment, count: usize) -> Vec<f32> {
        let steps = u64::try_from(count.saturating_sub(1).max(1)).unwrap_or(1);
        let step = to.0.saturating_sub(from.0) / steps;
        #[expect(clippy::cast_possible_truncation, reason = "a sparkline needs three digits")]
        let value = |i: u64| self.value_at(Moment(to.0.saturating_sub(i * step))).map(|v| v as f32);
        let mut values: Vec<f32> = (0..=steps).map_while(value).collect();
        values.truncate(count);
        values.reverse();
        values
    }

    /// Bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let older = self.older.as_ref();
        let points = self.fine.capacity() + older.map_or(0, |o| o.mid.capacity() + o.coarse.capacity());
        points * size_of::<Point>() + size_of::<Self>() + older.map_or(0, |_| size_of::<Older>())
    }

    /// Gives up everything but the fine tier.
    pub fn forget_older(&mut self) {
        self.older = None;
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        let older = self.older.iter().flat_map(|o| o.coarse.iter().chain(&o.mid));
        older.chain(&self.fine)
    }

    fn age(&mut self) {
        while let Some(p) = superseded(&mut self.fine, self.seen, FINE_SPAN) {
            thin(&mut self.older.get_or_insert_default().mid, p, MID_STEP);
        }
        let Some(older) = &mut self.older else { return };
        while let Some(p) = superseded(&mut older.mid, self.seen, MID_SPAN) {
            thin(&mut older.coarse, p, COARSE_STEP);
        }
        while superseded(&mut older.coarse, self.seen, COARSE_SPAN).is_some() {}
    }
}

/// Takes the first point out when its successor already held before the tier's span began.
fn superseded(points: &mut VecDeque<Point>, now: Moment, span: u64) -> Option<Point> {
    let start = Moment(now.0.saturating_sub(span));
    points.get(1).filter(|next| next.at <= start)?;
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
