//! `whytop log`: a kernel log as events.

use super::args::LogArgs;
use super::json::SCHEMA;
use super::out;
use super::text::Dress;
use crate::collect::klog::{Parser, json, read_live_all};
use crate::model::Frame;
use crate::panes::event_words;
use crate::snapshot::{LogEvent, Section};
use crate::view::text::{cut, printable, width};
use anyhow::{Context as _, bail};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

/// Bytes read at once; a log of many GB takes no more memory than this and its events.
const BLOCK_BYTES: usize = 1 << 20;

/// `log --json`.
#[derive(Serialize)]
struct Json {
    schema: u32,
    events: Vec<serde_json::Value>,
}

/// Reads the logs and prints their events.
pub fn run(args: &LogArgs, ascii: bool) -> anyhow::Result<ExitCode> {
    let mut logs: Vec<(Option<&Path>, Vec<LogEvent>)> = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for path in &args.files {
        match read_file(path) {
            Ok(events) => logs.push((Some(path), events)),
            // Of many files one may be a folder or not ours to read: the others still tell.
            Err(e) if args.files.len() > 1 => {
                out::tell(&format!("whytop: {}\n", printable(&format!("{e:#}"))));
                code = ExitCode::FAILURE;
            }
            Err(e) => return Err(e),
        }
    }
    if args.files.is_empty() {
        logs.push((None, read_live()?));
    }
    if args.json {
        let name = args.files.len() > 1;
        let events =
            logs.iter().flat_map(|(path, events)| events.iter().map(|e| with_file(json(e), path.filter(|_| name))));
        out::print_json(&Json { schema: SCHEMA, events: events.collect() })?;
        return Ok(code);
    }
    let dress = Dress::for_stdout(ascii);
    for (path, events) in &logs {
        if let Some(path) = path.filter(|_| args.files.len() > 1) {
            out::print(&format!("{}:\n", printable(&path.to_string_lossy())))?;
        }
        out::print(&render(events, out::columns(), dress))?;
    }
    Ok(code)
}

/// This kernel's log.
fn read_live() -> anyhow::Result<Vec<LogEvent>> {
    match read_live_all() {
        Section::Ok { data, .. } | Section::Stale { data, .. } => Ok(data.events.clone()),
        Section::Denied { need } => {
            bail!("{} was refused: it needs {}; or name a file: whytop log /var/log/messages", need.what, need.fix)
        }
        Section::Absent { why } => bail!("{why}; name a file: whytop log /var/log/messages"),
    }
}

/// A log file; `-` is standard input.
fn read_file(path: &Path) -> anyhow::Result<Vec<LogEvent>> {
    let events = if path == Path::new("-") { parse(io::stdin().lock()) } else { File::open(path).and_then(parse) };
    events.with_context(|| format!("{} can't be read", path.display()))
}

fn parse(mut from: impl Read) -> io::Result<Vec<LogEvent>> {
    let mut parser = Parser::new();
    let mut events = Vec::new();
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    loop {
        let got = from.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
        let whole = if got == 0 { block.len() } else { block.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1) };
        parser.feed_lines(block.get(..whole).unwrap_or_default());
        events.extend(parser.take());
        block.drain(..whole);
        if got == 0 {
            break;
        }
    }
    events.extend(parser.finish());
    events.sort_by_key(|e| e.line);
    Ok(events)
}

fn with_file(mut event: serde_json::Value, path: Option<&Path>) -> serde_json::Value {
    if let (Some(object), Some(path)) = (event.as_object_mut(), path) {
        object.insert("file".into(), path.to_string_lossy().into());
    }
    event
}

/// One line an event, cut to `columns` where there is an end to them: the log's clock (or the line), the kind, what it
/// says.
fn render(events: &[LogEvent], columns: Option<usize>, dress: Dress) -> String {
    if events.is_empty() {
        return "No event that whytop knows.\n".into();
    }
    let when = |e: &LogEvent| e.at.map_or_else(|| format!("line {}", e.line), |at| format!("{:.3}", at.0 as f64 / 1e9));
    let times = events.iter().map(|e| when(e).len()).max().unwrap_or(0);
    let frame = Frame::default();
    let kinds = events.iter().map(|e| width(&e.kind)).max().unwrap_or(0);
    let mut text = String::new();
    for event in events {
        let lead = format!("{:>times$}  ", when(event));
        let kind = format!("{:<kinds$}", event.kind);
        let words = event_words(&frame, event);
        let words = printable(&words);
        let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub(times + kinds + 4));
        let _ = writeln!(text, "{lead}{}  {}", dress.bold(&kind), dress.drawn(&cut(&words, room)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "[  100.000000] Out of memory: Killed process 7 (java) total-vm:1kB, anon-rss:2kB, file-rss:3kB\n";

    /// Gives out a few bytes at a time, as a pipe does.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(buf.len()).min(7);
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn events_are_the_same_however_the_bytes_come() {
        let text = format!("{}{LINE}no newline at the end", "x\n".repeat(BLOCK_BYTES / 2 + 3));
        let whole = parse(text.as_bytes()).unwrap();
        assert_eq!(whole, parse(Drip(text.as_bytes())).unwrap());
        assert_eq!(
            whole.iter().map(|e| (&*e.kind, e.line)).collect::<Vec<_>>(),
            [("oom_kill", BLOCK_BYTES as u64 / 2 + 4)]
        );
    }

    #[test]
    fn text_is_one_aligned_printable_line_an_event() {
        let hostile = LINE.replace("java", "ja\x1b[31mva").replace("100.000000", "9.5");
        let events = parse(format!("{LINE}{hostile}").as_bytes()).unwrap();
        let text = render(&events, Some(60), Dress { colour: false, ascii: false });
        assert!(text.lines().all(|l| width(l) <= 60), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.lines().all(|l| l.find("oom_kill") == Some(9)), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }
}
