//! meminfo, vmstat, swap and the host's table limits.

use super::kept::{Kept, unread};
use super::text::{Shapes, Tally, lines, number, text, words};
use super::{Collector, Context, Roots};
use crate::snapshot::{Counters, Limits, Memory, Moment, Section, Text};
use std::path::PathBuf;

/// Reads `/proc/meminfo`, `vmstat`, `swaps` and limits below `/proc/sys`.
#[derive(Debug)]
pub struct MemoryCollector {
    meminfo: Kept,
    vmstat: Kept,
    swaps: Kept,
    file_nr: Kept,
    sys: PathBuf,
    /// The limits as last read: they change by hand only, so they are read seldom.
    limits: Option<(Moment, Limits)>,
    shapes: Shapes,
    tally: Tally,
    buf: Vec<u8>,
}

impl MemoryCollector {
    /// Limits older than this are read again.
    const LIMITS_SECS: f64 = 10.0;

    /// A collector of the tree below `roots`.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        let kept = |path: &str| Kept::new(roots.proc(path));
        Self {
            meminfo: kept("meminfo"),
            vmstat: kept("vmstat"),
            swaps: kept("swaps"),
            file_nr: kept("sys/fs/file-nr"),
            sys: roots.proc("sys"),
            limits: None,
            shapes: Shapes::default(),
            tally: Tally::default(),
            buf: Vec::new(),
        }
    }

    fn counters(&mut self, tally: impl FnOnce(&[u8], &mut Tally)) -> Counters {
        self.tally.clear();
        tally(&self.buf, &mut self.tally);
        self.shapes.counters(&self.tally)
    }

    fn limits(&mut self, at: Moment) -> Limits {
        let mut limits = match self.limits.take() {
            Some((read, limits)) if at.since(read) < Self::LIMITS_SECS => {
                self.limits = Some((read, limits.clone()));
                limits
            }
            _ => {
                let limits = self.read_limits();
                self.limits = Some((at, limits.clone()));
                limits
            }
        };
        if self.file_nr.read(&mut self.buf).is_ok() {
            (limits.files, limits.files_max) = parse_file_nr(&self.buf);
        }
        limits
    }

    fn read_limits(&mut self) -> Limits {
        self.tally.clear();
        for name in SYSCTLS {
            if super::io::read_path(&self.sys.join(name.replace('.', "/")), &mut self.buf).is_ok() {
                tally_sysctl(&mut self.tally, name, &self.buf);
            }
        }
        let sysctls = self.shapes.counters(&self.tally);
        Limits {
            nr_open: sysctls.get("fs.nr_open"),
            pid_max: sysctls.get("kernel.pid_max"),
            threads_max: sysctls.get("kernel.threads-max"),
            sysctls,
            ..Limits::default()
        }
    }
}

/// Limits and settings that decide what memory, tasks and files may do, and what the kernel says about it.
/// `file-nr` is read in each pass, apart from these.
const SYSCTLS: &[&str] = &[
    "fs.aio-max-nr",
    "fs.aio-nr",
    "fs.dentry-state",
    "fs.inode-nr",
    "fs.inotify.max_user_instances",
    "fs.inotify.max_user_watches",
    "fs.mount-max",
    "fs.nr_open",
    "kernel.hung_task_check_interval_secs",
    "kernel.hung_task_detect_count",
    "kernel.hung_task_panic",
    "kernel.hung_task_timeout_secs",
    "kernel.hung_task_warnings",
    "kernel.keys.maxkeys",
    "kernel.panic_on_oops",
    "kernel.pid_max",
    "kernel.pty.max",
    "kernel.pty.nr",
    "kernel.softlockup_panic",
    "kernel.task_delayacct",
    "kernel.threads-max",
    "kernel.watchdog_thresh",
    "vm.admin_reserve_kbytes",
    "vm.dirty_background_ratio",
    "vm.dirty_ratio",
    "vm.max_map_count",
    "vm.min_free_kbytes",
    "vm.oom_kill_allocating_task",
    "vm.overcommit_kbytes",
    "vm.overcommit_memory",
    "vm.overcommit_ratio",
    "vm.panic_on_oom",
    "vm.swappiness",
    "vm.vfs_cache_pressure",
    "vm.zone_reclaim_mode",
];

impl Collector for MemoryCollector {
    type Out = Memory;

    fn name(&self) -> &'static str {
        "memory"
    }

    fn collect(&mut self, _: &Context) -> Section<Memory> {
        let at = super::now();
        if let Err(e) = self.meminfo.read(&mut self.buf) {
            return unread("/proc/meminfo", "a /proc mounted without subset=pid", e);
        }
        let meminfo = self.counters(tally_meminfo);
        let vmstat = match self.vmstat.read(&mut self.buf) {
            Ok(()) => self.counters(tally_vmstat),
            Err(_) => Counters::default(),
        };
        let swaps = match self.swaps.read(&mut self.buf) {
            Ok(()) => parse_swaps(&self.buf),
            Err(_) => Vec::new(),
        };
        let limits = self.limits(at);
        Section::ok(at, Memory { meminfo, vmstat, limits, swaps })
    }
}

/// `meminfo`: `Name:  value kB`, kept in bytes; values without a unit (`HugePages_Total`) are counts.
fn tally_meminfo(text: &[u8], tally: &mut Tally) {
    for line in lines(text) {
        let mut words = words(line);
        let Some(name) = words.next().and_then(|name| name.strip_suffix(b":")) else { continue };
        let Some(value) = words.next().and_then(number) else { continue };
        let unit = if words.next() == Some(b"kB") { 1024 } else { 1 };
        tally.push(b"", name, value.saturating_mul(unit));
    }
}

