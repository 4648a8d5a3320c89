//! The header: who, how it is, and where one is. Slots stand where they always stand; on a narrow screen calm ones go
//! first and lit ones stay.

use super::recording::RecorderState;
use crate::model::{Frame, Metric, Severity, tally_of};
use crate::panes::PANES;
use crate::snapshot::{LaneCost, Moment, Subject, TcpState};
use crate::view::canvas::cells;
use crate::view::line::{mark, severity_role};
use crate::view::text::{cut, width};
use crate::view::{Canvas, Role, num, sight, spark};
use ratatui::layout::Rect;

/// Below this width the clock says that it is live, and the host has no name.
const NARROW: u16 = 40;
/// Below this width a sign alone says that it records.
const ROOMY: u16 = 60;

/// What the header says beyond the frame.
pub(super) struct About {
    /// The pane that is open.
    pub pane: usize,
    /// Whether the picture is held.
    pub paused: bool,
    /// Whether a recording is shown, and whether it plays.
    pub replay: Option<bool>,
    /// The file that the host is recorded to.
    pub recorder: Option<RecorderState>,
    /// Nothing may be changed.
    pub read_only: bool,
    /// Now.
    pub now: Moment,
    /// Seconds east of UTC.
    pub utc_offset_secs: i32,
}

/// A label and a value in a fixed place.
struct Slot {
    label: &'static str,
    value: String,
    columns: u16,
    lit: Option<Severity>,
    role: Role,
    /// Who stays longest: the highest.
    keep: u8,
    /// Columns in front of it beyond the usual one: it begins a group.
    gap: u16,
}

impl Slot {
    fn new(label: &'static str, value: impl Into<String>, columns: u16, keep: u8) -> Self {
        Self { label, value: value.into(), columns, lit: None, role: Role::Text, keep, gap: 0 }
    }

    /// A count: dim while it is 0.
    fn count(label: &'static str, n: u64, columns: u16, keep: u8) -> Self {
        let slot = Self::new(label, num::count(n, usize::from(columns)), columns, keep);
        if n == 0 { slot.role(Role::Dim) } else { slot }
    }

    /// A count of what could not be read, as `–`.
    fn known(self, known: bool) -> Self {
        if known { self } else { Self { value: "–".into(), role: Role::Dim, ..self } }
    }

    /// A rate that may be unknown.
    fn rate(label: &'static str, rate: Option<f64>, keep: u8) -> Self {
        let value = rate.map_or_else(|| "–".into(), |r| format!("{}/s", num::number(r)));
        let slot = Self::new(label, value, 5, keep);
        if rate.is_none_or(|r| r < 0.05) { slot.role(Role::Dim) } else { slot }
    }

    fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    fn group(mut self) -> Self {
        self.gap = 2;
        self
    }

    /// Lights it when an active finding with one of these ids (or starts of ids) holds.
    fn lights(mut self, frame: &Frame, ids: &[&str]) -> Self {
        self.lit = worst(frame, ids);
        self
    }

    fn width(&self) -> u16 {
        let label = cells(width(self.label));
        label + u16::from(label > 0 || self.lit.is_some()) + self.columns.max(cells(width(&self.value))) + 1 + self.gap
    }
}

/// The worst active finding whose id starts with one of these.
fn worst(frame: &Frame, ids: &[&str]) -> Option<Severity> {
    let held = frame.findings.iter().filter(|f| f.active && ids.iter().any(|id| f.id.starts_with(id)));
    held.map(|f| f.severity).max()
}

/// Draws the header at the top of `area`; returns the rows it took.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, frame: &Frame, about: &About) -> u16 {
    // A very low screen keeps its rows for the table.
    let rows: &[fn(&Frame) -> Vec<Slot>] = match area.height {
        0..8 => &[],
        8..14 => &[vitals],
        _ => &[vitals, flows],
    };
    top(canvas, area, frame, about);
    let mut y = area.y + 1;
    for row in rows {
        draw_slots(canvas, Rect { y, height: 1, ..area }, row(frame));
        y += 1;
    }
    if area.height >= 6 {
        tabs(canvas, Rect { y, height: 1, ..area }, frame, about);
        y += 1;
    }
    if area.height >= 10 {
        canvas.rule(y);
        y += 1;
    }
    y - area.y
}

/// Leaves out calm slots, least worth keeping first, until the rest fit.
fn fit(mut slots: Vec<Slot>, room: u16) -> Vec<Slot> {
    while slots.len() > 1 && slots.iter().map(Slot::width).sum::<u16>() > room {
        let worth = |s: &Slot| (s.lit, s.keep);
        let Some((at, _)) = slots.iter().enumerate().rev().min_by_key(|(_, s)| worth(s)) else { break };
        slots.remove(at);
    }
    slots
}

