//! Subcommands: parse, wire, exit code.
