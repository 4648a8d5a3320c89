//! Signals by number and name.

use serde::{Deserialize, Serialize};

/// A signal's number, 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signal(pub u8);

/// What a signal does to a process that neither catches, blocks nor ignores it (`signal(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// The process ends (with or without a core dump).
    Terminate,
    /// Nothing happens.
    Ignore,
    /// The process stops.
    Stop,
    /// A stopped process goes on.
    Continue,
}

/// Names of 1 to 31 in the order that every architecture but alpha, mips, parisc and sparc uses.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// First and last real-time signal as programs see them: the C library keeps 32 and 33.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

impl Signal {
    /// SIGHUP.
    pub const HUP: Self = Self(1);
    /// SIGINT.
    pub const INT: Self = Self(2);
    /// SIGQUIT.
    pub const QUIT: Self = Self(3);
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGTERM.
    pub const TERM: Self = Self(15);
    /// SIGCHLD.
    pub const CHLD: Self = Self(17);
    /// SIGCONT.
    pub const CONT: Self = Self(18);
    /// SIGSTOP.
    pub const STOP: Self = Self(19);

    /// The signal of a number, or of a name in any case with or without `SIG` (`TERM`, `sigkill`, `9`, `RTMIN+3`).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let upper = text.trim().to_ascii_uppercase();
        if let Ok(number) = upper.parse::<u8>() {
            return (1..=RTMAX).contains(&number).then_some(Self(number));
        }
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(offset) = name.strip_prefix("RTMIN") {
            let above = if offset.is_empty() { 0 } else { offset.strip_prefix('+')?.parse::<u8>().ok()? };
            return RTMIN.checked_add(above).filter(|n| *n <= RTMAX).map(Self);
        }
        if let Some(offset) = name.strip_prefix("RTMAX") {
            let below = if offset.is_empty() { 0 } else { offset.strip_prefix('-')?.parse::<u8>().ok()? };
            return RTMAX.checked_sub(below).filter(|n| *n >= RTMIN).map(Self);
        }
        let name = if name == "POLL" { "IO" } else { name };
        let at = NAMES.iter().position(|known| *known == name)?;
        u8::try_from(at + 1).ok().map(Self)
    }

    /// Its name with `SIG`: `SIGTERM`, `SIGRTMIN+3`; a number without a name as `signal 32`.
    #[must_use]
    pub fn name(self) -> String {
        match self.0 {
            n @ RTMIN..=RTMAX if n == RTMIN => "SIGRTMIN".into(),
            n @ RTMIN..=RTMAX => format!("SIGRTMIN+{}", n - RTMIN),
            n => match usize::from(n).checked_sub(1).and_then(|at| NAMES.get(at)) {
                Some(name) => format!("SIG{name}"),
                None => format!("signal {n}"),
            },
        }
    }

    /// Its bit in the sets of `/proc/PID/status` (bit n−1 = signal n).
    #[must_use]
    pub fn bit(self) -> u64 {
        1_u64.checked_shl(u32::from(self.0).wrapping_sub(1)).unwrap_or(0)
    }

    /// What it does by default.
    #[must_use]
    pub fn default_action(self) -> DefaultAction {
        match self.0 {
            17 | 23 | 28 => DefaultAction::Ignore,
            18 => DefaultAction::Continue,
            19..=22 => DefaultAction::Stop,
            _ => DefaultAction::Terminate,
        }
    }

    /// Whether its default action dumps core: the kernel then lets the process end itself.
    #[must_use]
    pub fn dumps_core(self) -> bool {
        matches!(self.0, 3..=8 | 11 | 24 | 25 | 31)
    }

    /// Whether a process can neither catch, block nor ignore it.
    #[must_use]
    pub fn is_absolute(self) -> bool {
        self == Self::KILL || self == Self::STOP
    }

    /// Whether whoever sends it wants the process gone: KILL, and what asks for the end (TERM, INT, QUIT, ABRT).
    #[must_use]
    pub fn asks_to_end(self) -> bool {
        matches!(self.0, 2 | 3 | 6 | 9 | 15)
    }

    /// The signals of a set as in `/proc/PID/status`, lowest first.
    pub fn of_set(set: u64) -> impl Iterator<Item = Self> {
        (1..=RTMAX).map(Self).filter(move |signal| set & signal.bit() != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_numbers() {
        for (text, signal) in [
            ("TERM", Signal::TERM),
            ("sigkill", Signal::KILL),
            ("9", Signal::KILL),
            ("CHLD", Signal::CHLD),
            ("cont", Signal::CONT),
            ("STOP", Signal::STOP),
            ("POLL", Signal(29)),
            ("SYS", Signal(31)),
            ("RTMIN", Signal(34)),
            ("rtmin+3", Signal(37)),
            ("RTMAX-1", Signal(63)),
        ] {
            assert_eq!(Signal::parse(text), Some(signal), "{text}");
        }
        for text in ["", "0", "65", "-9", "SIG", "TERMX", "RTMIN+31", "RTMAX-31", "RTMINX", "KILL9"] {
            assert_eq!(Signal::parse(text), None, "{text}");
        }
        assert_eq!(Signal::TERM.name(), "SIGTERM");
        assert_eq!(Signal(37).name(), "SIGRTMIN+3");
        assert_eq!(Signal(32).name(), "signal 32");
    }

    #[test]
    fn every_name_is_its_number() {
        for number in (1..=31).chain(RTMIN..=RTMAX) {
            assert_eq!(Signal::parse(&Signal(number).name()), Some(Signal(number)));
        }
        assert_eq!(Signal::KILL.bit(), 0x100);
        assert_eq!(Signal::of_set(0x4100).collect::<Vec<_>>(), [Signal::KILL, Signal::TERM]);
        assert_eq!(Signal(0).bit(), 0);
        assert_eq!(Signal(64).bit(), 1 << 63);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*", number: u8) {
            let _ = Signal::parse(&text);
            let _ = (Signal(number).name(), Signal(number).bit());
        }
    }
}
