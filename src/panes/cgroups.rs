//! Cgroups: containers and services by name, what they use of their limits, and what hitting those costs.

use super::Pane;
use super::names::{cgroup_name, text_cell};
use crate::model::{CgroupFacts, Frame, Metric};
use crate::snapshot::{Cgroup, CgroupLayout, CpuUse, MemUse, Subject};
use crate::view::{Cell, Column, Entry, Grid, Line, Role, Target, Tree, num};

pub(super) static PANE: Pane = Pane {
    name: "cgroups",
    title: "Cgroups",
    question: "Which container or service is at its limit, and what does that do to it?",
    lights: &["cgroup."],
    views: &[&CONTAINERS, &ALL],
};

const NO_MEMORY: &str = "not in the memory hierarchy";

static CONTAINERS: Grid<Row> = Grid {
    name: "containers",
    question: "Containers, services, and every cgroup with a memory limit or a finding.",
    rows: |f| {
        let all = f.snap.cgroups.data().map(|c| c.rows.as_slice()).unwrap_or_default();
        let own = |c: &Cgroup| is_container(f, c) || c.unit.is_some();
        let limited = |c: &Cgroup| c.memory.as_ref().is_some_and(|m| m.limit_bytes.is_some());
        let lit = |c: &Cgroup| f.severity_of(&Subject::Cgroup(c.key.clone())).is_some();
        let wanted = all.iter().enumerate().filter(|(_, c)| own(c) || limited(c) || lit(c));
        wanted.map(|(at, _)| Entry::flat(Row { at })).collect()
    },
    tree: Tree::Never,
    empty: |f| {
        let count = f.snap.cgroups.data().map_or(0, |c| c.rows.len());
        vec![
            Line::plain(Role::Text, "No container, no service and no memory limit here."),
            Line::plain(Role::Dim, format!("v shows all {} cgroups.", num::grouped(count as u64))),
        ]
    },
    ..EVERY
};

static ALL: Grid<Row> = EVERY;

const EVERY: Grid<Row> = Grid {
    name: "all",
    question: "Every cgroup, under its parent.",
    columns: COLUMNS,
    rows: |f| {
        let count = f.snap.cgroups.data().map_or(0, |c| c.rows.len());
        let parent = |at: usize| f.model.cgroups.get(at).and_then(|x| x.parent);
        (0..count).map(|at| Entry { row: Row { at }, parent: parent(at), folded: false }).collect()
    },
    id: |f, r| cgroup(f, r).map_or(Subject::Host, |c| Subject::Cgroup(c.key.clone())).into(),
    also: |_, _| Vec::new(),
    own_severity: None,
    target: |f, r| cgroup(f, r).map(|c| Target::Subject(Subject::Cgroup(c.key.clone()))),
    sort: "memory",
    tree: Tree::On,
    section: |f| (&f.snap.cgroups).into(),
    summary,
    footer,
    footer_rows: 1,
    empty: |_| vec![Line::plain(Role::Dim, "No cgroup is mounted, or none can be read.")],
};

