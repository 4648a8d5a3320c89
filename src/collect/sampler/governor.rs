//! Keeps whytop's own cost below `--max-cpu` by running dear lanes less often; cheap signals keep their rhythm.

use super::nanos;
use crate::snapshot::Moment;
use std::time::Duration;

/// What one lane wants and what it costs.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The period it would like.
    pub period: Duration,
    /// CPU time of a pass, ns; 0 = not known yet.
    pub cpu_ns: u64,
    /// CPU time of all its passes so far, ns.
    pub spent_cpu_ns: u64,
}

impl Load {
    /// CPU time a nanosecond at the period it would like: a share of one core.
    fn share(self) -> f64 {
        self.cpu_ns as f64 / nanos(self.period).max(1) as f64
    }
}

/// Shares one core's budget among the lanes.
#[derive(Debug)]
pub struct Governor {
    /// Share of one core for the whole process; `None` = no cap.
    budget: Option<f64>,
    period_max: Duration,
    /// Share that everything but the lanes takes (engine, drawing), smoothed.
    rest: f64,
    /// The last call: when, and the CPU time of the process without its lanes until then.
    before: Option<(Moment, u64)>,
}

/// How fast a change of the rest's cost is believed.
const SMOOTHING: f64 = 0.3;
/// The part of the budget that lanes get at least, however much drawing takes.
const LANES_AT_LEAST: f64 = 0.25;

impl Governor {
    /// A governor for a process that may use `max_cpu_pct` percent of one core; 100 and more = no cap.
    pub fn new(max_cpu_pct: f64, period_max: Duration) -> Self {
        let budget = (max_cpu_pct < 100.0).then_some(max_cpu_pct.max(0.1) / 100.0);
        Self { budget, period_max, rest: 0.0, before: None }
    }

    /// The period of every lane, in their order.
    pub fn periods(&mut self, at: Moment, process_cpu_ns: u64, loads: &[Load]) -> Vec<Duration> {
        let Some(budget) = self.budget else { return loads.iter().map(|l| l.period).collect() };
        let rest_cpu_ns = process_cpu_ns.saturating_sub(loads.iter().map(|l| l.spent_cpu_ns).sum());
        if let Some((then, cpu_then)) = self.before.replace((at, rest_cpu_ns))
            && at > then
        {
            let share = rest_cpu_ns.saturating_sub(cpu_then) as f64 / (at.0 - then.0) as f64;
            self.rest += (share - self.rest) * SMOOTHING;
        }
        let lanes = (budget - self.rest).max(budget * LANES_AT_LEAST);
        share_out(lanes, loads).into_iter().map(|p| p.min(self.period_max)).collect()
    }
}

/// Periods whose cost adds up to `budget` at most. Lanes below an equal share keep what they want; what they leave
/// goes to the dearer ones, so the cheapest signal is the last to be stretched.
fn share_out(budget: f64, loads: &[Load]) -> Vec<Duration> {
    let mut order: Vec<usize> = (0..loads.len()).collect();
    let share = |i: usize| loads.get(i).map_or(0.0, |l| l.share());
    order.sort_by(|a, b| share(*a).total_cmp(&share(*b)));
    let mut periods: Vec<Duration> = loads.iter().map(|l| l.period).collect();
    let mut left = budget;
    for (done, i) in order.iter().enumerate() {
        let equal = left / (loads.len() - done) as f64;
        let (wanted, granted) = (share(*i), share(*i).min(equal));
        left -= granted;
        if let Some(period) = periods.get_mut(*i)
            && wanted > granted
        {
            *period = period.mul_f64(wanted / granted);
        }
    }
    periods
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(period_ms: u64, cpu_ms: u64) -> Load {
        Load { period: Duration::from_millis(period_ms), cpu_ns: cpu_ms * 1_000_000, spent_cpu_ns: 0 }
    }

    fn share(loads: &[Load], periods: &[Duration]) -> f64 {
        loads.iter().zip(periods).map(|(l, p)| l.cpu_ns as f64 / nanos(*p) as f64).sum()
    }

    #[test]
    fn below_the_cap_every_lane_keeps_its_rhythm() {
        let loads = [load(1000, 30), load(1000, 2), load(10_000, 100)];
        let periods = Governor::new(10.0, Duration::from_mins(1)).periods(Moment(0), 0, &loads);
        assert_eq!(periods, loads.map(|l| l.period));
    }

    #[test]
    fn above_the_cap_the_dear_lanes_are_stretched_and_the_cheap_ones_kept() {
        let loads = [load(1000, 400), load(1000, 2), load(1000, 150), load(1000, 0)];
        let periods = Governor::new(10.0, Duration::from_mins(1)).periods(Moment(0), 0, &loads);
        assert!((share(&loads, &periods) - 0.1).abs() < 1e-6, "{periods:?}");
        assert_eq!((periods[1], periods[3]), (Duration::from_secs(1), Duration::from_secs(1)));
        assert!(periods[0] > periods[2] && periods[2] > Duration::from_secs(1), "{periods:?}");
    }

    #[test]
    fn what_drawing_costs_is_taken_off_the_lanes() {
        let loads = [load(1000, 80)];
        let mut governor = Governor::new(10.0, Duration::from_mins(1));
        assert_eq!(governor.periods(Moment(0), 0, &loads), [Duration::from_secs(1)]);
        let mut stretched = Vec::new();
        for second in 1..20_u64 {
            stretched = governor.periods(Moment(second * 1_000_000_000), second * 50_000_000, &loads);
        }
        assert!(stretched[0] > Duration::from_millis(1500), "{stretched:?}");
    }

    #[test]
    fn no_cap_and_a_longest_period() {
        let loads = [load(1000, 5000)];
        assert_eq!(
            Governor::new(100.0, Duration::from_mins(1)).periods(Moment(0), 0, &loads),
            [Duration::from_secs(1)]
        );
        assert_eq!(Governor::new(0.0, Duration::from_mins(1)).periods(Moment(0), 0, &loads), [Duration::from_mins(1)]);
    }
}
