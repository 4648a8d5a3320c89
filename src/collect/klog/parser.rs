//! Lines in, events out.

use super::kinds::{self, Kind};
use super::line::{Clock, Line};
use super::sink::Sink;
use super::wrap::{self, Unwrapped};
use crate::snapshot::{LogEvent, Moment};
use std::borrow::Cow;

/// Reads the lines of one kernel log, one after the other, and keeps what is open: a report of many lines, a burst.
/// What it keeps is bounded, however long the log.
pub struct Parser {
    kinds: Vec<Box<dyn Kind>>,
    sink: Sink,
    /// Lines seen of a file.
    no: u64,
    /// Added to the log's time since boot, nanoseconds.
    offset_ns: u64,
    /// When the newest line was written, where the log has a clock that can be placed.
    newest: Option<Moment>,
    last: Last,
}

/// What a line may go on with or repeat.
#[derive(Default)]
struct Last {
    no: u64,
    /// A record of /dev/kmsg: lines that begin with a blank are its `KEY=value`.
    record: bool,
    /// An event came of it.
    claimed: bool,
    text: String,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

/// The events of a whole kernel log, in the order of their lines.
#[must_use]
pub fn parse_log(bytes: &[u8]) -> Vec<LogEvent> {
    let mut parser = Parser::new();
    parser.feed_lines(bytes);
    let mut events = parser.finish();
    events.sort_by_key(|e| e.line);
    events
}

impl Parser {
    /// A parser at the start of a log.
    #[must_use]
    pub fn new() -> Self {
        Self { kinds: kinds::all(), sink: Sink::default(), no: 0, offset_ns: 0, newest: None, last: Last::default() }
    }

    /// For the log of this boot: its stamps lie `offset_ns` before `CLOCK_BOOTTIME`, which does not stop in suspend.
    pub fn set_offset(&mut self, offset_ns: u64) {
        self.offset_ns = offset_ns;
    }

    /// Reads a block of whole lines.
    pub fn feed_lines(&mut self, block: &[u8]) {
        let mut rest = block;
        while !rest.is_empty() {
            // A record of /dev/kmsg may go on in the next one, whatever that holds.
            if self.is_quiet() && wrap::kmsg_head(rest.get(..48).unwrap_or(rest)).is_none() {
                rest = self.skip(rest);
                if rest.is_empty() {
                    return;
                }
            }
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            self.no += 1;
            self.feed(self.no, line);
        }
    }

    /// Reads one line, or one record of /dev/kmsg without its `KEY=value` lines, numbered `no`.
    pub fn feed(&mut self, no: u64, line: &[u8]) {
        if self.last.record && line.first() == Some(&b' ') {
            return;
        }
        let plain = without_escapes(line);
        if let Some(unwrapped) = wrap::unwrap(&plain) {
            self.unwrapped(no, &unwrapped);
            return;
        }
        if let Some(times) = wrap::repeats_of_the_last(&plain).filter(|_| self.last.no + 1 == no) {
            self.again(no, times);
        }
        self.last = Last { no, record: wrap::kmsg_head(&plain).is_some(), ..Last::default() };
    }

    /// Nothing more is there for now: what can't wait any longer comes out, as far as it is known.
    pub fn flush_idle(&mut self) -> Vec<LogEvent> {
        for kind in &mut self.kinds {
            kind.idle(&mut self.sink);
        }
        self.sink.end_bursts();
        self.sink.take()
    }

    /// The log has ended.
    pub fn finish(&mut self) -> Vec<LogEvent> {
        for kind in &mut self.kinds {
            kind.end(&mut self.sink);
        }
        self.sink.end_bursts();
        self.sink.take()
    }

    /// When the newest line was written; `None` where the log has no clock that can be placed.
    #[must_use]
    pub fn newest(&self) -> Option<Moment> {
        self.newest
    }

    /// The events that are finished by now.
    pub fn take(&mut self) -> Vec<LogEvent> {
        self.sink.take()
    }

    fn unwrapped(&mut self, no: u64, u: &Unwrapped<'_>) {
        let stamp = String::from_utf8_lossy(u.stamp);
        let head = Line {
            text: "",
            no,
            at: u.boot_us.map(|us| Moment(us.saturating_mul(1000).saturating_add(self.offset_ns))),
            clock: u.boot_us.and_then(|us| i64::try_from(us / 1000).ok()).map(Clock::Boot).or(u.wall),
            caller: u.caller,
            stamp: &stamp,
            repeat: u.repeat,
        };
        self.newest = head.at.or(self.newest);
        let bytes = if u.record { wrap::unescape(&u.text) } else { Cow::Borrowed(&*u.text) };
        let text = String::from_utf8_lossy(&bytes);
        let mut claimed = false;
        if u.continues && self.last.record {
            if self.last.claimed {
                return;
            }
            let joined = format!("{}{text}", self.last.text);
            claimed |= self.line(&Line { text: joined.trim(), ..head });
            self.last = Last { no, record: true, claimed, text: joined };
            return;
        }
        for part in text.split('\n') {
            claimed |= self.line(&Line { text: part.trim(), ..head });
        }
        self.last.no = no;
        self.last.record = u.record;
        self.last.claimed = claimed;
        self.last.text.clear();
        if u.record || claimed {
            self.last.text.push_str(&text);
        }
    }

    /// The line before came `times` times more.
    fn again(&mut self, no: u64, times: u64) {
        if self.last.claimed {
            let text = std::mem::take(&mut self.last.text);
            let line = Line { text: text.trim(), no, at: None, clock: None, caller: None, stamp: "", repeat: times };
            for kind in self.kinds.iter_mut().filter(|k| k.folds()) {
                kind.line(&line, &mut self.sink);
            }
        }
    }

    /// Gives a line to the kinds it may concern; says whether one took it.
    fn line(&mut self, line: &Line<'_>) -> bool {
        let concerned = kinds::concerned(line.text.as_bytes());
        if concerned != 0 && line.text.ends_with(" callbacks suppressed") && self.sink.limiter(line) {
            return true;
        }
        let mut claimed = false;
        for (at, kind) in self.kinds.iter_mut().enumerate() {
            if concerned & (1 << at) != 0 || kind.is_open() {
                claimed |= kind.line(line, &mut self.sink);
            }
        }
        claimed
    }

    /// Whether the next line means something only by itself.
    fn is_quiet(&self) -> bool {
        !self.last.record && !self.kinds.iter().any(|k| k.is_open())
    }

    /// Goes to the start of the next line that may matter.
    fn skip<'a>(&mut self, block: &'a [u8]) -> &'a [u8] {
        let hit = kinds::find(block);
        let before = block.get(..hit.unwrap_or(block.len())).unwrap_or_default();
        self.no += memchr::memchr_iter(b'\n', before).count() as u64;
        if hit.is_none() {
            self.no += u64::from(!block.ends_with(b"\n"));
            return &[];
        }
        let start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        block.get(start..).unwrap_or_default()
    }
}

/// The line without the colours that `dmesg --color=always` paints.
fn without_escapes(line: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(0x1b, line).is_none() {
        return Cow::Borrowed(line);
    }
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = memchr::memchr(0x1b, rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let tail = escape.get(1..).unwrap_or_default();
        rest = match tail.strip_prefix(b"[") {
            Some(codes) => {
                let end = codes.iter().take_while(|b| b.is_ascii_digit() || **b == b';').count();
                codes.get(end + 1..).unwrap_or_default()
            }
            None => tail,
        };
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}