static COLUMNS: &[Column<Row>] = &[
    Column::number("memory", "MEMORY / LIMIT", 14, "usage (page cache included) of the limit", |f, r| {
        memory(f, r, |m| m.usage_bytes.map(|used| Cell::Usage { used, limit: m.limit_bytes, bytes: true }))
    })
    .up_to(22)
    .keep(90)
    .lights(&["cgroup.at_limit"]),
    Column::number("hits", "HITS", 6, "times the limit was hit: failcnt (v1), max (v2)", |f, r| {
        memory(f, r, |m| m.limit_hits.map(Cell::Count))
    })
    .keep(56),
    Column::number("hits_per_s", "HITS/S", 6, "limit hits a second now", |f, r| {
        facts(f, r).map_or(Cell::Blank, |x| x.limit_hits_per_s.map_or(Cell::Unknown("first sample"), Cell::Rate))
    })
    .keep(75)
    .lights(&["cgroup.at_limit"]),
    Column::number("oom_kills", "OOM", 4, "OOM kills in it and below since boot", |f, r| {
        facts(f, r).map_or(Cell::Blank, |x| Cell::Count(x.oom_kills))
    })
    .keep(72)
    .lights(&["cgroup.oom"]),
    Column::number("psi", "PSI", 5, "time in which some task waited for memory, percent", |f, r| {
        facts(f, r).map_or(Cell::Blank, |x| x.psi_memory_pct.map_or(Cell::Unknown("no PSI here"), Cell::Percent))
    })
    .keep(48),
    Column::number("d", "D", 5, "threads in D, below it too", |f, r| facts(f, r).map_or(Cell::Blank, |x| Cell::Count(x.blocked.into())))
        .keep(70)
        .lights(&["cgroup.at_limit"]),
    Column::number("z", "Z", 4, "zombies, below it too", |f, r| facts(f, r).map_or(Cell::Blank, |x| Cell::Count(x.zombies.into()))).keep(60),
    Column::number("pids", "PIDS", 11, "tasks (threads too) of the pids limit", |f, r| {
        let pids = cgroup(f, r).and_then(|c| c.pids);
        pids.map_or(Cell::Unknown("no pids controller"), |p| Cell::Usage { used: p.current, limit: p.limit, bytes: false })
    })
    .keep(52)
    .lights(&["cgroup.pids"]),
    Column::number("cpu", "CPU%", 5, "percent of one core", |f, r| {
        facts(f, r).map_or(Cell::Blank, |x| x.cpu_pct.map_or(Cell::Unknown("not read"), Cell::Number))
    })
    .keep(58),
    Column::number("throttled", "THR%", 5, "periods in which the CPU quota held it back, percent", |f, r| {
        facts(f, r).map_or(Cell::Blank, |x| x.throttled_pct.map_or(Cell::Unknown("no quota"), Cell::Percent))
    })
    .keep(50)
    .lights(&["cgroup.cpu"]),
    Column::number("kmem", "KMEM", 5, "kernel memory", |f, r| memory(f, r, |m| m.kmem_bytes.map(Cell::Bytes))).keep(40),
    Column::number("anon", "ANON", 5, "anonymous memory", |f, r| memory(f, r, |m| m.anon_bytes.map(Cell::Bytes))).keep(38),
    Column::number("reclaimable", "CACHE", 5, "file cache, which reclaim can take", |f, r| {
        memory(f, r, |m| m.file_bytes.map(|file| Cell::Bytes(file.saturating_sub(m.shmem_bytes.unwrap_or(0)))))
    })
    .keep(39),
    Column::number("swap", "SWAP", 5, "swap used", |f, r| memory(f, r, |m| m.swap_bytes.map(Cell::Bytes))).keep(30),
    Column::text("history", "HISTORY", 8, 8, "its memory over time", |f, r| {
        let subject = cgroup(f, r).map(|c| Subject::Cgroup(c.key.clone()));
        let values = subject.and_then(|s| f.spark(&s, Metric::Usage).map(<[f32]>::to_vec));
        let limit = cgroup(f, r).and_then(|c| c.memory.as_ref()?.limit_bytes);
        values.map_or(Cell::Blank, |values| Cell::Spark { values, limit: limit.map(scale) })
    })
    .keep(20),
    Column::hidden("dying", "dead cgroups below it that are kept alive", |f, r| {
        cgroup(f, r).map_or(Cell::Blank, |c| Cell::count(c.dying_descendants, "v2 only"))
    }),
    Column::hidden("path", "its path", |f, r| cgroup(f, r).map_or(Cell::Blank, |c| Cell::Text(c.key.path.clone()))),
    Column::hidden("container", "container id", |f, r| {
        cgroup(f, r).and_then(|c| c.container.as_ref()).map_or(Cell::Blank, |c| Cell::Text(c.id.clone()))
    }),
    Column::hidden("image", "image", |f, r| {
        cgroup(f, r).and_then(|c| c.container.as_ref()?.image.clone()).map_or(Cell::Blank, Cell::Text)
    }),
    Column::text("state", "", 0, 0, "frozen, or hanging at its limit", |f, r| text_cell(state(f, r))),
    Column::text("cgroup", "CGROUP", 26, u16::MAX, "container, service, or the end of its path", |f, r| {
        let Some(cgroup) = cgroup(f, r) else { return Cell::Blank };
        let state = state(f, r);
        let name = if is_container(f, cgroup) || cgroup.container.is_none() {
            cgroup_name(cgroup)
        } else {
            super::names::tail(&cgroup.key.path)
        };
        if state.is_empty() { Cell::text(name) } else { Cell::text(format!("{name} ({state})")) }
    })
    .keep(100)
    .tree()
    .names(),
];

