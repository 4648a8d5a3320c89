//! Memory: where the RAM is, honestly, and which kernel caches grow.

use super::Pane;
use crate::model::{Frame, Metric, Severity};
use crate::snapshot::{Counters, Memory, Slab, Subject};
use crate::view::line::severity_role;
use crate::view::{Cell, Column, Entry, Grid, Line, Role, Target, Tree, num, sight};

pub(super) static PANE: Pane = Pane {
    name: "memory",
    title: "Memory",
    question: "Where is the RAM, what of it can't come back, and what grows?",
    lights: &["slab.", "host.memory", "host.swap", "cgroup.dying", "host.oom"],
    views: &[&SLAB],
};

/// Memory cgroup ids end here (`MEM_CGROUP_ID_MAX`).
const MEMCG_IDS: u64 = 65_535;
/// Columns of the bar.
const BAR: usize = 64;

static SLAB: Grid<Row> = Grid {
    name: "slab",
    question: "Kernel object caches, largest first, with their growth.",
    columns: &[
        Column::number("bytes", "BYTES", 6, "memory it holds", |f, r| slab(f, r, |s| Cell::Bytes(s.bytes)))
            .keep(90)
            .lights(&["slab."]),
        Column::number("share", "OF RAM", 6, "its part of the host's memory", |f, r| {
            slab(f, r, |s| {
                let total = f.snap.host.data().map_or(0, |h| h.mem_total_bytes);
                if total == 0 { Cell::Unknown("MemTotal not read") } else { Cell::Percent(s.bytes as f64 * 100.0 / total as f64) }
            })
        })
        .keep(60),
        Column::number("growth", "GROWTH/MIN", 10, "how fast it grows, a minute", |f, r| {
            slab(f, r, |s| Cell::ByteGrowth(f.model.slab_bytes_per_s.get(&s.name).copied().unwrap_or(0.0) * 60.0))
        })
        .keep(85)
        .lights(&["slab.growth"]),
        Column::text("history", "HISTORY", 8, 8, "its size over time", |f, r| {
            slab(f, r, |s| {
                let values = f.spark(&Subject::Slab(s.name.clone()), Metric::SlabBytes);
                values.map_or(Cell::Blank, |v| Cell::Spark { values: v.to_vec(), limit: None })
            })
        })
        .keep(40),
        Column::number("objects", "OBJECTS", 8, "objects it has room for", |f, r| slab(f, r, |s| Cell::Count(s.num_objs))).keep(50),
        Column::number("used", "IN USE", 6, "of them in use, percent", |f, r| {
            slab(f, r, |s| if s.num_objs == 0 { Cell::Blank } else { Cell::Percent(s.active_objs as f64 * 100.0 / s.num_objs as f64) })
        })
        .keep(45),
        Column::number("object", "EACH", 6, "bytes an object", |f, r| slab(f, r, |s| Cell::Bytes(s.obj_bytes))).keep(30),
        Column::text("kind", "LABELLED", 12, 13, "what the kernel calls it; dead cgroups make `reclaimable` untrue", |f, r| {
            slab(f, r, |s| match s.reclaimable {
                Some(true) => Cell::text("reclaimable"),
                Some(false) => Cell::text("unreclaimable"),
                None => Cell::Unknown("no flags here"),
            })
        })
        .keep(55),
        Column::text("cache", "CACHE", 12, u16::MAX, "its name, and other caches merged into it", |f, r| {
            slab(f, r, |s| match s.aliases.len() {
                0 => Cell::Text(s.name.clone()),
                n => Cell::text(format!("{} (and {n} merged)", s.name)),
            })
        })
        .keep(100)
        .names(),
        Column::hidden("aliases", "caches merged into it", |f, r| slab(f, r, |s| Cell::Many(s.aliases.clone()))),
    ],
    rows: |f| {
        let count = f.snap.slab.data().map_or(0, |s| s.rows.len());
        (0..count).map(|at| Entry::flat(Row { at })).collect()
    },
    id: |f, r| row(f, r).map_or(Subject::Host, |s| Subject::Slab(s.name.clone())).into(),
    also: |_, _| Vec::new(),
    own_severity: None,
    target: |f, r| row(f, r).map(|s| Target::Subject(Subject::Slab(s.name.clone()))),
    sort: "bytes",
    tree: Tree::Never,
    section: |f| sight::worst([(&f.snap.slab).into()]),
    summary,
    footer: |f, r| {
        let Some(slab) = row(f, r) else { return Vec::new() };
        let mut line = Line::of("CACHE").text(slab.name.to_string());
        if !slab.aliases.is_empty() {
            line = line.dim(format!(" · merged with {}", slab.aliases.join(" ")));
        }
        vec![line]
    },
    footer_rows: 1,
    empty: |_| vec![Line::plain(Role::Dim, "The kernel lists no object cache.")],
};

struct Row {
    at: usize,
}

fn row<'f>(frame: &'f Frame, row: &Row) -> Option<&'f Slab> {
    frame.snap.slab.data()?.rows.get(row.at)
}

fn slab(frame: &Frame, at: &Row, cell: impl FnOnce(&Slab) -> Cell) -> Cell {
    row(frame, at).map_or(Cell::Blank, cell)
}

/// A part of the RAM.
struct Part {
    name: &'static str,
    bytes: u64,
    role: Role,
    lit: Option<Severity>,
}

