//! Small pieces that several kinds read.

use regex::Regex;

/// A regular expression that is compiled once, on first use.
macro_rules! re {
    ($pattern:expr) => {{
        static RE: std::sync::LazyLock<regex::Regex> =
            std::sync::LazyLock::new(|| $crate::collect::klog::scan::compile($pattern));
        &*RE
    }};
}
pub(super) use re;

/// Compiles a pattern of the program's own.
#[expect(clippy::expect_used, reason = "every pattern is a constant, and the corpus test reaches each of them")]
pub(super) fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern")
}

/// A captured number.
pub(super) fn number<T: std::str::FromStr>(caps: &regex::Captures<'_>, group: usize) -> Option<T> {
    caps.get(group)?.as_str().parse().ok()
}

/// A captured text.
pub(super) fn text<'t>(caps: &regex::Captures<'t>, group: usize) -> Option<&'t str> {
    caps.get(group).map(|m| m.as_str())
}

/// A captured hexadecimal number.
pub(super) fn hex(caps: &regex::Captures<'_>, group: usize) -> Option<i64> {
    i64::from_str_radix(text(caps, group)?, 16).ok()
}

/// The line that `dump_stack` begins with: on which CPU, who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CpuLine<'a> {
    /// CPU (2.6.32 prints none).
    pub cpu: Option<i64>,
    /// Thread id.
    pub pid: i64,
    /// Its name.
    pub comm: &'a str,
    /// Kernel version, major and minor.
    pub version: Option<(u32, u32)>,
}

/// Reads `CPU: 0 UID: 0 PID: 104 Comm: java Not tainted 6.18.44 #1`, or 2.6.32's `Pid: 104, comm: java Not tainted`.
pub(super) fn cpu_line(line: &str) -> Option<CpuLine<'_>> {
    if !line.starts_with("CPU: ") && !line.starts_with("Pid: ") && !line.starts_with("PID: ") {
        return None;
    }
    let re = re!(
        r"^(?:CPU: (\d+) )?(?:UID: \d+ )?P[Ii][Dd]: (\d+),? [Cc]omm: (.+?) +(?:Not tainted|Tainted:)(?:.*? (\d+)\.(\d+)[.\d]*)?"
    );
    let caps = re.captures(line)?;
    Some(CpuLine {
        cpu: number(&caps, 1),
        pid: number(&caps, 2)?,
        comm: text(&caps, 3)?,
        version: number(&caps, 4).zip(number(&caps, 5)),
    })
}

/// A function of a call trace: `schedule_timeout` of ` [<ffffffff810997c8>] schedule_timeout+0x209/0x2d0 [mod]`.
/// `None` for frames that the unwinder only guesses (`?`), and for all other lines.
pub(super) fn frame(line: &str) -> Option<&str> {
    let symbol = match line.strip_prefix("[<") {
        Some(rest) => rest.split_once(">] ")?.1,
        None => line,
    };
    let (name, offsets) = symbol.split_once("+0x")?;
    let is_name =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$'));
    (is_name && offsets.contains("/0x")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dump_stack_heads_of_all_ages() {
        let who = |line| cpu_line(line).map(|c| (c.cpu, c.pid, c.comm.to_owned(), c.version));
        let is = |cpu, pid, comm: &str, version| Some((cpu, pid, comm.to_owned(), version));
        assert_eq!(
            who("Pid: 19164, comm: httpd Not tainted 2.6.32-642.el6.x86_64 #1"),
            is(None, 19164, "httpd", Some((2, 6)))
        );
        assert_eq!(
            who("CPU: 5 PID: 14650 Comm: java Tainted: G               ------------ T 3.10.0-862.14.4.el7.x86_64 #1"),
            is(Some(5), 14650, "java", Some((3, 10)))
        );
        assert_eq!(
            who("CPU: 44 PID: 23122 Comm: CPU 0/KVM Not tainted 4.15.0-112-generic #113-Ubuntu"),
            is(Some(44), 23122, "CPU 0/KVM", Some((4, 15)))
        );
        assert_eq!(
            who("CPU: 0 UID: 0 PID: 1449 Comm: java Not tainted 6.18.44 #1 PREEMPT(none) "),
            is(Some(0), 1449, "java", Some((6, 18)))
        );
        assert_eq!(who("CPU: 0 PID: x"), None);
    }

    #[test]
    fn frames() {
        assert_eq!(frame("[<ffffffff810997c8>] schedule_timeout+0x209/0x2d0"), Some("schedule_timeout"));
        assert_eq!(frame("nfs_file_fsync+0x30/0x280 [nfs]"), Some("nfs_file_fsync"));
        assert_eq!(frame("? __pfx_x+0x10/0x10"), None);
        assert_eq!(frame("[<ffffffff8115731d>] ? find_lock_task_mm+0x56/0xc0"), None);
        assert_eq!(frame("RIP: 0010:w+0x393/0x646 [hostsick]"), None);
    }
}
