use super::lane::{self, Rhythm};
use super::*;
use crate::collect::Collector;
use crate::snapshot::{Cpu, Detail, KernelLog, LogEvent, Section, TaskDetail, Tasks};
use std::sync::mpsc::{Receiver, Sender, channel};

const STACK: usize = 128 * 1024;
/// A deadline that no scheduler delay of a busy machine reaches.
const LONG: Duration = Duration::from_secs(100);

/// A collector that answers what a test sends it, and blocks until it does.
struct Told<T> {
    name: &'static str,
    asked: Sender<Context>,
    answers: Receiver<T>,
}

impl<T: Send + Sync + 'static> Collector for Told<T> {
    type Out = T;
    fn name(&self) -> &'static str {
        self.name
    }
    fn collect(&mut self, cx: &Context) -> Section<T> {
        self.asked.send(cx.clone()).ok();
        match self.answers.recv() {
            Ok(data) => Section::ok(now(), data),
            Err(_) => Section::absent("the test is over"),
        }
    }
}

fn told<T>(name: &'static str) -> (Told<T>, Receiver<Context>, Sender<T>) {
    let (asked, questions) = channel();
    let (answer, answers) = channel();
    (Told { name, asked, answers }, questions, answer)
}

fn options(interval: Duration) -> SamplerOptions {
    SamplerOptions { interval, max_cpu_pct: 100.0, eager: false, only: false }
}

fn cpu_lane(collector: Told<Cpu>, rhythm: Rhythm) -> Box<dyn Lane> {
    lane::start(collector, STACK, rhythm, |snap, section| snap.cpu = section, Section::clone)
}

fn load(n: f64) -> Cpu {
    Cpu { load: [n; 3], ..Cpu::default() }
}

#[test]
fn a_stuck_lane_is_stale_with_its_reason_and_stops_no_other() {
    let (stuck, _asked, answer) = told::<Cpu>("cpu");
    let (tasks, _tasks_asked, tasks_answer) = told::<Tasks>("tasks");
    let lanes = vec![
        lane::start(
            tasks,
            STACK,
            Rhythm { gives_tasks: true, ..Rhythm::default() },
            |snap, section| snap.tasks = section,
            Section::clone,
        ),
        cpu_lane(stuck, Rhythm::default()),
    ];
    let mut sampler = Sampler::new(Roots::default(), options(Duration::from_millis(20)), lanes);
    answer.send(load(1.0)).unwrap();
    tasks_answer.send(Tasks::default()).unwrap();
    let first = sampler.sample();
    assert_eq!((first.cpu.word(), first.tasks.word()), ("ok", "ok"));

    std::thread::sleep(Duration::from_millis(25));
    tasks_answer.send(Tasks::default()).unwrap();
    let late = sampler.sample();
    let Section::Stale { at, data, why } = &late.cpu else { panic!("{:?}", late.cpu) };
    assert_eq!((Some(*at), &**data), (first.cpu.at(), &load(1.0)));
    assert!(why.starts_with("cpu lane busy for"), "{why}");

    answer.send(load(2.0)).unwrap();
    let deadline = after(now(), LONG);
    while now() < deadline {
        let snap = sampler.sample();
        if snap.cpu.word() == "ok" {
            assert_eq!(snap.cpu.data(), Some(&load(2.0)));
            return;
        }
    }
    panic!("the lane that woke was never heard");
}

#[test]
fn a_lane_that_is_not_due_passes_its_section_on_with_its_own_time() {
    let (slow, asked, answer) = told::<Cpu>("cpu");
    let lanes = vec![cpu_lane(slow, Rhythm { every: Duration::from_hours(1), ..Rhythm::default() })];
    let mut sampler = Sampler::new(Roots::default(), options(Duration::from_secs(1)), lanes);
    answer.send(load(1.0)).unwrap();
    let (first, second) = (sampler.sample(), sampler.sample());
    assert_eq!(asked.try_iter().count(), 1);
    assert!(Arc::ptr_eq(first.cpu.shared().unwrap(), second.cpu.shared().unwrap()));
    assert_eq!((first.cpu.at(), second.cpu.word()), (second.cpu.at(), "ok"));
    assert!(second.at > first.at);
}

