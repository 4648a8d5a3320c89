//! `whytop info`: what a recording holds.

use super::args::InfoArgs;
use super::json::{SCHEMA, rfc3339};
use super::out;
use crate::record::{Check, FindingNote, Header, Mark, Note, Reader};
use crate::snapshot::{ActionRecord, Host, Subject};
use crate::view::{num, text};
use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Reads the whole file and prints what is in it, and what is not.
///
/// # Errors
/// A file that can't be read or is no recording.
pub fn run(args: &InfoArgs) -> anyhow::Result<ExitCode> {
    let name = || text::printable(&args.file.display().to_string()).into_owned();
    let reader = Reader::open(&args.file).with_context(name)?;
    let info = Info::of(&reader).with_context(name)?;
    if info.torn_tail {
        let bytes = num::prose_bytes(reader.torn_tail());
        out::tell(&format!("whytop: {}: torn tail: its last {bytes} were not written whole\n", name()));
    }
    if args.json {
        out::print_json(&info)?;
    } else {
        out::print(&info.text())?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Info {
    schema: u32,
    host: Option<Host>,
    recorder: Header,
    header_is_copy: bool,
    from: Option<String>,
    to: Option<String>,
    samples: u64,
    bytes: u64,
    bytes_per_sample: u64,
    gaps: Vec<Missing>,
    torn_tail: bool,
    torn_bytes: u64,
    closed: bool,
    findings: Vec<Value>,
    marks: Vec<Value>,
    actions: Vec<ActionRecord>,
}

#[derive(Serialize)]
struct Missing {
    from: Option<String>,
    to: Option<String>,
    why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<u64>,
    #[serde(skip)]
    order: i64,
}

impl Info {
    fn of(reader: &Reader) -> anyhow::Result<Self> {
        let check = reader.check()?;
        let span = reader.span();
        let mut info = Self {
            schema: SCHEMA,
            host: host(reader)?,
            recorder: reader.header().clone(),
            header_is_copy: reader.header_is_copy(),
            from: span.map(|(from, _)| rfc3339(from)),
            to: span.map(|(_, to)| rfc3339(to)),
            samples: check.samples,
            bytes: reader.bytes(),
            bytes_per_sample: check.sample_bytes.checked_div(check.samples).unwrap_or_default(),
            gaps: gaps(&check),
            torn_tail: reader.torn_tail() > 0,
            torn_bytes: reader.torn_tail(),
            closed: reader.is_closed(),
            findings: Vec::new(),
            marks: Vec::new(),
            actions: Vec::new(),
        };
        info.take_notes(reader.notes()?);
        Ok(info)
    }

    fn take_notes(&mut self, notes: Vec<Note>) {
        let mut findings: Vec<FindingNote> = Vec::new();
        for note in notes {
            match note {
                Note::Mark(Mark { wall_unix_ns, text, .. }) => {
                    self.marks.push(json!({"at": rfc3339(wall_unix_ns), "text": text}));
                }
                Note::Action(action) => self.actions.push(*action),
                Note::Lost(lost) => self.gaps.push(Missing {
                    from: Some(rfc3339(lost.from_unix_ns)),
                    to: Some(rfc3339(lost.to_unix_ns)),
                    why: format!("not written: {}", lost.why),
                    bytes: None,
                    samples: Some(lost.samples),
                    order: lost.from_unix_ns,
                }),
                Note::Finding(new) => {
                    let same = |old: &&mut FindingNote| {
                        (&old.id, &old.subject, old.since_unix_ns) == (&new.id, &new.subject, new.since_unix_ns)
                    };
                    match findings.iter_mut().rev().find(same) {
                        Some(old) => *old = new,
                        None => findings.push(new),
                    }
                }
            }
        }
        self.gaps.sort_by_key(|gap| gap.order);
        self.findings = findings.iter().map(finding).collect();
    }

    fn text(&self) -> String {
        let host = self.host.as_ref();
        let or = |text: Option<&str>| text.map_or_else(|| "unknown".into(), |t| text::printable(t).into_owned());
        let mut lines = vec![
            format!("host      {}, kernel {}", or(host.map(|h| &*h.name)), or(host.map(|h| &*h.kernel))),
            format!("recorded  {} to {}", or(self.from.as_deref()), or(self.to.as_deref())),
            format!("samples   {}, {} bytes each", num::grouped(self.samples), num::grouped(self.bytes_per_sample)),
            format!("file      {}, {}", num::prose_bytes(self.bytes), self.end_words()),
        ];
        if self.header_is_copy {
            lines.push("header    damaged, read from its copy".into());
        }
        for gap in &self.gaps {
            lines.push(format!(
                "gap       {} to {}: {}",
                or(gap.from.as_deref()),
                or(gap.to.as_deref()),
                or(Some(&gap.why))
            ));
        }
        let field = |value: &Value, name: &str| or(value.get(name).and_then(Value::as_str));
        for found in &self.findings {
            let (first, last) = (field(found, "first_seen"), field(found, "last_seen"));
            lines.push(format!("{:<9} {first} to {last}: {}", field(found, "severity"), field(found, "message")));
        }
        for mark in &self.marks {
            lines.push(format!("mark      {} {}", field(mark, "at"), field(mark, "text")));
        }
        for action in &self.actions {
            let sent = if action.sent { "sent" } else { "not sent" };
            lines.push(format!("action    {} by {}, {sent}", rfc3339(action.wall_unix_ns), or(Some(&action.actor.by))));
        }
        lines.join("\n") + "\n"
    }

    fn end_words(&self) -> String {
        match (self.torn_bytes, self.closed) {
            (0, true) => "closed".into(),
            (0, false) => "not closed: the recorder was ended, or still runs".into(),
            (torn, _) => format!("torn: its last {} were not written whole", num::prose_bytes(torn)),
        }
    }
}

/// The host as the last sample knows it.
fn host(reader: &Reader) -> anyhow::Result<Option<Host>> {
    let Some((_, last)) = reader.span() else { return Ok(None) };
    let snap = reader.at(last)?.next_snapshot()?;
    Ok(snap.and_then(|snap| snap.host.data().cloned()))
}

fn gaps(check: &Check) -> Vec<Missing> {
    let damaged = check.gaps.iter().map(|gap| Missing {
        from: gap.from_unix_ns.map(rfc3339),
        to: gap.to_unix_ns.map(rfc3339),
        why: "damaged".into(),
        bytes: Some(gap.bytes),
        samples: None,
        order: gap.from_unix_ns.unwrap_or(i64::MIN),
    });
    let pauses = check.pauses.iter().map(|(from, to)| Missing {
        from: Some(rfc3339(*from)),
        to: Some(rfc3339(*to)),
        why: "not recorded".into(),
        bytes: None,
        samples: None,
        order: *from,
    });
    damaged.chain(pauses).collect()
}

fn finding(note: &FindingNote) -> Value {
    json!({
        "id": note.id,
        "severity": note.severity,
        "subject": subject(&note.subject, &note.name),
        "first_seen": rfc3339(note.since_unix_ns),
        "last_seen": rfc3339(note.last_unix_ns),
        "active": note.active,
        "peak": note.peak,
        "unit": note.unit,
        "message": note.message,
    })
}

fn subject(subject: &Subject, name: &str) -> Value {
    let mut row = json!({"kind": subject.kind(), "name": name});
    let known = match subject {
        Subject::Task(task) => json!({"pid": task.pid, "start_ticks": task.start_ticks}),
        Subject::Cgroup(cgroup) => json!({"cgroup": cgroup.path}),
        Subject::Netns(netns) | Subject::Iface(netns, _) => json!({"netns": netns.0}),
        _ => return row,
    };
    if let (Some(row), Value::Object(known)) = (row.as_object_mut(), known) {
        row.extend(known);
    }
    row
}
