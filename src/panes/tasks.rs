//! Tasks: who is stuck, who is dead and not reaped, and under whom.

use super::Pane;
use super::names::{home_name, task_name, text_cell};
use crate::model::{Frame, Metric, TaskFacts};
use crate::snapshot::{Moment, Subject, Task, Text};
use crate::view::{Cell, Column, Entry, Grid, Line, Role, RowId, Target, Tree, num};
use rustc_hash::FxHashMap;

pub(super) static PANE: Pane = Pane {
    name: "tasks",
    title: "Tasks",
    question: "Which processes are stuck or dead, under whom, and what do they wait for?",
    lights: &["task.", "host.load", "host.fd"],
    views: &[&TROUBLE, &ALL],
};

/// Children that are alike and trouble in the same way become one row from this many on.
const PILE_FROM: usize = 3;

static TROUBLE: Grid<Row> = Grid {
    name: "trouble",
    question: "Processes in D and zombies, under their parents.",
    columns: COLUMNS,
    rows: forest,
    tree: Tree::On,
    sort: "d",
    empty: |f| {
        let count = f.snap.tasks.data().map_or(0, |t| t.rows.len());
        vec![
            Line::plain(Role::Good, "No process is stuck in D, and no zombie waits to be reaped."),
            Line::plain(Role::Dim, format!("v shows all {} processes.", num::grouped(count as u64))),
        ]
    },
    ..EVERYONE
};

static COLUMNS: &[Column<Row>] = &[
    Column::number("pid", "PID", 7, "process id", |f, r: &Row| match r.pile {
        Some(_) => Cell::Blank,
        None => task(f, r).map_or(Cell::Blank, |t| Cell::text(t.key.pid.to_string())),
    })
    .keep(85),
    Column::text("state", "S", 1, 1, "state of the leader: R S D Z T t I", |f, r| {
        task(f, r).map_or(Cell::Blank, |t| Cell::text(state_letter(r, t)))
    })
    .keep(80),
    Column::number("threads", "THR", 5, "threads", |f, r| sum(f, r, |t| u64::from(t.threads)))
        .keep(45)
        .lights(&["task.thread"]),
    Column::number("d", "D", 5, "threads in D", |f, r| sum(f, r, |t| u64::from(t.by_state.blocked)))
        .keep(75)
        .lights(&["task.d_state", "task.hung"]),
    Column::number("z", "Z", 5, "zombie children that wait for it", |f, r: &Row| match r.pile {
        Some(_) => Cell::Blank,
        None => facts(f, r).map_or(Cell::Blank, |x| Cell::Count(x.zombie_children.into())),
    })
    .keep(65)
    .lights(&["task.zombie"]),
    Column::text("waits_in", "WAITS IN", 14, 26, "kernel function most of its D threads sleep in", |f, r| {
        waits_in(f, r).map_or(Cell::Blank, Cell::Text)
    })
    .keep(70)
    .lights(&["task.d_state", "task.hung"]),
    Column::number("for", "FOR", 6, "how long it has been stuck or dead, at least", stuck_for)
        .keep(68)
        .lights(&["task.d_state", "task.hung"]),
    Column::number("cpu", "CPU%", 5, "percent of one core", |f, r: &Row| match r.pile {
        Some(_) => Cell::Blank,
        None => facts(f, r).map_or(Cell::Blank, |x| x.cpu_pct.map_or(Cell::Unknown("first sample"), Cell::Number)),
    })
    .keep(55),
    Column::number("rss", "RSS", 5, "resident memory", |f, r| match sum(f, r, |t| t.rss_bytes) {
        // A zombie has no memory left; a kernel thread never had any.
        Cell::Count(0) => Cell::Blank,
        Cell::Count(bytes) => Cell::Bytes(bytes),
        other => other,
    })
    .keep(58)
    .lights(&["task.memory", "host.oom", "host.memory"]),
    Column::number("swap", "SWAP", 5, "swapped memory", |f, r: &Row| match r.pile {
        Some(_) => Cell::Blank,
        None => task(f, r).map_or(Cell::Blank, |t| Cell::bytes(t.swap_bytes, "not read")),
    })
    .keep(20),
    Column::number("fds", "FDS", 11, "open descriptors of the limit", |f, r: &Row| match (r.pile, task(f, r)) {
        (None, Some(&Task { fds: Some(used), fd_limit: limit, .. })) => Cell::Usage { used, limit, bytes: false },
        (None, Some(_)) => Cell::Unknown("not read"),
        _ => Cell::Blank,
    })
    .keep(25)
    .lights(&["host.fd", "task.fd"]),
    Column::text("history", "MEMORY", 8, 8, "its resident memory over time", |f, r| {
        let key = task(f, r).filter(|_| r.pile.is_none()).map(|t| Subject::Task(t.key));
        let values = key.and_then(|s| f.spark(&s, Metric::Rss).map(<[f32]>::to_vec));
        values.map_or(Cell::Blank, |values| Cell::Spark { values, limit: None })
    })
    .keep(15),
    Column::text("container", "CONTAINER", 14, 26, "container or unit", |f, r| {
        task(f, r).map_or(Cell::Blank, |t| text_cell(home_name(f, t)))
    })
    .keep(50),
    Column::hidden("uid", "real user id", |f, r| task(f, r).map_or(Cell::Blank, |t| Cell::count(t.uid.map(u64::from), "unreadable"))),
    Column::hidden("ppid", "parent's process id", |f, r| task(f, r).map_or(Cell::Blank, |t| Cell::text(t.ppid.to_string()))),
    Column::hidden("r", "threads in R", |f, r| sum(f, r, |t| u64::from(t.by_state.running))),
    Column::hidden("cgroup", "cgroup path", |f, r| {
        task(f, r).and_then(|t| t.cgroup.clone()).map_or(Cell::Blank, Cell::Text)
    }),
    Column::hidden("comm", "its name, at most 15 bytes", |f, r| task(f, r).map_or(Cell::Blank, |t| Cell::Text(t.comm.clone()))),
    Column::text("command", "COMMAND", 36, u16::MAX, "command line, or name", command).keep(100).tree().names(),
];

