//! Scenarios in virtual machines: what would take this host down, and the cgroup hierarchies that it doesn't have.
//!
//! ```text
//! host: --test lab ──boot──▶ guest: /bin/lab --guest v2 NAMES…
//!                  ◀─serial─ one line of JSON a scenario: how it ended, its row of the score
//! ```
//!
//! A guest plays its scenarios one after another, with the same kit as this host. `cargo test --test lab -- vm_` runs
//! all machines, `-- vm_v1` one, `-- vm_v2::hung` a part. The kernel comes from `tests/lab/vm/fetch-kernel`, once; a
//! machine without it, or without qemu, says so. `WHYTOP_LAB_BINARY` names another whytop for the guests, a static
//! release build for instance; by default it is this build's, with the few libraries that it is linked with.
//!
//! To run anything else in a machine, with disks that outlive it and a way to pull the plug: see [`machine`].

mod boots;
pub mod machine;
mod scenarios;
pub mod tapes;

use crate::Work;
use crate::kit::{Outcome, Played, Row};
pub use boots::{BOOTS, Boot};
use machine::{Machine, Spec};
use serde_json::json;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

/// Longest silence of a guest, seconds: a scenario that goes wrong takes its time, on a slow machine more.
const SILENT_S: f64 = 180.0;
/// Longest wait for a boot.
const BOOT_S: f64 = 90.0;

/// Plays every boot's works and reports each. Guests mostly wait, so two run at a time; a scoreboard's have the machine
/// to themselves.
pub fn play_all(boots: &[(&Boot, Vec<Work>)], strict: bool, mut report: impl FnMut(&str, Played)) {
    let next = AtomicUsize::new(0);
    let (send, played) = channel();
    std::thread::scope(|scope| {
        for _ in 0..if strict { 1 } else { 2 } {
            let (send, next) = (send.clone(), &next);
            scope.spawn(move || {
                while let Some((boot, works)) = boots.get(next.fetch_add(1, Ordering::Relaxed)) {
                    play(boot, works, strict, |name, played| {
                        send.send((name.to_owned(), played)).expect("reported to the end");
                    });
                }
            });
        }
        drop(send);
        for (name, played) in played {
            report(&name, played);
        }
    });
}

/// Boots a machine, has it play `works`, and reports each.
fn play(boot: &Boot, works: &[Work], strict: bool, mut report: impl FnMut(&str, Played)) {
    if let Some(why) = machine::cannot() {
        let skipped = || if crate::kit::may_skip() { Outcome::Skipped(why.clone()) } else { unexpected(&why) };
        for work in works {
            report(&boot.full_name(work), Played { outcome: skipped(), row: row(boot, work) });
        }
        return;
    }
    let mut left = works.to_vec();
    let mut ended = run(boot, works, strict, |name, played| match &played.outcome {
        Outcome::Failed(why) if !strict => println!("test lab::{} ... once more: {why}", boot.named(name)),
        _ => {
            left.retain(|work| work.name() != name);
            report(&boot.named(name), played);
        }
    });
    if !strict && !left.is_empty() {
        let again = left.clone();
        ended = run(boot, &again, strict, |name, played| {
            left.retain(|work| work.name() != name);
            report(&boot.named(name), played);
        });
    }
    let why = ended.err().unwrap_or_else(|| "the machine ended before it".into());
    for work in left {
        report(&boot.full_name(&work), Played { outcome: Outcome::Failed(why.clone()), row: row(boot, &work) });
    }
}

fn unexpected(why: &str) -> Outcome {
    Outcome::Failed(format!("unexpected skip: {why}"))
}

fn row(boot: &Boot, work: &Work) -> Row {
    Row { name: work.name().into(), side: boot.side.into(), ..Row::default() }
}

fn run(boot: &Boot, works: &[Work], strict: bool, mut played: impl FnMut(&str, Played)) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let disks = boot.disks.iter().enumerate().map(|(n, disk)| disk.make(&dir.path().join(format!("disk{n}"))));
    let disks: Vec<PathBuf> = disks.collect::<Result<_, _>>()?;
    let names: Vec<&str> = works.iter().map(Work::name).collect();
    let strict = if strict { " --strict" } else { "" };
    let guest = format!("exec /bin/lab --guest {}{strict} {}", boot.name, names.join(" "));
    let peer = TcpListener::bind("127.0.0.1:0").and_then(|peer| Ok((peer.local_addr()?.port(), peer)));
    let (port, _peer) = peer.map_err(|e| format!("a port for the guest's card: {e}"))?;
    // Nobody accepts at the far end of this card, so nothing that it sends is ever taken.
    let card = format!("-netdev socket,id=n0,connect=127.0.0.1:{port} -device virtio-net-pci,netdev=n0");
    let card: Vec<&str> = if boot.deaf_card { card.split(' ').collect() } else { Vec::new() };
    let disks: Vec<&Path> = disks.iter().map(PathBuf::as_path).collect();
    let spec = Spec { run: &guest, disks: &disks, qemu: &card, ..boot.spec() };
    let mut machine = Machine::boot(&spec)?;
    if machine.wait_for("{", BOOT_S).is_err() {
        // A guest that hangs while it boots says nothing of whytop.
        machine = Machine::boot(&spec)?;
        machine.wait_for("{", BOOT_S)?;
    }
    while let Some(line) = machine.line(SILENT_S)? {
        if let Some((name, Played { outcome, row })) = Played::heard(&line) {
            let outcome = match outcome {
                Outcome::Passed => Outcome::Passed,
                Outcome::Skipped(why) => unexpected(&why),
                Outcome::Failed(why) => Outcome::Failed(format!("{why}\n{}", machine.console())),
            };
            played(&name, Played { outcome, row });
        }
    }
    Err(machine.console())
}

/// The guest's part: plays the named scenarios of a boot.
pub fn guest(boot: &str, words: &[String]) {
    let boot = BOOTS.iter().find(|b| b.name == boot).expect("a boot of the table");
    let strict = words.iter().any(|w| w == "--strict");
    println!("{}", json!({"boot": boot.name}));
    for work in boot.works.iter().filter(|work| words.iter().any(|w| w == work.name())) {
        println!("{}", work.play(boot.side, strict).line(work.name()));
    }
}
