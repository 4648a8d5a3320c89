//! `/proc/PID/status`, `cgroup`, `limits` and the links of `ns/`: what changes seldom.

use crate::snapshot::NetnsId;
use memchr::memchr_iter;

/// What is kept of a `status` file; `None` where the line is missing (zombies have no `Vm*`, kernels before 4.1 no
/// `NSpid`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// Real user (`Uid`, first number).
    pub uid: Option<u32>,
    /// Pid in the innermost namespace, when `NSpid` has more than one number.
    pub inner_pid: Option<u32>,
    /// `VmSwap`, bytes.
    pub swap_bytes: Option<u64>,
    /// `FDSize`: slots of the descriptor table, never fewer than descriptors.
    pub fd_slots: Option<u64>,
    /// SIGKILL in `SigPnd` or `ShdPnd`.
    pub sigkill_pending: Option<bool>,
    /// `voluntary_ctxt_switches` + `nonvoluntary_ctxt_switches`.
    pub switches: Option<u64>,
}

/// The bit of SIGKILL (9) in a signal set.
const SIGKILL_BIT: u64 = 1 << 8;

/// Lines of a file as `(key, value)` around the first colon, the value trimmed.
pub(crate) fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(text).filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((line.get(..colon)?, line.get(colon + 1..)?.trim_ascii()))
    })
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut from = 0;
    memchr_iter(b'\n', text).chain(std::iter::once(text.len())).filter_map(move |end| {
        let line = text.get(from..end)?;
        from = end + 1;
        (!line.is_empty()).then_some(line)
    })
}

/// An unsigned decimal number that fills `text`.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A hexadecimal number that fills `text`.
pub(crate) fn hex(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

/// A size line's value (`123 kB`) in bytes.
pub(crate) fn kib(value: &[u8]) -> Option<u64> {
    number(value.strip_suffix(b" kB")?)?.checked_mul(1024)
}

fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty())
}

/// Parses `/proc/PID/status` or `/proc/PID/task/TID/status`.
pub(crate) fn parse(text: &[u8]) -> Status {
    let mut status = Status::default();
    for (key, value) in pairs(text) {
        match key {
            b"Uid" => status.uid = words(value).next().and_then(number).and_then(|n| u32::try_from(n).ok()),
            b"NSpid" => {
                let inner = words(value).skip(1).last();
                status.inner_pid = inner.and_then(number).and_then(|n| u32::try_from(n).ok());
            }
            b"VmSwap" => status.swap_bytes = kib(value),
            b"FDSize" => status.fd_slots = number(value),
            b"SigPnd" | b"ShdPnd" => {
                let pending = hex(value).map(|set| set & SIGKILL_BIT != 0);
                status.sigkill_pending = match (status.sigkill_pending, pending) {
                    (Some(a), Some(b)) => Some(a || b),
                    (a, b) => a.or(b),
                };
            }
            b"voluntary_ctxt_switches" | b"nonvoluntary_ctxt_switches" => {
                if let Some(count) = number(value) {
                    status.switches = Some(status.switches.unwrap_or(0).saturating_add(count));
                }
            }
            _ => {}
        }
    }
    status
}

/// The path that stands for a task in `/proc/PID/cgroup`: that of the memory hierarchy (v1 `memory`, else v2) unless
/// it is `/`, else the first that is not `/`, else `/`. A removed cgroup's ` (deleted)` is cut off. `None` when there
/// is no line.
pub(crate) fn cgroup_path(text: &[u8]) -> Option<&[u8]> {
    let (mut first, mut v1_memory, mut unified) = (None, None, None);
    let (mut any, mut memory_is_v1) = (false, false);
    for (controllers, path) in cgroup_lines(text) {
        any = true;
        let below_root = (path != b"/").then_some(path);
        first = first.or(below_root);
        if controllers.is_empty() {
            unified = below_root;
        } else if controllers.split(|&b| b == b',').any(|c| c == b"memory") {
            (v1_memory, memory_is_v1) = (below_root, true);
        }
    }
    let preferred = if memory_is_v1 { v1_memory } else { unified };
    preferred.or(first).or(any.then_some(b"/"))
}

/// The path in the v1 freezer hierarchy of a `/proc/PID/cgroup`; `None` for `/`, and where there is none.
pub(super) fn freezer_path(text: &[u8]) -> Option<&[u8]> {
    let is_freezer = |controllers: &[u8]| controllers.split(|&b| b == b',').any(|c| c == b"freezer");
    let (_, path) = cgroup_lines(text).find(|(controllers, _)| is_freezer(controllers))?;
    (path != b"/").then_some(path)
}

/// The lines of `/proc/PID/cgroup` as controllers (empty for v2) and path; a path may itself hold colons.
pub(crate) fn cgroup_lines(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(text).filter_map(|line| {
        let mut parts = line.splitn(3, |&b| b == b':');
        parts.next().and_then(number)?;
        let (controllers, path) = (parts.next()?, parts.next()?);
        Some((controllers, path.strip_suffix(b" (deleted)").unwrap_or(path)))
    })
}

/// Soft limits of a process that others judge it by; `u64::MAX` for `unlimited`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnLimits {
    /// `Max open files`.
    pub files: Option<u64>,
    /// `Max processes`.
    pub processes: Option<u64>,
}

