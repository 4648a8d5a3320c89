//! Durations as people type them: `500ms`, `5s`, `2m`, `1.5h`.

use std::time::Duration;

/// Shortest and longest `--interval`.
const INTERVAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_hours(1));
/// Shortest and longest `why --for`.
const WINDOW: (Duration, Duration) = (Duration::from_millis(500), Duration::from_hours(24));

/// A duration: a number with `ms`, `s`, `m` or `h`; a bare number is seconds.
///
/// # Errors
/// A sentence for the user.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match text.strip_prefix(digits) {
        Some("ms") => 1.0,
        Some("" | "s") => 1e3,
        Some("m" | "min") => 60e3,
        Some("h") => 3600e3,
        _ => return Err("needs a unit of ms, s, m or h, for example 500ms or 2m".into()),
    };
    let number: f64 = digits.parse().map_err(|_| "needs a number with ms, s, m or h, for example 500ms or 2m")?;
    Duration::try_from_secs_f64(number * unit_ms / 1e3).map_err(|_| "is out of range".into())
}

/// `--interval`.
///
/// # Errors
/// A sentence for the user.
pub fn interval(text: &str) -> Result<Duration, String> {
    within(text, INTERVAL)
}

/// `why --for`.
///
/// # Errors
/// A sentence for the user.
pub fn window(text: &str) -> Result<Duration, String> {
    within(text, WINDOW)
}

fn within(text: &str, (least, most): (Duration, Duration)) -> Result<Duration, String> {
    let span = parse(text)?;
    if (least..=most).contains(&span) {
        Ok(span)
    } else {
        Err(format!("must lie between {} and {}", words(least), words(most)))
    }
}

/// A span in the largest unit that fits: `500 ms`, `5.0 s`, `3m12s`, `2h05m`, `41d03h`.
#[must_use]
pub fn words(span: Duration) -> String {
    let (s, ms) = (span.as_secs(), span.subsec_millis());
    match s {
        0 => format!("{ms} ms"),
        1..=59 if ms == 0 => format!("{s} s"),
        1..=59 => format!("{:.1} s", span.as_secs_f64()),
        60..=3599 if s % 60 == 0 => format!("{} min", s / 60),
        60..=3599 => format!("{}m{:02}s", s / 60, s % 60),
        3600..=86_399 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_people_type() {
        let ms = |text| parse(text).map(|d| d.as_millis());
        assert_eq!(
            ["500ms", "5s", "2m", "1.5h", "3", " 2 min"].map(ms),
            [Ok(500), Ok(5000), Ok(120_000), Ok(5_400_000), Ok(3000), Ok(120_000)]
        );
        for bad in ["", "s", "-5s", "5 years", "1e999s", "NaN", "inf", "ｓ"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bounds_are_told() {
        assert_eq!(interval("1ms"), Err("must lie between 100 ms and 1h00m".into()));
        assert!(window("0s").is_err());
    }

    #[test]
    fn words_are_short() {
        let of = |s| words(Duration::from_secs(s));
        assert_eq!([of(5), of(192), of(7500), of(3_553_920)], ["5 s", "3m12s", "2h05m", "41d03h"]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