fn draw_slots(canvas: &mut Canvas<'_>, area: Rect, slots: Vec<Slot>) {
    let mut x = area.x + 1;
    for slot in fit(slots, area.width.saturating_sub(1)) {
        let end = x + slot.width();
        x += slot.gap;
        let role = severity_role(slot.lit, slot.role);
        x += canvas.put(x, area.y, area.right().saturating_sub(x), slot.label, Role::Label);
        if !slot.label.is_empty() || slot.lit.is_some() {
            canvas.put(x, area.y, 1, mark(slot.lit), role);
            x += 1;
        }
        canvas.put(x, area.y, area.right().saturating_sub(x), &slot.value, role);
        x = end;
    }
}

/// Who and when: `whytop  node-17  up 41d 03:12 … ● LIVE 22:14:07 … own 0.8% 14M  sees all`.
fn top(canvas: &mut Canvas<'_>, area: Rect, frame: &Frame, about: &About) {
    let right = right_side(frame, about, area.width);
    let host = frame.snap.host.data();
    let name = host.map_or("", |h| &*h.name);
    let kernel = host.map_or("", |h| &*h.kernel);
    let boot = frame.snap.at.since(Moment(0));
    let cpus = host.map_or_else(|| "–".into(), |h| h.cpus.to_string());
    let left = vec![
        Slot::new("", "whytop", 7, 90).role(Role::Title),
        Slot::new("", cut(name, 24).into_owned(), 8, 80),
        Slot::new("up", num::uptime(boot), 5, 40).role(Role::Dim).group(),
        Slot::new("", cut(kernel, 26).into_owned(), 4, 30).role(Role::Dim).group(),
        Slot::new("cpus", cpus, 2, 20).role(Role::Dim).group(),
    ];
    // On a narrow screen the left side gives way first, but for the program's and the host's name.
    let names: u16 = left.iter().take(if area.width < NARROW { 1 } else { 2 }).map(Slot::width).sum();
    let right = fit(right, area.width.saturating_sub(names + 1));
    let kept: u16 = right.iter().map(Slot::width).sum();
    draw_slots(canvas, Rect { width: area.width.saturating_sub(kept), ..area }, left);
    let start = area.right().saturating_sub(kept + 1).max(area.x);
    if kept > 0 {
        draw_slots(canvas, Rect { x: start, width: kept + 1, ..area }, right);
    }
}

fn right_side(frame: &Frame, about: &About, width: u16) -> Vec<Slot> {
    let narrow = width < NARROW;
    let own = &frame.snap.own;
    let clock = num::clock(frame.snap.wall_of(about.now), about.utc_offset_secs);
    let silent = about.now.since(frame.snap.at);
    let interval = own.interval_ns as f64 / 1e9;
    let never = frame.snap.at == Moment::default();
    let live = if let Some(playing) = about.replay {
        let sign = if playing { "▸" } else { "○" };
        let words = if narrow { format!("{sign}{clock}") } else { format!("{sign} REPLAY {clock}") };
        Slot::new("", words, if narrow { 9 } else { 17 }, 95).role(Role::Key)
    } else if about.paused {
        Slot::new("", format!("○ PAUSED {clock}, picture {} old", num::span(silent)), 15, 95).role(Role::Warn)
    } else if never {
        Slot::new("", format!("○ starting {clock}"), 15, 95).role(Role::Dim)
    } else if silent > 3.0 + 3.0 * interval {
        Slot::new("", format!("○ {clock}, no look for {}", num::span(silent)), 15, 95).role(Role::Warn)
    } else if narrow {
        Slot::new("", format!("●{clock}"), 9, 95).role(Role::Good)
    } else {
        Slot::new("", format!("● LIVE {clock}"), 15, 95).role(Role::Good)
    };
    let every = if interval > 0.0 { format!("{}s", num::number(interval)) } else { "–".into() };
    // A period is kept to a tenth; less than that is no stretching.
    let stretched = |l: &&LaneCost| l.period_ns > l.wanted_ns.saturating_mul(11) / 10;
    let mut out = vec![live];
    out.extend(about.recorder.map(|recorder| rec(recorder, width)));
    out.push(Slot::new("every", every, 4, 20).role(Role::Dim));
    if let Some(lane) = own.lanes.iter().filter(stretched).max_by_key(|l| l.period_ns) {
        let slow = format!("{} every {}", lane.name, num::span(lane.period_ns as f64 / 1e9));
        out.push(Slot::new("", cut(&slow, 22).into_owned(), 12, 30).role(Role::Stale));
    }
    let cpu = frame.model.totals.own_cpu_pct.map_or_else(|| "–".into(), num::percent);
    out.push(Slot::new("own", format!("{cpu:<5} {}", num::bytes(own.rss_bytes)), 11, 50).role(Role::Dim).group());
    if about.read_only {
        out.push(Slot::new("", "read-only", 9, 60).role(Role::Dim));
    }
    if !never {
        let missing = sight::gaps(frame).len();
        out.push(match missing {
            0 => Slot::new("", "sees all", 8, 70).role(Role::Good),
            n => Slot::new("", format!("can't see {n}"), 8, 75).role(Role::Warn),
        });
    }
    out
}

