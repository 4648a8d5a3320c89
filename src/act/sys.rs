//! System calls that no safe wrapper covers: signals by any number, and the probe with none.

#![expect(unsafe_code, reason = "rustix sends neither real-time signals nor signal 0 through a pidfd")]

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

/// Sends `signal` to the process of a pidfd; 0 sends nothing and says whether it could be sent.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: u8) -> Result<(), Errno> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is borrowed for the call; a null siginfo means that of kill(2); nothing is written.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), libc::c_int::from(signal), none, 0) };
    done(result)
}

/// Sends `signal` to one process by its number, for kernels without pidfd. Refuses 0 and what `kill(2)` takes for a
/// process group.
pub fn kill(pid: u32, signal: u8) -> Result<(), Errno> {
    let pid = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0).ok_or(Errno::SRCH)?;
    // SAFETY: passes two numbers.
    let result = unsafe { libc::kill(pid, libc::c_int::from(signal)) };
    done(result.into())
}

fn done(result: libc::c_long) -> Result<(), Errno> {
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}