static ALL: Grid<Row> = EVERYONE;

const EVERYONE: Grid<Row> = Grid {
    name: "all",
    question: "Every process.",
    columns: COLUMNS,
    rows: everyone,
    id: |f, r| {
        let subject = task(f, r).map_or(Subject::Host, |t| Subject::Task(t.key));
        match (r.pile, task(f, r)) {
            (Some(_), Some(t)) => {
                // A pile of zombies lights up with the parent that does not reap, one in D with what it waits in.
                let parent = f.model.by_pid.get(&t.ppid).map_or(subject.clone(), |k| Subject::Task(*k));
                let about = if t.is_zombie() { parent } else { subject };
                RowId::part(about, format!("{} {} of {}", state_letter(r, t), t.comm, t.ppid))
            }
            _ => subject.into(),
        }
    },
    also: |f, r| waits_in(f, r).map(Subject::Wchan).into_iter().collect(),
    own_severity: None,
    target: |f, r| {
        let task = task(f, r)?;
        let key = if r.pile.is_some() { *f.model.by_pid.get(&task.ppid)? } else { task.key };
        Some(Target::Subject(Subject::Task(key)))
    },
    sort: "cpu",
    tree: Tree::Off,
    section: |f| (&f.snap.tasks).into(),
    summary,
    footer: |f, r| {
        let Some(task) = task(f, r) else { return Vec::new() };
        if let Some(count) = r.pile {
            let parent = f.model.by_pid.get(&task.ppid).map_or_else(|| "?".into(), |k| task_name(f, *k));
            let words = format!("{count} children of {parent} named {}: ", task.comm);
            return vec![Line::of("PILE").text(words).dim("→ opens it, Enter shows the parent")];
        }
        vec![super::names::task_line(f, task.key)]
    },
    footer_rows: 1,
    empty: |_| vec![Line::plain(Role::Dim, "No process can be seen.")],
};

