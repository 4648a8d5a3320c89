//! Kernel object caches, merged names resolved.

mod merged;
mod slabinfo;

use super::kept::{Kept, unread};
use super::{Collector, Context, Roots};
use crate::snapshot::{Gap, Section, Slab, Slabs};
use merged::Caches;

/// Reads `/proc/slabinfo` in each pass and `/sys/kernel/slab` seldom.
#[derive(Debug)]
pub struct SlabCollector {
    slabinfo: Kept,
    caches: Caches,
    page_bytes: u64,
    buf: Vec<u8>,
}

impl SlabCollector {
    /// A collector of the trees below `roots`.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self {
            slabinfo: Kept::new(roots.proc("slabinfo")),
            caches: Caches::new(roots.sys("kernel/slab")),
            page_bytes: rustix::param::page_size() as u64,
            buf: Vec::new(),
        }
    }
}

impl Collector for SlabCollector {
    type Out = Slabs;

    fn name(&self) -> &'static str {
        "slab"
    }

    fn collect(&mut self, _: &Context) -> Section<Slabs> {
        let at = super::now();
        if let Err(e) = self.slabinfo.read(&mut self.buf) {
            return unread("/proc/slabinfo", "root: the kernel shows it to its owner only", e);
        }
        let lines = slabinfo::parse(&self.buf);
        let denied = self.caches.learn(lines.iter().map(|line| line.name), at);
        let mut rows: Vec<Slab> = lines
            .iter()
            .map(|line| {
                let cache = self.caches.get(line.name);
                Slab {
                    name: cache.name,
                    aliases: cache.aliases,
                    active_objs: line.active_objs,
                    num_objs: line.num_objs,
                    obj_bytes: line.obj_bytes,
                    bytes: line.pages.saturating_mul(self.page_bytes),
                    reclaimable: cache.reclaimable,
                    per_cgroup: line.per_cgroup,
                }
            })
            .collect();
        rows.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        let gaps = denied.map(|why| Gap {
            what: "merged names of caches and whether they are reclaimable".into(),
            fix: format!("root and a readable /sys/kernel/slab ({why})").into(),
        });
        Section::ok(at, Slabs { rows, gaps: gaps.into_iter().collect() })
    }
}