/// The RAM in parts that add up.
fn split(frame: &Frame, meminfo: &Counters) -> Vec<Part> {
    let get = |name: &str| meminfo.get(name).unwrap_or(0);
    let worst = |ids: &[&str]| {
        let held = frame.findings.iter().filter(|f| f.active && ids.iter().any(|id| f.id.starts_with(id)));
        held.map(|f| f.severity).max()
    };
    let part = |name, bytes, role| Part { name, bytes, role, lit: None };
    // Shmem is counted in Cached, though it can only go to swap; Slab replaces its two halves on old kernels.
    let shmem = get("Shmem");
    let cache = get("Cached").saturating_add(get("Buffers")).saturating_sub(shmem);
    let reclaimable = get("SReclaimable");
    let stuck = meminfo.get("SUnreclaim").unwrap_or_else(|| get("Slab").saturating_sub(reclaimable));
    let mut parts = vec![
        part("anon", get("AnonPages"), Role::Text),
        part("shmem", shmem, Role::Text),
        part("cache", cache, Role::Dim),
        part("slab", reclaimable, Role::Dim),
        Part { lit: worst(&["slab.", "cgroup.dying"]), ..part("stuck slab", stuck, Role::Text) },
        part("stacks", get("KernelStack"), Role::Text),
        part("tables", get("PageTables"), Role::Text),
        part("huge pages", get("HugePages_Total").saturating_mul(get("Hugepagesize")), Role::Text),
    ];
    let free = get("MemFree");
    let told: u64 = parts.iter().map(|p| p.bytes).fold(free, u64::saturating_add);
    // What no counter names: drivers, vmalloc, page-allocator users.
    parts.push(part("unnamed", get("MemTotal").saturating_sub(told), Role::Text));
    parts.push(Part { lit: worst(&["host.memory"]), ..part("free", free, Role::Rule) });
    parts
}

fn summary(frame: &Frame) -> Vec<Line> {
    let Some(memory) = frame.snap.memory.data() else { return Vec::new() };
    let total = memory.meminfo.get("MemTotal").unwrap_or(0);
    let parts = split(frame, &memory.meminfo);
    let mut words = Line::default().with(Role::Title, format!("RAM {}", num::bytes(total))).dim(" = ");
    let mut bar = Line::default();
    let mut drawn = 0;
    let mut sum = 0;
    for (i, part) in parts.iter().filter(|p| p.bytes.saturating_mul(1000) >= total.max(1)).enumerate() {
        let role = severity_role(part.lit, if part.role == Role::Rule { Role::Dim } else { part.role });
        let mark = crate::view::line::mark(part.lit).trim();
        words = words.dim(if i > 0 { " + " } else { "" }).dim(format!("{} ", part.name)).with(role, format!("{mark}{}", num::bytes(part.bytes)));
        sum = u64::saturating_add(sum, part.bytes);
        // Each part ends where the sum of the parts so far ends: rounding errors don't add up.
        let end = usize::try_from(u128::from(sum) * BAR as u128 / u128::from(total.max(1))).unwrap_or(BAR).min(BAR);
        let (glyph, shade) = match part.role {
            Role::Rule => ("─", Role::Rule),
            Role::Dim => ("━", Role::Dim),
            _ => ("━", Role::Bar),
        };
        bar = bar.with(severity_role(part.lit, shade), glyph.repeat(end.saturating_sub(drawn)));
        drawn = drawn.max(end);
    }
    vec![words, bar, reserves(frame, memory), tables(frame, memory)]
}

/// What is left: available, swap, what waits for the disk.
fn reserves(frame: &Frame, memory: &Memory) -> Line {
    let get = |name: &str| memory.meminfo.get(name);
    let show = |n: Option<u64>| n.map_or_else(|| "–".into(), num::bytes);
    let mut line = Line::default().dim("available ").text(show(get("MemAvailable")));
    if memory.swaps.is_empty() {
        line = line.dim(" · no swap");
    }
    for (name, size, used) in &memory.swaps {
        line = line.dim(format!(" · swap {name} ")).text(format!("{}/{}", num::bytes(*used), num::bytes(*size)));
    }
    line = line.dim(" · dirty ").text(show(get("Dirty"))).dim(" · writeback ").text(show(get("Writeback")));
    let rate = |name: &str| frame.model.vmstat_rates.get(name).copied();
    let moved = [("pswpin", "swapped in"), ("pswpout", "swapped out"), ("allocstall_normal", "stalls"), ("compact_stall", "compaction stalls")];
    for (name, words) in moved {
        if let Some(rate) = rate(name) {
            line = line.dim(format!(" · {words} ")).text(format!("{}/s", num::number(rate)));
        }
    }
    line
}

/// Dying cgroups and the host's tables.
fn tables(frame: &Frame, memory: &Memory) -> Line {
    let mut line = Line::default();
    if let Some(cgroups) = frame.snap.cgroups.data()
        && let Some(dying) = cgroups.dying
    {
        let lit = frame.findings.iter().filter(|f| f.active && f.id == "cgroup.dying_pile").map(|f| f.severity).max();
        let role = severity_role(lit, if dying == 0 { Role::Dim } else { Role::Text });
        let mark = crate::view::line::mark(lit).trim();
        line = line.dim("dead memory cgroups ").with(role, format!("{mark}{}", num::grouped(dying)));
        let alive = cgroups.live.map_or_else(|| "–".into(), num::grouped);
        line = line.dim(format!(" beside {alive} live, ids end at {}", num::grouped(MEMCG_IDS)));
    }
    let limits = &memory.limits;
    if let (Some(files), Some(most)) = (limits.files, limits.files_max) {
        line = line.dim(" · open files ").text(format!("{}/{}", num::short(files), num::short(most)));
    }
    if let Some(most) = limits.pid_max {
        let entities = frame.snap.cpu.data().map(|c| c.entities).filter(|n| *n > 0);
        let used = entities.map_or_else(|| "–".into(), num::short);
        line = line.dim(" · threads ").text(format!("{used}/{}", num::short(most))).dim(" (pid_max)");
    }
    line
}
