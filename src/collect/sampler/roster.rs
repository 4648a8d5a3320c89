//! Which lanes there are, what they read and how often.

use super::lane::{Lane, Rhythm, start};
use super::without_events;
use crate::collect::cgroups::CgroupsCollector;
use crate::collect::containers::Runtimes;
use crate::collect::cpu::CpuCollector;
use crate::collect::detail::DetailCollector;
use crate::collect::host::HostCollector;
use crate::collect::klog::KlogCollector;
use crate::collect::memory::MemoryCollector;
use crate::collect::net::NetCollector;
use crate::collect::pressure::PressureCollector;
use crate::collect::readers::Pools;
use crate::collect::slab::SlabCollector;
use crate::collect::sockets::SocketsCollector;
use crate::collect::tasks::TasksCollector;
use crate::collect::{Collector, Context, Roots};
use crate::snapshot::{Detail, Section};
use std::time::Duration;

/// Starts every lane; the order is the order in which late ones are waited for.
pub(super) fn lanes(roots: &Roots, stack: usize, readers: Pools) -> Vec<Box<dyn Lane>> {
    let each = Rhythm::default();
    let first = Rhythm { gives_tasks: true, ..each };
    let then = Rhythm { wants_tasks: true, ..each };
    let seldom = |every, every_eager| Rhythm { every, every_eager, ..each };
    let minute = Duration::from_mins(1);
    let cgroups = CgroupsCollector::new(roots, Runtimes::of(roots), readers.files);
    vec![
        start(TasksCollector::new(roots, readers.tasks), stack, first, |snap, s| snap.tasks = s, Section::clone),
        start(SocketsCollector::new(roots, readers.traffic), stack, then, |snap, s| snap.sockets = s, Section::clone),
        start(NetCollector::new(roots), stack, then, |snap, s| snap.net = s, Section::clone),
        start(cgroups, stack, each, |snap, s| snap.cgroups = s, Section::clone),
        start(HostCollector::new(roots), stack, seldom(minute, minute), |snap, s| snap.host = s, Section::clone),
        start(CpuCollector::new(roots), stack, each, |snap, s| snap.cpu = s, Section::clone),
        start(MemoryCollector::new(roots), stack, each, |snap, s| snap.memory = s, Section::clone),
        start(PressureCollector::new(roots), stack, each, |snap, s| snap.pressure = s, Section::clone),
        start(KlogCollector::new(roots), stack, each, |snap, s| snap.klog = s, without_events),
        // slabinfo holds slab_mutex while it is read; three looks in ten seconds are enough to see that a cache grows.
        start(
            SlabCollector::new(roots),
            stack,
            seldom(Duration::from_secs(3), Duration::from_secs(1)),
            |snap, s| snap.slab = s,
            Section::clone,
        ),
        start(
            Focused(DetailCollector::new(roots, readers.names)),
            stack,
            Rhythm { on_focus: true, ..each },
            |snap, s| snap.detail = s.data().cloned(),
            Section::clone,
        ),
    ]
}

/// Reads the task that a drill-down shows.
struct Focused(DetailCollector);

impl Collector for Focused {
    type Out = Detail;

    fn name(&self) -> &'static str {
        "detail"
    }

    fn collect(&mut self, cx: &Context) -> Section<Detail> {
        let Some(key) = cx.focus else { return Section::absent("no drill-down is open") };
        let detail = self.0.collect(key);
        Section::ok(detail.at, detail)
    }
}
