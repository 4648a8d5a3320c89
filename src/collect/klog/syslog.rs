//! `syslog(2)`: the ring as text, where there is no /dev/kmsg.

use memchr::memmem;
use rustix::io::Errno;

/// Reads the whole ring again and again, and finds what is new.
#[derive(Default)]
pub(super) struct Ring {
    text: Vec<u8>,
    /// The end of what was read last.
    tail: Vec<u8>,
}

/// How much of the end is remembered: enough to be there once only, since every line has its microseconds.
const TAIL: usize = 1024;

impl Ring {
    /// The lines that came since the last call, and whether the ring was overwritten in between.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SYSLOG` while `kernel.dmesg_restrict=1`; `ENOSYS` where the kernel has no log.
    pub fn read(&mut self) -> Result<(&[u8], bool), Errno> {
        read_all(&mut self.text)?;
        Ok(self.fresh())
    }

    fn fresh(&mut self) -> (&[u8], bool) {
        let known = memmem::rfind(&self.text, &self.tail).map(|at| at + self.tail.len());
        let fresh = self.text.get(known.filter(|_| !self.tail.is_empty()).unwrap_or(0)..).unwrap_or_default();
        if !fresh.is_empty() {
            let start = self.text.len().saturating_sub(TAIL);
            self.tail.clear();
            self.tail.extend_from_slice(self.text.get(start..).unwrap_or_default());
        }
        (fresh, known.is_none())
    }
}

/// `SYSLOG_ACTION_READ_ALL` into `buf`, which keeps its capacity.
fn read_all(buf: &mut Vec<u8>) -> Result<(), Errno> {
    const READ_ALL: i32 = 3;
    const SIZE_BUFFER: i32 = 10;
    buf.clear();
    let size = klogctl(SIZE_BUFFER, &mut [])?;
    // The size is that of the bare text: the stamps before the lines want room too, or the oldest are left out.
    buf.resize(size.saturating_mul(4).clamp(1 << 16, 1 << 26), 0);
    let len = klogctl(READ_ALL, buf)?;
    buf.truncate(len);
    Ok(())
}

#[expect(unsafe_code, reason = "neither rustix nor std has syslog(2)")]
fn klogctl(action: i32, buf: &mut [u8]) -> Result<usize, Errno> {
    let len = i32::try_from(buf.len()).unwrap_or(i32::MAX);
    // SAFETY: the kernel writes at most `len` bytes to the buffer, which is borrowed mutably for the call.
    let n = unsafe { libc::klogctl(action, buf.as_mut_ptr().cast(), len) };
    usize::try_from(n).map_err(|_| Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_not_new_again() {
        let mut ring = Ring::default();
        let mut see = |text: &[u8]| {
            ring.text = text.to_vec();
            let (fresh, overwritten) = ring.fresh();
            (String::from_utf8_lossy(fresh).into_owned(), overwritten)
        };
        assert_eq!(see(b"<6>[1.0] a\n<6>[2.0] b\n"), ("<6>[1.0] a\n<6>[2.0] b\n".into(), false));
        assert_eq!(see(b"<6>[1.0] a\n<6>[2.0] b\n"), (String::new(), false));
        assert_eq!(see(b"<6>[1.0] a\n<6>[2.0] b\n<6>[3.0] c\n"), ("<6>[3.0] c\n".into(), false));
        assert_eq!(see(b"<6>[8.0] x\n<6>[9.0] y\n"), ("<6>[8.0] x\n<6>[9.0] y\n".into(), true));
    }

    #[test]
    fn this_kernels_ring() {
        let mut ring = Ring::default();
        match ring.read() {
            Ok((text, _)) if !text.is_empty() => assert!(text.starts_with(b"<")),
            Ok(_) => println!("SKIPPED: the ring is empty"),
            Err(e) => return println!("SKIPPED: syslog(2): {e}"),
        }
        let (again, overwritten) = ring.read().unwrap();
        assert!(again.len() < 8192 && !overwritten, "{} bytes came twice", again.len());
    }
}
