//! The files of one cgroup directory: opened by name below its descriptor, those that it lacks remembered.

use rustix::fd::BorrowedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CStr;

/// A file of a cgroup directory.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum File {
    /// v1 `memory.usage_in_bytes`.
    Usage,
    /// v1 `memory.limit_in_bytes`.
    Limit,
    /// v1 `memory.failcnt`.
    Failcnt,
    /// v1 `memory.max_usage_in_bytes`.
    MaxUsage,
    /// v1 `memory.oom_control`.
    OomControl,
    /// `memory.stat`, both versions.
    MemoryStat,
    /// v1 `memory.memsw.usage_in_bytes`.
    MemswUsage,
    /// v1 `memory.memsw.limit_in_bytes`.
    MemswLimit,
    /// v1 `memory.memsw.failcnt`.
    MemswFailcnt,
    /// v1 `memory.kmem.usage_in_bytes`.
    KmemUsage,
    /// v1 `memory.kmem.limit_in_bytes`.
    KmemLimit,
    /// v1 `memory.kmem.failcnt`.
    KmemFailcnt,
    /// `pids.current`, both versions.
    PidsCurrent,
    /// `pids.max`, both versions.
    PidsMax,
    /// `pids.events`, both versions.
    PidsEvents,
    /// v1 `cpu.cfs_quota_us`.
    CfsQuota,
    /// v1 `cpu.cfs_period_us`.
    CfsPeriod,
    /// `cpu.stat`: v1 throttling only, v2 usage too.
    CpuStat,
    /// v1 `cpuacct.usage`.
    CpuacctUsage,
    /// v1 `freezer.state`.
    FreezerState,
    /// v2 `memory.current`.
    MemoryCurrent,
    /// v2 `memory.max`.
    MemoryMax,
    /// v2 `memory.high`.
    MemoryHigh,
    /// v2 `memory.peak`.
    MemoryPeak,
    /// v2 `memory.events`, hierarchical.
    MemoryEvents,
    /// v2 `memory.events.local`.
    MemoryEventsLocal,
    /// v2 `memory.swap.current`.
    SwapCurrent,
    /// v2 `memory.swap.max`.
    SwapMax,
    /// v2 `memory.swap.events`.
    SwapEvents,
    /// v2 `cpu.max`.
    CpuMax,
    /// v2 `cpu.pressure`.
    CpuPressure,
    /// v2 `memory.pressure`.
    MemoryPressure,
    /// v2 `io.pressure`.
    IoPressure,
    /// v2 `cgroup.events`.
    CgroupEvents,
    /// v2 `cgroup.stat`.
    CgroupStat,
}

impl File {
    fn name(self) -> &'static CStr {
        match self {
            Self::Usage => c"memory.usage_in_bytes",
            Self::Limit => c"memory.limit_in_bytes",
            Self::Failcnt => c"memory.failcnt",
            Self::MaxUsage => c"memory.max_usage_in_bytes",
            Self::OomControl => c"memory.oom_control",
            Self::MemoryStat => c"memory.stat",
            Self::MemswUsage => c"memory.memsw.usage_in_bytes",
            Self::MemswLimit => c"memory.memsw.limit_in_bytes",
            Self::MemswFailcnt => c"memory.memsw.failcnt",
            Self::KmemUsage => c"memory.kmem.usage_in_bytes",
            Self::KmemLimit => c"memory.kmem.limit_in_bytes",
            Self::KmemFailcnt => c"memory.kmem.failcnt",
            Self::PidsCurrent => c"pids.current",
            Self::PidsMax => c"pids.max",
            Self::PidsEvents => c"pids.events",
            Self::CfsQuota => c"cpu.cfs_quota_us",
            Self::CfsPeriod => c"cpu.cfs_period_us",
            Self::CpuStat => c"cpu.stat",
            Self::CpuacctUsage => c"cpuacct.usage",
            Self::FreezerState => c"freezer.state",
            Self::MemoryCurrent => c"memory.current",
            Self::MemoryMax => c"memory.max",
            Self::MemoryHigh => c"memory.high",
            Self::MemoryPeak => c"memory.peak",
            Self::MemoryEvents => c"memory.events",
            Self::MemoryEventsLocal => c"memory.events.local",
            Self::SwapCurrent => c"memory.swap.current",
            Self::SwapMax => c"memory.swap.max",
            Self::SwapEvents => c"memory.swap.events",
            Self::CpuMax => c"cpu.max",
            Self::CpuPressure => c"cpu.pressure",
            Self::MemoryPressure => c"memory.pressure",
            Self::IoPressure => c"io.pressure",
            Self::CgroupEvents => c"cgroup.events",
            Self::CgroupStat => c"cgroup.stat",
        }
    }

    fn bit(self) -> u64 {
        1 << (self as u8)
    }
}

