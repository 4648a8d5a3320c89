//! A pass over many cgroups, against a plain open, read and close of the files it would read in full.
//!
//! Makes empty, limitless cgroups in every v1 hierarchy and removes them; needs root.

#![expect(clippy::unwrap_used, reason = "a bench that can't prepare stops")]

use divan::Bencher;
use std::path::{Path, PathBuf};
use whytop::collect::cgroups::CgroupsCollector;
use whytop::collect::containers::Runtimes;
use whytop::collect::{Collector, Context, Roots};

const V1: &str = "/sys/fs/cgroup";
const SIZES: [usize; 2] = [200, 2000];
const TREES: [&str; 6] = ["memory", "pids", "cpu", "cpuacct", "freezer", "unified"];
const FILES: [&str; 23] = [
    "memory/memory.usage_in_bytes",
    "memory/memory.limit_in_bytes",
    "memory/memory.failcnt",
    "memory/memory.max_usage_in_bytes",
    "memory/memory.oom_control",
    "memory/memory.stat",
    "memory/memory.memsw.usage_in_bytes",
    "memory/memory.memsw.limit_in_bytes",
    "memory/memory.memsw.failcnt",
    "memory/memory.kmem.usage_in_bytes",
    "memory/memory.kmem.limit_in_bytes",
    "memory/memory.kmem.failcnt",
    "pids/pids.current",
    "pids/pids.max",
    "pids/pids.events",
    "cpu/cpu.cfs_quota_us",
    "cpu/cpu.cfs_period_us",
    "cpu/cpu.stat",
    "cpuacct/cpuacct.usage",
    "freezer/freezer.state",
    "unified/cpu.pressure",
    "unified/memory.pressure",
    "unified/io.pressure",
];

/// Cgroups of ours in every hierarchy.
struct Groups(Vec<PathBuf>);

impl Groups {
    fn new(count: usize) -> Option<Self> {
        let able = rustix::process::geteuid().is_root() && TREES.iter().all(|t| Path::new(V1).join(t).is_dir());
        if !able {
            println!("SKIPPED: not root, or not every v1 hierarchy at {V1}");
            return None;
        }
        let parent = format!("whytop-bench-{}", std::process::id());
        let mut all = vec![PathBuf::from(&parent)];
        all.extend((0..count).map(|n| Path::new(&parent).join(format!("{n:064x}"))));
        let groups = Self(all);
        for (tree, path) in groups.each() {
            std::fs::create_dir_all(Path::new(V1).join(tree).join(path)).unwrap();
        }
        Some(groups)
    }

    fn each(&self) -> impl Iterator<Item = (&str, &PathBuf)> {
        self.0.iter().flat_map(|path| TREES.map(|tree| (tree, path)))
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.0.reverse();
        for (tree, path) in self.each() {
            let _ = std::fs::remove_dir(Path::new(V1).join(tree).join(path));
        }
    }
}

fn collector() -> CgroupsCollector {
    let mut collector = CgroupsCollector::new(&Roots::default(), Runtimes::default(), None);
    collector.collect(&Context::default());
    collector
}

#[divan::bench(args = SIZES, max_time = 4)]
fn pass(bencher: Bencher<'_, '_>, count: usize) {
    let Some(_groups) = Groups::new(count) else { return };
    let mut collector = collector();
    bencher.bench_local(|| collector.collect(&Context::default()));
}

#[divan::bench(args = SIZES, max_time = 4)]
fn pass_over_everything(bencher: Bencher<'_, '_>, count: usize) {
    let Some(_groups) = Groups::new(count) else { return };
    let mut collector = collector();
    let eager = Context { eager: true, ..Context::default() };
    bencher.bench_local(|| collector.collect(&eager));
}

#[divan::bench(args = SIZES, max_time = 4)]
fn plain_reads_of_everything(bencher: Bencher<'_, '_>, count: usize) {
    let Some(groups) = Groups::new(count) else { return };
    let files = |path: &PathBuf| {
        FILES.map(|file| {
            let (tree, name) = file.split_once('/').unwrap();
            Path::new(V1).join(tree).join(path).join(name)
        })
    };
    bencher.bench_local(|| {
        groups.0.iter().flat_map(files).map(|f| std::fs::read(f).map_or(0, |r| r.len())).sum::<usize>()
    });
}

fn main() {
    divan::main();
}
