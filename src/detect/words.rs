//! Numbers and names as they stand in messages and advice.

use crate::snapshot::{Task, TaskKey, Text};
use std::fmt::Write as _;

/// A whole number with thousands separated: `41,134`.
pub(super) fn count(n: f64) -> String {
    let digits = format!("{:.0}", n.abs());
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if n < -0.5 {
        out.push('-');
    }
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Bytes in the unit that leaves one to four digits, 1024-based: `377 GB`, `2.0 GB`, `131 kB`.
pub(super) fn bytes(n: f64) -> String {
    let mut value = n.abs();
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB", "PB"] {
        if value < 1000.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    let sign = if n < 0.0 { "-" } else { "" };
    if unit == "B" || value >= 10.0 { format!("{sign}{value:.0} {unit}") } else { format!("{sign}{value:.1} {unit}") }
}

/// A rate: `212/s`, `3.1/s`, `0.04/s`.
pub(super) fn rate(per_s: f64) -> String {
    match per_s.abs() {
        r if r >= 10.0 => format!("{}/s", count(per_s)),
        r if r >= 0.95 => format!("{per_s:.1}/s"),
        _ => format!("{per_s:.2}/s"),
    }
}

/// A rate of something: `1,874 datagrams/s`.
pub(super) fn rate_of(per_s: f64, what: &str) -> String {
    format!("{} {what}/s", rate(per_s).trim_end_matches("/s"))
}

/// How often something happens: `212 times a second`, `24 times a minute`.
pub(super) fn times(per_s: f64) -> String {
    let (n, span) = if per_s >= 0.95 { (per_s, "second") } else { (per_s * 60.0, "minute") };
    let n = n.max(1.0).round();
    if n < 1.5 { format!("once a {span}") } else { format!("{} times a {span}", count(n)) }
}

/// Seconds as the largest two units: `8 s`, `3m12s`, `2h05m`, `41d03h`.
pub(super) fn age(secs: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an age in seconds, clamped")]
    let s = secs.clamp(0.0, 1e12).round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

/// Percent without a fraction, at least `<1 %` where it is more than nothing.
pub(super) fn percent(share: f64) -> String {
    let pct = share * 100.0;
    if pct > 0.0 && pct < 0.5 { "<1 %".into() } else { format!("{pct:.0} %") }
}

/// `name(pid)`.
pub(super) fn task(t: &Task) -> String {
    named(&t.comm, t.key)
}

/// `name(pid)`.
pub(super) fn named(comm: &str, key: TaskKey) -> String {
    format!("{comm}({})", key.pid)
}

/// `a`, `a and b`, `a, b and 3 more`: at most `most` names.
pub(super) fn list(names: &[String], most: usize) -> String {
    let shown = names.len().min(most);
    let rest = names.len() - shown;
    let mut out = String::new();
    for (i, name) in names.iter().take(shown).enumerate() {
        let glue = match i {
            0 => "",
            _ if i + 1 == shown && rest == 0 => " and ",
            _ => ", ",
        };
        out.push_str(glue);
        out.push_str(name);
    }
    if rest > 0 {
        let _ = write!(out, " and {rest} more");
    }
    out
}

/// `1 socket`, `412 sockets`.
pub(super) fn plural(n: f64, one: &str) -> String {
    let s = if (n - 1.0).abs() < 0.5 { "" } else { "s" };
    format!("{} {one}{s}", count(n))
}

/// `1 task lives`, `214 tasks live`.
pub(super) fn live(n: u32) -> String {
    if n == 1 { "1 task lives".into() } else { format!("{} tasks live", count(f64::from(n))) }
}

/// A sysctl change as a command. A namespace other than the host's own is entered by one of its processes.
pub(super) fn sysctl(name: &str, now: f64, proposed: f64, inside: Option<u32>) -> String {
    let enter = inside.map_or_else(String::new, |pid| format!("nsenter -t {pid} -n "));
    format!("{enter}sysctl -w {name}={proposed:.0}   # now {now:.0}")
}

/// The next power of two that is at least `n`.
pub(super) fn power_of_two(n: f64) -> f64 {
    let mut power = 1.0;
    while power < n && power < 2e18 {
        power *= 2.0;
    }
    power
}

/// The shortest true name of a cgroup path: its container's label, else the path.
pub(super) fn cgroup_name(cgroup: Option<&crate::snapshot::Cgroup>, path: &Text) -> String {
    match cgroup.and_then(|c| c.container.as_ref()) {
        Some(container) if container.name.is_some() || container.pod.is_some() => {
            format!("{} {}", container.runtime, container.label())
        }
        Some(container) => format!("{} container {}", container.runtime, container.label()),
        None => path.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(41_134.0), "41,134");
        assert_eq!(count(999.0), "999");
        assert_eq!(count(-1234.0), "-1,234");
        assert_eq!(bytes(2_147_483_648.0), "2.0 GB");
        assert_eq!(bytes(131_072.0), "128 kB");
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(rate(212.4), "212/s");
        assert_eq!(rate(0.04), "0.04/s");
        assert_eq!(rate_of(1873.6, "datagrams"), "1,874 datagrams/s");
        assert_eq!(
            [212.0, 1.0, 0.4, 0.01].map(times),
            ["212 times a second", "once a second", "24 times a minute", "once a minute"]
        );
        assert_eq!(age(192.0), "3m12s");
        assert_eq!(age(7_500.0), "2h05m");
        assert_eq!(percent(0.004), "<1 %");
        assert_eq!(plural(1.0, "socket"), "1 socket");
        assert_eq!(list(&["a".into(), "b".into()], 3), "a and b");
        assert_eq!(list(&["a".into(), "b".into(), "c".into(), "d".into()], 2), "a, b and 2 more");
        assert!((power_of_two(5000.0) - 8192.0).abs() < f64::EPSILON);
    }
}
