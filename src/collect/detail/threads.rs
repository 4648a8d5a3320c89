//! Threads one by one, and what those in D stand in.

use super::Look;
use crate::collect::tasks::blocked::functions;
use crate::collect::tasks::files::{self, Decimal};
use crate::collect::tasks::{stat, status};
use crate::snapshot::{TaskState, Thread};
use rustix::fd::AsFd;

/// Threads in [`crate::snapshot::TaskDetail::threads`] at most.
const THREADS_MAX: usize = 256;
/// Threads whose state is looked at, at most.
const STATES_MAX: usize = 32_768;
/// Kernel stacks read at most.
const STACKS_MAX: usize = 64;

impl Look<'_> {
    /// The threads, those in D first; and for a leader that has exited, one that lives.
    pub(super) fn threads(&mut self) -> (Vec<Thread>, Option<u32>) {
        let Ok(dir) = self.files.open_dir(&[&self.base, b"/task"]) else { return (Vec::new(), None) };
        let mut tids = Vec::new();
        let _ = files::list_while(dir.as_fd(), self.names, |name| {
            tids.extend(files::id(name));
            tids.len() < STATES_MAX
        });
        let mut threads = Vec::with_capacity(tids.len());
        for tid in tids {
            let name = Decimal::new(tid);
            let Ok(text) = self.files.read_in(&dir, &[name.bytes(), b"/stat"], self.text) else { continue };
            let Some((comm, state)) = stat::parse_state(text) else { continue };
            threads.push(Thread { tid, comm: self.interned.get(comm), state, ..Thread::default() });
        }
        let live = threads.iter().find(|thread| thread.state != TaskState::Zombie).map(|thread| thread.tid);
        let leader = threads.iter().find(|thread| thread.tid == self.pid);
        let live = live.filter(|_| leader.is_some_and(|leader| leader.state == TaskState::Zombie));
        threads.sort_by_key(|thread| match thread.state {
            TaskState::Blocked => 0,
            TaskState::Running | TaskState::Stopped | TaskState::Traced => 1,
            _ => 2,
        });
        threads.truncate(THREADS_MAX);
        for (n, thread) in threads.iter_mut().enumerate() {
            self.fill(&dir, thread, n < STACKS_MAX);
        }
        (threads, live)
    }

    fn fill(&mut self, dir: &rustix::fd::OwnedFd, thread: &mut Thread, with_stack: bool) {
        let name = Decimal::new(thread.tid);
        if let Ok(text) = self.files.read_in(dir, &[name.bytes(), b"/wchan"], self.text) {
            let wchan = text.trim_ascii();
            thread.wchan = (!matches!(wchan, b"0" | b"")).then(|| self.interned.get(wchan));
        }
        if let Ok(text) = self.files.read_in(dir, &[name.bytes(), b"/status"], self.text) {
            let status = status::parse(text);
            (thread.sigkill_pending, thread.switches) = (status.sigkill_pending, status.switches);
        }
        if thread.state != TaskState::Blocked
            || !with_stack
            || self.gaps.iter().any(|gap| &*gap.what == "kernel stacks")
        {
            return;
        }
        match self.files.read_in(dir, &[name.bytes(), b"/stack"], self.text) {
            Ok(text) => thread.stack = functions(text).map(|name| self.interned.get(name)).collect(),
            Err(error) => return self.refused(error, "kernel stacks", "root (CAP_SYS_ADMIN)"),
        }
        if let Ok(text) = self.files.read_in(dir, &[name.bytes(), b"/syscall"], self.text)
            && let Some((number, first)) = parse_syscall(text)
        {
            thread.syscall = Some(number);
            let works_on = first.filter(|_| WORKS_ON_FD.contains(&number)).and_then(|fd| u32::try_from(fd).ok());
            self.works_on.extend(works_on.map(|fd| (thread.tid, fd)));
        }
    }
}

/// System calls whose first argument is the descriptor they work on.
const WORKS_ON_FD: [libc::c_long; 40] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_ioctl,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_copy_file_range,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_syncfs,
    libc::SYS_sync_file_range,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_fchdir,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fsetxattr,
    libc::SYS_getdents64,
    libc::SYS_openat,
];

/// The number and first argument of a `/proc/PID/syscall`; `running` and a lone number without arguments have none.
fn parse_syscall(text: &[u8]) -> Option<(i64, Option<u64>)> {
    let mut words = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let first = words.next().and_then(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    Some((number, first.filter(|_| number >= 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_calls_with_their_first_argument() {
        let in_read = b"0 0x3 0x7ffd1000 0x1000 0x0 0x0 0x0 0x7ffd0f00 0x7f1200\n";
        assert_eq!(parse_syscall(in_read), Some((0, Some(3))));
        assert_eq!(parse_syscall(b"-1 0x7ffd0f00 0x7f1200\n"), Some((-1, None)));
        assert_eq!(parse_syscall(b"running\n"), None);
        assert_eq!(parse_syscall(b"0 -3"), Some((0, None)));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(noise: Vec<u8>) { let _ = parse_syscall(&noise); }
    }
}
