//! Numbers in a fixed number of columns.

/// Bytes in at most five columns: `0B`, `1023B`, `2.0G`, `31.4G`, `331G`.
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];
    if n < 1024 {
        return format!("{n}B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 'K';
    for next in UNITS.into_iter().skip(1) {
        // 1023.5 would be printed as 1024.
        if value < 1023.5 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if value < 99.95 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

/// A count with separators, or shortened (`41.2k`, `131k`, `1.2M`) where they would take more than `columns`.
#[must_use]
pub fn count(n: u64, columns: usize) -> String {
    let full = grouped(n);
    if full.len() <= columns {
        return full;
    }
    if n < 10_000 { n.to_string() } else { short(n) }
}

/// A count with a comma every three digits.
#[must_use]
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, ch) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(ch);
    }
    out
}

/// A count in at most five columns: `999`, `9,999`, `41.2k`, `131k`, `1.2M`.
#[must_use]
pub fn short(n: u64) -> String {
    if n < 10_000 {
        return grouped(n);
    }
    let mut value = n as f64 / 1000.0;
    let mut unit = 'k';
    for next in ['M', 'G', 'T', 'P', 'E'] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if value < 99.95 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

/// A magnitude as a whole number; 0 for what is not a number.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, and NaN gives 0")]
pub fn whole(value: f64) -> u64 {
    value.abs().round() as u64
}

/// A number in at most five columns: `0`, `0.3`, `9.9`, `212`, `41.2k`.
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    let sign = if value < 0.0 && size >= 0.05 { "-" } else { "" };
    if size < 0.05 {
        return "0".into();
    }
    if size < 9.95 && (size - size.round()).abs() >= 0.05 {
        return format!("{sign}{size:.1}");
    }
    format!("{sign}{}", short(whole(size)))
}

/// A growth a second, signed: `+14.2`, `-3`, `0`.
#[must_use]
pub fn growth(per_s: f64) -> String {
    let plus = if per_s >= 0.05 { "+" } else { "" };
    format!("{plus}{}", number(per_s))
}

/// A counter's rate behind its value: ` (+3/s)`. Nothing where it stands still.
#[must_use]
pub fn rate_after(per_s: Option<f64>) -> String {
    let words = per_s.map_or_else(String::new, growth);
    if matches!(&*words, "" | "0") { String::new() } else { format!(" ({words}/s)") }
}

/// A growth of bytes a second, signed: `+41.0M`.
#[must_use]
pub fn byte_growth(per_s: f64) -> String {
    let sign = if per_s < -0.5 {
        "-"
    } else if per_s > 0.5 {
        "+"
    } else {
        ""
    };
    format!("{sign}{}", bytes(whole(per_s)))
}

/// A percentage: `0%`, `0.8%`, `9%`, `100%`.
#[must_use]
pub fn percent(value: f64) -> String {
    format!("{}%", number(value))
}

/// A span of time in at most six columns: `<1s`, `12s`, `3m12s`, `3h05m`, `41d03h`, `412d`.
#[must_use]
pub fn span(secs: f64) -> String {
    let s = whole(secs.max(0.0).floor());
    match s {
        0 => "<1s".into(),
        1..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        86_400..8_640_000 => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3600),
        _ => format!("{}d", s / 86_400),
    }
}

/// Time since boot, as `uptime` says it: `41d 03:12`.
#[must_use]
pub fn uptime(secs: f64) -> String {
    let s = whole(secs.max(0.0).floor());
    let (days, hours, minutes) = (s / 86_400, s % 86_400 / 3600, s % 3600 / 60);
    if days > 0 { format!("{days}d {hours:02}:{minutes:02}") } else { format!("{hours:02}:{minutes:02}") }
}

/// A size in prose, 1024-based with the kernel's units: `2 GB`, `27.9 kB`.
#[must_use]
pub fn prose_bytes(n: u64) -> String {
    humansize::format_size(n, humansize::WINDOWS.decimal_places(1))
}

