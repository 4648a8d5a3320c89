//! What `whytop why` says: one cold look.

use super::Expect;
use serde_json::Value;
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use tempfile::NamedTempFile;

/// The program under test: this build's, or the one that `WHYTOP` names (in a virtual machine).
pub fn whytop(args: &[&str]) -> Command {
    let bin = std::env::var_os("WHYTOP").unwrap_or_else(|| env!("CARGO_BIN_EXE_whytop").into());
    let mut command = Command::new(bin);
    command.args(args).stdin(Stdio::null());
    command
}

/// What `whytop why --json` said, the text beside it where it was asked for, and the recording of the look.
pub struct Look {
    pub json: Value,
    pub text: String,
    tape: NamedTempFile,
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
        let tape = NamedTempFile::new().expect("a file for the recording");
        let json = json(&["why", "--for", span, "--json", "--tape"], &tape);
        let text = words.map(|w| w.join().expect("the text")).map(|out| String::from_utf8_lossy(&out.stdout).into());
        Self { json, text: text.unwrap_or_default(), tape }
    }

    /// Where `why --from` its recording says anything else than the look said.
    pub fn unlike_recorded(&self) -> Option<String> {
        let recorded = json(&["why", "--json", "--from"], &self.tape);
        difference("", &self.json, &recorded)
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

fn json(args: &[&str], tape: &NamedTempFile) -> Value {
    let out = whytop(args).arg(tape.path()).output().expect("run whytop");
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| {
        let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        panic!("{args:?} is not JSON: {e}\nstdout: {stdout}\nstderr: {stderr}")
    })
}

/// The first place where two documents differ.
fn difference(at: &str, live: &Value, recorded: &Value) -> Option<String> {
    match (live, recorded) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            a.iter().find_map(|(key, v)| difference(&format!("{at}/{key}"), v, &b[key]))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| difference(&format!("{at}/{i}"), a, b))
        }
        _ => (live != recorded).then(|| format!("{at}: live {live}, recorded {recorded}")),
    }
}

/// Whether all that is expected stands in one story, below the expectation that leads.
pub fn one_story(look: &Look, expects: &[Expect]) -> Result<(), String> {
    let all = look.findings();
    let roots = |e: &Expect| (0..all.len()).find(|&i| look.leads(i) && e.is(&all[i]));
    let leader = expects.iter().find(|e| e.leads).ok_or("nothing is expected to lead")?;
    let root = roots(leader).ok_or_else(|| format!("{} leads no story", leader.id))?;
    let stories = look.json["stories"].as_array().map_or(&[][..], Vec::as_slice);
    let story = stories.iter().find(|s| s["root"] == root).ok_or("no such story")?;
    let members: Vec<usize> = story["findings"].as_array().into_iter().flatten().filter_map(index).collect();
    let apart: Vec<&str> = expects
        .iter()
        .filter(|e| !members.iter().any(|&i| all.get(i).is_some_and(|f| e.is(f))))
        .map(|e| e.id)
        .collect();
    if apart.is_empty() { Ok(()) } else { Err(format!("not in the story of {}: {}", leader.id, apart.join(", "))) }
}

fn index(v: &Value) -> Option<usize> {
    usize::try_from(v.as_u64()?).ok()
}

/// A finding in one line.
pub fn line(f: &Value) -> String {
    format!("{} {} {} value={} limit={}", f["id"], f["severity"], f["subject"], f["value"], f["limit"])
}
