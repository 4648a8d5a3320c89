//! Durations as people type them: `500ms`, `5s`, `2m`, `1.5h`, `7d`.

use std::time::Duration;

/// A duration: a number with `ms`, `s`, `m`, `h` or `d`; a bare number is seconds.
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
        Some("d") => 86_400e3,
        _ => return Err("needs a unit of ms, s, m, h or d, for example 500ms or 2m".into()),
    };
    let number: f64 =
        digits.trim_end().parse().map_err(|_| "needs a number with ms, s, m, h or d, for example 500ms or 2m")?;
    Duration::try_from_secs_f64(number * unit_ms / 1e3).map_err(|_| "is out of range".into())
}

/// `--interval`.
///
/// # Errors
/// A sentence for the user.
pub fn interval(text: &str) -> Result<Duration, String> {
    let span = parse(text)?;
    let good = (Duration::from_millis(100)..=Duration::from_hours(1)).contains(&span);
    good.then_some(span).ok_or_else(|| "must lie between 100ms and 1h".into())
}

/// `why --for`.
///
/// # Errors
/// A sentence for the user.
pub fn window(text: &str) -> Result<Duration, String> {
    let span = parse(text)?;
    let good = (Duration::from_millis(500)..=Duration::from_hours(24)).contains(&span);
    good.then_some(span).ok_or_else(|| "must lie between 500ms and 24h".into())
}

/// `kill --wait`.
///
/// # Errors
/// A sentence for the user.
pub fn wait(text: &str) -> Result<Duration, String> {
    let span = parse(text)?;
    (span <= Duration::from_hours(1)).then_some(span).ok_or_else(|| "must be at most 1h".into())
}

/// `record --for` and `--max-age`.
///
/// # Errors
/// A sentence for the user.
pub fn span(text: &str) -> Result<Duration, String> {
    let span = parse(text)?;
    let good = (Duration::from_secs(1)..=Duration::from_hours(24 * 366)).contains(&span);
    good.then_some(span).ok_or_else(|| "must lie between 1s and 366d".into())
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
        assert_eq!(interval("1ms"), Err("must lie between 100ms and 1h".into()));
        assert!(window("0s").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
