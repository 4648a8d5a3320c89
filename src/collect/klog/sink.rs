//! Where machines put their events: bursts of rate-limited lines fold into one, and a limiter's count finds its event.

use super::fields::Fields;
use super::line::{Clock, Line};
use super::scan::{number, re, text};
use crate::snapshot::LogEvent;

/// Silence after which the same line begins another burst.
const BURST_GAP_MS: i64 = 600_000;
/// How long a limiter's count waits for the line that it was printed before.
const COUNT_WAITS_MS: i64 = 10_000;
/// Bursts at a time: a log can name any number of servers.
const BURSTS_MAX: usize = 64;

/// Collects events.
#[derive(Debug, Default)]
pub(super) struct Sink {
    events: Vec<LogEvent>,
    bursts: Vec<Burst>,
    count: Option<Count>,
}

/// Lines of one kind (and table, server) that are one event.
#[derive(Debug)]
struct Burst {
    event: LogEvent,
    key: String,
    lines: u64,
    last: Option<Clock>,
}

/// What a rate limiter said that it kept back.
#[derive(Debug)]
struct Count {
    callbacks: u64,
    /// Whether it is the limiter that all network messages share.
    net: bool,
    clock: Option<Clock>,
}

impl Sink {
    /// A finished event.
    pub fn push(&mut self, event: LogEvent) {
        self.events.push(event);
    }

    /// Finished events.
    pub fn extend(&mut self, events: impl IntoIterator<Item = LogEvent>) {
        self.events.extend(events);
    }

    /// A finished event of a kind that has a limiter of its own.
    pub fn limited(&mut self, event: LogEvent, line: &Line<'_>) {
        let suppressed = self.kept_back(line);
        self.push(event.with("suppressed", suppressed));
    }

    /// What the limiter of this line's kind kept back before it.
    pub fn kept_back(&mut self, line: &Line<'_>) -> Option<u64> {
        Some(self.take_count(line, false)).filter(|n| *n > 0)
    }

    /// A line of a rate-limited `kind`: goes into the burst of `key`, or begins one with an event of its own.
    pub fn fold(&mut self, kind: &str, key: &str, line: &Line<'_>, more: impl FnOnce(&mut LogEvent)) {
        let suppressed = self.take_count(line, true);
        if let Some(at) = self.bursts.iter().position(|b| &*b.event.kind == kind && b.key == key) {
            let open = self.bursts.get_mut(at).filter(|b| suppressed == 0 && !line.is_later_than(b.last, BURST_GAP_MS));
            if let Some(burst) = open {
                burst.lines += line.repeat;
                burst.last = line.clock.or(burst.last);
                return;
            }
            let ended = self.bursts.remove(at);
            self.end(ended);
        } else if self.bursts.len() >= BURSTS_MAX {
            let oldest = self.bursts.remove(0);
            self.end(oldest);
        }
        let mut event = LogEvent::of(kind, line).with("suppressed", suppressed);
        more(&mut event);
        self.bursts.push(Burst { event, key: key.to_owned(), lines: line.repeat, last: line.clock });
    }

    /// Reads `net_ratelimit: 313 callbacks suppressed`: it ends all bursts, and its count is the next line's.
    pub fn limiter(&mut self, line: &Line<'_>) -> bool {
        let Some(caps) = re!(r"^(.+): (\d+) callbacks suppressed$").captures(line.text) else { return false };
        self.end_bursts();
        let net = text(&caps, 1).is_some_and(|function| function == "net_ratelimit");
        self.count = number(&caps, 2).map(|callbacks| Count { callbacks, net, clock: line.clock });
        true
    }

    /// Ends every burst.
    pub fn end_bursts(&mut self) {
        for burst in std::mem::take(&mut self.bursts) {
            self.end(burst);
        }
    }

    /// The finished events so far.
    pub fn take(&mut self) -> Vec<LogEvent> {
        std::mem::take(&mut self.events)
    }

    fn end(&mut self, burst: Burst) {
        self.push(burst.event.with("lines", burst.lines));
    }

    /// The waiting count, if it may be this line's: the network's limiter speaks of the network's kinds only.
    fn take_count(&mut self, line: &Line<'_>, of_net: bool) -> u64 {
        let count = self.count.take_if(|c| of_net || !c.net);
        count.filter(|c| !line.is_later_than(c.clock, COUNT_WAITS_MS)).map_or(0, |c| c.callbacks)
    }
}