fn tally_vmstat(text: &[u8], tally: &mut Tally) {
    for line in lines(text) {
        let mut words = words(line);
        if let (Some(name), Some(value)) = (words.next(), words.next().and_then(number)) {
            tally.push(b"", name, value);
        }
    }
}

/// A sysctl of one number by its name, of several by `name.0`, `name.1`, …
pub(super) fn tally_sysctl(tally: &mut Tally, name: &str, text: &[u8]) {
    let values: Vec<Option<u64>> = lines(text).flat_map(words).map(number).collect();
    match values.as_slice() {
        [one] => {
            if let Some(value) = one {
                tally.put(name, *value);
            }
        }
        several => {
            for (at, value) in several.iter().enumerate() {
                if let Some(value) = value {
                    tally.push(name.as_bytes(), format!(".{at}").as_bytes(), *value);
                }
            }
        }
    }
}

/// `fs.file-nr`: open files, a zero, and the most there may be.
fn parse_file_nr(text: &[u8]) -> (Option<u64>, Option<u64>) {
    let mut values = lines(text).flat_map(words).map(number);
    (values.next().flatten(), values.nth(1).flatten())
}

/// `/proc/swaps`: name, type, size and use in kB, priority. The name may hold blanks as `\040`; it is kept raw.
fn parse_swaps(file: &[u8]) -> Vec<(Text, u64, u64)> {
    lines(file)
        .filter_map(|line| {
            let mut words = words(line);
            let (name, _kind) = (words.next()?, words.next()?);
            let mut bytes = || words.next().and_then(number).map(|kb| kb.saturating_mul(1024));
            Some((text(name), bytes()?, bytes()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MEMINFO: &[u8] = include_bytes!("../../tests/fixtures/proc/linux-6.18/meminfo");
    const VMSTAT: &[u8] = include_bytes!("../../tests/fixtures/proc/linux-6.18/vmstat");

    fn counters(text: &[u8], of: fn(&[u8], &mut Tally)) -> Counters {
        let mut tally = Tally::default();
        of(text, &mut tally);
        Shapes::default().counters(&tally)
    }

    #[test]
    fn meminfo_of_6_18_in_bytes_and_counts() {
        let meminfo = counters(MEMINFO, tally_meminfo);
        let slab = meminfo.get("Slab").unwrap();
        assert_eq!(slab, meminfo.get("SReclaimable").unwrap() + meminfo.get("SUnreclaim").unwrap());
        assert_eq!(meminfo.get("Hugepagesize"), Some(2048 * 1024));
        assert_eq!(meminfo.get("HugePages_Total"), Some(0));
        assert!(meminfo.get("Active(anon)").is_some());
        assert_eq!(meminfo.iter().count(), MEMINFO.split(|b| *b == b'\n').count() - 1);
    }

    #[test]
    fn meminfo_of_3_10_has_no_mem_available() {
        let text = b"MemTotal:        1016288 kB\nMemFree:          80152 kB\nBuffers:               0 kB\n\
                     Slab:             123 k";
        let meminfo = counters(text, tally_meminfo);
        assert_eq!(meminfo.get("MemAvailable"), None);
        assert_eq!(meminfo.get("MemFree"), Some(80152 * 1024));
    }

    #[test]
    fn vmstat_keeps_what_it_does_not_know() {
        let vmstat = counters(VMSTAT, tally_vmstat);
        assert!(vmstat.get("oom_kill").is_some());
        assert!(vmstat.get("allocstall_normal").is_some());
        let old = counters(b"allocstall 5\nnr_new_thing 7\nbroken\n", tally_vmstat);
        assert_eq!((old.get("allocstall"), old.get("nr_new_thing")), (Some(5), Some(7)));
    }

    #[test]
    fn swaps_without_their_header() {
        let text = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
                     /dev/dm-1                               partition\t2097148\t1024\t-2\n\
                     /a\\040b\\040(deleted)                    file\t\t1048572\t\t0\t\t-3\n/dev/x part";
        let swaps = parse_swaps(text);
        assert_eq!(swaps.len(), 2);
        assert_eq!(swaps[0], ("/dev/dm-1".into(), 2_097_148 * 1024, 1024 * 1024));
        assert_eq!(&*swaps[1].0, "/a\\040b\\040(deleted)");
    }

    #[test]
    fn sysctls_of_one_several_and_no_number() {
        let mut tally = Tally::default();
        tally_sysctl(&mut tally, "vm.max_map_count", b"65530\n");
        tally_sysctl(&mut tally, "fs.inode-nr", b"18000\t321\n");
        tally_sysctl(&mut tally, "kernel.hung_task_warnings", b"-1\n");
        tally_sysctl(&mut tally, "kernel.empty", b"\n");
        let sysctls = Shapes::default().counters(&tally);
        assert_eq!(sysctls.get("vm.max_map_count"), Some(65530));
        assert_eq!(sysctls.get("fs.inode-nr.1"), Some(321));
        assert_eq!(sysctls.get("kernel.hung_task_warnings"), Some(u64::MAX));
        assert_eq!(sysctls.get("kernel.empty"), None);
    }

    #[test]
    fn file_nr() {
        assert_eq!(parse_file_nr(b"1216\t0\t9223372036854775807\n"), (Some(1216), Some(i64::MAX.unsigned_abs())));
        assert_eq!(parse_file_nr(b"12\n"), (Some(12), None));
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            counters(&bytes, tally_meminfo);
            counters(&bytes, tally_vmstat);
            parse_swaps(&bytes);
            parse_file_nr(&bytes);
            tally_sysctl(&mut Tally::default(), "x", &bytes);
        }
    }
}
