//! Puts a snapshot together: asks the lanes that are due, waits until a deadline, and never for a late one.
//!
//! ```text
//! sample() ─▶ ask lanes that are due ─▶ tasks answer ─▶ ask lanes that join with tasks ─▶ deadline ─▶ Snapshot
//!                                                                late lane: its last data as Stale, with why
//! ```

mod governor;
mod lane;
mod roster;

pub use governor::Load;
pub use lane::{Lane, Rhythm};

use super::readers::Pools;
use super::{Context, Roots, now, wall_unix_ns};
use crate::snapshot::{KernelLog, LaneCost, Moment, Net, Own, Section, Snapshot, TaskKey};
use governor::Governor;
use procfs::process::Process;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait of the first sample, which reads everything and fills the caches.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The same where it is the only sample: late is better than nothing.
const ONLY_WAIT: Duration = Duration::from_secs(10);
/// Longest wait of a sample of `why --for`: it promises at least one a second.
const EAGER_WAIT: Duration = Duration::from_millis(900);
/// The first samples come this fast, so that rates and findings are on the first screens.
const WARM_UP_BEAT: Duration = Duration::from_millis(300);
/// How many come so.
const WARM_UP_SAMPLES: u64 = 3;
/// Longest period of a lane of `why --for`.
const EAGER_PERIOD_MAX: Duration = Duration::from_secs(1);
/// Longest period of a lane of the live screens, however dear its pass is.
const LIVE_PERIOD_MAX: Duration = Duration::from_mins(1);

/// How a sampler runs.
#[derive(Clone, Debug)]
pub struct SamplerOptions {
    /// Time from one sample to the next.
    pub interval: Duration,
    /// `--max-cpu`: what the whole process may cost, percent of one core; 100 = no cap.
    pub max_cpu_pct: f64,
    /// Whether every source is wanted at every sample, slow ones at least once a second (`why --for`).
    pub eager: bool,
    /// Whether its first sample is what the command is about (`doctor`, `snapshot`), so that it may take its time.
    pub only: bool,
}

/// Runs the lanes and makes snapshots of what they say.
pub struct Sampler {
    roots: Roots,
    options: SamplerOptions,
    lanes: Vec<Box<dyn Lane>>,
    governor: Governor,
    focus: Option<TaskKey>,
    net: Option<(Moment, Arc<Net>)>,
    samples: u64,
}

impl Sampler {
    /// Starts the lanes over the trees of `roots`, each on a thread with a stack of `stack_bytes`. `readers` were forked
    /// before; without them reads that can hang are done on the lane itself.
    #[must_use]
    pub fn start(roots: Roots, options: SamplerOptions, stack_bytes: usize, readers: Pools) -> Self {
        let lanes = roster::lanes(&roots, stack_bytes, readers);
        Self::new(roots, options, lanes)
    }

    /// A sampler over `lanes`: the first one's answer is in the [`Context`] of those that ask for it.
    #[must_use]
    pub fn new(roots: Roots, options: SamplerOptions, lanes: Vec<Box<dyn Lane>>) -> Self {
        let governor =
            Governor::new(options.max_cpu_pct, if options.eager { EAGER_PERIOD_MAX } else { LIVE_PERIOD_MAX });
        Self { roots, options, lanes, governor, focus: None, net: None, samples: 0 }
    }

    /// The task that a drill-down shows, from the next sample on.
    pub fn set_focus(&mut self, focus: Option<TaskKey>) {
        if self.focus != focus {
            self.focus = focus;
            for lane in &mut self.lanes {
                lane.focus_changed();
            }
        }
    }

    /// Time from the sample before to the next one: the interval, shorter at first.
    #[must_use]
    pub fn beat(&self) -> Duration {
        let beat = if self.samples < WARM_UP_SAMPLES { WARM_UP_BEAT } else { self.options.interval };
        beat.min(self.options.interval)
    }

