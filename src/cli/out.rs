//! Printing to people and to pipes.

use std::io::{self, IsTerminal, Write};

/// Writes `text` to standard output at once.
///
/// # Errors
/// As `write(2)`; a reader that has gone is [`io::ErrorKind::BrokenPipe`], which is no failure of the command.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints `value` as JSON, indented for a terminal, on one line for a pipe.
///
/// # Errors
/// As [`print`].
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let text =
        if io::stdout().is_terminal() { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    Ok(print(&(text? + "\n"))?)
}
