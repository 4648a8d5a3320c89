//! Which machines there are, and what each plays.

use super::machine::{Cgroups, Spec};
use super::scenarios::{calm, cgroup_limits, lockup, memory, net, storage, stuck};
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
    memory_mb: u32,
    modules: &'static [&'static str],
    pub disks: &'static [Disk],
    /// Whether it has a network card `eth0` whose far end takes nothing.
    pub deaf_card: bool,
    pub works: &'static [Work],
}

/// A disk that a machine is given.
pub enum Disk {
    /// With an empty ext4.
    Ext4,
    /// Without anything.
    Blank,
}

const BASE: Boot = Boot {
    name: "",
    side: "VM v2",
    cgroups: Cgroups::V2,
    memory_mb: 512,
    modules: &["tcp_diag", "udp_diag"],
    disks: &[],
    deaf_card: false,
    works: &[],
};

pub const BOOTS: &[Boot] = &[
    Boot {
        name: "v2",
        modules: &["tcp_diag", "udp_diag", "virtio_pci", "virtio_blk"],
        disks: &[Disk::Ext4],
        works: &[Calm(calm::LOADED), Trouble(cgroup_limits::PARENT_OOM), Trouble(cgroup_limits::LIMITS)],
        ..BASE
    },
    Boot {
        name: "v1",
        side: "VM v1",
        cgroups: Cgroups::V1,
        works: &[Calm(calm::IDLE), Trouble(cgroup_limits::PARENT_OOM), Trouble(cgroup_limits::LIMITS)],
        ..BASE
    },
    Boot {
        name: "memory",
        memory_mb: 768,
        modules: &["tcp_diag", "udp_diag", "virtio_pci", "virtio_blk"],
        disks: &[Disk::Ext4, Disk::Blank],
        works: &[
            Trouble(memory::PIDS),
            Trouble(memory::EXHAUSTED),
            Trouble(memory::SWAP_FULL),
            Trouble(memory::OOM),
            Trouble(stuck::HUNG),
        ],
        ..BASE
    },
    Boot {
        name: "net",
        modules: &["tcp_diag", "udp_diag", "veth", "virtio_pci", "virtio_net"],
        deaf_card: true,
        works: &[
            Trouble(net::SYN_FLOOD),
            Trouble(net::NEIGHBOURS),
            Trouble(net::TCP_MEM),
            Trouble(net::ORPHANS),
            Trouble(net::CARD_STUCK),
        ],
        ..BASE
    },
    Boot {
        name: "kernel",
        modules: &["tcp_diag", "udp_diag", "nfsv3", "sd_mod", "scsi_debug opts=2 delay=0"],
        works: &[Trouble(storage::MEDIUM_ERROR), Trouble(storage::NFS), Trouble(lockup::SOFT_LOCKUP)],
        ..BASE
    },
];

impl Boot {
    pub fn spec(&self) -> Spec<'static> {
        Spec { cgroups: self.cgroups, memory_mb: self.memory_mb, modules: self.modules, ..Spec::new(self.name) }
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
