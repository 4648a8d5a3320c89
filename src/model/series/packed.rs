//! A series in few bytes: what a checkpoint of the engine is made of.
//!
//! Times come first and as differences, newest to oldest: series that move together then hold the same bytes, which the
//! compressor finds. Values are differences too, of whole numbers or hundredths where they are such.

use super::{MID_SPAN, Point, Series, Tiers};
use crate::snapshot::Moment;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The last 20 minutes of a series.
#[derive(Serialize, Deserialize)]
pub(super) struct Packed {
    seen: u64,
    /// Nanoseconds from each point back to the one before it, the newest counted from `seen`.
    back: Vec<u64>,
    values: Values,
    /// Points that stand in the coarse and in the middle tier; the last of all is the newest, the rest is fine.
    tiers: (u16, u16),
}

#[derive(Serialize, Deserialize)]
enum Values {
    /// Differences of whole numbers.
    Whole(Vec<i64>),
    /// Differences of hundredths.
    Hundredths(Vec<i64>),
    /// Neither: IEEE 754 bits.
    Bits(Vec<u64>),
}

/// Whole numbers below this are exact.
const EXACT: u64 = 1 << 53;

fn scaled(values: &[f64], scale: f64) -> Option<Vec<i64>> {
    let mut last = 0;
    let difference = |v: &f64| {
        #[expect(clippy::cast_possible_truncation, reason = "judged by whether it comes back the same")]
        let n = (v * scale).round() as i64;
        // Minus zero has no whole number of its own.
        if n.unsigned_abs() >= EXACT || (n as f64 / scale).to_bits() != v.to_bits() {
            return None;
        }
        Some(n - std::mem::replace(&mut last, n))
    };
    values.iter().map(difference).collect()
}

impl Values {
    fn pack(values: &[f64]) -> Self {
        let bits = || Self::Bits(values.iter().map(|v| v.to_bits()).collect());
        let whole = scaled(values, 1.0).map(Self::Whole);
        whole.or_else(|| scaled(values, 100.0).map(Self::Hundredths)).unwrap_or_else(bits)
    }

    fn unpack(self) -> Vec<f64> {
        let (differences, scale) = match self {
            Self::Bits(bits) => return bits.into_iter().map(f64::from_bits).collect(),
            Self::Whole(differences) => (differences, 1.0),
            Self::Hundredths(differences) => (differences, 100.0),
        };
        let mut last = 0_i64;
        let value = |difference: i64| {
            last = last.wrapping_add(difference);
            last as f64 / scale
        };
        differences.into_iter().map(value).collect()
    }
}

impl From<Series> for Packed {
    fn from(series: Series) -> Self {
        let start = Moment(series.seen.0.saturating_sub(MID_SPAN));
        let Tiers { mut coarse, mut mid, fine } = series.tiers.map(|t| *t).unwrap_or_default();
        // The last point before the horizon says what held there; what is older is not needed.
        let newest_at = series.newest.map(|p| p.at);
        let next_of = |points: &VecDeque<Point>, after: Option<Moment>| points.get(1).map(|p| p.at).or(after);
        let fine_at = fine.front().map(|p| p.at).or(newest_at);
        let mid_at = mid.front().map(|p| p.at).or(fine_at);
        while next_of(&coarse, mid_at).is_some_and(|next| next <= start) && coarse.pop_front().is_some() {}
        while next_of(&mid, fine_at).is_some_and(|next| next <= start) && mid.pop_front().is_some() {}
        let count = |points: &VecDeque<Point>| u16::try_from(points.len()).unwrap_or(u16::MAX);
        let tiers = (count(&coarse), count(&mid));
        let points: Vec<Point> = coarse.into_iter().chain(mid).chain(fine).chain(series.newest).collect();
        let mut later = series.seen;
        let step = |p: &Point| std::mem::replace(&mut later, p.at).0.saturating_sub(p.at.0);
        Self {
            seen: series.seen.0,
            back: points.iter().rev().map(step).collect(),
            values: Values::pack(&points.iter().map(|p| p.value).collect::<Vec<_>>()),
            tiers,
        }
    }
}

