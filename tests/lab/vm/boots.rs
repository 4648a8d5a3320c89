//! Which machines there are, and what each plays.

use super::machine::{Cgroups, Spec};
use super::scenarios::{calm, cgroup_limits, stuck};
use crate::Work;
use crate::Work::{Calm, Trouble};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One machine.
pub struct Boot {
    pub name: &'static str,
    /// As the scoreboard says it.
    pub side: &'static str,
    cgroups: Cgroups,
    modules: &'static [&'static str],
    pub disks: &'static [Disk],
    pub works: &'static [Work],
}

/// A disk that a machine is given.
pub enum Disk {
    /// With an empty ext4.
    Ext4,
}

pub const BOOTS: &[Boot] = &[
    Boot {
        name: "v2",
        side: "VM v2",
        cgroups: Cgroups::V2,
        modules: &["tcp_diag", "udp_diag"],
        disks: &[],
        works: &[Calm(calm::IDLE), Trouble(cgroup_limits::PARENT_OOM)],
    },
    Boot {
        name: "v1",
        side: "VM v1",
        cgroups: Cgroups::V1,
        modules: &["tcp_diag", "udp_diag"],
        disks: &[],
        works: &[Calm(calm::IDLE), Trouble(cgroup_limits::PARENT_OOM)],
    },
    Boot {
        name: "stuck",
        side: "VM v2",
        cgroups: Cgroups::V2,
        modules: &["tcp_diag", "udp_diag", "virtio_pci", "virtio_blk"],
        disks: &[Disk::Ext4],
        works: &[Trouble(stuck::HUNG)],
    },
];

impl Boot {
    pub fn spec(&self) -> Spec<'static> {
        Spec { cgroups: self.cgroups, modules: self.modules, ..Spec::new(self.name) }
    }

    /// `vm_v2::NAME`.
    pub fn named(&self, work: &str) -> String {
        format!("vm_{}::{work}", self.name)
    }

    pub fn full_name(&self, work: &Work) -> String {
        self.named(work.name())
    }

    pub fn chosen(&self, wanted: impl Fn(&str) -> bool) -> Vec<Work> {
        self.works.iter().filter(|work| wanted(&self.full_name(work))).copied().collect()
    }
}

impl Disk {
    /// A disk image of 64 MB at `path`.
    pub fn make(&self, path: &Path) -> Result<PathBuf, String> {
        let file = std::fs::File::create(path).and_then(|f| f.set_len(64 << 20));
        file.map_err(|e| format!("{}: {e}", path.display()))?;
        if matches!(self, Self::Ext4) {
            let mkfs = crate::kit::which("mkfs.ext4").ok_or("not installed: mkfs.ext4 (Debian: e2fsprogs)")?;
            let made =
                Command::new(mkfs).args(["-q", "-F"]).arg(path).status().map_err(|e| format!("mkfs.ext4: {e}"))?;
            made.success().then_some(()).ok_or("mkfs.ext4 failed")?;
        }
        Ok(path.to_owned())
    }
}