/// The limits in `/proc/PID/limits`.
pub(super) fn own_limits(text: &[u8]) -> OwnLimits {
    let mut own = OwnLimits::default();
    for (name, soft) in limits(text) {
        match name {
            b"Max open files" => own.files = Some(soft.unwrap_or(u64::MAX)),
            b"Max processes" => own.processes = Some(soft.unwrap_or(u64::MAX)),
            _ => {}
        }
    }
    own
}

/// The lines of `/proc/PID/limits`: name and soft limit, `None` for `unlimited`. Names are 25 columns wide.
pub(crate) fn limits(text: &[u8]) -> impl Iterator<Item = (&[u8], Option<u64>)> {
    lines(text).skip(1).filter_map(|line| {
        let (name, rest) = line.split_at_checked(26)?;
        let soft = words(rest).next()?;
        let soft = if soft == b"unlimited" { None } else { Some(number(soft)?) };
        Some((name.trim_ascii_end(), soft))
    })
}

/// The inode in a namespace link (`net:[4026531840]`).
pub(crate) fn ns_inode(link: &[u8]) -> Option<u64> {
    let open = memchr::memchr(b'[', link)?;
    number(link.get(open + 1..)?.strip_suffix(b"]")?)
}

/// The network namespace in a link.
pub(super) fn netns(link: &[u8]) -> Option<NetnsId> {
    link.starts_with(b"net:").then(|| ns_inode(link).map(NetnsId)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of a 6.18 kernel, a container's init, lines without interest left out.
    const STATUS: &[u8] = b"Name:\ttini\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4698\nNgid:\t0\nPid:\t4698\n\
        PPid:\t4020\nTracerPid:\t0\nUid:\t999\t999\t999\t999\nGid:\t999\t999\t999\t999\nFDSize:\t64\nGroups:\t\n\
        NStgid:\t4698\t1\nNSpid:\t4698\t1\nNSpgid:\t4698\t1\nNSsid:\t4698\t1\nVmPeak:\t    4232 kB\nVmSwap:\t     12 kB\n\
        Threads:\t1\nSigQ:\t0/96000\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n\
        SigBlk:\t0000000000000000\nvoluntary_ctxt_switches:\t127\nnonvoluntary_ctxt_switches:\t3\n";

    #[test]
    fn status_of_a_container_init_with_sigkill_pending() {
        assert_eq!(
            parse(STATUS),
            Status {
                uid: Some(999),
                inner_pid: Some(1),
                swap_bytes: Some(12 * 1024),
                fd_slots: Some(64),
                sigkill_pending: Some(true),
                switches: Some(130),
            }
        );
    }

    #[test]
    fn a_task_of_our_own_namespace_has_no_inner_pid() {
        assert_eq!(parse(b"NSpid:\t77\nSigPnd:\t0000000000000000\n").inner_pid, None);
        assert_eq!(parse(b"SigPnd:\t0000000000000000\nShdPnd:\t0000000000004000\n").sigkill_pending, Some(false));
        assert_eq!(parse(b""), Status::default());
    }

    #[test]
    fn cgroup_path_prefers_memory_then_whatever_is_not_the_root() {
        let v1 = b"11:pids:/docker/ab\n4:hugetlb,memory:/docker/ab\n1:name=systemd:/init.scope\n0::/\n";
        assert_eq!(cgroup_path(v1), Some(&b"/docker/ab"[..]));
        let hybrid = b"9:name=systemd:/\n4:memory:/\n1:cpu:/busy\n0::/user.slice\n";
        assert_eq!(cgroup_path(hybrid), Some(&b"/busy"[..]));
        assert_eq!(cgroup_path(b"0::/system.slice/a:b:c.service\n"), Some(&b"/system.slice/a:b:c.service"[..]));
        assert_eq!(cgroup_path(b"4:memory:/gone (deleted)\n0::/\n"), Some(&b"/gone"[..]));
        assert_eq!(cgroup_path(b"4:memory:/\n0::/\n"), Some(&b"/"[..]));
        assert_eq!(cgroup_path(b""), None);
        assert_eq!(freezer_path(b"7:memory:/a\n5:cpuset,freezer:/ice\n0::/\n"), Some(&b"/ice"[..]));
        assert_eq!((freezer_path(v1), freezer_path(b"5:freezer:/\n")), (None, None));
    }

    #[test]
    fn limits_are_read_by_name() {
        let text = b"Limit                     Soft Limit           Hard Limit           Units     \n\
            Max cpu time              unlimited            unlimited            seconds   \n\
            Max processes             unlimited            unlimited            processes \n\
            Max open files            1024                 524288               files     \n\
            Max nice priority         0                    0                    \n";
        assert_eq!(own_limits(text), OwnLimits { files: Some(1024), processes: Some(u64::MAX) });
        assert_eq!(limits(text).next(), Some((&b"Max cpu time"[..], None)));
        assert_eq!(limits(text).count(), 4);
        let unlimited = own_limits(b"Limit\nMax open files            unlimited  unlimited files\n");
        assert_eq!(unlimited, OwnLimits { files: Some(u64::MAX), processes: None });
    }

    #[test]
    fn namespace_links() {
        assert_eq!(netns(b"net:[4026531840]"), Some(NetnsId(4_026_531_840)));
        assert_eq!(netns(b"mnt:[4026531840]"), None);
        assert_eq!(netns(b"net:["), None);
    }

    proptest! {
        #[test]
        fn never_panics(noise: Vec<u8>, cut in 0..STATUS.len()) {
            let _ = (parse(&noise), cgroup_path(&noise), own_limits(&noise), netns(&noise));
            let _ = parse(&STATUS[..cut]);
        }
    }
}
