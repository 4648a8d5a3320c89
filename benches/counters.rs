//! What the counter collectors cost beside plainly reading the same files: one pass each, in steady state.

use divan::{Bencher, black_box};
use std::path::Path;
use whytop::collect::{Collector, Context, Roots, cpu, memory, net, pressure, slab};

fn main() {
    divan::main();
}

/// Opens, reads and closes each file, as `cat` would.
fn plain(bencher: Bencher<'_, '_>, files: &[&str]) {
    bencher.bench_local(|| {
        for file in files {
            let _ = black_box(std::fs::read(Path::new("/proc").join(file)));
        }
    });
}

/// One pass; the first one, which fills the caches, is not measured.
fn pass(bencher: Bencher<'_, '_>, mut collector: impl Collector) {
    let cx = Context { tasks: Some(std::sync::Arc::default()), ..Context::default() };
    collector.collect(&cx);
    bencher.bench_local(|| black_box(collector.collect(&cx)));
}

#[divan::bench_group]
mod host {
    use super::{Bencher, Roots, cpu, pass, plain};

    #[divan::bench]
    fn cpu_plain(bencher: Bencher<'_, '_>) {
        plain(bencher, &["stat", "loadavg"]);
    }

    #[divan::bench]
    fn cpu_collector(bencher: Bencher<'_, '_>) {
        pass(bencher, cpu::CpuCollector::new(&Roots::default()));
    }
}

#[divan::bench_group]
mod mem {
    use super::{Bencher, Roots, memory, pass, plain, pressure, slab};

    #[divan::bench]
    fn memory_plain(bencher: Bencher<'_, '_>) {
        plain(bencher, &["meminfo", "vmstat", "swaps", "sys/fs/file-nr"]);
    }

    #[divan::bench]
    fn memory_collector(bencher: Bencher<'_, '_>) {
        pass(bencher, memory::MemoryCollector::new(&Roots::default()));
    }

    #[divan::bench]
    fn pressure_plain(bencher: Bencher<'_, '_>) {
        plain(bencher, &["pressure/cpu", "pressure/memory", "pressure/io"]);
    }

    #[divan::bench]
    fn pressure_collector(bencher: Bencher<'_, '_>) {
        pass(bencher, pressure::PressureCollector::new(&Roots::default()));
    }

    #[divan::bench]
    fn slab_plain(bencher: Bencher<'_, '_>) {
        plain(bencher, &["slabinfo"]);
    }

    #[divan::bench]
    fn slab_collector(bencher: Bencher<'_, '_>) {
        pass(bencher, slab::SlabCollector::new(&Roots::default()));
    }
}

/// With the tasks given as none, so that only our own namespace and bind mounts are read.
#[divan::bench_group]
mod network {
    use super::{Bencher, Roots, net, pass, plain};

    #[divan::bench]
    fn net_plain(bencher: Bencher<'_, '_>) {
        plain(
            bencher,
            &[
                "net/netstat",
                "net/snmp",
                "net/snmp6",
                "net/sockstat",
                "net/sockstat6",
                "net/stat/nf_conntrack",
                "net/stat/arp_cache",
                "net/stat/ndisc_cache",
                "net/softnet_stat",
                "net/dev",
            ],
        );
    }

    #[divan::bench]
    fn net_collector(bencher: Bencher<'_, '_>) {
        pass(bencher, net::NetCollector::new(&Roots::default()));
    }
}
