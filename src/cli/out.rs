//! Printing to people and to pipes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes `text` to standard output at once.
///
/// # Errors
/// As `write(2)`; a reader that has gone is [`io::ErrorKind::BrokenPipe`], which is no failure of the command.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Says something on standard error; unlike `eprintln!` it does not panic when the terminal has gone.
pub fn tell(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// A new file that only its owner may read: command lines in it may hold secrets.
///
/// # Errors
/// As `open(2)`.
pub fn private_file(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Columns of the terminal that is printed to; `None` for a pipe or a file, where nothing is cut.
pub fn columns() -> Option<usize> {
    let (columns, _) = io::stdout().is_terminal().then(crossterm::terminal::size)?.ok()?;
    Some(usize::from(columns))
}

/// Prints `value` as JSON, indented for a terminal, on one line for a pipe.
///
/// # Errors
/// As [`print`].
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let text =
        if io::stdout().is_terminal() { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    Ok(print(&(escaped(&text?) + "\n"))?)
}

/// JSON text in ASCII: kernel text may hold C1 controls and direction marks, which JSON allows and terminals obey.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 1);
    for ch in json.chars() {
        if ch.is_ascii() && ch != '\x7f' {
            out.push(ch);
        } else {
            let mut units = [0; 2];
            for unit in ch.encode_utf16(&mut units) {
                // Outside of strings JSON is ASCII, so this is always inside one.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_ascii_and_means_the_same() {
        let text = "é\u{9b}31m\u{202e}\u{7f}😀\n";
        let json = escaped(&serde_json::to_string(text).unwrap());
        assert!(json.is_ascii() && !json.contains('\x7f'), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
