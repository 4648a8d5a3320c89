//! Frames folded into episodes: each condition with its first and last time, its worst moment and its causes.

use super::reel::Reel;
use crate::model::{Finding, Frame, Severity};
use crate::snapshot::{LogEvent, Moment, Subject};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A condition that was away for longer than this and comes again is another episode, nanoseconds.
const EPISODE_GAP_NS: i64 = 10 * 60 * 1_000_000_000;
/// Episodes that are kept: beyond them a recording holds nothing that a person would read.
const EPISODES_MAX: usize = 2000;

/// One condition from when it was first true to when it was last.
#[derive(Clone, Debug)]
pub struct Episode {
    /// First true, nanoseconds since 1970.
    pub first_unix_ns: i64,
    /// Last true.
    pub last_unix_ns: i64,
    /// When it was at its worst.
    pub worst_unix_ns: i64,
    /// The finding as it was then.
    pub worst: Finding,
    /// Its value over time.
    pub reel: Reel,
    /// Whether it was true in the last frame.
    pub active: bool,
    /// Episodes that explained it.
    pub causes: BTreeSet<usize>,
}

/// What a story's root said at its worst.
#[derive(Clone, Debug, Default)]
pub struct Telling {
    /// In how many frames this episode was a story's root.
    pub frames: u64,
    /// How bad and how rich the story was when its sentence was taken.
    rank: (bool, usize),
    /// The sentence, without what the root itself says at its start.
    pub rest: String,
}

