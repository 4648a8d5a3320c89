//! Time stamps as logs write them.

use super::line::Clock;

/// A stamp at the start of a text: how long it is, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Bytes, the stamp alone.
    pub len: usize,
    /// Milliseconds on the wall, for differences only.
    pub clock: Clock,
    /// `2026-11-21T23:15:02,986267+00:00`: the comma is `dmesg --time-format iso`, which names no host.
    pub comma: bool,
}

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// Walks over bytes.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    /// How far the walk has come.
    pub fn pos(&self) -> usize {
        self.len - self.rest.len()
    }

    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes one byte of `set`.
    pub fn byte(&mut self, set: &[u8]) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        set.contains(first).then(|| {
            self.rest = rest;
            *first
        })
    }

    pub fn word(&mut self, word: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    /// Takes `min..=max` digits.
    pub fn number(&mut self, min: usize, max: usize) -> Option<i64> {
        let digits = self.rest.iter().take(max).take_while(|b| b.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at_checked(digits)?;
        let value = number.iter().fold(0_i64, |n, d| n.saturating_mul(10).saturating_add(i64::from(d - b'0')));
        (digits >= min).then(|| {
            self.rest = rest;
            value
        })
    }

    pub fn spaces(&mut self) -> usize {
        let blanks = self.rest.iter().take_while(|b| **b == b' ').count();
        self.rest = self.rest.get(blanks..).unwrap_or_default();
        blanks
    }

    fn name(&mut self, names: &[&[u8]]) -> Option<i64> {
        let found = names.iter().position(|name| self.rest.starts_with(name))?;
        self.rest = self.rest.get(3..)?;
        i64::try_from(found).ok()
    }
}

/// Days since 1970-01-01 of a civil date (Howard Hinnant's algorithm).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// `HH:MM:SS`, and a fraction that is counted in milliseconds.
fn time_of_day(c: &mut Cursor<'_>) -> Option<(i64, bool)> {
    let hour = c.number(2, 2)?;
    c.byte(b":")?;
    let minute = c.number(2, 2)?;
    c.byte(b":")?;
    let second = c.number(2, 2)?;
    let mut ms = ((hour * 60 + minute) * 60 + second) * 1000;
    let mut comma = false;
    if let Some(point) = c.byte(b".,") {
        comma = point == b',';
        let start = c.pos();
        let fraction = c.number(1, 9)?;
        let digits = u32::try_from(c.pos() - start).ok()?;
        ms += fraction * 1000 / 10_i64.pow(digits);
    }
    Some((ms, comma))
}

/// `2026-11-21T23:15:02.986267+00:00`, with a blank for the `T`, any fraction, and `Z`, `+00:00`, `+0000` or no zone.
pub(super) fn iso(bytes: &[u8]) -> Option<Stamp> {
    let mut c = Cursor::new(bytes);
    let year = c.number(4, 4)?;
    c.byte(b"-")?;
    let month = c.number(2, 2)?;
    c.byte(b"-")?;
    let day = c.number(2, 2)?;
    c.byte(b"T ")?;
    let (mut ms, comma) = time_of_day(&mut c)?;
    if c.byte(b"Z").is_none() {
        let sign = c.byte(b"+-");
        if let Some(sign) = sign {
            let hours = c.number(2, 2)?;
            let _ = c.byte(b":");
            let minutes = c.number(2, 2).unwrap_or(0);
            let east = (hours * 60 + minutes) * 60_000;
            ms += if sign == b'+' { -east } else { east };
        }
    }
    let clock = Clock::Wall(days(year, month, day).saturating_mul(86_400_000).saturating_add(ms));
    Some(Stamp { len: c.pos(), clock, comma })
}

/// `Nov 21 23:15:02`, with a weekday before, a year before or after the time, a fraction, and a zone name in the
/// forms of `dmesg -T`, `logread`, syslog and the journal; and the journal's `Sat 2026-11-21 23:15:02 UTC`.
pub(super) fn named(bytes: &[u8]) -> Option<Stamp> {
    let mut c = Cursor::new(bytes);
    if c.name(&WEEKDAYS).is_some() {
        if c.spaces() == 0 {
            return None;
        }
        if let Some(stamp) = bytes.get(c.pos()..).and_then(iso) {
            let zone = bytes.get(c.pos() + stamp.len..).map_or(0, zone_name);
            return Some(Stamp { len: c.pos() + stamp.len + zone, ..stamp });
        }
    }
    let month = c.name(&MONTHS)? + 1;
    if c.spaces() == 0 {
        return None;
    }
    let day = c.number(1, 2)?;
    if c.spaces() == 0 {
        return None;
    }
    let mut year = 0;
    let mut time = Cursor::new(bytes.get(c.pos()..)?);
    if let Some(before) = time.number(4, 4).filter(|_| time.spaces() > 0) {
        year = before;
        c.number(4, 4)?;
        c.spaces();
    }
    let (ms, _) = time_of_day(&mut c)?;
    let mut after = Cursor::new(bytes.get(c.pos()..)?);
    if after.spaces() == 1
        && let Some(found) = after.number(4, 4).filter(|_| matches!(after.peek(), None | Some(b' ' | b']')))
    {
        year = found;
        c = Cursor { rest: bytes.get(c.pos() + after.pos()..)?, len: bytes.len() };
    }
    Some(Stamp { len: c.pos(), clock: Clock::Wall(days(year, month, day) * 86_400_000 + ms), comma: false })
}

/// Length of ` UTC` or ` CEST`.
fn zone_name(bytes: &[u8]) -> usize {
    let Some(rest) = bytes.strip_prefix(b" ") else { return 0 };
    let letters = rest.iter().take_while(|b| b.is_ascii_uppercase()).count();
    if (2..=5).contains(&letters) && rest.get(letters) == Some(&b' ') { letters + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_end_where_they_end() {
        let cases: [(&str, usize); 7] = [
            ("Nov 21 23:15:02 host", 15),
            ("Mar  6 20:59:03.126360 gw1", 22),
            ("Mon Jan 25 12:35:19 2021] x", 24),
            ("Mon Jan 25 12:35:19 2021 kern.warn", 24),
            ("Nov 21 2026 23:15:02 host", 20),
            ("Sat 2026-11-21 23:15:02 UTC web", 27),
            ("Jan 25 12:35:19 2021host x", 15),
        ];
        for (text, len) in cases {
            assert_eq!(named(text.as_bytes()).map(|s| s.len), Some(len), "{text}");
        }
        assert_eq!(iso(b"2025-01-21T04:41:44,287197+00:00 NVRM").map(|s| (s.len, s.comma)), Some((32, true)));
        assert_eq!(iso(b"2026-11-21T23:15:02+0000 web").map(|s| s.len), Some(24));
        assert_eq!(iso(b"2026-11-21T23:15:02Z web").map(|s| s.len), Some(20));
        assert!(named(b"Monday is").is_none() && iso(b"2026-11-2 ").is_none());
    }

    #[test]
    fn clocks_measure_silence() {
        let at = |text: &str| iso(text.as_bytes()).unwrap().clock;
        assert_eq!(at("2024-03-01T00:00:01.500Z").since(at("2024-02-28T23:59:59+00:00")), Some(86_402_500));
        assert_eq!(at("2024-03-01T02:00:00+02:00").since(at("2024-03-01T00:00:00Z")), Some(0));
        assert_eq!(at("1970-01-01T00:00:00Z"), Clock::Wall(0));
    }
}