impl From<Packed> for Series {
    fn from(packed: Packed) -> Self {
        let mut at = packed.seen;
        let times = packed.back.iter().map(|back| {
            at = at.saturating_sub(*back);
            Moment(at)
        });
        let mut times: Vec<Moment> = times.collect();
        times.reverse();
        let mut points: VecDeque<Point> =
            times.into_iter().zip(packed.values.unpack()).map(|(at, value)| Point { at, value }).collect();
        let newest = points.pop_back();
        let mut take =
            |count: u16| -> VecDeque<Point> { points.drain(..usize::from(count).min(points.len())).collect() };
        let (coarse, mid) = (take(packed.tiers.0), take(packed.tiers.1));
        let tiers = Tiers { coarse, mid, fine: points };
        let is_empty = tiers.coarse.is_empty() && tiers.mid.is_empty() && tiers.fine.is_empty();
        Self { newest, seen: Moment(packed.seen), tiers: (!is_empty).then(|| Box::new(tiers)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SECOND;
    use super::*;
    use proptest::prelude::*;

    fn again(series: &Series) -> Series {
        let bytes = postcard::to_stdvec(series).unwrap();
        postcard::from_bytes(&bytes).unwrap()
    }

    /// What anyone asks of a series.
    fn told(series: &Series, now: Moment) -> String {
        let since = |secs: u64| Moment(now.0.saturating_sub(secs * SECOND));
        let ago: Vec<_> = [0, 1, 7, 60, 119, 121, 599, 1199].map(|s| series.value_from(since(s))).to_vec();
        format!(
            "{:?} {:?} {ago:?} {:?} {:?}",
            series.last(),
            series.seen(),
            series.spark(now, 16),
            series.changes_since(since(60))
        )
    }

    #[test]
    fn minus_zero_comes_back_as_it_was() {
        let mut series = Series::default();
        series.push(Moment(SECOND), -0.0);
        assert_eq!(told(&again(&series), Moment(SECOND)), told(&series, Moment(SECOND)));
    }

    proptest! {
        #[test]
        fn a_series_read_back_tells_the_same_and_goes_on_the_same(
            steps in prop::collection::vec((1_u64..40 * SECOND, prop_oneof![
                (0_u32..5).prop_map(f64::from),
                (0_u64..1 << 40).prop_map(|n| n as f64),
                (0_u32..9999).prop_map(|n| f64::from(n) / 100.0),
                any::<f64>(),
            ]), 1..400),
            more in prop::collection::vec((1_u64..40 * SECOND, 0_u32..9), 0..100),
        ) {
            let (mut series, mut at) = (Series::default(), 5 * SECOND);
            for (step, value) in steps {
                at += step;
                series.push(Moment(at), value);
            }
            let mut read = again(&series);
            prop_assert_eq!(told(&read, Moment(at)), told(&series, Moment(at)));
            for (step, value) in more {
                at += step;
                series.push(Moment(at), f64::from(value));
                read.push(Moment(at), f64::from(value));
                prop_assert_eq!(told(&read, Moment(at)), told(&series, Moment(at)));
            }
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(mut series) = postcard::from_bytes::<Series>(&bytes) {
                let _ = told(&series, Moment(7 * SECOND));
                series.push(Moment(u64::MAX), 1.0);
            }
        }
    }

    #[test]
    fn a_day_is_kept_as_its_last_twenty_minutes_in_few_bytes() {
        let mut series = Series::default();
        (1..=86_400_u32).for_each(|t| series.push(Moment(u64::from(t) * SECOND), f64::from(t * 4096)));
        let bytes = postcard::to_stdvec(&series).unwrap().len();
        assert!(bytes < 2200, "{bytes} for 240 points");
        assert!(again(&series).bytes() < series.bytes() / 4);
    }
}