/// Which files a directory was found to lack: they are not tried again before its next full look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lacks(u64);

impl Lacks {
    /// Everything may be there again: a controller may have been switched on below.
    pub fn forget(&mut self) {
        self.0 = 0;
    }
}

/// Buffer and errors of a pass.
#[derive(Debug, Default)]
pub struct Reading {
    /// Reused for every file.
    pub buf: Vec<u8>,
    /// Files that the kernel refused to us.
    pub denied: u64,
}

/// An open cgroup directory.
#[derive(Debug)]
pub struct Files<'a> {
    /// The directory.
    pub dir: BorrowedFd<'a>,
    /// What it lacks.
    pub lacks: &'a mut Lacks,
}

impl Files<'_> {
    /// The file's bytes; `None` when there is no such file, it is refused, or the cgroup has gone.
    pub fn read<'b>(&mut self, file: File, reading: &'b mut Reading) -> Option<&'b [u8]> {
        if self.lacks.0 & file.bit() != 0 {
            return None;
        }
        match read_file(self.dir, file.name(), &mut reading.buf) {
            Ok(()) => Some(&reading.buf),
            // A removed cgroup's files give ENODEV; the walk will find it gone.
            Err(Errno::NODEV) => None,
            Err(error) => {
                if matches!(error, Errno::ACCESS | Errno::PERM) {
                    reading.denied += 1;
                }
                // Also EOPNOTSUPP: pressure files of a kernel booted without PSI.
                self.lacks.0 |= file.bit();
                None
            }
        }
    }

    /// A file of one number.
    pub fn number(&mut self, file: File, reading: &mut Reading) -> Option<u64> {
        self.read(file, reading).and_then(super::parse::number)
    }

    /// A file of a number or `max`.
    pub fn limit(&mut self, file: File, reading: &mut Reading) -> Option<u64> {
        self.read(file, reading).and_then(super::parse::limit).flatten()
    }
}

/// Reads a cgroup file. The kernel gives such a file whole to a read with room for it, so a short read is its end: that
/// saves a call a file against reading until nothing comes.
fn read_file(dir: BorrowedFd<'_>, name: &CStr, buf: &mut Vec<u8>) -> Result<(), Errno> {
    let fd = rustix::fs::openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    buf.clear();
    loop {
        buf.reserve(ROOM);
        match rustix::io::read(&fd, rustix::buffer::spare_capacity(buf)) {
            Ok(n) if n == 0 || buf.len() < buf.capacity() => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Room for any `memory.stat`.
const ROOM: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::io;
    use rustix::fd::AsFd;

    #[test]
    fn a_missing_file_is_tried_once_until_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let fd = io::open_dir(dir.path()).unwrap();
        let (mut lacks, mut reading) = (Lacks::default(), Reading::default());
        let mut files = Files { dir: fd.as_fd(), lacks: &mut lacks };
        assert_eq!(files.number(File::PidsMax, &mut reading), None);
        std::fs::write(dir.path().join("pids.max"), "5\n").unwrap();
        std::fs::write(dir.path().join("pids.current"), "4\n").unwrap();
        assert_eq!(files.number(File::PidsMax, &mut reading), None);
        assert_eq!(files.number(File::PidsCurrent, &mut reading), Some(4));
        files.lacks.forget();
        assert_eq!(files.limit(File::PidsMax, &mut reading), Some(5));
    }

    #[test]
    fn every_file_has_a_bit_of_its_own() {
        assert!((File::CgroupStat as u8) < 64);
    }
}
