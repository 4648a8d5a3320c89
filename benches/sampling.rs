//! One pass of a collector beside the kernel's own part of it: the same opens, reads and closes, nothing parsed.
//!
//! `cargo bench --bench sampling`, on a host with many tasks. The kernel's part opens every `task/` and reads the
//! leader's `stat` twice, as a plain loop over `/proc` would.

use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags, RawDir};
use std::mem::MaybeUninit;
use whytop::collect::tasks::TasksCollector;
use whytop::collect::{Collector, Context, Roots};

fn main() {
    divan::main();
}

mod tasks {
    use super::{Collector, Context, Roots, TasksCollector, numbers, read};

    #[divan::bench(sample_count = 30, sample_size = 1)]
    fn collector(bencher: divan::Bencher<'_, '_>) {
        let mut collector = TasksCollector::new(&Roots::default(), None);
        // New tasks are read in full in their first two passes; the third is like all that follow.
        for _ in 0..2 {
            divan::black_box(collector.collect(&Context::default()));
        }
        bencher.bench_local(|| collector.collect(&Context::default()));
    }

    #[divan::bench(sample_count = 30, sample_size = 1)]
    fn kernel(bencher: divan::Bencher<'_, '_>) {
        bencher.bench_local(|| {
            let mut buf = [0_u8; 4096];
            let mut files = 0_u64;
            for pid in numbers("/proc") {
                files += u64::from(read(&format!("/proc/{pid}/stat"), &mut buf));
            }
            for pid in numbers("/proc") {
                for tid in numbers(&format!("/proc/{pid}/task")) {
                    files += u64::from(read(&format!("/proc/{pid}/task/{tid}/stat"), &mut buf));
                }
            }
            files
        });
    }
}

fn numbers(path: &str) -> Vec<u32> {
    let Ok(dir) = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) else { return Vec::new() };
    let mut buf = vec![MaybeUninit::uninit(); 32 * 1024];
    let mut entries = RawDir::new(dir.as_fd(), &mut buf);
    let mut numbers = Vec::new();
    while let Some(entry) = entries.next() {
        let Ok(entry) = entry else { break };
        numbers.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
    }
    numbers
}

fn read(path: &str, buf: &mut [u8]) -> bool {
    let file = rustix::fs::open(path, OFlags::RDONLY, Mode::empty());
    file.is_ok_and(|file| rustix::io::read(&file, buf).is_ok())
}
