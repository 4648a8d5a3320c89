//! Times as one types them: `03:12`, `03:12:30`, `2026-11-22T03:12:30Z`, `-5m`.

use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// The time that `text` means, nanoseconds since 1970-01-01 UTC; `None` when it means none.
///
/// A time of day, local, is taken on the day on which it lies in `range`, the last such day where there are several.
/// `-5m` and `+30s` are counted from `from_unix_ns`.
#[must_use]
pub fn parse(text: &str, range: (i64, i64), from_unix_ns: i64, utc_offset_secs: i32) -> Option<i64> {
    let text = text.trim();
    if text.starts_with(['-', '+']) {
        let span: SignedDuration = text.parse().ok()?;
        return from_unix_ns.checked_add(i64::try_from(span.as_nanos()).ok()?);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return i64::try_from(at.as_nanosecond()).ok();
    }
    let zone = Offset::from_seconds(utc_offset_secs).unwrap_or(Offset::UTC);
    let unix_ns = |date: Date, time: Time| {
        let at = zone.to_timestamp(date.to_datetime(time)).ok()?;
        i64::try_from(at.as_nanosecond()).ok()
    };
    if let Ok(at) = text.parse::<jiff::civil::DateTime>() {
        return unix_ns(at.date(), at.time());
    }
    let time: Time = text.parse().ok()?;
    let day = |unix_ns: i64| Some(zone.to_datetime(Timestamp::from_nanosecond(i128::from(unix_ns)).ok()?).date());
    let (first, last) = (day(range.0)?, day(range.1)?);
    let on_last = unix_ns(last, time)?;
    if on_last <= range.1 || last == first {
        return Some(on_last);
    }
    unix_ns(last.checked_sub(1.day()).ok()?, time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;

    fn at(text: &str) -> i64 {
        i64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap()
    }

    #[test]
    fn every_way_to_say_a_time() {
        let range = (at("2026-11-21T22:00:00Z"), at("2026-11-22T03:30:00Z"));
        let here = at("2026-11-22T03:00:00Z");
        let of = |text| parse(text, range, here, 0);
        assert_eq!(of("03:12"), Some(at("2026-11-22T03:12:00Z")));
        assert_eq!(of(" 03:12:30 "), Some(at("2026-11-22T03:12:30Z")));
        assert_eq!(of("23:00"), Some(at("2026-11-21T23:00:00Z")), "on the day it lies in");
        assert_eq!(of("2026-11-22T03:12:30Z"), Some(at("2026-11-22T03:12:30Z")));
        assert_eq!(of("2026-11-22T04:12:30+01:00"), Some(at("2026-11-22T03:12:30Z")));
        assert_eq!(of("2026-11-22 03:12"), Some(at("2026-11-22T03:12:00Z")));
        assert_eq!(of("-5m"), Some(here - 300 * SECOND));
        assert_eq!(of("+30s"), Some(here + 30 * SECOND));
        assert_eq!(of("-1h30m"), Some(here - 5400 * SECOND));
        for wrong in ["", "noon", "25:00", "-", "5 apples", "-5"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_time_of_day_is_local() {
        let range = (at("2026-11-22T00:00:00Z"), at("2026-11-22T12:00:00Z"));
        assert_eq!(parse("03:12", range, 0, 7200), Some(at("2026-11-22T01:12:00Z")));
        assert_eq!(parse("13:30", range, 0, 7200), Some(at("2026-11-22T11:30:00Z")));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,20}", from: i64, to: i64, here: i64, offset: i32) {
            let _ = parse(&text, (from, to), here, offset);
        }
    }
}
