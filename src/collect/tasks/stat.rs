//! `/proc/PID/stat` and `/proc/PID/task/TID/stat`.

use crate::snapshot::TaskState;
use memchr::{memchr, memrchr};

/// `PF_KTHREAD` in the flags of `stat` field 9.
const PF_KTHREAD: u64 = 0x0020_0000;
/// `PF_EXITING` there: it is on its way out, and may hang on it.
const PF_EXITING: u64 = 0x4;

/// The fields of one `stat` line that whytop keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stat<'a> {
    /// Field 2, raw: up to 15 bytes (64 for kernel threads), any byte.
    pub comm: &'a [u8],
    /// Field 3.
    pub state: TaskState,
    /// Field 4.
    pub ppid: u32,
    /// Field 6.
    pub session: u32,
    /// Field 7: it has a controlling terminal.
    pub tty: bool,
    /// Field 9 has `PF_KTHREAD`.
    pub kthread: bool,
    /// Field 9 has `PF_EXITING`.
    pub exiting: bool,
    /// Field 10.
    pub minor_faults: u64,
    /// Field 12.
    pub major_faults: u64,
    /// Field 14, ticks.
    pub utime: u64,
    /// Field 15, ticks.
    pub stime: u64,
    /// Field 20.
    pub threads: u32,
    /// Field 22, ticks since boot.
    pub start: u64,
    /// Field 23, bytes.
    pub vsize: u64,
    /// Field 24, pages.
    pub rss_pages: u64,
}

/// Splits a line at the name: it stands between the first `(` and the last `)`, and may itself hold both.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (open, close) = (memchr(b'(', line)?, memrchr(b')', line)?);
    Some((line.get(open + 1..close)?, line.get(close + 2..)?))
}

/// Name and state alone: all that a thread needs.
pub(crate) fn parse_state(line: &[u8]) -> Option<(&[u8], TaskState)> {
    let (comm, rest) = split(line)?;
    Some((comm, TaskState::from_letter(*rest.first()?)))
}

/// A whole line; `None` when it ends before field 24 or a field that is kept is no number.
pub(crate) fn parse(line: &[u8]) -> Option<Stat<'_>> {
    let (comm, rest) = split(line)?;
    let state = TaskState::from_letter(*rest.first()?);
    let mut fields = Fields(rest.get(1..)?);
    let ppid = fields.next()?;
    fields.skip(1);
    let session = fields.next()?;
    let tty = fields.next()?;
    fields.skip(1);
    let flags = fields.next()?;
    let minor_faults = fields.next()?;
    fields.skip(1);
    let major_faults = fields.next()?;
    fields.skip(1);
    let utime = fields.next()?;
    let stime = fields.next()?;
    fields.skip(4);
    let threads = fields.next()?;
    fields.skip(1);
    Some(Stat {
        comm,
        state,
        ppid: u32::try_from(ppid).ok()?,
        session: u32::try_from(session).unwrap_or(0),
        tty: tty != 0,
        kthread: flags & PF_KTHREAD != 0,
        exiting: flags & PF_EXITING != 0,
        minor_faults,
        major_faults,
        utime,
        stime,
        threads: u32::try_from(threads).ok()?,
        start: fields.next()?,
        vsize: fields.next()?,
        rss_pages: fields.next()?,
    })
}

/// Fields that each begin with a space.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// The next field as a number; 0 for a negative one (`-1` stands for "none" in this file).
    fn next(&mut self) -> Option<u64> {
        let mut bytes = self.0.strip_prefix(b" ")?.iter();
        let mut value = 0_u64;
        let mut digits = 0;
        let mut negative = false;
        for &byte in bytes.by_ref() {
            match byte {
                b'0'..=b'9' => value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')),
                b'-' if digits == 0 && !negative => negative = true,
                b' ' | b'\n' => break,
                _ => return None,
            }
            digits += usize::from(byte != b'-');
        }
        let taken = 1 + usize::from(negative) + digits;
        self.0 = self.0.get(taken..)?;
        (digits > 0).then_some(if negative { 0 } else { value })
    }

    fn skip(&mut self, fields: usize) {
        for _ in 0..fields {
            let from = memchr(b' ', self.0).map_or(self.0.len(), |at| at + 1);
            let rest = self.0.get(from..).unwrap_or_default();
            self.0 = memchr(b' ', rest).and_then(|at| rest.get(at..)).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A process of a 6.18 kernel, name changed.
    const LINE: &[u8] = b"712 (a) b( Z) S 1 712 700 34816 -1 4194560 1534 2 7 0 33 44 5 6 20 0 3 0 25188 8654848 933 \
        18446744073709551615 94081337597952 94081337691925 140730406112144 0 0 0 65536 4 65538 1 0 0 17 1 0 0 0 0 0 \
        94081337723152 94081337725920 94081357422592 140730406116236 140730406116248 140730406116248 140730406117355 0\n";

    #[test]
    fn name_ends_at_the_last_bracket() {
        let stat = parse(LINE).unwrap();
        assert_eq!(stat.comm, b"a) b( Z");
        assert_eq!(
            stat,
            Stat {
                comm: b"a) b( Z",
                state: TaskState::Sleeping,
                ppid: 1,
                session: 700,
                tty: true,
                kthread: false,
                exiting: false,
                minor_faults: 1534,
                major_faults: 7,
                utime: 33,
                stime: 44,
                threads: 3,
                start: 25188,
                vsize: 8_654_848,
                rss_pages: 933,
            }
        );
        assert_eq!(parse_state(LINE), Some((&b"a) b( Z"[..], TaskState::Sleeping)));
    }

    #[test]
    fn kernel_thread_and_zombie() {
        let kthread = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 2 0 0 18446744073709551615 0 0\n";
        assert!(parse(kthread).unwrap().kthread);
        let zombie = b"9 (x) Z 4 4 4 0 -1 4227084 46 0 0 0 0 0 0 0 20 0 1 0 300 0 0 18446744073709551615 0 0\n";
        let stat = parse(zombie).unwrap();
        assert_eq!((stat.state, stat.threads, stat.rss_pages), (TaskState::Zombie, 1, 0));
    }

    #[test]
    fn a_line_cut_short_is_nothing() {
        let end = LINE.len() - 230;
        for cut in [0, 3, 12, 14, 20, 60] {
            assert_eq!(parse(&LINE[..cut.min(end)]), None, "{cut}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(noise: Vec<u8>, cut in 0..LINE.len(), at in 0..LINE.len(), byte: u8) {
            let _ = (parse(&noise), parse_state(&noise));
            let mut line = LINE[..cut].to_vec();
            if let Some(b) = line.get_mut(at) { *b = byte; }
            let _ = (parse(&line), parse_state(&line));
        }
    }
}