    /// Takes a sample. Returns at its deadline at the latest, whatever the lanes do.
    pub fn sample(&mut self) -> Snapshot {
        let start = now();
        let wait = self.longest_wait();
        let deadline = after(start, wait);
        let mut snap = Snapshot::default();
        let eager = self.options.eager || self.samples == 0;
        let mut cx = Context { tasks: None, net: self.net.clone(), focus: self.focus, eager };
        for lane in &mut self.lanes {
            lane.take_late();
        }
        for lane in self.lanes.iter_mut().filter(|l| !l.wants_tasks()) {
            lane.ask_if_due(start, &cx);
        }
        if let Some(tasks) = self.lanes.iter_mut().find(|l| l.gives_tasks()) {
            tasks.settle(after(start, wait.mul_f64(0.7)));
            tasks.fill(&mut snap);
            cx.tasks = snap.tasks.shared().cloned();
        }
        for lane in self.lanes.iter_mut().filter(|l| l.wants_tasks()) {
            lane.ask_if_due(start, &cx);
        }
        for lane in &mut self.lanes {
            if !lane.gives_tasks() {
                lane.settle(deadline);
                lane.fill(&mut snap);
            }
        }
        self.net = snap.net.at().zip(snap.net.shared().cloned());
        self.samples += 1;
        snap.at = now();
        snap.wall_unix_ns = wall_unix_ns();
        snap.own = self.own(snap.at);
        snap
    }

    fn longest_wait(&self) -> Duration {
        match (self.samples, self.options.eager) {
            (0, _) if self.options.only => ONLY_WAIT,
            (0, _) => FIRST_WAIT,
            (_, true) => EAGER_WAIT,
            (_, false) => self.options.interval.mul_f64(0.8),
        }
    }

    /// What looking cost; and the periods that keep it below the cap from here on.
    fn own(&mut self, at: Moment) -> Own {
        let cpu_ns = process_cpu_ns();
        let loads: Vec<Load> = self.lanes.iter().map(|l| l.load(&self.options)).collect();
        let periods = self.governor.periods(at, cpu_ns, &loads);
        let beat = self.beat();
        for (lane, (period, load)) in self.lanes.iter_mut().zip(periods.iter().zip(&loads)) {
            let hurried = load.period <= self.options.interval && beat < self.options.interval;
            lane.set_period(if hurried { beat } else { *period });
        }
        Own {
            pid: own_pid(&self.roots),
            cpu_ns,
            rss_bytes: rss_bytes(),
            interval_ns: nanos(self.options.interval),
            max_cpu_pct: self.options.max_cpu_pct,
            lanes: self
                .lanes
                .iter()
                .zip(&loads)
                .map(|(l, load)| LaneCost { wanted_ns: nanos(load.period), ..l.cost() })
                .collect(),
        }
    }
}

/// The kernel log after its events were given out: they are new only once.
fn without_events(section: &Section<KernelLog>) -> Section<KernelLog> {
    let emptied = |data: &KernelLog| Arc::new(KernelLog { source: data.source.clone(), ..KernelLog::default() });
    match section {
        Section::Ok { at, data } => Section::Ok { at: *at, data: emptied(data) },
        Section::Stale { at, data, why } => Section::Stale { at: *at, data: emptied(data), why: why.clone() },
        other => other.clone(),
    }
}

fn after(moment: Moment, span: Duration) -> Moment {
    Moment(moment.0.saturating_add(nanos(span)))
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// What is left from now until `deadline`.
fn left(deadline: Moment) -> Duration {
    Duration::from_nanos(deadline.0.saturating_sub(now().0))
}

fn process_cpu_ns() -> u64 {
    cpu_ns(rustix::time::ClockId::ProcessCPUTime)
}

fn cpu_ns(clock: rustix::time::ClockId) -> u64 {
    let t = rustix::time::clock_gettime(clock);
    u64::try_from(t.tv_sec.saturating_mul(1_000_000_000).saturating_add(t.tv_nsec)).unwrap_or(0)
}

/// Our pid as the `/proc` that is read numbers it (`self`); 0 when it is not a live procfs or not of our namespace.
pub(super) fn own_pid(roots: &Roots) -> u32 {
    let live = rustix::fs::statfs(&roots.proc).is_ok_and(|s| s.f_type == rustix::fs::PROC_SUPER_MAGIC);
    if !live {
        return 0;
    }
    let target = rustix::fs::readlink(roots.proc("self"), Vec::new());
    target.ok().and_then(|t| t.to_str().ok()?.parse().ok()).unwrap_or(0)
}

/// Resident bytes of this process; always from the running system's `/proc`.
fn rss_bytes() -> u64 {
    let statm = Process::myself().and_then(|own| own.statm());
    statm.map_or(0, |statm| statm.resident).saturating_mul(procfs::page_size())
}

#[cfg(test)]
mod tests;