/// What makes two findings the same condition: rule, subject, far end.
type Condition = (&'static str, Subject, Option<(IpAddr, u16)>);

/// A kind of kernel-log event in the recording.
#[derive(Clone, Debug, Default)]
pub struct LogKind {
    /// How many.
    pub count: u64,
    /// The first of them, nanoseconds since 1970; `None` where the log has no clock.
    pub first_unix_ns: Option<i64>,
    /// The last of them.
    pub last_unix_ns: Option<i64>,
    /// The first line.
    pub text: String,
}

/// Series of the host that every report shows: name, unit and how a frame gives the value.
type Gauge = (&'static str, &'static str, fn(&Frame) -> Option<f64>);

const GAUGES: &[Gauge] = &[
    ("load, 1 min", "threads", |f| f.snap.cpu.data().map(|c| c.load[0])),
    ("threads in D", "threads", |f| f.snap.tasks.data().map(|_| f64::from(f.model.totals.threads.blocked))),
    ("threads in R", "threads", |f| f.snap.tasks.data().map(|_| f64::from(f.model.totals.threads.running))),
    ("zombies", "tasks", |f| f.snap.tasks.data().map(|_| f64::from(f.model.totals.zombies))),
    ("CPU", "%", |f| f.model.totals.cpu_busy_pct),
    ("memory not available", "bytes", |f| used(f, "MemTotal", "MemAvailable")),
    ("unreclaimable slab", "bytes", |f| f.snap.memory.data()?.meminfo.get("SUnreclaim").map(|n| n as f64)),
    ("swap", "bytes", |f| used(f, "SwapTotal", "SwapFree")),
    ("TCP in SYN_SENT", "sockets", |f| tcp(f, 1)),
    ("TCP in TIME_WAIT", "sockets", |f| tcp(f, 5)),
    ("TCP in CLOSE_WAIT", "sockets", |f| tcp(f, 7)),
    ("UDP drops", "/s", |f| f.model.totals.udp_drops_per_s),
    ("interface drops", "/s", |f| f.model.totals.nic_drops_per_s),
    ("cgroups at their limit", "cgroups", |f| f.snap.cgroups.data().map(|_| f64::from(f.model.totals.at_limit))),
    ("OOM kills since boot", "kills", |f| f.model.totals.oom_kills.map(|n| n as f64)),
];

fn used(frame: &Frame, total: &str, free: &str) -> Option<f64> {
    let meminfo = &frame.snap.memory.data()?.meminfo;
    Some(meminfo.get(total)?.saturating_sub(meminfo.get(free)?) as f64)
}

fn tcp(frame: &Frame, state: usize) -> Option<f64> {
    frame.snap.sockets.data()?;
    frame.model.totals.tcp.get(state).map(|n| *n as f64)
}

/// All that frames said, in bounded memory.
#[derive(Debug)]
pub struct Outage {
    /// Every condition, in the order of their beginnings.
    pub episodes: Vec<Episode>,
    /// Conditions that were left out because there were too many.
    pub left_out: u64,
    /// Series of the host: name, unit, values.
    pub gauges: Vec<(&'static str, &'static str, Reel)>,
    /// Kernel-log events by kind: those written in the recording's time, and those before it.
    pub log: BTreeMap<String, LogKind>,
    /// The same before the recording began.
    pub history: BTreeMap<String, LogKind>,
    /// Frames so far.
    pub samples: u64,
    /// First and last moment, nanoseconds since 1970.
    pub span_unix_ns: Option<(i64, i64)>,
    /// What each root said.
    pub(super) tellings: BTreeMap<usize, Telling>,
    /// Joined stories: `group[i]` leads towards the first episode of its story.
    group: Vec<usize>,
    latest: FxHashMap<Condition, usize>,
    log_at: Option<Moment>,
    /// Names of sections that could not be read, with why.
    pub blind: BTreeMap<&'static str, String>,
}

impl Default for Outage {
    fn default() -> Self {
        Self {
            episodes: Vec::new(),
            left_out: 0,
            gauges: GAUGES.iter().map(|(name, unit, _)| (*name, *unit, Reel::default())).collect(),
            log: BTreeMap::new(),
            history: BTreeMap::new(),
            samples: 0,
            span_unix_ns: None,
            tellings: BTreeMap::new(),
            group: Vec::new(),
            latest: FxHashMap::default(),
            log_at: None,
            blind: BTreeMap::new(),
        }
    }
}

impl Outage {
    /// Takes the next frame.
    pub fn step(&mut self, frame: &Frame) {
        let wall = frame.snap.wall_unix_ns;
        self.samples += 1;
        self.span_unix_ns = Some((self.span_unix_ns.map_or(wall, |s| s.0), wall));
        for ((_, _, reel), (_, _, value)) in self.gauges.iter_mut().zip(GAUGES) {
            if let Some(value) = value(frame) {
                reel.push(wall, value);
            }
        }
        self.episodes.iter_mut().for_each(|e| e.active = false);
        let at: Vec<Option<usize>> = frame.findings.iter().map(|f| self.episode(frame, f)).collect();
        let of = |index: &usize| at.get(*index).copied().flatten();
        for (finding, me) in frame.findings.iter().zip(&at) {
            let Some(episode) = me.and_then(|me| self.episodes.get_mut(me)) else { continue };
            episode.causes.extend(finding.explained_by.iter().filter_map(of));
        }
        for story in &frame.stories {
            let Some(root) = of(&story.root) else { continue };
            let joined: Vec<usize> = story.findings.iter().filter_map(of).collect();
            for episode in &joined {
                self.join(root, *episode);
            }
            let telling = self.tellings.entry(root).or_default();
            telling.frames += 1;
            let rank = (story.severity == Severity::Critical, joined.len());
            if rank > telling.rank {
                let said = frame.findings.get(story.root).map_or("", |f| &*f.message);
                telling.rank = rank;
                story.summary.strip_prefix(said).unwrap_or_default().clone_into(&mut telling.rest);
            }
        }
        self.read_log(frame);
        for (name, state) in frame.snap.section_states() {
            if matches!(state, "denied" | "absent") {
                self.blind.entry(name).or_insert_with(|| state.to_owned());
            } else {
                self.blind.remove(name);
            }
        }
    }

    /// The episode of a finding that is true in this frame.
    fn episode(&mut self, frame: &Frame, finding: &Finding) -> Option<usize> {
        if !finding.active {
            return None;
        }
        let wall = frame.snap.wall_unix_ns;
        let (since, last) = (frame.snap.wall_of(finding.since), frame.snap.wall_of(finding.last_true));
        let key = (finding.id, finding.subject.clone(), finding.remote);
        let known = self.latest.get(&key).copied();
        let known = known.filter(|at| self.episodes.get(*at).is_some_and(|e| since - e.last_unix_ns < EPISODE_GAP_NS));
        let at = match known {
            Some(at) => at,
            None if self.episodes.len() >= EPISODES_MAX => {
                self.left_out += 1;
                return None;
            }
            None => {
                self.episodes.push(Episode {
                    first_unix_ns: since,
                    last_unix_ns: last,
                    worst_unix_ns: wall,
                    worst: finding.clone(),
                    reel: Reel::default(),
                    active: true,
                    causes: BTreeSet::new(),
                });
                self.group.push(self.group.len());
                self.latest.insert(key, self.episodes.len() - 1);
                self.episodes.len() - 1
            }
        };
        let episode = self.episodes.get_mut(at)?;
        episode.active = true;
        episode.last_unix_ns = episode.last_unix_ns.max(last);
        episode.reel.push(wall, finding.value);
        let (now, worst) = ((finding.severity, finding.value), (episode.worst.severity, episode.worst.value));
        // What is held for a while after it was true says the same again.
        if now > worst || now == worst && last >= wall {
            episode.worst = finding.clone();
            episode.worst_unix_ns = wall;
            episode.last_unix_ns = episode.last_unix_ns.max(wall);
        }
        Some(at)
    }

    fn read_log(&mut self, frame: &Frame) {
        let Some(klog) = frame.snap.klog.data() else { return };
        // A section that was not read anew still shows the events of the time before.
        if self.log_at == frame.snap.klog.at() {
            return;
        }
        self.log_at = frame.snap.klog.at();
        let began = self.span_unix_ns.map_or(i64::MIN, |s| s.0);
        for event in &klog.events {
            let when = event.at.map(|at| frame.snap.wall_of(at));
            let book = if when.is_some_and(|w| w < began) { &mut self.history } else { &mut self.log };
            note(book, event, when);
        }
    }

    /// The story that an episode belongs to: the number of its first episode.
    #[must_use]
    pub fn story_of(&self, mut episode: usize) -> usize {
        while let Some(next) = self.group.get(episode).copied().filter(|next| *next != episode) {
            episode = next;
        }
        episode
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.story_of(one), self.story_of(other));
        if let Some(slot) = self.group.get_mut(one.max(other)) {
            *slot = one.min(other);
        }
    }
}

fn note(book: &mut BTreeMap<String, LogKind>, event: &LogEvent, when: Option<i64>) {
    let kind = book.entry((*event.kind).to_owned()).or_default();
    kind.count += 1;
    if kind.text.is_empty() {
        (*event.text).clone_into(&mut kind.text);
    }
    kind.first_unix_ns = kind.first_unix_ns.or(when);
    kind.last_unix_ns = when.or(kind.last_unix_ns);
}
