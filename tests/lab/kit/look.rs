//! What `whytop why` says: one cold look.

use serde_json::Value;
use std::fmt::Write as _;
use std::process::{Command, Stdio};

/// The program under test: this build's, or the one that `WHYTOP` names (in a virtual machine).
pub fn whytop(args: &[&str]) -> Command {
    let bin = std::env::var_os("WHYTOP").unwrap_or_else(|| env!("CARGO_BIN_EXE_whytop").into());
    let mut command = Command::new(bin);
    command.args(args).stdin(Stdio::null());
    command
}

/// What `whytop why --json` said, and the text beside it where it was asked for.
pub struct Look {
    pub json: Value,
    pub text: String,
}

impl Look {
    /// Looks for `span`; with `text` a second process prints the text at the same time.
    pub fn take(span: &str, text: bool) -> Self {
        let words = text.then(|| {
            std::thread::spawn({
                let span = span.to_owned();
                move || whytop(&["why", "--for", &span]).env("COLUMNS", "100").output().expect("run whytop")
            })
        });
        let out = whytop(&["why", "--for", span, "--json"]).output().expect("run whytop");
        let json = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| {
            let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            panic!("why --json is not JSON: {e}\nstdout: {stdout}\nstderr: {stderr}")
        });
        let text = words.map(|w| w.join().expect("the text")).map(|out| String::from_utf8_lossy(&out.stdout).into());
        Self { json, text: text.unwrap_or_default() }
    }

    pub fn findings(&self) -> &[Value] {
        self.json["findings"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Whether finding `index` is the root of a story.
    pub fn leads(&self, index: usize) -> bool {
        self.json["stories"].as_array().is_some_and(|all| all.iter().any(|story| story["root"] == index))
    }

    /// What was said, a line a finding.
    pub fn said(&self) -> String {
        let mut said = String::new();
        for (i, f) in self.findings().iter().enumerate() {
            let _ = writeln!(said, "  {}{}", line(f), if self.leads(i) { ", leads" } else { "" });
        }
        said
    }
}

/// A finding in one line.
pub fn line(f: &Value) -> String {
    format!("{} {} {} value={} limit={}", f["id"], f["severity"], f["subject"], f["value"], f["limit"])
}
