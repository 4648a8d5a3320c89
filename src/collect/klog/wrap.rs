//! What logs wrap the kernel's lines in, found out line by line.
//!
//! ```text
//! 4,350,4821843,-,caller=T104;text     /dev/kmsg, extended netconsole
//! <4>[    4.821843][  T104] text       syslog(2), dmesg -r, a console
//! kern  :warn  : [Mon Jan 25 …] text   dmesg -x -T, --time-format …
//! Mar  6 20:59:03 gw1 kernel: [3.1] t  syslog, the journal, logread
//! {"MESSAGE":"text", …}                journalctl -o json
//! text                                 nothing at all
//! ```

use super::line::{Caller, Clock};
use super::stamp::{self, Cursor, Stamp};
use memchr::memmem::find;
use std::borrow::Cow;

/// A line without its wrapping.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Unwrapped<'a> {
    /// What the kernel printed.
    pub text: Cow<'a, [u8]>,
    /// Microseconds since boot.
    pub boot_us: Option<u64>,
    /// The wall's clock.
    pub wall: Option<Clock>,
    /// The wall's stamp as written.
    pub stamp: &'a [u8],
    /// Who printed it.
    pub caller: Option<Caller>,
    /// Whether it came as a record of /dev/kmsg: then `\xNN` stands for a byte, and `KEY=value` lines may follow.
    pub record: bool,
    /// Whether it goes on where the record before ended (`+`, kernels before 4.10).
    pub continues: bool,
    /// How often it came, where a syslog daemon folded repeats.
    pub repeat: u64,
}

/// Takes the wrapping off one line. `None`: not the kernel's.
pub(super) fn unwrap(line: &[u8]) -> Option<Unwrapped<'_>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if let Some((of_kernel, record)) = kmsg(line) {
        return of_kernel.then_some(record);
    }
    if line.starts_with(b"{\"") {
        return journal_json(line);
    }
    let mut out = Unwrapped { repeat: 1, ..Unwrapped::default() };
    let mut rest = line;
    if let Some((prio, after)) = angle(line) {
        if prio >> 3 != 0 {
            return None;
        }
        rest = after;
        if let Some(message) = after.strip_prefix(b"1 ")
            && stamp::iso(message).is_some()
        {
            return rfc5424(message, out);
        }
    } else if let Some((is_kernel, after)) = facility(line) {
        if !is_kernel {
            return None;
        }
        rest = after;
    }
    if let Some(stamp) = stamp::iso(rest).or_else(|| stamp::named(rest)) {
        rest = dated(rest, stamp, &mut out)?;
    } else if let Some(after) = bracket(rest, &mut out) {
        // journalctl -o short-monotonic
        rest = host_and_tag(after).unwrap_or(after);
    } else if let Some(after) = unix_stamp(rest) {
        out.stamp = rest.get(..rest.len() - after.len()).unwrap_or_default();
        rest = head(host_and_tag(after)?, &mut out);
    } else {
        rest = head(host_and_tag(rest).unwrap_or(rest), &mut out);
    }
    out.text = Cow::Borrowed(repeated(rest, &mut out.repeat));
    Some(out)
}

/// How often syslog says that the line before came again: `… last message repeated 4 times`.
pub(super) fn repeats_of_the_last(line: &[u8]) -> Option<u64> {
    let line = line.trim_ascii_end().strip_suffix(b" times")?;
    let start = find(line, b"last message repeated ")?;
    stamp::named(line).or_else(|| stamp::iso(line))?;
    std::str::from_utf8(line.get(start + 22..)?).ok()?.parse().ok()
}

/// A /dev/kmsg record's head, `prio,seq,usec,flags[,KEY=value]*;`: whether the kernel wrote it, and what.
fn kmsg(line: &[u8]) -> Option<(bool, Unwrapped<'_>)> {
    if !line.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let mut c = Cursor::new(line);
    let prio = c.number(1, 6)?;
    c.byte(b",")?;
    c.number(1, 20)?;
    c.byte(b",")?;
    let usec = c.number(1, 19)?;
    c.byte(b",")?;
    let flags = line.get(c.pos()..)?;
    let end = memchr::memchr(b';', flags)?;
    let (flags, text) = flags.split_at_checked(end)?;
    let caller = find(flags, b",caller=").and_then(|at| flags.get(at + 8..)).and_then(|word| {
        let end = memchr::memchr(b',', word).unwrap_or(word.len());
        Caller::parse(word.get(..end)?)
    });
    let record = Unwrapped {
        text: Cow::Borrowed(text.get(1..).unwrap_or_default()),
        boot_us: u64::try_from(usec).ok(),
        caller,
        record: true,
        continues: flags.first() == Some(&b'+'),
        repeat: 1,
        ..Unwrapped::default()
    };
    Some((prio >> 3 == 0, record))
}

