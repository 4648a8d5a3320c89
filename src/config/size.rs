//! Sizes as people type them: `500M`, `1G`, `1.5GiB`.

/// The least that is of use: a file half as large holds a few minutes of a crowded host.
const LEAST: f64 = (1 << 20) as f64;

/// A number of bytes with `K`, `M`, `G` or `T`, powers of 1024.
///
/// # Errors
/// A sentence for the user.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.strip_prefix(digits).unwrap_or_default().trim_end_matches('B').trim_end_matches('i');
    let power = match unit {
        "" => 0,
        "K" | "k" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return Err("needs a unit of K, M, G or T, for example 500M".into()),
    };
    let number: f64 = digits.parse().map_err(|_| "needs a number with K, M, G or T, for example 500M")?;
    let bytes = number * 1024_f64.powi(power);
    if !(LEAST..1e18).contains(&bytes) {
        return Err("must lie between 1M and 900000T".into());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "its range was looked at")]
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type() {
        assert_eq!(parse("1G"), Ok(1 << 30));
        assert_eq!(parse("1.5GiB"), Ok(3 << 29));
        assert_eq!(parse("500M"), Ok(500 << 20));
        assert_eq!(parse("2097152"), Ok(2 << 20));
        for wrong in ["", "G", "1X", "-1G", "1K", "NaN", "1e30G", "1 G B"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
