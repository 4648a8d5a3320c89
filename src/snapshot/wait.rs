//! What a sleeping thread waits for, as its kernel stack tells.

use super::{TaskKey, Text};
use serde::{Deserialize, Serialize};

/// What a thread waits for. Kinds are open: a newer version's kind is read as [`WaitFor::Unknown`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// A block device.
    Disk,
    /// An NFS server.
    Nfs,
    /// A FUSE server: a process.
    Fuse,
    /// A frozen file system (`fsfreeze`, an LVM snapshot, a hung thaw).
    FrozenFs,
    /// Its frozen cgroup.
    FrozenCgroup,
    /// A lock that another thread holds.
    Lock,
    /// Memory: of its cgroup or of the host.
    Memory,
    /// `memory.high` of its cgroup holds it back for a while.
    Throttled,
    /// Its child of `vfork`, until that runs a program or ends.
    Vfork,
    /// Pages from swap.
    Swap,
    /// Its core dump, or that of its process.
    CoreDump,
    /// Nothing that is known by name.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Beginnings of functions that tell the kind wherever they stand in the stack.
const ANYWHERE: &[(WaitFor, &[&str])] = &[
    (WaitFor::FrozenCgroup, &["__refrigerator", "cgroup_enter_frozen", "do_freezer_trap"]),
    (WaitFor::Vfork, &["wait_for_vfork_done"]),
    (WaitFor::CoreDump, &["coredump_wait", "do_coredump", "vfs_coredump", "coredump_task_exit"]),
    (WaitFor::Fuse, &["request_wait_answer", "fuse_wait_"]),
    (WaitFor::Nfs, &["rpc_wait_", "__rpc_execute", "nfs_wait_", "nfs4_wait_"]),
    (WaitFor::Throttled, &["mem_cgroup_handle_over_high"]),
];

/// Beginnings of functions of which the innermost tells the kind.
const INNERMOST: &[(WaitFor, &[&str])] = &[
    (WaitFor::FrozenFs, &["__sb_start_write", "sb_start_write", "sb_start_pagefault"]),
    (
        WaitFor::Memory,
        &[
            "mem_cgroup_oom",
            "mem_cgroup_out_of_memory",
            "try_charge",
            "mem_cgroup_charge",
            "throttle_direct_reclaim",
            "reclaim_throttle",
            "shrink_",
            "try_to_free_",
            "__alloc_pages_slowpath",
        ],
    ),
    (
        WaitFor::Lock,
        &[
            "rwsem_down_",
            "call_rwsem_",
            "__mutex_lock",
            "mutex_lock",
            "__down",
            "down_",
            "filename_create",
            "lock_rename",
            "fdget_pos",
            "inode_lock",
            "lookup_slow",
            "__lookup_slow",
            "d_alloc_parallel",
            "rt_mutex_",
        ],
    ),
    (
        WaitFor::Disk,
        &[
            "folio_wait_",
            "wait_on_page",
            "__wait_on_page",
            "sleep_on_page",
            "__lock_page",
            "__folio_lock",
            "wait_on_buffer",
            "__wait_on_buffer",
            "bit_wait_io",
            "io_schedule",
            "balance_dirty_pages",
            "blk_",
            "submit_bio_wait",
            "jbd2_",
            "xlog_",
            "xfs_buf_",
            "xfs_log_",
            "btrfs_",
            "dio_await",
            "iomap_dio",
            "blkdev_",
            "rq_qos_wait",
            "wbt_wait",
        ],
    ),
];

/// A wait for a page, and what stands above it: whose page it is.
const WHOSE_PAGE: &[(WaitFor, &[&str])] = &[
    (WaitFor::Nfs, &["nfs_", "nfs3_", "nfs4_"]),
    (WaitFor::Fuse, &["fuse_"]),
    (WaitFor::Memory, &["shrink_", "try_to_free_", "reclaim_throttle", "try_charge"]),
    (WaitFor::Swap, &["do_swap_page", "swap_readpage", "swap_read_folio", "swapin_"]),
];

fn told(kinds: &[(WaitFor, &[&str])], name: &str) -> Option<WaitFor> {
    kinds.iter().find(|(_, parts)| parts.iter().any(|p| name.starts_with(p))).map(|(kind, _)| *kind)
}

impl WaitFor {
    /// What a thread with this wait channel and stack (innermost first, perhaps empty) waits for.
    #[must_use]
    pub fn of(wchan: Option<&str>, stack: &[Text]) -> Self {
        let names = || wchan.into_iter().chain(stack.iter().map(|f| &**f));
        if let Some(kind) = names().find_map(|name| told(ANYWHERE, name)) {
            return kind;
        }
        // Only the innermost frame of the parent of a vfork is this; its wait is inlined.
        if names().next().is_some_and(|name| ["kernel_clone", "_do_fork", "do_fork"].contains(&name)) {
            return Self::Vfork;
        }
        if names().next().is_some_and(|name| name.contains("percpu_rwsem") || name.contains("percpu_down_read")) {
            return if names().any(is_cgroup_lock) { Self::Lock } else { Self::FrozenFs };
        }
        match names().find_map(|name| told(INNERMOST, name)) {
            Some(Self::Disk) => names().find_map(|name| told(WHOSE_PAGE, name)).unwrap_or(Self::Disk),
            kind => kind.unwrap_or_default(),
        }
    }