#[test]
fn events_are_given_out_once() {
    let (log, _asked, answer) = told::<KernelLog>("klog");
    let lanes = vec![lane::start(log, STACK, Rhythm::default(), |snap, section| snap.klog = section, without_events)];
    let mut sampler = Sampler::new(Roots::default(), options(Duration::from_secs(1)), lanes);
    let event = LogEvent { kind: "oom_kill".into(), ..LogEvent::default() };
    answer.send(KernelLog { events: vec![event], lost: 3, source: "/dev/kmsg".into() }).unwrap();
    let (first, second) = (sampler.sample(), sampler.sample());
    assert_eq!(first.klog.data().unwrap().events.len(), 1);
    let again = second.klog.data().unwrap();
    assert_eq!((again.events.len(), again.lost, &*again.source), (0, 0, "/dev/kmsg"));
}

#[test]
fn lanes_that_join_with_tasks_get_those_of_this_sample() {
    let (tasks, _tasks_asked, tasks_answer) = told::<Tasks>("tasks");
    let (sockets, asked, answer) = told::<Cpu>("sockets");
    let lanes = vec![
        cpu_lane(sockets, Rhythm { wants_tasks: true, ..Rhythm::default() }),
        lane::start(
            tasks,
            STACK,
            Rhythm { gives_tasks: true, ..Rhythm::default() },
            |snap, section| snap.tasks = section,
            Section::clone,
        ),
    ];
    let mut sampler = Sampler::new(Roots::default(), options(Duration::from_secs(1)), lanes);
    tasks_answer.send(Tasks { blocked_by_wchan: vec![("nfs".into(), 1)], ..Tasks::default() }).unwrap();
    answer.send(Cpu::default()).unwrap();
    sampler.sample();
    let cx = asked.recv().unwrap();
    assert_eq!(cx.tasks.unwrap().blocked_by_wchan.len(), 1);
    assert!(cx.eager, "the first sample wants every source");
}

#[test]
fn a_drill_down_is_read_at_once_and_never_shown_for_another_task() {
    let (detail, asked, answer) = told::<Detail>("detail");
    let rhythm = Rhythm { on_focus: true, ..Rhythm::default() };
    let lanes = vec![lane::start(detail, STACK, rhythm, |snap, s| snap.detail = s.data().cloned(), Section::clone)];
    let mut sampler = Sampler::new(Roots::default(), options(Duration::from_secs(1)), lanes);
    assert!(sampler.sample().detail.is_none());
    assert!(asked.try_recv().is_err(), "nobody looks at a task");

    let of = |pid| {
        let key = TaskKey { pid, start_ticks: 1 };
        (key, Detail { task: Some(TaskDetail { key, ..TaskDetail::default() }), ..Detail::default() })
    };
    let ((first, first_read), (second, second_read)) = (of(7), of(8));
    sampler.set_focus(Some(first));
    assert!(sampler.sample().detail.is_none(), "the lane is busy");
    sampler.set_focus(Some(second));
    answer.send(first_read).unwrap();
    answer.send(second_read).unwrap();
    let deadline = after(now(), LONG);
    while now() < deadline {
        if let Some(task) = sampler.sample().detail.and_then(|d| d.task) {
            assert_eq!(task.key, second);
            return;
        }
    }
    panic!("the second task was never read");
}

#[test]
fn a_lane_whose_thread_died_says_so() {
    struct Dies;
    impl Collector for Dies {
        type Out = Cpu;
        fn name(&self) -> &'static str {
            "cpu"
        }
        fn collect(&mut self, _cx: &Context) -> Section<Cpu> {
            std::panic::resume_unwind(Box::new(()))
        }
    }
    let lanes = vec![lane::start(Dies, STACK, Rhythm::default(), |snap, s| snap.cpu = s, Section::clone)];
    let mut sampler = Sampler::new(Roots::default(), options(Duration::from_secs(1)), lanes);
    assert_eq!(sampler.sample().cpu, Section::absent("the cpu lane has stopped"));
    assert_eq!(sampler.sample().cpu.word(), "absent");
}

#[test]
fn own_cost_is_filled() {
    let own = Sampler::new(Roots::default(), options(Duration::from_secs(1)), Vec::new()).sample().own;
    assert_eq!(own.pid, std::process::id());
    assert!(own.cpu_ns > 0 && own.rss_bytes > 100_000, "{own:?}");
}
