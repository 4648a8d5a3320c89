//! A robust trend over a window: the median of slopes, so that two odd samples mean nothing.

use super::Series;
use crate::snapshot::Moment;

/// Points a trend looks at; their pairs are what it costs.
const POINTS: usize = 24;

/// Less than this is no window: a look of 4 s must do, two samples must not.
const MIN_SPAN_S: f64 = 2.4;

/// How a series ran over a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Trend {
    /// Median slope of all pairs of points (Theil–Sen), per second.
    pub per_s: f64,
    /// Last value less the first.
    pub rise: f64,
    /// Pairs that rise less pairs that fall, as a part of all pairs: −1 to 1 (Kendall's tau).
    pub agreement: f64,
    /// Slope of the last quarter of the window, per second.
    pub late_per_s: f64,
    /// Seconds that were seen.
    pub span_s: f64,
}

impl Trend {
    /// The trend of `series` from `from` to its last sample. `None` with less than 2.4 s to judge by.
    #[must_use]
    pub fn over(series: &Series, from: Moment) -> Option<Self> {
        let to = series.seen();
        let from = from.max(series.first_at()?);
        let span_s = to.since(from);
        if span_s < MIN_SPAN_S {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 4 and POINTS")]
        let count = (span_s + 1.0).clamp(4.0, POINTS as f64) as usize;
        let step = span_s / (count - 1) as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a span of boot-clock ns")]
        let moment = |i: usize| Moment(from.0.saturating_add((i as f64 * step * 1e9) as u64).min(to.0));
        let mut values: Vec<f64> = (0..count).filter_map(|i| series.value_at(moment(i))).collect();
        if let (Some(last), Some(newest)) = (values.last_mut(), series.last()) {
            *last = newest;
        }
        let (first, last) = (*values.first()?, *values.last()?);
        let quarter = values.len().div_ceil(4);
        let late = *values.get(values.len().saturating_sub(1 + quarter))?;
        let late_per_s = (last - late) / (quarter as f64 * step);
        let (per_s, agreement) = slopes(&values, step);
        Some(Self { per_s, rise: last - first, agreement, late_per_s, span_s })
    }

    /// Whether it rose most of the time and still rises at its end.
    #[must_use]
    pub fn grows(&self) -> bool {
        self.per_s > 0.0 && self.agreement >= 0.6 && self.late_per_s > 0.0
    }

    /// Whether it grows and does not slow down: only then does it say what will be.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.grows() && self.late_per_s >= self.per_s * 2.0 / 3.0
    }

    /// Whether it fell most of the time.
    #[must_use]
    pub fn falls(&self) -> bool {
        self.per_s < 0.0 && self.agreement <= -0.4
    }
}

fn slopes(values: &[f64], step: f64) -> (f64, f64) {
    let mut slopes = Vec::with_capacity(values.len() * values.len() / 2);
    let (mut up, mut down) = (0_usize, 0_usize);
    for (i, old) in values.iter().enumerate() {
        for (gap, new) in values.iter().skip(i + 1).enumerate() {
            let slope = (new - old) / (step * (gap + 1) as f64);
            up += usize::from(slope > 0.0);
            down += usize::from(slope < 0.0);
            slopes.push(slope);
        }
    }
    if slopes.is_empty() {
        return (0.0, 0.0);
    }
    let middle = slopes.len() / 2;
    let (_, median, _) = slopes.select_nth_unstable_by(middle, f64::total_cmp);
    (*median, (up as f64 - down as f64) / slopes.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trend(values: &[f64]) -> Option<Trend> {
        let mut s = Series::default();
        for (t, v) in (0_u64..).zip(values) {
            s.push(Moment(t * 1_000_000_000 + 5), *v);
        }
        Trend::over(&s, Moment(0))
    }

    #[test]
    fn a_line_has_its_slope_and_an_outlier_does_not_move_it() {
        let mut line: Vec<f64> = (0..20).map(|t| f64::from(t) * 3.0).collect();
        let t = trend(&line).unwrap();
        assert!((t.per_s - 3.0).abs() < 1e-6 && t.grows(), "{t:?}");
        line[10] = 5000.0;
        let t = trend(&line).unwrap();
        assert!((t.per_s - 3.0).abs() < 0.5 && t.grows(), "{t:?}");
    }

    #[test]
    fn a_pool_that_stopped_growing_does_not_grow() {
        let values: Vec<f64> = (0..30).map(|t| f64::from(t).min(20.0)).collect();
        assert!(!trend(&values).unwrap().grows());
        let step: Vec<f64> = (0..30).map(|t| if t < 15 { 10.0 } else { 90.0 }).collect();
        assert!(!trend(&step).unwrap().grows());
    }

    #[test]
    fn what_slows_down_grows_but_does_not_go_on() {
        let filling: Vec<f64> = (0..30).map(|t| 400.0 - 350.0 * 0.9_f64.powi(t)).collect();
        let t = trend(&filling).unwrap();
        assert!(t.grows() && !t.goes_on(), "{t:?}");
        let line: Vec<f64> = (0..30).map(f64::from).collect();
        assert!(trend(&line).unwrap().goes_on());
    }

    #[test]
    fn noise_and_two_samples_are_no_trend() {
        let noise: Vec<f64> = (0..30).map(|t| f64::from(t * 7919 % 13)).collect();
        assert!(!trend(&noise).unwrap().grows());
        assert!(trend(&[1.0, 100.0]).is_none());
    }

    #[test]
    fn four_seconds_of_growth_are_enough() {
        assert!(trend(&[0.0, 20.0, 40.0, 60.0, 80.0]).unwrap().grows());
    }
}
