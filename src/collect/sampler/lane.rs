//! A lane: one collector on a thread of its own, with one question and one answer under way at most.

use super::governor::Load;
use super::{SamplerOptions, after, cpu_ns, left, nanos};
use crate::collect::{Collector, Context, now};
use crate::snapshot::{LaneCost, Moment, Section, Snapshot};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

/// A pass this much early is not early: samples do not come to the nanosecond.
const SLACK: Duration = Duration::from_millis(100);

/// When a lane runs, and what it needs of the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rhythm {
    /// Shortest time from one pass to the next; zero = every sample.
    pub every: Duration,
    /// The same for `why --for`.
    pub every_eager: Duration,
    /// Whether its answer is the tasks that others join with.
    pub gives_tasks: bool,
    /// Whether it waits for this sample's tasks.
    pub wants_tasks: bool,
    /// Whether it only runs while a drill-down is open, and at once when another one opens.
    pub on_focus: bool,
}

/// A lane as the sampler sees it, whatever its collector reads.
pub trait Lane: Send {
    /// Whether its answer is the tasks that others join with.
    fn gives_tasks(&self) -> bool;
    /// Whether it waits for this sample's tasks.
    fn wants_tasks(&self) -> bool;
    /// Takes an answer that came after the deadline of its sample.
    fn take_late(&mut self);
    /// Asks for a pass when one is due and none is under way.
    fn ask_if_due(&mut self, at: Moment, cx: &Context);
    /// Waits for the answer, until `deadline` at most.
    fn settle(&mut self, deadline: Moment);
    /// Puts its section into `snap`: fresh, unchanged, or stale with the reason.
    fn fill(&mut self, snap: &mut Snapshot);
    /// What it wants and what it costs, for the governor.
    fn load(&self, options: &SamplerOptions) -> Load;
    /// How often it may run from now on.
    fn set_period(&mut self, period: Duration);
    /// What its last pass cost.
    fn cost(&self) -> LaneCost;
    /// Another drill-down, or none: what was read for the old one is dropped.
    fn focus_changed(&mut self);
}

struct Answer<T> {
    section: Section<T>,
    cpu_ns: u64,
    wall_ns: u64,
}

/// Where a lane's section goes in a snapshot.
type Put<T> = fn(&mut Snapshot, Section<T>);
/// What stays of a section for the next sample, once it was given out.
type Keep<T> = fn(&Section<T>) -> Section<T>;

struct CollectorLane<T> {
    name: &'static str,
    rhythm: Rhythm,
    put: Put<T>,
    keep: Keep<T>,
    /// `None` after the thread has died.
    questions: Option<SyncSender<Context>>,
    answers: Receiver<Answer<T>>,
    /// When the question under way was asked.
    asked: Option<Moment>,
    /// Whether the answer under way is for a drill-down that was left.
    outdated: bool,
    /// Whether an answer came since the last sample: then it is not asked again before that was given out.
    answered: bool,
    last: Section<T>,
    cost: LaneCost,
    /// Smoothed `cost.cpu_ns`, quick to rise.
    expected_cpu_ns: u64,
    /// CPU time of all its passes.
    spent_cpu_ns: u64,
    /// When the last pass was due; `None` before the first.
    from: Option<Moment>,
    period: Duration,
}