/// A process, or a pile of its parent's children that are alike.
struct Row {
    /// Row in the snapshot; of a pile, its first.
    at: usize,
    /// How many a pile holds.
    pile: Option<u32>,
    /// The sums over a pile.
    members: Vec<usize>,
}

impl Row {
    fn one(at: usize) -> Self {
        Self { at, pile: None, members: Vec::new() }
    }
}

fn task<'f>(frame: &'f Frame, row: &Row) -> Option<&'f Task> {
    frame.snap.tasks.data()?.rows.get(row.at)
}

fn facts<'f>(frame: &'f Frame, row: &Row) -> Option<&'f TaskFacts> {
    frame.model.tasks.get(&task(frame, row)?.key)
}

/// A number of the row: of the process, or summed over the pile.
fn sum(frame: &Frame, row: &Row, value: fn(&Task) -> u64) -> Cell {
    if row.pile.is_none() {
        return task(frame, row).map_or(Cell::Blank, |t| Cell::Count(value(t)));
    }
    let rows = frame.snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    Cell::Count(row.members.iter().filter_map(|at| rows.get(*at)).map(value).fold(0, u64::saturating_add))
}

fn state_letter(row: &Row, task: &Task) -> String {
    let blocked = task.by_state.blocked > 0 && !task.is_zombie();
    if row.pile.is_some() && blocked { "D".into() } else { task.state.letter().to_string() }
}

fn waits_in(frame: &Frame, row: &Row) -> Option<Text> {
    task(frame, row).and_then(busiest_wait)
}

/// The kernel function that most of a task's D threads sleep in.
pub(super) fn busiest_wait(task: &Task) -> Option<Text> {
    let blocked = task.awake.iter().filter(|t| t.state == crate::snapshot::TaskState::Blocked);
    let mut by: FxHashMap<&Text, u32> = FxHashMap::default();
    for wchan in blocked.filter_map(|t| t.wchan.as_ref()) {
        *by.entry(wchan).or_default() += 1;
    }
    by.into_iter().max_by_key(|(name, n)| (*n, std::cmp::Reverse(*name))).map(|(name, _)| name.clone())
}

fn stuck_for(frame: &Frame, row: &Row) -> Cell {
    let Some(task) = task(frame, row) else { return Cell::Blank };
    let dead = || {
        let parent = frame.model.by_pid.get(&task.ppid)?;
        frame.model.tasks.get(parent)?.zombie_since
    };
    let since: Option<Moment> = match row.pile {
        _ if task.is_zombie() && row.pile.is_some() => dead(),
        _ => facts(frame, row).and_then(|x| x.blocked_since),
    };
    since.map_or(Cell::Blank, |since| Cell::Span(frame.snap.at.since(since)))
}

fn command(frame: &Frame, row: &Row) -> Cell {
    let Some(task) = task(frame, row) else { return Cell::Blank };
    match row.pile {
        Some(count) => {
            let state = state_letter(row, task);
            Cell::text(format!("{} × {} {state}", num::grouped(count.into()), task.comm))
        }
        None if task.kthread => Cell::text(format!("[{}]", task.comm)),
        None => Cell::Text(command_line(task)),
    }
}

/// The command line, after the name where the two differ: a worker that renamed itself, a script under its interpreter.
fn command_line(task: &Task) -> Text {
    let Some(line) = task.cmdline.as_ref().filter(|line| !line.is_empty()) else { return task.comm.clone() };
    let program = line.split(' ').next().unwrap_or_default().trim_end_matches(':');
    let base = program.rsplit('/').next().unwrap_or(program).trim_start_matches('-');
    if base.starts_with(&*task.comm) { line.clone() } else { format!("{}: {line}", task.comm).into() }
}