/// That the host is recorded, and how large the file is.
fn rec(recorder: RecorderState, width: u16) -> Slot {
    let (sign, role) = if recorder.is_well { ("●REC", Role::Key) } else { ("○REC", Role::Warn) };
    let slot = |words: String, columns| Slot::new("", words, columns, 94).role(role);
    match recorder {
        _ if width < ROOMY => slot(sign.into(), 4),
        RecorderState { is_well: false, .. } => slot(format!("{sign} fails"), 9),
        RecorderState { bytes, .. } => slot(format!("{sign} {}", num::bytes(bytes)), 9),
    }
}

/// CPU, load, memory, swap, pressure.
fn vitals(frame: &Frame) -> Vec<Slot> {
    let totals = &frame.model.totals;
    let cpu = totals.cpu_busy_pct.map_or_else(|| "–".into(), num::percent);
    let history = frame.spark(&Subject::Host, Metric::CpuPct);
    let line = history.map_or_else(String::new, |values| spark::line(values, Some(100.0), spark::COLUMNS));
    let load = frame.snap.cpu.data().map_or_else(|| "–".into(), |c| num::number(c.load[0]));
    let tasks = frame.snap.tasks.data().is_some();
    let mut out = vec![
        Slot::new("cpu", cpu, 4, 90),
        Slot::new("", line, 8, 12).role(Role::Bar),
        Slot::count("D", totals.threads.blocked.into(), 5, 88)
            .known(tasks)
            .lights(frame, &["task.d_state", "task.hung"])
            .group(),
        Slot::count("R", totals.threads.running.into(), 3, 70).known(tasks),
        Slot::new("load", load, 5, 60).role(Role::Dim).lights(frame, &["host.load"]),
    ];
    out.extend(memory(frame));
    out.push(pressure(frame));
    out
}

/// The worst of the three pressures.
fn pressure(frame: &Frame) -> Slot {
    let totals = &frame.model.totals;
    let parts = [("mem", totals.psi_memory_pct), ("io", totals.psi_io_pct), ("cpu", totals.psi_cpu_pct)];
    let known = parts.into_iter().filter_map(|(name, pct)| Some((name, pct?)));
    let worst = known.max_by(|a, b| a.1.total_cmp(&b.1));
    let words = worst.map_or_else(|| "–".into(), |(name, pct)| format!("{name} {}", num::percent(pct)));
    let slot = Slot::new("psi", words, 8, 32).lights(frame, &["host.pressure"]).group();
    if worst.is_none_or(|(_, pct)| pct < 10.0) { slot.role(Role::Dim) } else { slot }
}

/// Memory, split so that what can't come back shows.
fn memory(frame: &Frame) -> Vec<Slot> {
    let Some(memory) = frame.snap.memory.data() else {
        return vec![Slot::new("mem", "–", 10, 85).role(Role::Dim).group()];
    };
    let get = |name: &str| memory.meminfo.get(name);
    let show = |n: Option<u64>| n.map_or_else(|| "–".into(), num::bytes);
    let beside =
        |cached: u64| ["Buffers", "SReclaimable"].iter().filter_map(|n| get(n)).fold(cached, u64::saturating_add);
    let cache = get("Cached").map(beside);
    let free = format!("{}/{}", show(get("MemAvailable").or_else(|| get("MemFree"))), show(get("MemTotal")));
    let swap_total = get("SwapTotal").unwrap_or(0);
    let swap_used = swap_total.saturating_sub(get("SwapFree").unwrap_or(0));
    let swap =
        if swap_total == 0 { "none".into() } else { format!("{}/{}", num::bytes(swap_used), num::bytes(swap_total)) };
    let swap = Slot::new("swap", swap, 9, 55).lights(frame, &["host.swap"]);
    vec![
        Slot::new("free", free, 10, 86).lights(frame, &["host.memory"]).group(),
        Slot::new("anon", show(get("AnonPages")), 5, 45),
        Slot::new("cache", show(cache), 5, 35),
        Slot::new("stuck", show(get("SUnreclaim")), 5, 65).lights(frame, &["slab.", "cgroup.dying"]),
        if swap_used == 0 { swap.role(Role::Dim) } else { swap },
    ]
}

