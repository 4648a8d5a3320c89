//! `whytop snapshot`: one raw look.

use super::args::Global;
use super::out;
use super::setup::Host;
use crate::snapshot::Snapshot;
use serde::Serialize;
use std::fmt::Write as _;
use std::process::ExitCode;

/// `snapshot --json`.
#[derive(Serialize)]
struct Json<'a> {
    schema: u32,
    #[serde(flatten)]
    snapshot: &'a Snapshot,
}

/// Takes one sample and prints it.
pub fn run(global: &Global, json: bool) -> anyhow::Result<ExitCode> {
    let snap = Host::open(global)?.patient_sampler().sample();
    if json {
        out::print_json(&Json { schema: 1, snapshot: &snap })?;
    } else {
        out::print(&summary(&snap))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The sections with their state, and what each lane cost.
fn summary(snap: &Snapshot) -> String {
    let mut text = String::from("SECTION    STATE     CPU ms  WALL ms\n");
    for (name, state) in snap.section_states() {
        let cost = snap.own.lanes.iter().find(|l| &*l.name == name);
        let ms = |ns: Option<u64>| ns.map_or_else(|| "-".into(), |ns| format!("{:.1}", ns as f64 / 1e6));
        let (cpu, wall) = (ms(cost.map(|c| c.cpu_ns)), ms(cost.map(|c| c.wall_ns)));
        let _ = writeln!(text, "{name:<10} {state:<8} {cpu:>7}  {wall:>7}");
    }
    let _ = writeln!(
        text,
        "own        CPU {:.1} ms, resident {} kB",
        snap.own.cpu_ns as f64 / 1e6,
        snap.own.rss_bytes / 1024
    );
    text
}