/// Starts a lane. A thread that can't be started makes a lane whose section says so.
pub(super) fn start<C: Collector>(
    mut collector: C,
    stack_bytes: usize,
    rhythm: Rhythm,
    put: Put<C::Out>,
    keep: Keep<C::Out>,
) -> Box<dyn Lane> {
    let name = collector.name();
    let (questions, inbox) = sync_channel::<Context>(1);
    let (outbox, answers) = sync_channel::<Answer<C::Out>>(1);
    let body = move || {
        while let Ok(cx) = inbox.recv() {
            let (began, cpu) = (now(), cpu_ns(rustix::time::ClockId::ThreadCPUTime));
            let section = collector.collect(&cx);
            let cpu_ns = cpu_ns(rustix::time::ClockId::ThreadCPUTime).saturating_sub(cpu);
            let wall_ns = now().0.saturating_sub(began.0);
            if outbox.send(Answer { section, cpu_ns, wall_ns }).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name(format!("lane-{name}")).stack_size(stack_bytes).spawn(body);
    let last = match &thread {
        Ok(_) => Section::default(),
        Err(e) => Section::absent(format!("no thread could be started for the {name} lane: {e}")),
    };
    Box::new(CollectorLane {
        name,
        rhythm,
        put,
        keep,
        questions: thread.is_ok().then_some(questions),
        answers,
        asked: None,
        outdated: false,
        answered: false,
        last,
        cost: LaneCost { name: name.into(), ..LaneCost::default() },
        expected_cpu_ns: 0,
        spent_cpu_ns: 0,
        from: None,
        period: Duration::ZERO,
    })
}

impl<T> CollectorLane<T> {
    fn accept(&mut self, answer: Answer<T>) {
        self.asked = None;
        self.cost.cpu_ns = answer.cpu_ns;
        self.cost.wall_ns = answer.wall_ns;
        self.spent_cpu_ns += answer.cpu_ns;
        self.expected_cpu_ns = if answer.cpu_ns > self.expected_cpu_ns {
            answer.cpu_ns
        } else {
            self.expected_cpu_ns - (self.expected_cpu_ns - answer.cpu_ns) / 4
        };
        if !std::mem::take(&mut self.outdated) {
            self.last = answer.section;
            self.answered = true;
        }
    }

    fn died(&mut self) {
        self.asked = None;
        self.questions = None;
        let why = format!("the {} lane has stopped", self.name);
        self.last = match std::mem::take(&mut self.last) {
            Section::Absent { .. } => Section::absent(why),
            other => other.grown_stale(why),
        };
    }
}

impl<T: Send + Sync + 'static> Lane for CollectorLane<T> {
    fn gives_tasks(&self) -> bool {
        self.rhythm.gives_tasks
    }

    fn wants_tasks(&self) -> bool {
        self.rhythm.wants_tasks
    }

    fn take_late(&mut self) {
        if self.asked.is_some() {
            match self.answers.try_recv() {
                Ok(answer) => self.accept(answer),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.died(),
            }
        }
    }

    fn ask_if_due(&mut self, at: Moment, cx: &Context) {
        let unwanted = self.rhythm.on_focus && cx.focus.is_none();
        if self.asked.is_some() || self.answered || unwanted {
            return;
        }
        let due = self.from.map_or(at, |from| after(from, self.period));
        if after(at, SLACK.min(self.period / 10)) < due {
            return;
        }
        let Some(questions) = &self.questions else { return };
        if questions.try_send(cx.clone()).is_ok() {
            self.asked = Some(at);
            // Counted from when it was due, so that a period of 1.3 intervals holds on average; a long pause is not
            // made up for.
            self.from = Some(due.max(Moment(at.0.saturating_sub(nanos(self.period)))));
        } else {
            self.died();
        }
    }

    fn settle(&mut self, deadline: Moment) {
        if self.asked.is_some() {
            match self.answers.recv_timeout(left(deadline)) {
                Ok(answer) => self.accept(answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.died(),
            }
        }
    }

    fn fill(&mut self, snap: &mut Snapshot) {
        let kept = (self.keep)(&self.last);
        let section = std::mem::replace(&mut self.last, kept);
        self.answered = false;
        let section = match self.asked {
            None => section,
            Some(since) => {
                let why = format!("{} lane busy for {:.1} s", self.name, now().since(since));
                match section {
                    Section::Absent { .. } => Section::absent(format!("not read yet: {why}")),
                    other => other.grown_stale(why),
                }
            }
        };
        (self.put)(snap, section);
    }

    fn load(&self, options: &SamplerOptions) -> Load {
        let every = if options.eager { self.rhythm.every_eager } else { self.rhythm.every };
        Load { period: every.max(options.interval), cpu_ns: self.expected_cpu_ns, spent_cpu_ns: self.spent_cpu_ns }
    }

    fn set_period(&mut self, period: Duration) {
        self.period = period;
    }

    fn cost(&self) -> LaneCost {
        LaneCost { period_ns: nanos(self.period), ..self.cost.clone() }
    }

    fn focus_changed(&mut self) {
        if self.rhythm.on_focus {
            self.last = Section::default();
            self.outdated = self.asked.is_some();
            self.from = None;
        }
    }
}
