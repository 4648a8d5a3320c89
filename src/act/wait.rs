//! Whether a fatal signal ends a sleep in the kernel, judged by the functions on the kernel stack.
//!
//! `/proc` shows one letter, D, for two kinds of sleep: that which nothing ends but what it waits for
//! (`TASK_UNINTERRUPTIBLE`), and that which a fatal signal ends too (`TASK_KILLABLE`). The functions tell them apart,
//! often. Generic ones, that serve both, are passed over; the first that is not decides, or nothing does: a function
//! further out, that only called the one which sleeps, says nothing about the sleep.

use crate::snapshot::Text;

/// What a fatal signal does to a sleep in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// Ends it.
    Killable,
    /// Nothing: it is taken when what is waited for has come.
    Plain,
    /// It waits for a FUSE server: a request that the server has read already is waited out.
    Fuse,
    /// The functions do not tell.
    #[default]
    Unknown,
}

// In these lists a name that ends in `_` stands for all that begin with it.

/// Functions that serve sleeps of both kinds.
const GENERIC: &[&str] = &[
    "schedule",
    "schedule_",
    "io_schedule",
    "io_schedule_",
    "bit_wait",
    "bit_wait_",
    "__wait_on_bit",
    "__wait_on_bit_lock",
    "out_of_line_wait_on_bit",
    "wait_on_bit",
    "wait_woken",
    "folio_wait_bit_common",
    "wait_on_page_bit_common",
    "rwsem_down_read_slowpath",
    "rwsem_down_write_slowpath",
    "down_",
    "__down",
    "__down_",
    "__mutex_lock",
    "__mutex_lock_",
    "mutex_lock",
    "mutex_lock_",
    "ww_mutex_lock",
    "__ww_mutex_lock",
    "wait_for_completion",
    "wait_for_completion_",
    "__wait_for_common",
    "do_wait_for_common",
    "wait_for_common",
    "call_rwsem_",
];

/// Functions whose sleep a fatal signal ends. Any name with `killable` in it is one too.
const KILLABLE: &[&str] = &[
    "wait_for_vfork_done",
    "mem_cgroup_handle_over_high",
    "mem_cgroup_oom_synchronize",
    "balance_dirty_pages",
    "filemap_update_page",
    "filemap_read_folio",
    "__folio_lock_or_retry",
    "__lock_page_or_retry",
    "iterate_dir",
    "dup_mmap",
    "vm_mmap_pgoff",
    "__vm_munmap",
    "__do_sys_brk",
    "do_madvise",
    "mmap_read_lock_maybe_expand",
    "lock_mm_and_find_vma",
];

/// Functions whose sleep nothing ends but what it waits for.
const PLAIN: &[&str] = &[
    "percpu_rwsem_wait",
    "__percpu_down_read",
    "percpu_down_write",
    "__sb_start_write",
    "sb_start_write",
    "jbd2_log_wait_commit",
    "wait_transaction_locked",
    "wait_transaction_switching",
    "add_transaction_credits",
    "start_this_handle",
    "folio_wait_writeback",
    "wait_on_page_writeback",
    "folio_wait_bit",
    "wait_on_page_bit",
    "sleep_on_page",
    "__folio_lock",
    "__lock_page",
    "__wait_on_buffer",
    "__lock_buffer",
    "submit_bio_wait",
    "blk_execute_rq",
    "blk_mq_get_tag",
    "rq_qos_wait",
    "wbt_wait",
    "dio_await_one",
    "dio_await_completion",
    "__iomap_dio_rw",
    "xlog_",
    "xfs_log_force",
    "xfs_buf_iowait",
    "rwsem_down_read_failed",
    "rwsem_down_write_failed",
    "fdget_pos",
    "__fdget_pos",
    "filename_create",
    "do_unlinkat",
    "do_rmdir",
    "open_last_lookups",
    "lock_rename",
    "lookup_slow",
    "__lookup_slow",
    "wb_wait_for_completion",
    "synchronize_",
    "__wait_rcu_gp",
    "wait_rcu_gp",
    "flush_work",
    "__flush_work",
    "msleep",
    "coredump_wait",
    "do_exit",
    "exit_",
];