/// Sockets, drops, tasks, cgroups.
fn flows(frame: &Frame) -> Vec<Slot> {
    let totals = &frame.model.totals;
    let sockets = frame.snap.sockets.data().is_some();
    let tasks = frame.snap.tasks.data().is_some();
    let kills = totals.oom_kills.or_else(|| frame.snap.klog.data().map(|_| totals.oom_kills_in_window));
    let state = |label, state: TcpState, columns, keep| {
        Slot::count(label, tally_of(&totals.tcp, state), columns, keep).known(sockets)
    };
    let accept = frame.model.net_rates.values().filter_map(|r| r.get("TcpExtListenDrops")).sum::<f64>();
    let accept = frame.snap.net.data().map(|_| accept);
    let (at_limit, calm) = match frame.snap.cgroups.data() {
        Some(_) => (format!("{}/{}", totals.at_limit, totals.limited_cgroups), totals.at_limit == 0),
        None => ("–".into(), true),
    };
    let at_limit = Slot::new("limit", at_limit, 6, 58).role(if calm { Role::Dim } else { Role::Text });
    vec![
        state("tcp est", TcpState::Established, 6, 60),
        state("syn", TcpState::SynSent, 5, 75).lights(frame, &["tcp.syn_sent", "tcp.port"]),
        state("cw", TcpState::CloseWait, 5, 50).lights(frame, &["tcp.close_wait"]),
        state("tw", TcpState::TimeWait, 6, 55).lights(frame, &["tcp.time_wait"]),
        Slot::rate("drops udp", totals.udp_drops_per_s, 45).lights(frame, &["udp."]).group(),
        Slot::rate("nic", totals.nic_drops_per_s, 44).lights(frame, &["net."]),
        Slot::rate("accept", accept, 30).lights(frame, &["tcp.listen"]),
        Slot::count("tasks", totals.tasks.into(), 6, 65)
            .known(tasks)
            .group()
            .lights(frame, &["task.pid", "task.thread", "task.respawn"]),
        Slot::count("Z", totals.zombies.into(), 4, 74).known(tasks).lights(frame, &["task.zombie"]),
        at_limit.group().lights(frame, &["cgroup.at_limit", "cgroup.pids"]),
        Slot::count("oom", kills.unwrap_or(0), 3, 57)
            .known(kills.is_some())
            .lights(frame, &["cgroup.oom_kill", "host.oom_kill"]),
    ]
}

/// Whether the header has room for help and quit.
pub(super) fn has_help(width: u16) -> bool {
    width >= 100
}

/// The panes' names, lit where trouble lies.
fn tabs(canvas: &mut Canvas<'_>, area: Rect, frame: &Frame, about: &About) {
    let long: usize = PANES.iter().map(|p| p.title.len() + 5).sum();
    let roomy = area.width >= cells(long) + 2;
    let mut x = area.x + 1;
    for (i, pane) in PANES.iter().enumerate() {
        let lit = worst(frame, pane.lights);
        let open = i == about.pane;
        let words = pane.title.len() + 2 + usize::from(lit.is_some());
        if open {
            canvas.ground(Rect { x, width: cells(words).min(area.right().saturating_sub(x)), ..area }, Role::Selected);
        }
        x += canvas.put(x, area.y, 1, &(i + 1).to_string(), Role::Key);
        x += 1;
        let role = severity_role(lit, if open { Role::Title } else { Role::Text });
        x += canvas.put(x, area.y, area.right().saturating_sub(x), pane.title, role);
        // The mark has its place also when it is not there: names don't move.
        canvas.put(x, area.y, 1, mark(lit), role);
        x += if roomy { 3 } else { 2 };
        if x >= area.right() {
            return;
        }
    }
    let help = "? help  q quit";
    let start = area.right().saturating_sub(cells(help.len()) + 1);
    if has_help(area.width) && start > x {
        canvas.put(start, area.y, 20, help, Role::Dim);
        canvas.put(start, area.y, 1, "?", Role::Key);
        canvas.put(start + 8, area.y, 1, "q", Role::Key);
    }
}
