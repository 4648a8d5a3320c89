//! Control groups: v1, v2 and hybrid, one row a path over all hierarchies.

mod files;
pub(crate) mod mounts;
mod parse;
mod pass;
mod places;
mod row;
#[cfg(test)]
mod tests;
mod v1;
mod v2;
mod walk;

use super::containers::{Names, Runtimes};
use super::readers::{FileAsk, Readers};
use super::{Collector, Context, Roots, io, now, text};
use crate::snapshot::{CgroupLayout, Cgroups, Counters, Gap, Hierarchy, Moment, Section, Text};
use files::{File, Files, Lacks, Reading};
use mounts::Mounts;
use pass::{Found, Pass, Roles, StatBudget};
use places::TREES;
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::path::Path;
use std::time::Duration;
use v1::Bounds;
use walk::Node;

/// Passes between two looks at `mountinfo` and the size of the host.
const REDISCOVER: u32 = 60;

/// Time that the `memory.stat` files of one pass may take, ns; ten times that when everything is wanted.
const STAT_BUDGET_NS: u64 = 50_000_000;

/// Longest wait for container names on a look that should show everything.
const NAMES_WAIT: Duration = Duration::from_millis(50);

/// Reads the cgroups of every hierarchy that is mounted.
#[derive(Debug)]
pub struct CgroupsCollector {
    roots: Roots,
    mounts: Mounts,
    /// Passes since the mounts were looked up; `None` before the first time.
    discovered: Option<u32>,
    roles: Roles,
    bounds: Bounds,
    root: Node,
    /// Hierarchies that could not be opened.
    closed: Vec<(Text, Errno)>,
    reading: Reading,
    listing: Vec<u8>,
    /// Directories kept open.
    fds_kept: usize,
    stat_stretch: u32,
    /// `/proc/vmstat` `oom_kill` of the last pass.
    kills: Option<u64>,
    turn: u32,
    names: Names,
}

impl CgroupsCollector {
    /// Reads the host that `roots` shows. The files of `runtimes`, whose disks may hang, are read through `readers`;
    /// without them within the pass, which is for tests and where no reader could be forked.
    #[must_use]
    pub fn new(roots: &Roots, runtimes: Runtimes, readers: Option<Readers<FileAsk>>) -> Self {
        Self {
            roots: roots.clone(),
            mounts: Mounts::default(),
            discovered: None,
            roles: Roles::default(),
            bounds: Bounds::default(),
            root: Node::root(),
            closed: Vec::new(),
            reading: Reading::default(),
            listing: Vec::new(),
            fds_kept: 0,
            stat_stretch: 1,
            kills: None,
            turn: 0,
            names: Names::new(runtimes, readers),
        }
    }

    fn discover(&mut self) -> Result<(), Errno> {
        let mounts = mounts::discover(&self.roots)?;
        self.bounds = self.read_bounds();
        if mounts != self.mounts || !self.closed.is_empty() {
            self.mounts = mounts;
            self.mounts.trees.truncate(TREES);
            self.roles = Roles::of(&self.mounts.trees);
            self.root = Node::root();
            self.closed.clear();
            for (tree, mount) in self.mounts.trees.iter().enumerate() {
                match io::open_dir(&mount.point) {
                    Ok(fd) => self.root.mount(tree, &mount.prefix, fd),
                    Err(error) => self.closed.push((mount.point.to_string_lossy().into(), error)),
                }
            }
        }
        self.discovered = Some(0);
        Ok(())
    }

    fn read_bounds(&mut self) -> Bounds {
        let buf = &mut self.reading.buf;
        if io::read_path(&self.roots.proc("meminfo"), buf).is_err() {
            return Bounds::default();
        }
        let kib = |name: &[u8]| {
            let line = text::lines(buf).find(|line| line.starts_with(name))?;
            text::words(line).nth(1).and_then(text::number)
        };
        let Some(memory) = kib(b"MemTotal:") else { return Bounds::default() };
        let swap = kib(b"SwapTotal:").unwrap_or(0);
        Bounds { memory: memory.saturating_mul(1024), with_swap: memory.saturating_add(swap).saturating_mul(1024) }
    }

    /// Whether `oom_kill` of `/proc/vmstat` (4.13) has moved: it counts those of memory cgroups too.
    fn kills_moved(&mut self) -> bool {
        let read = io::read_path(&self.roots.proc("vmstat"), &mut self.reading.buf);
        let kills = read.ok().and_then(|()| parse::value(&self.reading.buf, "oom_kill"));
        std::mem::replace(&mut self.kills, kills) != kills
    }

    fn walk(&mut self, eager: bool) -> Found {
        let kills_moved = self.kills_moved();
        self.reading.denied = 0;
        let mut pass = Pass {
            roles: self.roles,
            bounds: self.bounds,
            eager,
            kills_moved,
            stalls: true,
            stat: StatBudget::new(if eager { STAT_BUDGET_NS * 10 } else { STAT_BUDGET_NS }, self.stat_stretch),
            reading: &mut self.reading,
            listing: &mut self.listing,
            fds_left: fds_for_us().saturating_sub(self.fds_kept),
            turn: self.turn,
            found: Found::default(),
        };
        self.root.visit(&Default::default(), 0, &mut pass);
        self.turn = pass.turn;
        self.stat_stretch = pass.stat.next_stretch();
        self.fds_kept = pass.found.fds_kept;
        pass.found
    }