    /// Whether SIGKILL ends the wait at once; `None` where the stack cannot tell.
    #[must_use]
    pub fn killable(self) -> Option<bool> {
        match self {
            Self::Vfork | Self::Nfs | Self::Throttled => Some(true),
            Self::FrozenFs => Some(false),
            _ => None,
        }
    }
}

/// Threads and processes take the thread-group lock of cgroups, a per-CPU semaphore too.
fn is_cgroup_lock(name: &str) -> bool {
    name.starts_with("cgroup_") || name.starts_with("copy_process") || name.starts_with("exit_signals")
}

/// Threads of one process that wait for the same thing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wait {
    /// What for.
    pub kind: WaitFor,
    /// How many threads wait so.
    pub threads: u32,
    /// One of them.
    pub tid: u32,
    /// Its wait channel; `None` where the kernel does not tell.
    pub wchan: Option<Text>,
    /// Its kernel stack, innermost first; empty when denied.
    pub stack: Vec<Text>,
    /// Its system call; `None` when not read.
    pub syscall: Option<i64>,
    /// The path behind the descriptor that the call works on (`/proc/PID/fd/N`, N its first argument).
    pub file: Option<Text>,
    /// Where it waits: `ext4 /dev/sda3 at /data` (the mount the file is on), a cgroup path; empty when not known.
    pub place: Text,
    /// Who it waits for: the FUSE server, the child of vfork; with its name. `None` when not known.
    pub on: Option<(TaskKey, Text)>,
    /// For how many of them SIGKILL is pending.
    pub sigkill_pending: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(wchan: &str, stack: &[&str]) -> WaitFor {
        let stack: Vec<Text> = stack.iter().map(|f| (*f).into()).collect();
        WaitFor::of(Some(wchan).filter(|w| !w.is_empty()), &stack)
    }

    #[test]
    fn stacks_of_real_kernels_are_told_apart() {
        for (kind, wchan, stack) in [
            (
                WaitFor::FrozenFs,
                "percpu_rwsem_wait",
                &["percpu_rwsem_wait", "__percpu_down_read", "mnt_want_write"][..],
            ),
            (WaitFor::FrozenFs, "__sb_start_write", &[]),
            (WaitFor::Lock, "percpu_rwsem_wait", &["percpu_rwsem_wait", "cgroup_attach_lock"]),
            (WaitFor::Lock, "filename_create", &["rwsem_down_write_slowpath", "down_write_nested", "filename_create"]),
            (WaitFor::Lock, "call_rwsem_down_read_failed", &[]),
            (
                WaitFor::Fuse,
                "request_wait_answer",
                &["request_wait_answer", "__fuse_simple_request", "fuse_lookup_name"],
            ),
            (WaitFor::Nfs, "rpc_wait_bit_killable", &["__rpc_execute", "nfs_proc_getattr"]),
            (WaitFor::Memory, "mem_cgroup_oom_synchronize", &["try_charge", "handle_mm_fault"]),
            (WaitFor::Throttled, "mem_cgroup_handle_over_high", &[]),
            (WaitFor::Disk, "folio_wait_bit_common", &["folio_wait_writeback", "ext4_sync_file"]),
            (WaitFor::Nfs, "folio_wait_bit_common", &["folio_wait_writeback", "nfs_wb_folio"]),
            (WaitFor::Disk, "folio_wait_bit_common", &["filemap_read", "ext4_readdir", "iterate_dir"]),
            (WaitFor::Swap, "folio_wait_bit_common", &["__folio_lock_or_retry", "do_swap_page"]),
            (WaitFor::Memory, "try_charge_memcg", &["try_charge_memcg", "copy_process", "kernel_clone"]),
            (WaitFor::Disk, "jbd2_log_wait_commit", &["ext4_sync_file"]),
            (WaitFor::Vfork, "kernel_clone", &["kernel_clone", "__x64_sys_vfork"]),
            (WaitFor::FrozenCgroup, "do_nanosleep", &["__refrigerator", "hrtimer_nanosleep"]),
            (WaitFor::Unknown, "some_driver_reset", &["some_driver_reset"]),
            (WaitFor::Unknown, "", &[]),
        ] {
            assert_eq!(of(wchan, stack), kind, "{wchan} {stack:?}");
        }
    }

    #[test]
    fn a_kind_of_a_newer_version_is_unknown() {
        assert_eq!(serde_json::from_str::<WaitFor>("\"teleport\"").ok(), Some(WaitFor::Unknown));
        assert_eq!(serde_json::to_string(&WaitFor::FrozenFs).ok().as_deref(), Some("\"frozen_fs\""));
    }
}
