//! The lab: real trouble on the real kernel, and what `whytop why` says about it.
//!
//! One file a scenario. Each stages its trouble, asserts what a 5 s look says, ends the trouble, and asserts that a
//! second look no longer says it. `cargo test --test lab` runs all of it, `cargo test --test lab -- udp` a part. A
//! scenario that can't run here says `SKIPPED: why`; with `CI` set, only a run that is not root's may skip one.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a scenario that cannot be staged must fail loudly"
)]

mod actors;
mod kit;
mod scenarios;

use kit::{Outcome, Scenario};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "--actor") {
        actors::run(&args[1..]);
        return;
    }
    if args.iter().any(|a| a == "--list") {
        for s in scenarios::ALL {
            println!("{}: test", s.name);
        }
        return;
    }
    let wanted: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
    let chosen: Vec<&Scenario> = scenarios::ALL
        .iter()
        .filter(|s| wanted.is_empty() || wanted.iter().any(|w| s.name.contains(w.as_str())))
        .collect();
    println!("\nrunning {} lab scenarios", chosen.len());
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for scenario in chosen {
        match kit::run(scenario) {
            Outcome::Passed(note) => {
                passed += 1;
                println!("test lab::{} ... ok ({note})", scenario.name);
            }
            Outcome::Skipped(why) => {
                skipped += 1;
                println!("test lab::{} ... SKIPPED: {why}", scenario.name);
            }
            Outcome::Failed(why) => {
                failed += 1;
                println!("test lab::{} ... FAILED\n{why}", scenario.name);
            }
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured; 0 filtered out");
    if failed > 0 {
        std::process::exit(1);
    }
}
