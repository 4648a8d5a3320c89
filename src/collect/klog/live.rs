//! This kernel's log, as it grows: records of /dev/kmsg, or syslog(2) where that is not there.

use super::parser::Parser;
use super::syslog::Ring;
use super::wrap::kmsg_head;
use crate::collect::{Collector, Context, Roots, now};
use crate::snapshot::{KernelLog, LogEvent, Moment, Section};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Records read in one pass. A ring of 1 MiB holds some 10,000; a larger one takes a few passes.
const RECORDS_PER_PASS: usize = 20_000;
/// A record is at most 8 KiB with its escapes; a larger one makes the buffer grow.
const RECORD_BYTES: usize = 16 << 10;
const RECORD_BYTES_MAX: usize = 1 << 20;
/// A report's lines come together: after so long none follows.
const SILENT_S: f64 = 2.0;

/// Reads the kernel's log from its oldest record on; each pass gives what is new. A container's or a debug pod's kernel
/// is this one, whatever `/proc` is looked at.
pub struct KlogCollector {
    source: Source,
    parser: Parser,
    /// Whether the last pass read to the end of the log.
    drained: bool,
    /// Whether any pass has.
    caught_up: bool,
}

enum Source {
    None,
    Kmsg(Kmsg),
    /// With the number of lines read.
    Syslog(Ring, u64),
}

/// /dev/kmsg at some record.
struct Kmsg {
    fd: OwnedFd,
    buf: Vec<u8>,
    /// Sequence number of the next record, once one was read.
    next: Option<u64>,
}

impl KlogCollector {
    /// A reader that has read nothing. The log is the running kernel's for any roots: syslog(2) and /dev/kmsg know no
    /// other.
    #[must_use]
    pub fn new(_roots: &Roots) -> Self {
        Self { source: Source::None, parser: Parser::new(), drained: false, caught_up: false }
    }

    fn open(&mut self) -> Result<(), Errno> {
        if !matches!(self.source, Source::None) {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        self.source = match rustix::fs::open("/dev/kmsg", flags, Mode::empty()) {
            Ok(fd) => Source::Kmsg(Kmsg { fd, buf: vec![0; RECORD_BYTES], next: None }),
            Err(refused) => {
                let mut ring = Ring::default();
                // The first error says more: without /dev/kmsg this one is `EPERM` too.
                ring.read().map_err(|e| if e == Errno::PERM { e } else { refused })?;
                Source::Syslog(Ring::default(), 0)
            }
        };
        Ok(())
    }

    /// Reads on; says how many records were lost.
    fn pass(&mut self) -> Result<u64, Errno> {
        self.open()?;
        self.parser.set_offset(suspended_ns());
        self.drained = true;
        match &mut self.source {
            Source::None => Ok(0),
            Source::Syslog(ring, no) => {
                let (fresh, overwritten) = ring.read()?;
                for line in fresh.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                    *no += 1;
                    self.parser.feed(*no, line);
                }
                Ok(u64::from(overwritten))
            }
            Source::Kmsg(kmsg) => {
                let mut lost = 0;
                for _ in 0..RECORDS_PER_PASS {
                    match kmsg.read(&mut self.parser) {
                        Ok(gap) => lost += gap,
                        Err(Errno::AGAIN) => return Ok(lost),
                        Err(e) => return Err(e),
                    }
                }
                self.drained = false;
                Ok(lost)
            }
        }
    }

    /// What the pass brought. The log's last report is left open for more lines; but what was there before the first look
    /// is history, and must not come out as news in the next one.
    fn events(&mut self, at: Moment) -> Vec<LogEvent> {
        if !self.drained {
            return self.parser.take();
        }
        let caught_up = std::mem::replace(&mut self.caught_up, true);
        let silent = self.parser.newest().is_none_or(|newest| at.since(newest) > SILENT_S);
        if !caught_up && silent { self.parser.finish() } else { self.parser.flush_idle() }
    }

    fn section(&self, at: Moment, mut events: Vec<LogEvent>, lost: u64) -> Section<KernelLog> {
        for event in &mut events {
            // The log's clock may run ahead of the boot clock by some milliseconds.
            event.at = event.at.map(|t| t.min(at));
        }
        events.sort_by_key(|e| e.line);
        let source = if matches!(self.source, Source::Syslog(..)) { "syslog(2)" } else { "/dev/kmsg" };
        Section::ok(at, KernelLog { events, lost, source: source.into() })
    }

    fn refused(&mut self, error: Errno) -> Section<KernelLog> {
        self.source = Source::None;
        match error {
            Errno::PERM | Errno::ACCESS => Section::denied("/dev/kmsg", "CAP_SYSLOG or kernel.dmesg_restrict=0"),
            other => Section::absent(format!("/dev/kmsg: {other}")),
        }
    }
}

impl Collector for KlogCollector {
    type Out = KernelLog;

    fn name(&self) -> &'static str {
        "klog"
    }

    fn collect(&mut self, _cx: &Context) -> Section<KernelLog> {
        match self.pass() {
            Ok(lost) => {
                let at = now();
                let events = self.events(at);
                self.section(at, events, lost)
            }
            Err(error) => self.refused(error),
        }
    }
}

