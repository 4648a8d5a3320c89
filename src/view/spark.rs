//! Histories in a few columns, and bars.

/// Columns of a sparkline in a row.
pub const COLUMNS: usize = 8;

const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// `values`, oldest first, in `columns`: the highest of each part, scaled to the limit or to their own highest.
/// A history that hardly moves is drawn low and flat: it is calm, however large.
#[must_use]
pub fn line(values: &[f32], limit: Option<f32>, columns: usize) -> String {
    if values.is_empty() {
        return String::new();
    }
    let high = values.iter().copied().fold(0.0f32, f32::max);
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let scale = limit.unwrap_or(high).max(high);
    let flat = limit.is_none() && high - low <= high * 0.02;
    let parts = columns.min(values.len()).max(1);
    (0..parts)
        .map(|part| {
            let from = part * values.len() / parts;
            let to = ((part + 1) * values.len() / parts).max(from + 1);
            let top = values.get(from..to).unwrap_or_default().iter().copied().fold(0.0f32, f32::max);
            match () {
                () if scale <= 0.0 || top <= 0.0 => STEPS[0],
                () if flat => STEPS[2],
                () => step(top / scale),
            }
        })
        .collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 0 to 1 of eight steps")]
fn step(share: f32) -> char {
    let at = (share.clamp(0.0, 1.0) * 7.0).round() as usize;
    STEPS.get(at).copied().unwrap_or('█')
}

/// How many of `columns` are filled when `used` of `limit` is. Anything above 0 fills one, only all of it fills all.
#[must_use]
pub fn filled(used: u64, limit: u64, columns: usize) -> usize {
    if used == 0 || limit == 0 {
        return if used == 0 { 0 } else { columns };
    }
    if used >= limit {
        return columns;
    }
    let share = u128::from(used) * (columns as u128) / u128::from(limit);
    usize::try_from(share).unwrap_or(columns).clamp(1.min(columns), columns.saturating_sub(1).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_scaled_to_its_limit() {
        assert_eq!(line(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], None, 8), "▁▂▃▄▅▆▇█");
        assert_eq!(line(&[5.0; 8], Some(10.0), 8), "▅▅▅▅▅▅▅▅");
        assert_eq!(line(&[5.0; 8], None, 8), "▃▃▃▃▃▃▃▃");
        assert_eq!(line(&[0.0; 8], None, 8), "▁▁▁▁▁▁▁▁");
        assert_eq!(line(&[0.0, 0.0, 9.0, 0.0], None, 2), "▁█");
        assert_eq!(line(&[1.0, 2.0], None, 8), "▅█");
        assert_eq!(line(&[], None, 8), "");
        assert_eq!(line(&[f32::NAN, 1.0, 2.0], None, 8), "▁▅█");
    }

    #[test]
    fn a_bar_is_full_only_at_the_limit() {
        for (used, limit, full) in [(0, 10, 0), (1, 1000, 1), (5, 10, 5), (999, 1000, 9), (10, 10, 10), (20, 10, 10)] {
            assert_eq!(filled(used, limit, 10), full, "{used}/{limit}");
        }
        assert_eq!(filled(u64::MAX, u64::MAX - 1, 10), 10);
        assert_eq!(filled(1, 0, 10), 10);
    }
}
