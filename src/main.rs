//! The `whytop` binary: parse, wire, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = whytop::cli::parse();
    whytop::cli::run(&cli)
}
