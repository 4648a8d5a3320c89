//! Signals by name.

/// Names of signals 1 to 31 on Linux (x86, ARM, RISC-V, POWER, s390).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// The signals of a set of `/proc/PID/status` (bit n−1 = signal n), real-time ones as `RT34`.
pub(super) fn names(set: u64) -> String {
    let on = (0..64).filter(|bit| set >> bit & 1 == 1);
    let name = |bit: usize| NAMES.get(bit).map_or_else(|| format!("RT{}", bit + 1), |n| (*n).to_owned());
    on.map(name).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_numbered_from_one() {
        assert_eq!(names(1 << 8), "KILL");
        assert_eq!(names((1 << 14) | 1), "HUP TERM");
        assert_eq!(names(1 << 33), "RT34");
        assert_eq!(names(0), "");
    }
}