/// The whole innermost name of the parent of a vfork: the wait itself is inlined into these.
const FORKS: [&str; 3] = ["kernel_clone", "_do_fork", "do_fork"];

impl Wait {
    /// Judges by the wait channel and the kernel stack (innermost first; empty where it may not be read).
    #[must_use]
    pub fn of(wchan: Option<&str>, stack: &[Text]) -> Self {
        let mut names = stack.iter().map(|name| &**name).chain(wchan.filter(|_| stack.is_empty()));
        // The compiler's copies of a function have a suffix: `__mutex_lock.constprop.0`.
        let begins = |parts: &[&str], name: &str| {
            let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
            parts.iter().any(|part| if part.ends_with('_') { stem.starts_with(part) } else { stem == *part })
        };
        let Some(first) = names.clone().next() else { return Self::Unknown };
        if FORKS.contains(&first) || wchan.is_some_and(|name| FORKS.contains(&name)) {
            return Self::Killable;
        }
        let Some(name) = names.find(|name| name.contains("killable") || !begins(GENERIC, name)) else {
            return Self::Unknown;
        };
        match name {
            _ if name.starts_with("request_wait_answer") || name.starts_with("fuse_") => Self::Fuse,
            _ if name.contains("killable") || begins(KILLABLE, name) => Self::Killable,
            _ if begins(PLAIN, name) => Self::Plain,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(names: &[&str]) -> Wait {
        let stack: Vec<Text> = names.iter().map(|name| (*name).into()).collect();
        Wait::of(names.first().copied(), &stack)
    }

    #[test]
    fn stacks_of_real_kernels() {
        for (wait, names) in [
            (Wait::Plain, &["percpu_rwsem_wait", "__percpu_down_read", "mnt_want_write", "open_last_lookups"][..]),
            (Wait::Plain, &["jbd2_log_wait_commit", "ext4_sync_file", "do_fsync"]),
            (Wait::Killable, &["kernel_clone", "__x64_sys_vfork", "do_syscall_64"]),
            (Wait::Killable, &["rpc_wait_bit_killable", "__rpc_execute", "nfs4_proc_getattr"]),
            (Wait::Killable, &["mem_cgroup_handle_over_high", "exit_to_user_mode_loop"]),
            (Wait::Fuse, &["request_wait_answer", "__fuse_simple_request", "fuse_lookup_name"]),
            (Wait::Killable, &["folio_wait_bit_common", "filemap_update_page", "filemap_get_pages"]),
            (Wait::Plain, &["folio_wait_bit_common", "folio_wait_writeback", "ext4_sync_file"]),
            (Wait::Plain, &["rwsem_down_write_slowpath", "down_write", "filename_create", "do_mkdirat"]),
            (Wait::Killable, &["rwsem_down_write_slowpath", "down_write_killable", "vm_mmap_pgoff"]),
            (Wait::Plain, &["__mutex_lock.constprop.0", "fdget_pos", "ksys_read"]),
            (Wait::Unknown, &["some_driver_reset", "filename_create"]),
            (Wait::Unknown, &["folio_wait_bit_common"]),
            (Wait::Unknown, &[]),
        ] {
            assert_eq!(of(names), wait, "{names:?}");
        }
    }

    #[test]
    fn the_wait_channel_stands_in_for_a_denied_stack() {
        assert_eq!(Wait::of(Some("percpu_rwsem_wait"), &[]), Wait::Plain);
        assert_eq!(Wait::of(Some("kernel_clone"), &[]), Wait::Killable);
        assert_eq!(Wait::of(Some("folio_wait_bit_common"), &[]), Wait::Unknown);
        assert_eq!(Wait::of(None, &[]), Wait::Unknown);
    }

    proptest! {
        #[test]
        fn never_panics(wchan in "\\PC{0,20}", stack: Vec<String>) {
            let stack: Vec<Text> = stack.iter().map(|name| name.as_str().into()).collect();
            let _ = Wait::of(Some(&wchan), &stack);
        }
    }
}
