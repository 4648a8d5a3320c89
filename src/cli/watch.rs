//! `whytop watch`: the live screens' findings as they open, change severity and close, without a terminal.

use super::args::{Global, WatchArgs};
use super::json::{FindingRow, rfc3339};
use super::out;
use super::setup::Host;
use super::tui::feed::{Feed, News};
use super::tui::files::Files;
use crate::collect::{now, wall_unix_ns};
use crate::detect::Window;
use crate::model::{Finding, Frame, Severity};
use crate::snapshot::Subject;
use crate::source::Live;
use crate::view::text::printable;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Says what changes until the time is over or a signal comes.
///
/// # Errors
/// As [`Host::open`]; and when nothing can be started or printed.
pub fn run(global: &Global, args: &WatchArgs) -> anyhow::Result<ExitCode> {
    let mut host = Host::open(global)?;
    let source = Box::new(Live::new(host.live_sampler()));
    let mut feed = Feed::live(source, host.engine(Window::default()), Files::none(), channel())?;
    let mut standing = Standing::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut over = std::pin::pin!(tokio::time::sleep(args.window.unwrap_or(Duration::MAX)));
        loop {
            tokio::select! {
                biased;
                _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
                _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
                () = &mut over => return Ok(ExitCode::SUCCESS),
                news = feed.next() => match news {
                    News::Shown(shown) => tell(&standing.step(&shown.frame), args.json)?,
                    News::Told(_) => {}
                    News::End => anyhow::bail!("no more samples can be taken"),
                },
            }
        }
    })
}

fn tell(changes: &[Change], json: bool) -> anyhow::Result<()> {
    let (at, uptime_s) = (rfc3339(wall_unix_ns()), now().0 as f64 / 1e9);
    for Change { event, finding } in changes {
        let mut line = json!({ "at": at, "uptime_s": uptime_s, "event": event });
        if let (Some(object), Some(finding)) = (line.as_object_mut(), finding) {
            object.insert("finding".into(), finding.clone());
        }
        out::print(&said(&line, json))?;
    }
    Ok(())
}

fn said(line: &Value, json: bool) -> String {
    if json {
        return format!("{line}\n");
    }
    let word = |path: &str| line.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let words = [word("/at"), word("/event"), word("/finding/severity"), word("/finding/message")];
    let words: Vec<&str> = words.into_iter().filter(|w| !w.is_empty()).collect();
    format!("{}\n", printable(&words.join(" ")))
}

type Key = (&'static str, Subject, Option<(IpAddr, u16)>);

/// What changed with one frame.
struct Change {
    event: &'static str,
    finding: Option<Value>,
}

/// The findings that stand, as they were last said.
#[derive(Default)]
struct Standing {
    looked: bool,
    open: FxHashMap<Key, (Severity, Value)>,
}

impl Standing {
    fn step(&mut self, frame: &Frame) -> Vec<Change> {
        let mut changes = Vec::new();
        if !std::mem::replace(&mut self.looked, true) {
            changes.push(Change { event: "looking", finding: None });
        }
        let mut before = std::mem::take(&mut self.open);
        for f in frame.findings.iter().filter(|f| f.active) {
            let event = match before.remove(&key(f)) {
                None => Some("opened"),
                Some((severity, _)) if severity != f.severity => Some("severity"),
                Some(_) => None,
            };
            let row = serde_json::to_value(FindingRow::new(f, frame)).unwrap_or_default();
            if let Some(event) = event {
                changes.push(Change { event, finding: Some(row.clone()) });
            }
            self.open.insert(key(f), (f.severity, row));
        }
        changes.extend(before.into_values().map(|(_, mut last)| {
            if let Some(row) = last.as_object_mut() {
                row.insert("active".into(), false.into());
            }
            Change { event: "closed", finding: Some(last) }
        }));
        changes
    }
}

fn key(finding: &Finding) -> Key {
    (finding.id, finding.subject.clone(), finding.remote)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SubjectLabel;
    use crate::snapshot::Moment;

    fn frame(severity: Option<Severity>, active: bool) -> Frame {
        let findings = severity.map(|severity| Finding {
            id: "host.swap_full",
            severity,
            subject: Subject::Host,
            label: SubjectLabel::default(),
            remote: None,
            value: 1.0,
            limit: None,
            unit: "bytes",
            rate_per_s: None,
            rate_unit: "bytes",
            since: Moment(1),
            last_true: Moment(1),
            active,
            message: "swap is full".into(),
            command: None,
            evidence: Vec::new(),
            advice: Vec::new(),
            explained_by: Vec::new(),
            spark: Vec::new(),
        });
        Frame { findings: findings.into_iter().collect(), ..Frame::default() }
    }

    #[test]
    fn a_finding_is_said_once_when_it_opens_worsens_and_closes() {
        let mut standing = Standing::default();
        let mut step = |severity, active| {
            let changes = standing.step(&frame(severity, active));
            changes.iter().map(|c| c.event).collect::<Vec<_>>()
        };
        assert_eq!(step(None, false), ["looking"]);
        assert_eq!(step(Some(Severity::Warning), true), ["opened"]);
        assert!(step(Some(Severity::Warning), true).is_empty());
        assert_eq!(step(Some(Severity::Critical), true), ["severity"]);
        assert_eq!(step(Some(Severity::Critical), false), ["closed"]);
        assert!(step(None, false).is_empty());
        assert_eq!(step(Some(Severity::Warning), true), ["opened"]);
    }

    #[test]
    fn a_line_has_the_finding_as_why_prints_it() {
        let changes = Standing::default().step(&frame(Some(Severity::Warning), true));
        let opened = changes.last().and_then(|c| c.finding.as_ref()).unwrap();
        assert_eq!(opened["id"], "host.swap_full");
        assert_eq!(opened["severity"], "warning");
        let line = json!({ "at": "2026-01-01T00:00:00.000Z", "event": "opened", "finding": opened });
        assert_eq!(said(&line, false), "2026-01-01T00:00:00.000Z opened warning swap is full\n");
        assert!(said(&line, true).ends_with("}\n"));
    }
}
