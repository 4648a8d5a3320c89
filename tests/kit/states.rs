//! The same host seen well, calm, not at all, and late.

use super::build::{Build, at};
use super::story_d;
use std::sync::Arc;
use whytop::model::Frame;
use whytop::snapshot::{
    Cgroups, Counters, Cpu, Host, KernelLog, Memory, Net, NetnsCounters, Pressure, Section, Slabs, Sockets, Tasks,
};

/// Nothing is wrong and nothing is there.
pub fn empty() -> Arc<Frame> {
    let mut b = Build::default();
    let now = at(7_200.0);
    b.snap.at = now;
    b.snap.wall_unix_ns = 1_700_000_047_000_000_000;
    b.frame.window_start = at(7_190.0);
    b.snap.host = Section::ok(now, Host { name: "quiet".into(), kernel: "6.18.0".into(), cpus: 2, ..Host::default() });
    b.snap.cpu = Section::ok(now, Cpu::default());
    b.snap.tasks = Section::ok(now, Tasks::default());
    b.snap.sockets = Section::ok(now, Sockets::default());
    b.snap.net = Section::ok(now, Net { netns: vec![NetnsCounters::default()], ..Net::default() });
    b.snap.cgroups = Section::ok(now, Cgroups::default());
    let meminfo = Counters::from_pairs([("MemTotal", 2_u64 << 30), ("MemFree", 1 << 30), ("MemAvailable", 1 << 30)]);
    b.snap.memory = Section::ok(now, Memory { meminfo, ..Memory::default() });
    b.snap.pressure = Section::ok(now, Pressure::default());
    b.snap.slab = Section::ok(now, Slabs::default());
    b.snap.klog = Section::ok(now, KernelLog::default());
    b.done()
}

/// Nothing may be read.
pub fn denied() -> Arc<Frame> {
    let mut b = Build::default();
    let now = at(7_200.0);
    b.snap.at = now;
    b.snap.wall_unix_ns = 1_700_000_047_000_000_000;
    b.snap.tasks = Section::denied("/proc", "hidepid=0, or run as root");
    b.snap.sockets = Section::denied("sock_diag", "CAP_NET_ADMIN");
    b.snap.net = Section::denied("/proc/net", "run as root");
    b.snap.cgroups = Section::denied("/sys/fs/cgroup", "run as root");
    b.snap.memory = Section::denied("/proc/meminfo", "run as root");
    b.snap.slab = Section::denied("/proc/slabinfo", "CAP_SYS_ADMIN (root)");
    b.snap.klog = Section::denied("/dev/kmsg", "CAP_SYSLOG or kernel.dmesg_restrict=0");
    b.done()
}

/// Every lane is late by 12 s.
pub fn stale() -> Arc<Frame> {
    let mut b = story_d::build();
    let why = "its lane has not answered";
    b.snap.tasks = std::mem::take(&mut b.snap.tasks).grown_stale(why);
    b.snap.sockets = std::mem::take(&mut b.snap.sockets).grown_stale(why);
    b.snap.net = std::mem::take(&mut b.snap.net).grown_stale(why);
    b.snap.cgroups = std::mem::take(&mut b.snap.cgroups).grown_stale(why);
    b.snap.memory = std::mem::take(&mut b.snap.memory).grown_stale(why);
    b.snap.slab = std::mem::take(&mut b.snap.slab).grown_stale(why);
    b.snap.klog = std::mem::take(&mut b.snap.klog).grown_stale(why);
    b.snap.at = at(3_553_932.0);
    b.done()
}
