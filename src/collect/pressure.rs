//! Pressure stall information of the host.

use super::kept::Kept;
use super::text::{fraction, lines, number, words};
use super::{Collector, Context, Roots};
use crate::snapshot::{Pressure, Psi, Section};
use rustix::io::Errno;

/// Reads `/proc/pressure/{cpu,memory,io}` (4.20 and later).
#[derive(Debug)]
pub struct PressureCollector {
    cpu: Kept,
    memory: Kept,
    io: Kept,
    buf: Vec<u8>,
}

impl PressureCollector {
    /// A collector of the tree below `roots`.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        let kept = |name: &str| Kept::new(roots.proc("pressure").join(name));
        Self { cpu: kept("cpu"), memory: kept("memory"), io: kept("io"), buf: Vec::new() }
    }
}

impl Collector for PressureCollector {
    type Out = Pressure;

    fn name(&self) -> &'static str {
        "pressure"
    }

    fn collect(&mut self, _: &Context) -> Section<Pressure> {
        let at = super::now();
        let mut refused = None;
        let mut one = |file: &mut Kept| match file.read(&mut self.buf) {
            Ok(()) => parse(&self.buf),
            Err(e) => {
                refused = Some(e);
                None
            }
        };
        let data = Pressure { cpu: one(&mut self.cpu), memory: one(&mut self.memory), io: one(&mut self.io) };
        if data != Pressure::default() {
            return Section::ok(at, data);
        }
        match refused {
            Some(Errno::OPNOTSUPP) => Section::absent("PSI is built in but off: boot with psi=1"),
            Some(Errno::NOENT) => Section::absent("no /proc/pressure: needs kernel 4.20 with CONFIG_PSI"),
            Some(Errno::ACCESS | Errno::PERM) => {
                Section::denied("/proc/pressure", "root, or a /proc mounted without subset=pid")
            }
            Some(other) => Section::absent(format!("/proc/pressure cannot be read: {other}")),
            None => Section::absent("/proc/pressure holds no line that can be understood"),
        }
    }
}

/// One PSI file of the host or of a cgroup (`cpu.pressure`, …). `None` without a `some` line; an unknown field or line
/// is passed over.
#[must_use]
pub fn parse(text: &[u8]) -> Option<Psi> {
    let mut some = None;
    let mut full = None;
    for line in lines(text) {
        let mut words = words(line);
        let slot = match words.next() {
            Some(b"some") => &mut some,
            Some(b"full") => &mut full,
            _ => continue,
        };
        let (mut avg10, mut total) = (0.0, None);
        for word in words {
            if let Some(value) = word.strip_prefix(b"avg10=") {
                avg10 = fraction(value).unwrap_or(0.0);
            } else if let Some(value) = word.strip_prefix(b"total=") {
                total = number(value);
            }
        }
        *slot = total.map(|total| (total, avg10));
    }
    let (some_usec, some_avg10) = some?;
    Some(Psi { some_usec, some_avg10, full_usec: full.map(|f| f.0), full_avg10: full.map(|f| f.1) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEEN: &[u8] = b"some avg10=0.23 avg60=0.10 avg300=0.41 total=5566924\n\
                          full avg10=0.13 avg60=0.07 avg300=0.37 total=5214243\n";

    #[test]
    fn both_lines() {
        let psi = parse(SEEN).unwrap();
        assert_eq!((psi.some_usec, psi.full_usec), (5_566_924, Some(5_214_243)));
        assert_eq!((psi.some_avg10, psi.full_avg10), (0.23, Some(0.13)));
    }

    #[test]
    fn the_cpu_file_before_5_13_has_no_full_line() {
        let psi = parse(b"some avg10=1.00 avg60=0.00 avg300=0.00 total=12\n").unwrap();
        assert_eq!((psi.some_usec, psi.full_usec), (12, None));
    }

    #[test]
    fn a_torn_line_costs_itself() {
        assert_eq!(parse(b"some avg10=0.23 avg60=0.1"), None);
        assert_eq!(parse(b"some avg10=0.23 total=5\nfull avg10=0.13 tot").unwrap().full_usec, None);
    }

    #[test]
    fn missing_says_what_would_help() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots { proc: dir.path().to_owned(), sys: dir.path().to_owned() };
        let Section::Absent { why } = PressureCollector::new(&roots).collect(&Context::default()) else {
            panic!("not absent")
        };
        assert!(why.contains("4.20"), "{why}");
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn never_panics_on_a_damaged_file(at in 0..SEEN.len(), byte: u8) {
            let mut text = SEEN.to_vec();
            text[at] = byte;
            let _ = parse(&text);
        }
    }
}
