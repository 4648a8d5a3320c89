//! The `whytop` binary: parse, wire, exit code.

fn main() {}
