//! Safe kill on the running kernel: for each real case the plan's effect is held against what then happened.
//!
//! `cargo test --test act [NAME…]` runs the cases and prints the table. Only processes started here are ever signalled.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on fails"
)]

mod cases;
mod docker;
mod fuse;
mod groups;
mod kit;
mod reuse;
mod systemd;
mod victims;

use kit::Case;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "--victim") {
        victims::run(&args[1..]);
    }
    if args.first().is_some_and(|arg| arg == "--reuse") {
        return reuse::inside();
    }
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let chosen = |case: &&Case| wanted.is_empty() || wanted.iter().any(|name| case.name.contains(name.as_str()));
    let all = [cases::ALL, groups::ALL, fuse::ALL, docker::ALL, systemd::ALL, reuse::ALL].concat();
    // Those that mostly wait do so side by side; what takes the machine goes alone.
    let (alone, together): (Vec<&Case>, Vec<&Case>) = all.iter().filter(chosen).partition(|case| case.alone);
    let mut failed = 0;
    for some in together.chunks(6) {
        let results: Vec<_> = std::thread::scope(|scope| {
            let run = |case: &'static Case| scope.spawn(move || play(case));
            let threads: Vec<_> = some.iter().map(|case| run(case_of(case))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(false)).collect()
        });
        failed += results.iter().filter(|passed| !**passed).count();
    }
    failed += alone.into_iter().filter(|case| !play(case)).count();
    println!("{failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The case as it stands in its list.
fn case_of(case: &Case) -> &'static Case {
    let lists = [cases::ALL, groups::ALL, fuse::ALL, docker::ALL, systemd::ALL, reuse::ALL];
    lists.into_iter().flatten().find(|known| known.name == case.name).expect("it is in a list")
}

/// Runs one case, and prints its row.
fn play(case: &Case) -> bool {
    let began = kit::now_ms();
    let missing: Vec<&str> = case.tools.iter().copied().filter(|tool| kit::which(tool).is_none()).collect();
    if case.root && !kit::is_root() {
        println!("SKIPPED: {}: needs root", case.name);
        return true;
    }
    if !missing.is_empty() {
        println!("SKIPPED: {}: not installed: {}", case.name, missing.join(", "));
        return std::env::var_os("CI").is_none();
    }
    let result = catch_unwind(AssertUnwindSafe(case.play));
    let took = kit::now_ms() - began;
    match result {
        Ok(Ok(seen)) => {
            println!("ok   {:<42} {seen} [{took} ms]", case.name);
            true
        }
        Ok(Err(why)) if why.starts_with("SKIPPED: ") => {
            // This kernel, or how its cgroups are mounted, has no such thing.
            println!("{why} ({})", case.name);
            true
        }
        Ok(Err(why)) => {
            println!("FAIL {:<42} {why} [{took} ms]", case.name);
            false
        }
        Err(_) => {
            println!("FAIL {:<42} panicked [{took} ms]", case.name);
            false
        }
    }
}
