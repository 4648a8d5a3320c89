//! `mountinfo`: the lines that are of interest, parsed by procfs.

use memchr::memmem;
use procfs::process::MountInfo;

/// The mounts in a `mountinfo` text whose filesystem type begins with `kind`. A line that can't be parsed, or is no
/// UTF-8, loses itself only. Paths are still escaped.
pub fn mounts(raw: &[u8], kind: &str) -> impl Iterator<Item = MountInfo> {
    // Blanks in paths are escaped, so this stands before the type only. Most lines are of other kinds.
    let mark = format!(" - {kind}");
    super::text::lines(raw)
        .filter(move |line| memmem::find(line, mark.as_bytes()).is_some())
        .filter_map(|line| MountInfo::from_line(std::str::from_utf8(line).ok()?).ok())
}

/// The kernel's octal escapes (`\040` for a space) undone.
pub fn unescape(path: impl AsRef<[u8]>) -> Vec<u8> {
    let mut rest = path.as_ref();
    let mut out = Vec::with_capacity(rest.len());
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) = (first, tail) {
            out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
            rest = after;
        } else {
            out.push(first);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bad_line_loses_only_itself() {
        let raw = b"\
31 24 0:28 / /a rw shared:10 master:3 - cgroup cgroup rw,memory
x 24 0:29 / /b rw - cgroup cgroup rw,cpu
32 24 0:30 / /\xff rw - cgroup cgroup rw,pids
33 24 0:31 / /c rw - cgroup
34 24 0:32 / /d rw - tmpfs cgroup rw
35 24 0:33 / /e rw - cgroup2 none rw
";
        let points: Vec<_> = mounts(raw, "cgroup").map(|m| m.mount_point).collect();
        assert_eq!(points, ["/a", "/e"].map(std::path::PathBuf::from));
    }

    #[test]
    fn only_octal_escapes_are_undone() {
        assert_eq!(unescape("/a\\040b\\134\\377"), b"/a b\\\xff");
        assert_eq!(unescape("\\04 \\400 \\"), b"\\04 \\400 \\");
    }

    proptest! {
        #[test]
        fn never_panics(raw in "([0-9]{1,3}| |/|-|:|=|cgroup2?| - |\\\\0[0-9]{2}|,|shared|\n|\\PC){0,80}", noise: Vec<u8>) {
            for raw in [raw.as_bytes(), &noise, &unescape(&raw)] {
                let _ = mounts(raw, "").count();
            }
        }
    }
}