/// The day, `11-22`, of nanoseconds since 1970 in a zone `offset_secs` east of UTC.
#[must_use]
pub fn month_day(unix_ns: i64, offset_secs: i32) -> String {
    let zone = jiff::tz::Offset::from_seconds(offset_secs).unwrap_or(jiff::tz::Offset::UTC);
    let at = jiff::Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default();
    zone.to_datetime(at).strftime("%m-%d").to_string()
}

/// The time of day, `22:14:07`, of nanoseconds since 1970 in a zone `offset_secs` east of UTC.
#[must_use]
pub fn clock(unix_ns: i64, offset_secs: i32) -> String {
    let s = (unix_ns.div_euclid(1_000_000_000) + i64::from(offset_secs)).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", s / 3600, s % 3600 / 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_never_jump() {
        for (n, shown) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1000B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (1536, "1.5K"),
            (102_348, "99.9K"),
            (102_400, "100K"),
            (1_048_063, "1023K"),
            (1_048_064, "1.0M"),
            (2 << 30, "2.0G"),
            (355_408_543_744, "331G"),
            (u64::MAX, "16.0E"),
        ] {
            assert_eq!(bytes(n), shown, "{n}");
            assert!(bytes(n).len() <= 5);
        }
    }

    #[test]
    fn counts_shorten_only_when_they_must() {
        for (n, columns, shown) in [
            (999, 5, "999"),
            (1000, 5, "1,000"),
            (1024, 5, "1,024"),
            (1024, 4, "1024"),
            (9_999, 5, "9,999"),
            (41_233, 6, "41,233"),
            (41_233, 5, "41.2k"),
            (131_072, 5, "131k"),
            (999_499, 5, "999k"),
            (999_500, 5, "1.0M"),
            (12_345_678, 5, "12.3M"),
            (u64::MAX, 5, "18.4E"),
        ] {
            assert_eq!(count(n, columns), shown, "{n} in {columns}");
        }
    }

    #[test]
    fn numbers_growth_and_percent() {
        for (v, shown) in
            [(0.0, "0"), (0.04, "0"), (0.3, "0.3"), (9.96, "10"), (3.0, "3"), (212.4, "212"), (-4.25, "-4.2")]
        {
            assert_eq!(number(v), shown, "{v}");
        }
        assert_eq!(number(f64::NAN), "0");
        assert_eq!(growth(14.2), "+14");
        assert_eq!(growth(1.6), "+1.6");
        assert_eq!(growth(-3.0), "-3");
        assert_eq!(growth(0.0), "0");
        assert_eq!([Some(3.0), Some(0.0), Some(0.04), None].map(rate_after), [" (+3/s)", "", "", ""]);
        assert_eq!(byte_growth(41.0 * 1_048_576.0), "+41.0M");
        assert_eq!(byte_growth(-2048.0), "-2.0K");
        assert_eq!(percent(0.8), "0.8%");
        assert_eq!(percent(100.0), "100%");
    }

    #[test]
    fn spans_in_six_columns() {
        for (s, shown) in [
            (0.4, "<1s"),
            (12.0, "12s"),
            (59.9, "59s"),
            (60.0, "1m00s"),
            (192.0, "3m12s"),
            (3599.0, "59m59s"),
            (3600.0, "1h00m"),
            (86_399.0, "23h59m"),
            (86_400.0, "1d00h"),
            (3_553_200.0, "41d03h"),
            (8_640_000.0, "100d"),
        ] {
            assert_eq!(span(s), shown, "{s}");
        }
        assert_eq!(uptime(3_553_920.0), "41d 03:12");
        assert_eq!(uptime(754.0), "00:12");
        assert_eq!(clock(1_700_000_000_000_000_000, 0), "22:13:20");
        assert_eq!(clock(1_700_000_000_000_000_000, 7200), "00:13:20");
        assert_eq!(clock(-1, 0), "23:59:59");
    }
}
