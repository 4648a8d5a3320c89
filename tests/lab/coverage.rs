//! Every rule is staged: some scenario here or in a virtual machine expects its finding, or a named kernel log does where no
//! kernel at hand can be made to. A rule without either fails the lab.

use crate::{Work, kit, scenarios, vm};
use std::collections::BTreeSet;
use std::path::Path;
use whytop::collect::klog::parse_log;
use whytop::detect::rules;
use whytop::engine::{Engine, EngineOptions};
use whytop::snapshot::{KernelLog, Moment, Section, Snapshot};

/// A rule that is shown by a log in `tests/fixtures/kmsg`, and why by nothing else. Its `.json` says whether a kernel
/// printed it or it is reconstructed.
struct Fixture {
    id: &'static str,
    log: &'static str,
    why: &'static str,
}

const FIXTURES: &[Fixture] = &[
    Fixture { id: "kmsg.hard_lockup", log: "k5-hard-lockup.dmesg.log", why: "virtual machines have no NMI watchdog" },
    Fixture { id: "kmsg.edac", log: "k5-edac.dmesg.log", why: "no memory here reports its errors" },
    Fixture {
        id: "kmsg.mce",
        log: "k61-mce-injected.kmsg.log",
        why: "this host's kernel takes no injected machine check",
    },
    Fixture { id: "kmsg.kernel_panic", log: "k61-panic-sysrq.console.dmesg.log", why: "nothing is left to look" },
    Fixture { id: "kmsg.kernel_oops", log: "k61-oops-null-gp.kmsg.log", why: "it takes a broken kernel module" },
    Fixture { id: "kmsg.page_alloc_failure", log: "k61-page-alloc-atomic.kmsg.log", why: "it takes a kernel module" },
    Fixture {
        id: "kmsg.slub_alloc_failure",
        log: "el7-slub-kmem.syslog.log",
        why: "kernels from 4.x on no longer say it",
    },
    Fixture { id: "kmsg.tcp_orphans", log: "k4-tcp-mem-orphans.dmesg.log", why: "its limit is the whole host's" },
    Fixture {
        id: "kmsg.tcp_out_of_memory",
        log: "k61-tcp-out-of-memory.kmsg.log",
        why: "its limit is the whole host's",
    },
];

/// Ids that scenarios expect: what they expect can be asked without staging anything.
fn staged() -> BTreeSet<&'static str> {
    let here = scenarios::ALL.iter().copied().flatten().copied();
    let guests = vm::BOOTS.iter().flat_map(|boot| boot.works).filter_map(|work| match work {
        Work::Trouble(scenario) => Some(*scenario),
        Work::Calm(_) => None,
    });
    here.chain(guests).flat_map(|s| (s.expects)(&kit::Stage::default())).map(|e| e.id).collect()
}

/// What is not as it should be: a rule that nothing shows, an id that is no rule's, a log that does not show its rule.
pub fn faults() -> Vec<String> {
    let known: BTreeSet<&str> = rules().map(|r| r.id).collect();
    let staged = staged();
    let by_log = |id: &str| FIXTURES.iter().any(|f| f.id == id);
    let unshown = known.iter().filter(|id| !staged.contains(*id) && !by_log(id));
    let mut faults: Vec<String> =
        unshown.map(|id| format!("{id}: no scenario expects it, and no kernel log is named for it")).collect();
    let told = staged.iter().copied().chain(FIXTURES.iter().map(|f| f.id));
    faults.extend(told.filter(|id| !known.contains(id)).map(|id| format!("{id}: no such rule")));
    faults.extend(FIXTURES.iter().filter_map(Fixture::fault));
    faults
}

impl Fixture {
    /// Why the log does not show the rule.
    fn fault(&self) -> Option<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kmsg").join(self.log);
        // A published package leaves the logs out.
        let log = std::fs::read(&path).ok()?;
        let mut engine = Engine::new(EngineOptions::default());
        let second = 1_000_000_000;
        let look = |at: u64, events| {
            let at = Moment(at * second);
            let klog = Section::ok(at, KernelLog { events, ..KernelLog::default() });
            Snapshot { at, klog, ..Snapshot::default() }
        };
        engine.step(look(1000, Vec::new()));
        let frame = engine.step(look(1001, parse_log(&log)));
        let found = frame.findings.iter().any(|f| f.id == self.id);
        (!found).then(|| format!("{}: {} does not show it ({})", self.id, self.log, self.why))
    }
}
