//! The command line: parse, wire, exit code.

mod args;
mod json;
mod out;
mod snapshot;
mod text;

pub use args::Cli;

use crate::collect::Roots;
use crate::collect::readers::Readers;
use crate::collect::sampler::{Sampler, SamplerOptions};
use anyhow::Context as _;
use args::{Command, Global};
use clap::{CommandFactory, Parser};
use std::process::ExitCode;
use std::time::Duration;

/// Stack of a lane's thread: small, since locked memory counts all of it.
const LANE_STACK_BYTES: usize = 256 * 1024;

/// Parses the command line; a mistake in it ends the process with status 2, `--help` with 0.
#[must_use]
pub fn parse() -> Cli {
    Cli::parse()
}

/// Runs a command to its end.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    match dispatch(cli) {
        Ok(code) => code,
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("whytop: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Some(Command::Snapshot(args)) => snapshot::run(&cli.global, args.json),
        Some(Command::Completions { shell }) => completions(*shell),
        Some(Command::Man) => man(),
        _ => anyhow::bail!("this command is not wired yet"),
    }
}

/// The trees to read, checked.
fn roots(global: &Global) -> anyhow::Result<Roots> {
    let is_dir = |path: &std::path::Path| path.is_dir();
    anyhow::ensure!(is_dir(&global.proc), "--proc {} is not a directory", global.proc.display());
    anyhow::ensure!(is_dir(&global.sys), "--sys {} is not a directory", global.sys.display());
    Ok(Roots { proc: global.proc.clone(), sys: global.sys.clone() })
}

/// A sampler that is not capped, for commands that look once or for a while.
fn eager_sampler(global: &Global) -> anyhow::Result<Sampler> {
    let options = SamplerOptions { interval: Duration::from_millis(250), max_cpu_pct: 95.0, eager: true };
    let roots = roots(global)?;
    let readers = Readers::start(&roots.proc).ok();
    Ok(Sampler::start(roots, options, LANE_STACK_BYTES, readers))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|e| e.downcast_ref::<std::io::Error>()).any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "whytop", &mut script);
    out::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

fn man() -> anyhow::Result<ExitCode> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).context("the manual page could not be made")?;
    out::print(&String::from_utf8_lossy(&page))?;
    Ok(ExitCode::SUCCESS)
}