/// This kernel's whole log as it is now: `whytop log` without a file.
#[must_use]
pub fn read_live_all() -> Section<KernelLog> {
    let mut reader = KlogCollector::new(&Roots::default());
    let mut events = Vec::new();
    let mut lost = 0;
    // A log that grows faster than it is read must not hold us for ever.
    for _ in 0..50 {
        match reader.pass() {
            Ok(gap) => lost += gap,
            Err(error) => return reader.refused(error),
        }
        events.extend(reader.parser.take());
        if reader.drained {
            break;
        }
    }
    events.extend(reader.parser.finish());
    reader.section(now(), events, lost)
}

impl Kmsg {
    /// Reads one record; says how many were lost before it.
    fn read(&mut self, parser: &mut Parser) -> Result<u64, Errno> {
        loop {
            match rustix::io::read(&self.fd, &mut self.buf) {
                Ok(len) => return Ok(self.record(len, parser)),
                // Overwritten before it was read: the next record's number tells how many.
                Err(Errno::PIPE | Errno::INTR) => {}
                Err(Errno::INVAL) if self.buf.len() < RECORD_BYTES_MAX => self.buf.resize(self.buf.len() * 2, 0),
                Err(e) => return Err(e),
            }
        }
    }

    fn record(&mut self, len: usize, parser: &mut Parser) -> u64 {
        let record = self.buf.get(..len).unwrap_or_default();
        let Some((seq, of_kernel)) = kmsg_head(record) else { return 0 };
        let lost = self.next.map_or(0, |next| seq.saturating_sub(next));
        self.next = Some(seq + 1);
        // The lines behind the first are `KEY=value`.
        if let Some(line) = record.split(|b| *b == b'\n').next().filter(|_| of_kernel) {
            parser.feed(seq, line);
        }
        lost
    }
}

/// What CLOCK_BOOTTIME is ahead of the clock of the log, which stops in suspend as CLOCK_MONOTONIC does.
fn suspended_ns() -> u64 {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let mono = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let ns = |t: rustix::time::Timespec| i128::from(t.tv_sec) * 1_000_000_000 + i128::from(t.tv_nsec);
    u64::try_from(ns(boot) - ns(mono)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overwritten_records_are_counted() {
        let fd = rustix::fs::open("/dev/null", OFlags::RDONLY, Mode::empty()).unwrap();
        let mut kmsg = Kmsg { fd, buf: Vec::new(), next: None };
        let mut parser = Parser::new();
        let mut record = |text: &str| {
            kmsg.buf = text.as_bytes().to_vec();
            kmsg.record(text.len(), &mut parser)
        };
        assert_eq!(record("6,500,1000,-;first\n"), 0);
        assert_eq!(record("6,501,2000,-;sd 0:0:0:0: x\n SUBSYSTEM=scsi\n DEVICE=+scsi:0:0:0:0\n"), 0);
        assert_eq!(record("12,510,3000,-;TCP: time wait bucket table overflow\n"), 8);
        assert_eq!(record("6,511,4000,-;TCP: time wait bucket table overflow\n"), 0);
        assert_eq!(record("no record"), 0);
        let events = parser.flush_idle();
        assert_eq!(events.iter().map(|e| e.line).collect::<Vec<_>>(), [511]);
    }

    /// The log's last report waits for more lines; one that was there before the first look must come out in it.
    #[test]
    fn the_last_report_of_the_log_is_of_the_first_pass() {
        use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None);
        let (log, fd) = pair.unwrap();
        let record = |seq: u64, at: Moment, text: &str| {
            let record = format!("6,{seq},{},-;{text}\n", at.0 / 1000);
            send(&log, record.as_bytes(), SendFlags::empty()).unwrap();
        };
        let mut klog = KlogCollector::new(&Roots::default());
        klog.source = Source::Kmsg(Kmsg { fd, buf: vec![0; RECORD_BYTES], next: None });
        let hung = |pid| format!("INFO: task java:{pid} blocked for more than 120 seconds.");
        let mut pids = || {
            let section = klog.collect(&Context::default());
            section.data().unwrap().events.iter().filter_map(|e| e.pid("pid")).collect::<Vec<_>>()
        };
        let boot = Moment(now().0.saturating_sub(suspended_ns()));
        record(1, Moment(boot.0.saturating_sub(60_000_000_000)), &hung(7));
        assert_eq!(pids(), [7]);
        // What comes later may still grow by the next pass.
        record(2, boot, &hung(8));
        assert!(pids().is_empty());
        assert_eq!(pids(), [8]);
    }

    /// syslog(2) is the way where /dev/kmsg is not there: it must tell the same of this kernel's log.
    #[test]
    fn both_ways_tell_the_same() {
        let Section::Ok { at, data } = read_live_all() else { return println!("SKIPPED: no /dev/kmsg for us") };
        let mut ring = Ring::default();
        let mut parser = Parser::new();
        match ring.read() {
            Ok((text, _)) => parser.feed_lines(text),
            Err(e) => return println!("SKIPPED: syslog(2): {e}"),
        }
        // Others may write to the log meanwhile, or overwrite its oldest records.
        let until = Moment(at.0.saturating_sub(1_000_000_000));
        let of = |events: &[LogEvent]| -> Vec<_> {
            events.iter().filter(|e| e.at < Some(until)).map(|e| (e.at, e.kind.clone())).collect()
        };
        let mut events = parser.finish();
        events.sort_by_key(|e| e.line);
        let (kmsg, syslog) = (of(&data.events), of(&events));
        println!("{} events by /dev/kmsg, {} by syslog(2)", kmsg.len(), syslog.len());
        assert!(kmsg.ends_with(&syslog) && syslog.len() + 3 > kmsg.len(), "{kmsg:?} {syslog:?}");
    }
}
