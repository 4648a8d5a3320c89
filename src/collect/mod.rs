//! The only code that reads the kernel.
//!
//! Parsers eat bytes; collectors open files below injected [`Roots`], keep their buffers, and give a
//! [`Section`]. Lanes run collectors on threads with deadlines; the [`sampler`] puts a
//! snapshot together and never waits for a late one.

pub mod cgroups;
pub mod containers;
pub mod cpu;
pub mod detail;
pub mod host;
pub mod io;
pub mod kept;
pub mod klog;
pub mod memory;
mod mountinfo;
pub mod net;
pub mod pressure;
pub mod probe;
pub mod readers;
pub mod roots;
pub mod sampler;
pub mod slab;
pub mod sockets;
pub mod tasks;
pub mod text;

pub use roots::Roots;

use crate::snapshot::{Moment, Net, Section, TaskKey, Tasks};
use std::sync::Arc;

/// What a collector may know about the sample it takes part in.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The newest tasks that are known: for lanes that join with processes.
    pub tasks: Option<Arc<Tasks>>,
    /// The newest interfaces that are known, and when they were looked at.
    pub net: Option<(Moment, Arc<Net>)>,
    /// The task that a drill-down shows.
    pub focus: Option<TaskKey>,
    /// Whether every source is wanted now, whatever its usual period (the first sample, `why --for`).
    pub eager: bool,
}

/// Reads one section. Keeps its buffers, caches and descriptors between passes.
pub trait Collector: Send + 'static {
    /// The section's data.
    type Out: Send + Sync + 'static;
    /// Lane name, as in the header and in `doctor`.
    fn name(&self) -> &'static str;
    /// Takes one pass. Errors become section states; a vanished task or cgroup is no error.
    fn collect(&mut self, cx: &Context) -> Section<Self::Out>;
}

/// Now, on `CLOCK_BOOTTIME`.
#[must_use]
pub fn now() -> Moment {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let secs = u64::try_from(t.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(t.tv_nsec).unwrap_or(0);
    Moment(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// The wall clock, nanoseconds since 1970-01-01 UTC.
#[must_use]
pub fn wall_unix_ns() -> i64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    t.tv_sec.saturating_mul(1_000_000_000).saturating_add(t.tv_nsec)
}
