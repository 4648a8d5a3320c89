//! What a pass was refused, as words that say what would help.

use crate::collect::Roots;
use crate::collect::mountinfo::{mounts, unescape};
use crate::snapshot::{Gap, Task};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};
use std::os::unix::ffi::OsStrExt;

/// What the kernel refused in one pass.
#[derive(Debug, Default)]
pub(super) struct Refused {
    processes: u32,
    first: Option<Errno>,
    /// Processes whose descriptors are refused.
    pub fds: u32,
    /// Threads in D whose stack is refused.
    pub stacks: u32,
    pub wchan: bool,
    pub no_reader: bool,
}

impl Refused {
    /// A process whose `stat` could not be read.
    pub fn process(&mut self, error: Errno) {
        self.processes += 1;
        self.first = self.first.or(Some(error));
    }

    /// The gaps of a pass whose first row is `first`: every `/proc` that hides nothing has a pid 1.
    pub fn gaps(&self, roots: &Roots, first: Option<&Task>) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut gap = |refused: bool, what: String, fix: &str| {
            if refused {
                gaps.push(Gap { what: what.into(), fix: fix.into() });
            }
        };
        let ptrace = "CAP_SYS_PTRACE, which some container roots lack";
        let hidden = first.is_none_or(|task| task.key.pid != 1) && mount_hides_pids(roots);
        gap(
            hidden,
            "processes of other users (/proc is mounted with hidepid)".into(),
            "root, CAP_SYS_PTRACE or the group of the mount's gid=",
        );
        let why = self.first.map(|e| e.to_string()).unwrap_or_default();
        gap(self.processes > 0, format!("{} processes: {why}", self.processes), ptrace);
        gap(self.fds > 0, format!("descriptor counts of {} processes", self.fds), ptrace);
        let wchan = self.wchan && !may_trace();
        gap(wchan, "wait channels of other users' threads in D".into(), ptrace);
        let stacks = format!("kernel stacks of {} threads in D", self.stacks);
        gap(self.stacks > 0, stacks, "root (CAP_SYS_ADMIN, and CAP_SYS_PTRACE)");
        gap(
            self.no_reader,
            "new command lines and kernel stacks: every reader process is stuck".into(),
            "restart whytop when the host is well",
        );
        gaps
    }
}

fn may_trace() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE))
}

fn mount_hides_pids(roots: &Roots) -> bool {
    let mut text = Vec::new();
    super::super::io::read_path(&roots.proc("self/mountinfo"), &mut text).is_ok()
        && hides_pids(&text, roots.proc.as_os_str().as_encoded_bytes())
}

/// Whether `mountinfo` has a proc mount on `point` with `hidepid=` other than 0.
fn hides_pids(mountinfo: &[u8], point: &[u8]) -> bool {
    mounts(mountinfo, "proc").any(|mount| {
        let mode = mount.super_options.get("hidepid").and_then(Option::as_deref);
        unescape(mount.mount_point.as_os_str().as_bytes()) == point && mode.is_some_and(|m| !matches!(m, "0" | "off"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidepid_is_found_on_the_right_mount() {
        let line = b"21 25 0:20 / /proc rw,nosuid shared:5 - proc proc rw,gid=44,hidepid=2\n\
            22 25 0:21 / /sys rw - sysfs sysfs rw\n";
        assert!(hides_pids(line, b"/proc"));
        assert!(!hides_pids(line, b"/sys"));
        assert!(!hides_pids(b"21 25 0:20 / /proc rw - proc proc rw\n", b"/proc"));
        assert!(!hides_pids(b"21 25 0:20 / /proc rw - proc proc rw,hidepid=off\n", b"/proc"));
        assert!(hides_pids(b"21 25 0:20 / /proc rw - proc proc rw,hidepid=invisible\n", b"/proc"));
    }

    #[test]
    fn one_gap_for_each_refusal() {
        let mut refused = Refused { fds: 3, ..Refused::default() };
        refused.process(Errno::PERM);
        refused.process(Errno::NFILE);
        let gaps = refused.gaps(
            &Roots::default(),
            Some(&Task { key: crate::snapshot::TaskKey { pid: 1, start_ticks: 1 }, ..Task::default() }),
        );
        assert_eq!(gaps.len(), 2, "{gaps:?}");
        assert!(gaps[0].what.starts_with("2 processes"));
    }
}