/// The sequence number of a /dev/kmsg record, and whether the kernel wrote it.
pub(super) fn kmsg_head(record: &[u8]) -> Option<(u64, bool)> {
    let mut fields = record.splitn(3, |b| *b == b',').map(|f| std::str::from_utf8(f).ok());
    let prio: u32 = fields.next()??.parse().ok()?;
    let seq = fields.next()??.parse().ok()?;
    Some((seq, prio >> 3 == 0))
}

/// `\xNN` undone, as /dev/kmsg writes every byte that is no printable ASCII, and the backslash.
pub(super) fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let byte = escape.get(1..4).and_then(|e| e.strip_prefix(b"x")).and_then(hex_byte);
        let used = if byte.is_some() { 4 } else { 1 };
        out.push(byte.unwrap_or(b'\\'));
        rest = escape.get(used..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// `<4>`.
fn angle(line: &[u8]) -> Option<(i64, &[u8])> {
    let mut c = Cursor::new(line);
    c.byte(b"<")?;
    let prio = c.number(1, 6)?;
    c.byte(b">")?;
    Some((prio, line.get(c.pos()..)?))
}

/// `kern  :warn  : `: whether it is the kernel's, and what follows.
fn facility(line: &[u8]) -> Option<(bool, &[u8])> {
    const NAMES: [&str; 12] =
        ["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"];
    const LEVELS: [&[u8]; 8] = [b"emerg", b"alert", b"crit", b"err", b"warn", b"notice", b"info", b"debug"];
    let (name, rest) = word_to(line, b':', 9)?;
    let (level, rest) = word_to(rest, b':', 8)?;
    let name = std::str::from_utf8(name.trim_ascii_end()).ok()?;
    if !LEVELS.contains(&level.trim_ascii_end()) || !(NAMES.contains(&name) || name.starts_with("local")) {
        return None;
    }
    Some((name == "kern", rest.strip_prefix(b" ").unwrap_or(rest)))
}

/// The word before the first `end` within `max` bytes, and what follows `end`.
fn word_to(bytes: &[u8], end: u8, max: usize) -> Option<(&[u8], &[u8])> {
    let pos = memchr::memchr(end, bytes.get(..max).unwrap_or(bytes))?;
    Some((bytes.get(..pos)?, bytes.get(pos + 1..)?))
}

/// What follows a date: in `dmesg --time-format iso` the text, else `HOST kernel: ` and the text.
fn dated<'a>(line: &'a [u8], stamp: Stamp, out: &mut Unwrapped<'a>) -> Option<&'a [u8]> {
    let (written, after) = line.split_at_checked(stamp.len)?;
    out.stamp = written;
    out.wall = Some(stamp.clock);
    let after = after.strip_prefix(b" ")?;
    if stamp.comma {
        return Some(caller(after, out));
    }
    Some(head(host_and_tag(after)?, out))
}

/// Takes off what the kernel itself puts first: its time, who printed; each of them where it is configured.
fn head<'a>(line: &'a [u8], out: &mut Unwrapped<'a>) -> &'a [u8] {
    match bracket(line, out) {
        Some(after) => after,
        None => caller(line, out),
    }
}

/// `[HOST ][kern.warn ]kernel: `; what follows it.
fn host_and_tag(line: &[u8]) -> Option<&[u8]> {
    let mut rest = line;
    for _ in 0..3 {
        if let Some(text) = rest.strip_prefix(b"kernel:") {
            return Some(text.strip_prefix(b" ").unwrap_or(text));
        }
        let (word, after) = word_to(rest, b' ', 280)?;
        if word.is_empty() || word.ends_with(b":") || word.starts_with(b"[") {
            return None;
        }
        rest = after.trim_ascii_start();
    }
    None
}

/// `1700000000.123456 ` of journalctl -o short-unix.
fn unix_stamp(line: &[u8]) -> Option<&[u8]> {
    let mut c = Cursor::new(line);
    c.number(9, 11)?;
    c.byte(b".")?;
    c.number(6, 6)?;
    c.byte(b" ")?;
    line.get(c.pos()..)
}

/// A stamp in brackets and what follows it: `[    4.821843]`, `[  123.456 <    0.000123>]`, `[  +0.000123]`,
/// `[Jan25 12:35]`, `[Mon Jan 25 12:35:19 2021]`, each with a caller in brackets behind it or not.
fn bracket<'a>(line: &'a [u8], out: &mut Unwrapped<'a>) -> Option<&'a [u8]> {
    let inner = line.strip_prefix(b"[")?;
    let end = memchr::memchr(b']', inner.get(..48).unwrap_or(inner))?;
    let (inner, after) = inner.split_at_checked(end)?;
    let after = after.get(1..)?;
    let mut c = Cursor::new(inner);
    c.spaces();
    if let Some(us) = seconds(&mut c) {
        c.spaces();
        if c.peek().is_some_and(|b| b != b'<') {
            return None;
        }
        out.boot_us = Some(us);
    } else if c.byte(b"+<").is_some() {
        c.spaces();
        seconds(&mut c)?;
    } else if let Some(stamp) = stamp::named(inner).filter(|s| s.len == inner.len()) {
        out.stamp = inner;
        out.wall = Some(stamp.clock);
    } else {
        // dmesg -e: `Jan25 12:35`
        let day = Cursor::new(inner.get(3..)?).number(1, 2)?;
        if !(1..=31).contains(&day) || memchr::memchr(b':', inner).is_none() || !inner.first()?.is_ascii_uppercase() {
            return None;
        }
        out.stamp = inner;
    }
    Some(caller(after.strip_prefix(b" ").unwrap_or(after), out))
}

/// `SECONDS.FRACTION` in microseconds.
fn seconds(c: &mut Cursor<'_>) -> Option<u64> {
    let seconds = c.number(1, 12)?;
    c.byte(b".")?;
    let start = c.pos();
    let fraction = c.number(1, 9)?;
    let digits = u32::try_from(c.pos() - start).ok()?;
    let micros = seconds.saturating_mul(1_000_000).saturating_add(fraction * 1_000_000 / 10_i64.pow(digits));
    u64::try_from(micros).ok()
}

/// `[  T123] `.
fn caller<'a>(line: &'a [u8], out: &mut Unwrapped<'a>) -> &'a [u8] {
    let found = line.strip_prefix(b"[").and_then(|inner| {
        let end = memchr::memchr(b']', inner.get(..16).unwrap_or(inner))?;
        let (word, after) = inner.split_at_checked(end)?;
        Some((Caller::parse(word.trim_ascii_start())?, after.get(1..)?))
    });
    match found {
        Some((who, after)) => {
            out.caller = Some(who);
            after.strip_prefix(b" ").unwrap_or(after)
        }
        None => line,
    }
}

/// `STAMP HOST APP PROCID MSGID SD TEXT` of RFC 5424.
fn rfc5424<'a>(message: &'a [u8], mut out: Unwrapped<'a>) -> Option<Unwrapped<'a>> {
    let stamp = stamp::iso(message)?;
    out.stamp = message.get(..stamp.len)?;
    out.wall = Some(stamp.clock);
    let mut words = message.splitn(7, |b| *b == b' ').skip(2);
    let app = words.next()?;
    let text = words.nth(3)?;
    if app != b"kernel" {
        return None;
    }
    out.text = Cow::Borrowed(head(text, &mut out));
    Some(out)
}

/// rsyslog's `message repeated 9 times: [ TEXT]`.
fn repeated<'a>(text: &'a [u8], repeat: &mut u64) -> &'a [u8] {
    let found = text.strip_prefix(b"message repeated ").and_then(|rest| {
        let mut c = Cursor::new(rest);
        let times = c.number(1, 9)?;
        c.word(b" times: [")?;
        let inner = rest.get(c.pos()..)?.strip_suffix(b"]")?;
        Some((u64::try_from(times).ok()?, inner.trim_ascii_start()))
    });
    match found {
        Some((times, inner)) => {
            *repeat = times;
            bracket(inner, &mut Unwrapped::default()).unwrap_or(inner)
        }
        None => text,
    }
}