    /// `/proc/cgroups`, beside the directories that were found.
    fn hierarchies(&mut self, found: &Found) -> Vec<Hierarchy> {
        if io::read_path(&self.roots.proc("cgroups"), &mut self.reading.buf).is_err() {
            return Vec::new();
        }
        let whole = self.mounts.whole && found.is_complete();
        parse::controllers(&self.reading.buf)
            .map(|c| {
                let controller = text::text(c.name);
                let tree = self.mounts.trees.iter().position(|m| m.has(&controller)).filter(|_| whole);
                let directories = tree.and_then(|tree| found.directories.get(tree)).copied();
                Hierarchy { controller, cgroups: c.cgroups, directories }
            })
            .collect()
    }

    /// The counters of the v2 root's `cgroup.stat` (4.14).
    fn root_stat(&mut self) -> Counters {
        let Some(mount) = self.roles.unified.and_then(|tree| self.mounts.trees.get(tree)) else {
            return Counters::default();
        };
        let Ok(dir) = io::open_dir(&mount.point) else { return Counters::default() };
        let mut files = Files { dir: dir.as_fd(), lacks: &mut Lacks::default() };
        let raw = files.read(File::CgroupStat, &mut self.reading);
        Counters::from_pairs(raw.into_iter().flat_map(parse::pairs).map(|(name, value)| (text::text(name), value)))
    }

    fn gaps(&self, found: &Found) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut gap = |what: String, fix: &str| gaps.push(Gap { what: what.into(), fix: fix.into() });
        for (point, error) in &self.closed {
            gap(format!("cgroups of {point}: {error}"), "root, or CAP_DAC_READ_SEARCH");
        }
        if self.reading.denied > 0 {
            gap(format!("{} cgroup files", self.reading.denied), "root, or CAP_DAC_READ_SEARCH");
        }
        if found.unlisted > 0 {
            gap(format!("what is in {} cgroup directories", found.unlisted), "root, or CAP_DAC_READ_SEARCH");
        }
        if found.too_deep {
            gap("cgroups nested more than 48 deep".into(), "nothing: they are left out");
        }
        if !self.mounts.whole {
            gap(
                "cgroups outside of this container's own, and how many are dying".into(),
                "run in the host's cgroup namespace",
            );
        }
        if self.stat_stretch > 1 {
            gap(
                "the latest memory.stat of every cgroup: reading it is slow here".into(),
                "nothing: it is read in turn",
            );
        }
        gaps
    }
}

/// Directories that may be kept open: a quarter of the descriptors that we may have.
fn fds_for_us() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    usize::try_from(limit.unwrap_or(4096) / 4).unwrap_or(0).min(16_384)
}

impl Collector for CgroupsCollector {
    type Out = Cgroups;

    fn name(&self) -> &'static str {
        "cgroups"
    }

    fn collect(&mut self, cx: &Context) -> Section<Cgroups> {
        let due = self.discovered.is_none_or(|passes| passes >= REDISCOVER) || !self.closed.is_empty();
        if due && let Err(error) = self.discover() {
            let what = self.roots.proc("self/mountinfo").to_string_lossy().into_owned();
            return match error {
                Errno::ACCESS | Errno::PERM => Section::denied(what, "root"),
                other => Section::absent(format!("{what}: {other}")),
            };
        }
        self.discovered = self.discovered.map(|passes| passes + 1);
        if self.mounts.trees.is_empty() {
            return Section::absent("no cgroup hierarchy is mounted");
        }
        if self.closed.len() == self.mounts.trees.len() {
            let all = self.closed.iter().map(|(point, _)| &**point).collect::<Vec<_>>().join(", ");
            return Section::denied(all, "root, or a mount of the host's /sys");
        }
        let at = now();
        let found = self.walk(cx.eager);
        let mut out = Cgroups {
            layout: match (self.mounts.v1, self.mounts.v2) {
                (true, true) => CgroupLayout::Hybrid,
                (true, false) => CgroupLayout::V1,
                _ => CgroupLayout::V2,
            },
            hierarchies: self.hierarchies(&found),
            root_stat: self.root_stat(),
            gaps: self.gaps(&found),
            ..Cgroups::default()
        };
        self.name_containers(at, cx.eager);
        out.gaps.extend(self.names.gap(at));
        self.root.rows(&mut |row| out.rows.push(row.last.clone()));
        out.rows.sort_by(|a, b| a.key.path.cmp(&b.key.path));
        self.count_dying(&mut out, &found);
        Section::ok(at, out)
    }
}

impl CgroupsCollector {
    /// Fills in the names that are known by now. On a look that should show everything it waits a moment for the rest.
    fn name_containers(&mut self, at: Moment, eager: bool) {
        let mut fill = |names: &mut Names| {
            self.root.rows(&mut |row| {
                if !row.named
                    && let Some(container) = &mut row.last.container
                {
                    row.named = names.fill(&row.last.key.path, container, at);
                }
            });
        };
        self.names.turn();
        fill(&mut self.names);
        self.names.turn();
        if eager {
            self.names.settle(NAMES_WAIT);
            fill(&mut self.names);
        }
    }

    fn count_dying(&self, out: &mut Cgroups, found: &Found) {
        out.live = self.roles.memory().and_then(|tree| found.directories.get(tree)).copied();
        if self.roles.memory_v1.is_some() {
            let memory = out.hierarchies.iter().find(|h| &*h.controller == "memory");
            out.dying = memory.and_then(|h| Some(h.cgroups.saturating_sub(h.directories?)));
            out.dying_source = "/proc/cgroups:memory".into();
        } else {
            out.dying = out.root_stat.get("nr_dying_descendants");
            let root = self.roles.unified.and_then(|tree| self.mounts.trees.get(tree)).map(|m| m.point.as_path());
            let file = root.unwrap_or(Path::new("/")).join("cgroup.stat");
            out.dying_source = format!("{}:nr_dying_descendants", file.display()).into();
        }
    }
}
