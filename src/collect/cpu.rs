//! CPU time and load average.

use super::kept::{Kept, unread};
use super::text::{fraction, lines, number, words};
use super::{Collector, Context, Roots};
use crate::snapshot::{Cpu, CpuTimes, Section};

/// Reads `/proc/stat` and `/proc/loadavg`.
#[derive(Debug)]
pub struct CpuCollector {
    stat: Kept,
    loadavg: Kept,
    buf: Vec<u8>,
}

impl CpuCollector {
    /// A collector of the tree below `roots`.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self { stat: Kept::new(roots.proc("stat")), loadavg: Kept::new(roots.proc("loadavg")), buf: Vec::new() }
    }
}

impl Collector for CpuCollector {
    type Out = Cpu;

    fn name(&self) -> &'static str {
        "cpu"
    }

    fn collect(&mut self, _: &Context) -> Section<Cpu> {
        const NEED: &str = "a /proc mounted without subset=pid";
        let at = super::now();
        if let Err(e) = self.stat.read(&mut self.buf) {
            return unread("/proc/stat", NEED, e);
        }
        let mut cpu = parse_stat(&self.buf);
        if let Err(e) = self.loadavg.read(&mut self.buf) {
            return unread("/proc/loadavg", NEED, e);
        }
        let Some(load) = parse_loadavg(&self.buf) else {
            return Section::absent("/proc/loadavg holds no load average");
        };
        (cpu.load, cpu.runnable, cpu.entities) = (load.averages, load.runnable, load.entities);
        Section::ok(at, cpu)
    }
}

/// `/proc/stat`; lines that can't be understood are passed over. Load and entities stay 0: they are in `loadavg`.
#[must_use]
pub fn parse_stat(text: &[u8]) -> Cpu {
    let mut cpu = Cpu::default();
    for line in lines(text) {
        let mut words = words(line);
        let Some(key) = words.next() else { continue };
        let mut value = || words.next().and_then(number);
        match key {
            b"cpu" => cpu.total = times(&mut value).unwrap_or_default(),
            b"ctxt" => cpu.context_switches = value().unwrap_or(0),
            b"processes" => cpu.forks = value().unwrap_or(0),
            b"procs_blocked" => cpu.procs_blocked = value().unwrap_or(0),
            _ => {
                let id = key.strip_prefix(b"cpu").and_then(number).and_then(|id| u32::try_from(id).ok());
                cpu.each.extend(id.zip(times(&mut value)));
            }
        }
    }
    cpu
}

/// The first four columns have always been there; a kernel that prints fewer of the others spent nothing on them.
fn times(next: &mut impl FnMut() -> Option<u64>) -> Option<CpuTimes> {
    Some(CpuTimes {
        user: next()?,
        nice: next()?,
        system: next()?,
        idle: next()?,
        iowait: next().unwrap_or(0),
        irq: next().unwrap_or(0),
        softirq: next().unwrap_or(0),
        steal: next().unwrap_or(0),
    })
}

struct Load {
    averages: [f64; 3],
    runnable: u64,
    entities: u64,
}

fn parse_loadavg(text: &[u8]) -> Option<Load> {
    let mut words = words(text);
    let averages = [fraction(words.next()?)?, fraction(words.next()?)?, fraction(words.next()?)?];
    let mut entities = words.next()?.split(|b| *b == b'/').map(number);
    Some(Load { averages, runnable: entities.next()??, entities: entities.next()?? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STAT: &[u8] = include_bytes!("../../tests/fixtures/proc/linux-6.18/stat");

    #[test]
    fn a_6_18_kernel() {
        let cpu = parse_stat(STAT);
        assert_eq!(cpu.each.iter().map(|c| c.0).collect::<Vec<_>>(), [0, 1]);
        let sum = cpu.each[0].1.user + cpu.each[1].1.user;
        assert!(cpu.total.user.abs_diff(sum) <= 2, "{} {sum}", cpu.total.user);
        assert!(cpu.forks > 0 && cpu.context_switches > 0);
    }

    #[test]
    fn columns_of_2_6_and_a_torn_line() {
        let cpu = parse_stat(b"cpu  1 2 3 4\ncpu0 1 2 3 4 5\ncpu1 1 2\ncpufoo 1 2 3 4\nctxt 9\n");
        assert_eq!(cpu.total, CpuTimes { user: 1, nice: 2, system: 3, idle: 4, ..CpuTimes::default() });
        assert_eq!(cpu.each.len(), 1);
        assert_eq!(cpu.context_switches, 9);
    }

    #[test]
    fn load_average() {
        let load = parse_loadavg(b"3021.07 15.00 0.50 3/4120 98321\n").unwrap();
        assert_eq!((load.averages, load.runnable, load.entities), ([3021.07, 15.0, 0.5], 3, 4120));
        assert!(parse_loadavg(b"1.0 2.0").is_none());
        assert!(parse_loadavg(b"1.0 2.0 3.0 4").is_none());
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = parse_stat(&bytes);
            let _ = parse_loadavg(&bytes);
        }

        #[test]
        fn never_panics_on_a_damaged_file(at in 0..STAT.len(), byte: u8) {
            let mut text = STAT.to_vec();
            text[at] = byte;
            let _ = parse_stat(&text);
        }
    }
}