fn everyone(frame: &Frame) -> Vec<Entry<Row>> {
    let rows = frame.snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    let parent = |task: &Task| {
        let key = frame.model.by_pid.get(&task.ppid)?;
        frame.model.tasks.get(key).map(|x| x.row)
    };
    rows.iter().enumerate().map(|(at, t)| Entry { row: Row::one(at), parent: parent(t), folded: false }).collect()
}

fn is_trouble(task: &Task) -> bool {
    task.by_state.blocked > 0 || task.is_zombie()
}

/// Processes in trouble with their ancestors; children that are alike are piled.
fn forest(frame: &Frame) -> Vec<Entry<Row>> {
    let rows = frame.snap.tasks.data().map(|t| t.rows.as_slice()).unwrap_or_default();
    let mut built = Forest { frame, rows, out: Vec::new(), places: FxHashMap::default() };
    // Leaves that are alike under one parent.
    let mut piles: FxHashMap<(u32, &Text, bool), Vec<usize>> = FxHashMap::default();
    for (at, task) in rows.iter().enumerate().filter(|(_, t)| is_trouble(t)) {
        let leaf = frame.model.tasks.get(&task.key).is_none_or(|x| x.children.is_empty());
        if leaf && task.ppid > 0 {
            piles.entry((task.ppid, &task.comm, task.is_zombie())).or_default().push(at);
        } else {
            built.place(at, 0);
        }
    }
    let mut piles: Vec<_> = piles.into_values().collect();
    piles.sort_unstable();
    for members in piles {
        let parent = members.first().and_then(|at| built.parent(*at, 0));
        if members.len() < PILE_FROM {
            for at in members {
                built.place(at, 0);
            }
            continue;
        }
        let Some(first) = members.first().copied() else { continue };
        let pile = built.out.len();
        let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let row = Row { at: first, pile: Some(count), members: members.clone() };
        built.out.push(Entry { row, parent, folded: true });
        for at in members {
            built.places.insert(at, built.out.len());
            built.out.push(Entry { row: Row::one(at), parent: Some(pile), folded: false });
        }
    }
    built.out
}

struct Forest<'f> {
    frame: &'f Frame,
    rows: &'f [Task],
    out: Vec<Entry<Row>>,
    places: FxHashMap<usize, usize>,
}

impl Forest<'_> {
    /// Puts a process and its ancestors into the forest once; returns its place.
    fn place(&mut self, at: usize, depth: u8) -> usize {
        if let Some(place) = self.places.get(&at) {
            return *place;
        }
        let parent = self.parent(at, depth);
        let place = self.out.len();
        self.places.insert(at, place);
        self.out.push(Entry { row: Row::one(at), parent, folded: false });
        place
    }

    fn parent(&mut self, at: usize, depth: u8) -> Option<usize> {
        let ppid = self.rows.get(at)?.ppid;
        let key = self.frame.model.by_pid.get(&ppid)?;
        let up = self.frame.model.tasks.get(key)?.row;
        (up != at && depth < 60).then(|| self.place(up, depth + 1))
    }
}

fn summary(frame: &Frame) -> Vec<Line> {
    let Some(tasks) = frame.snap.tasks.data() else { return Vec::new() };
    let totals = &frame.model.totals;
    let mut line = Line::default()
        .text(num::grouped(totals.tasks.into()))
        .dim(" processes")
        .dim(format!(" · threads: {} R · ", num::grouped(totals.threads.running.into())))
        .text(format!("{} D", num::grouped(totals.threads.blocked.into())));
    if !tasks.blocked_by_wchan.is_empty() {
        line = line.dim(" in ");
        for (i, (wchan, count)) in tasks.blocked_by_wchan.iter().take(4).enumerate() {
            let lit = frame.severity_of(&Subject::Wchan(wchan.clone()));
            let role = crate::view::line::severity_role(lit, Role::Text);
            let comma = if i > 0 { ", " } else { "" };
            line = line.dim(comma).with(role, format!("{}{wchan}", crate::view::line::mark(lit).trim())).dim(format!(" {count}"));
        }
    }
    vec![line.dim(format!(" · {} zombies", num::grouped(totals.zombies.into())))]
}