/// One entry of `journalctl -o json`. The stamp of the source is the kernel's own.
fn journal_json(line: &[u8]) -> Option<Unwrapped<'static>> {
    let entry: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).ok()?;
    let text_of = |key: &str| entry.get(key).and_then(serde_json::Value::as_str);
    if text_of("_TRANSPORT")? != "kernel" || text_of("SYSLOG_FACILITY").is_some_and(|f| f != "0") {
        return None;
    }
    let text = match entry.get("MESSAGE")? {
        serde_json::Value::String(text) => text.clone().into_bytes(),
        serde_json::Value::Array(bytes) => {
            bytes.iter().filter_map(serde_json::Value::as_u64).filter_map(|b| u8::try_from(b).ok()).collect()
        }
        _ => return None,
    };
    let number = |key: &str| text_of(key).and_then(|n| n.parse::<u64>().ok());
    let boot_us = number("_SOURCE_MONOTONIC_TIMESTAMP").or_else(|| number("_SOURCE_BOOTTIME_TIMESTAMP"));
    let wall = number("__REALTIME_TIMESTAMP").and_then(|us| i64::try_from(us / 1000).ok()).map(Clock::Wall);
    Some(Unwrapped { text: Cow::Owned(text), boot_us, wall, repeat: 1, ..Unwrapped::default() })
}
