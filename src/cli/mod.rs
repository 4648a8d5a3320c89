//! The command line: parse, wire, exit code.

mod args;
mod cast;
mod doctor;
mod export;
mod info;
mod json;
mod kill;
mod log;
mod man;
mod out;
mod record;
mod recording;
mod reel;
mod replay;
mod report;
mod screen;
mod setup;
mod show;
mod snapshot;
mod tape;
mod text;
mod theme;
mod tui;
mod watch;
mod why;

pub use args::Cli;

use args::Command;
use clap::{CommandFactory, Parser, Subcommand};
use setup::BadUse;
use std::io;
use std::process::ExitCode;

/// Exit status of bad use: of the command line, or of the configuration.
const BAD_USE: u8 = 2;

/// Parses the command line; a mistake in it ends the process with status 2 (of `kill`, where that means refused, with
/// 3), `--help` with 0.
#[must_use]
pub fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        let of_kill = std::env::args_os().skip(1).find(|word| Command::has_subcommand(&word.to_string_lossy()));
        if error.use_stderr() && of_kill.is_some_and(|word| word == "kill") {
            let _ = error.print();
            std::process::exit(i32::from(kill::KILL_BAD_USE));
        }
        error.exit()
    })
}

/// Runs a command to its end.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    match dispatch(cli) {
        Ok(code) => code,
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            // A TOML error points into its line with lines of its own.
            let lines = format!("{e:#}").lines().map(crate::view::text::printable).collect::<Vec<_>>().join("\n");
            out::tell(&format!("whytop: {lines}\n"));
            ExitCode::from(match &cli.command {
                Some(Command::Why(args)) if args.exit_code => why::BLIND,
                Some(Command::Kill(_)) => kill::KILL_BAD_USE,
                _ if e.downcast_ref::<BadUse>().is_some() => BAD_USE,
                _ => 1,
            })
        }
    }
}

fn dispatch(cli: &Cli) -> anyhow::Result<ExitCode> {
    let global = &cli.global;
    match &cli.command {
        None => tui::run(global),
        Some(Command::Why(args)) => why::run(global, args),
        Some(Command::Replay(args)) => replay::run(global, args),
        Some(Command::Show(args)) => show::run(global, args),
        Some(Command::Snapshot(args)) => snapshot::run(global, args.json),
        Some(Command::Kill(args)) => kill::run(global, args),
        Some(Command::Log(args)) => log::run(args, global.ascii),
        Some(Command::Doctor(args)) => doctor::run(global, args.json),
        Some(Command::Record(args)) => record::run(global, args),
        Some(Command::Info(args)) => info::run(args),
        Some(Command::Completions { shell }) => completions(*shell),
        Some(Command::Screen(args)) => screen::run(global, args),
        Some(Command::Watch(args)) => watch::run(global, args),
        Some(Command::Report(args)) => report::run(global, args),
        Some(Command::Export(args)) => export::run(global, args),
        Some(Command::Man) => man::run(),
    }
}

/// Whether the reader of our output has gone: it has seen enough, which is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|e| e.downcast_ref::<io::Error>()).any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "whytop", &mut script);
    out::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
