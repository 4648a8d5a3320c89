//! A series of any length in bounded memory, for a chart.

use serde::Serialize;

/// Points that a reel holds at most; twice as many columns as the widest chart shows.
const POINTS_MAX: usize = 720;

/// Values over time. When it is full, each pair of neighbours becomes the larger of the two: peaks stay.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Reel {
    points: Vec<(i64, f64)>,
    #[serde(skip)]
    stride: Stride,
}

/// How many values one point stands for, and how many the last one holds yet.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stride {
    of: u32,
    held: u32,
}

impl Default for Stride {
    fn default() -> Self {
        Self { of: 1, held: 0 }
    }
}

impl Reel {
    /// One more value, seen at `wall_unix_ns`.
    pub fn push(&mut self, wall_unix_ns: i64, value: f64) {
        if !value.is_finite() {
            return;
        }
        match self.points.last_mut() {
            Some(last) if self.stride.held < self.stride.of => {
                last.1 = last.1.max(value);
                self.stride.held += 1;
            }
            _ => {
                if self.points.len() >= POINTS_MAX {
                    self.halve();
                }
                self.points.push((wall_unix_ns, value));
                self.stride.held = 1;
            }
        }
    }

    fn halve(&mut self) {
        let pairs = self.points.chunks(2).filter_map(|pair| {
            let (first, last) = (pair.first()?, pair.last()?);
            Some((first.0, first.1.max(last.1)))
        });
        self.points = pairs.collect();
        self.stride.of = self.stride.of.saturating_mul(2);
    }

    /// Time (nanoseconds since 1970) and value of each point, oldest first.
    #[must_use]
    pub fn points(&self) -> &[(i64, f64)] {
        &self.points
    }

    /// The largest value; 0 without one.
    #[must_use]
    pub fn peak(&self) -> f64 {
        self.points.iter().map(|p| p.1).fold(0.0, f64::max)
    }

    /// The last value.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        self.points.last().map(|p| p.1)
    }

    /// Whether it says more than a flat line at nothing.
    #[must_use]
    pub fn speaks(&self) -> bool {
        self.points.len() > 1 && self.points.iter().any(|p| p.1 > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_keeps_its_span_and_its_peak() {
        let mut reel = Reel::default();
        for n in 0..100_000 {
            reel.push(n, if n == 54_321 { 7.0 } else { 1.0 });
        }
        assert!(reel.points().len() <= POINTS_MAX, "{}", reel.points().len());
        assert_eq!((reel.points()[0].0, reel.peak()), (0, 7.0));
        assert!(reel.points().last().unwrap().0 > 99_000);
        assert!(reel.points().is_sorted_by_key(|p| p.0));
    }

    #[test]
    fn what_is_not_a_number_is_left_out() {
        let mut reel = Reel::default();
        reel.push(1, f64::NAN);
        assert!(reel.points().is_empty() && !reel.speaks());
    }
}