struct Row {
    at: usize,
}

fn cgroup<'f>(frame: &'f Frame, row: &Row) -> Option<&'f Cgroup> {
    frame.snap.cgroups.data()?.rows.get(row.at)
}

fn facts<'f>(frame: &'f Frame, row: &Row) -> Option<&'f CgroupFacts> {
    frame.model.cgroups.get(row.at)
}

fn memory(frame: &Frame, row: &Row, cell: impl FnOnce(&MemUse) -> Option<Cell>) -> Cell {
    let known = cgroup(frame, row).and_then(|c| c.memory.as_ref());
    known.and_then(cell).unwrap_or(Cell::Unknown(NO_MEMORY))
}

#[expect(clippy::cast_possible_truncation, reason = "a scale for eight steps")]
fn scale(limit: u64) -> f32 {
    limit as f64 as f32
}

/// Whether the path is a container's own, not one inside it.
fn is_container(frame: &Frame, cgroup: &Cgroup) -> bool {
    let Some(container) = &cgroup.container else { return false };
    let up = cgroup.key.path.rsplit_once('/').map(|(up, _)| up);
    let above = up.and_then(|up| frame.cgroup(up)).and_then(|c| c.container.as_ref());
    above.is_none_or(|c| c.id != container.id)
}

/// What holds all of its tasks up.
fn state(frame: &Frame, row: &Row) -> &'static str {
    let Some(cgroup) = cgroup(frame, row) else { return "" };
    let oom = cgroup.memory.as_ref().and_then(|m| m.oom).unwrap_or_default();
    match () {
        () if oom.under_oom && oom.kill_disabled => "under OOM, killing is off: tasks hang",
        () if oom.under_oom => "under OOM",
        () if cgroup.frozen == Some(true) => "frozen",
        () => "",
    }
}

fn summary(frame: &Frame) -> Vec<Line> {
    let Some(cgroups) = frame.snap.cgroups.data() else { return Vec::new() };
    let layout = match cgroups.layout {
        CgroupLayout::V1 => "v1",
        CgroupLayout::V2 => "v2",
        CgroupLayout::Hybrid => "v1 and v2",
    };
    let totals = &frame.model.totals;
    let mut line = Line::default()
        .text(num::grouped(cgroups.rows.len() as u64))
        .dim(format!(" cgroups ({layout}) · "))
        .text(format!("{} of {}", totals.at_limit, totals.limited_cgroups))
        .dim(" with a memory limit are at it");
    if let Some(dying) = cgroups.dying.filter(|n| *n > 0) {
        line = line.dim(" · ").text(num::grouped(dying)).dim(" dead ones kept alive");
    }
    vec![line]
}

fn footer(frame: &Frame, row: &Row) -> Vec<Line> {
    let Some(cgroup) = cgroup(frame, row) else { return Vec::new() };
    let mut line = Line::of("CGROUP").text(cgroup.key.path.to_string());
    if let Some(container) = &cgroup.container {
        line = line.dim(format!(" · {}", container.runtime));
        if let Some(image) = &container.image {
            line = line.dim(format!(" · {image}"));
        }
    }
    let owner = facts(frame, row).and_then(|x| x.limit_row).filter(|at| *at != row.at);
    if let Some(owner) = owner.and_then(|at| frame.snap.cgroups.data()?.rows.get(at)) {
        let limit = owner.memory.as_ref().and_then(|m| m.limit_bytes).unwrap_or(0);
        line = line.dim(" · held by ").text(format!("{} {}", cgroup_name(owner), num::bytes(limit)));
    }
    if let Some(CpuUse { quota_usec: Some(quota), period_usec: Some(period), .. }) = cgroup.cpu.filter(|c| c.period_usec != Some(0)) {
        line = line.dim(format!(" · cpu quota {}", num::number(quota as f64 / period as f64)));
    }
    vec![line]
}
