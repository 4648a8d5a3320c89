//! The few shapes that cgroup files have: one number, a number or `max`, and lines of a name and a number.

/// A file of one number.
pub fn number(raw: &[u8]) -> Option<u64> {
    std::str::from_utf8(raw.trim_ascii()).ok()?.parse().ok()
}

/// A number, or `None` inside for no limit: `max` (v2), a negative number (`cpu.cfs_quota_us`).
#[expect(clippy::option_option, reason = "outside: not understood; inside: no limit")]
pub fn limit(raw: &[u8]) -> Option<Option<u64>> {
    match raw.trim_ascii() {
        b"max" => Some(None),
        [b'-', digits @ ..] => number(digits).map(|_| None),
        digits => number(digits).map(Some),
    }
}

/// Lines of `name value`. A line of another form is left out.
pub fn pairs(raw: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    raw.split(|b| *b == b'\n').filter_map(|line| {
        let space = memchr::memchr(b' ', line)?;
        let (name, value) = line.split_at_checked(space)?;
        Some((name, number(value)?))
    })
}

/// The value of `name` in lines of `name value`.
pub fn value(raw: &[u8], name: &str) -> Option<u64> {
    pairs(raw).find(|(n, _)| *n == name.as_bytes()).map(|(_, v)| v)
}

/// `cpu.max`: quota and period, µs. `max 100000` has no quota.
pub fn cpu_max(raw: &[u8]) -> Option<(Option<u64>, u64)> {
    let raw = raw.trim_ascii();
    let (quota, period) = raw.split_at_checked(memchr::memchr(b' ', raw)?)?;
    Some((limit(quota)?, number(period)?))
}

/// A line of `/proc/cgroups`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controller<'a> {
    /// `memory`.
    pub name: &'a [u8],
    /// Live and dying cgroups of its hierarchy.
    pub cgroups: u64,
}

/// The enabled controllers of `/proc/cgroups`.
pub fn controllers(raw: &[u8]) -> impl Iterator<Item = Controller<'_>> {
    raw.split(|b| *b == b'\n').filter(|line| !line.starts_with(b"#")).filter_map(|line| {
        let mut fields = line.split(u8::is_ascii_whitespace).filter(|f| !f.is_empty());
        let name = fields.next()?;
        let cgroups = number(fields.nth(1)?)?;
        (fields.next()? == b"1").then_some(Controller { name, cgroups })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_their_absence() {
        assert_eq!(number(b"9223372036854771712\n"), Some(9_223_372_036_854_771_712));
        assert_eq!(number(b"\n"), None);
        assert_eq!(limit(b"max\n"), Some(None));
        assert_eq!(limit(b"-1\n"), Some(None));
        assert_eq!(limit(b"4096\n"), Some(Some(4096)));
        assert_eq!(limit(b"-x"), None);
        assert_eq!(cpu_max(b"max 100000\n"), Some((None, 100_000)));
        assert_eq!(cpu_max(b"20000 100000\n"), Some((Some(20_000), 100_000)));
        assert_eq!(cpu_max(b"20000"), None);
    }

    #[test]
    fn oom_control_and_events() {
        let raw = b"oom_kill_disable 0\nunder_oom 1\noom_kill 7\n";
        assert_eq!((value(raw, "under_oom"), value(raw, "oom_kill"), value(raw, "oom")), (Some(1), Some(7), None));
        // el7 before its backport.
        assert_eq!(value(b"oom_kill_disable 0\nunder_oom 0\n", "oom_kill"), None);
    }

    #[test]
    fn proc_cgroups() {
        let raw = b"#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t1\t1\nmemory\t4\t91\t1\nrdma\t0\t1\t0\n";
        let all: Vec<_> = controllers(raw).map(|c| (String::from_utf8_lossy(c.name), c.cgroups)).collect();
        assert_eq!(all, [("cpuset".into(), 1), ("memory".into(), 91)]);
    }

    proptest! {
        #[test]
        fn never_panics(raw: Vec<u8>, text in "(max|-?[0-9]{0,22}| |\n|\t|oom|#){0,40}") {
            for bytes in [raw.as_slice(), text.as_bytes()] {
                let _ = (number(bytes), limit(bytes), cpu_max(bytes), value(bytes, "oom"), controllers(bytes).count());
            }
        }
    }
}
