//! `whytop doctor`: what can be seen here, by trying, and what would fix the rest.

use super::args::Global;
use super::json::SCHEMA;
use super::out;
use super::setup::{Host, Places};
use super::text::{COLUMNS, Dress, wrap};
use crate::collect::probe::{self, Outcome};
use crate::snapshot::{Gap, Section, Snapshot};
use rustix::fs::Access;
use serde::Serialize;
use std::fmt::Write as _;
use std::process::ExitCode;

/// `doctor --json`.
#[derive(Serialize)]
struct Json {
    schema: u32,
    checks: Vec<Check>,
}

/// One thing that was tried.
#[derive(Debug, PartialEq, Serialize)]
struct Check {
    name: String,
    /// `ok`, `denied` or `absent`.
    state: &'static str,
    /// What was seen, or why it wasn't.
    detail: String,
    /// What would help; `null` where nothing is missing or nothing would.
    fix: Option<String>,
}

impl Check {
    fn new(name: &str, outcome: Outcome) -> Self {
        let (state, detail, fix) = match outcome {
            Outcome::Ok(seen) => ("ok", seen, None),
            Outcome::Denied(why, fix) => ("denied", why, Some(fix)),
            Outcome::Absent(why) => ("absent", why, None),
        };
        Self { name: name.into(), state, detail, fix }
    }

    fn gap(name: &str, gap: &Gap) -> Self {
        Self::new(name, Outcome::Denied(gap.what.to_string(), gap.fix.to_string()))
    }
}

/// Tries everything and prints it.
pub fn run(global: &Global, json: bool) -> anyhow::Result<ExitCode> {
    let mut host = Host::open(global)?;
    let mut checks = Vec::new();
    for step in &host.startup.steps {
        checks.push(match &step.got {
            Ok(got) => Check::new(step.what, Outcome::Ok(got.clone())),
            Err(gap) => Check::gap(step.what, gap),
        });
    }
    checks.push(Check::new("files", files(&host.settings.places)));
    checks.extend(probe::all(&host.roots).into_iter().map(|p| Check::new(p.name, p.outcome)));
    sections(&host.patient_sampler().sample(), &mut checks);
    if json {
        out::print_json(&Json { schema: SCHEMA, checks })?;
    } else {
        out::print(&render(&checks, Dress::for_stdout(global.ascii)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the screens can write: to the directory, or to the nearest above it that is there.
fn files(places: &Places) -> Outcome {
    let fix = "state_dir in the configuration names another directory";
    let Some(dir) = &places.dir else { return Outcome::Denied("no directory is known".into(), fix.into()) };
    let auto = if places.auto.is_some() { "saved there when work begins to fail" } else { "saved there only on w" };
    let there = dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir);
    match rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Outcome::Ok(format!("{}: the last 10 minutes are {auto}", dir.display())),
        Err(error) => Outcome::Denied(format!("{}: {error}", there.display()), fix.into()),
    }
}

/// A check for each section, and one for each of its gaps.
fn sections(snap: &Snapshot, into: &mut Vec<Check>) {
    fn check<T>(
        snap: &Snapshot,
        name: &str,
        section: &Section<T>,
        words: impl Fn(&T) -> String,
        gaps: impl Fn(&T) -> &[Gap],
        into: &mut Vec<Check>,
    ) {
        let took = snap.own.lanes.iter().find(|l| &*l.name == name).map_or(0, |l| l.wall_ns);
        let outcome = match section {
            Section::Ok { data, .. } => Outcome::Ok(format!("{} in {:.1} ms", words(data), took as f64 / 1e6)),
            Section::Denied { need } => Outcome::Denied(format!("{} was refused", need.what), need.fix.to_string()),
            Section::Absent { why } | Section::Stale { why, .. } => Outcome::Absent(why.to_string()),
        };
        into.push(Check::new(name, outcome));
        into.extend(section.data().map_or(&[][..], gaps).iter().map(|gap| Check::gap(name, gap)));
    }
    check(snap, "host", &snap.host, |h| format!("{} {}", h.os, h.kernel), |_| &[], into);
    check(snap, "cpu", &snap.cpu, |c| format!("{} CPUs", c.each.len()), |_| &[], into);
    check(snap, "tasks", &snap.tasks, |t| format!("{} processes", t.rows.len()), |t| &t.gaps, into);
    let sockets = |s: &crate::snapshot::Sockets| {
        let count: u64 = s.groups.iter().map(|g| g.count).sum();
        format!("{count} TCP sockets of {} namespaces by {}", s.netns.len(), s.source)
    };
    check(snap, "sockets", &snap.sockets, sockets, |s| &s.gaps, into);
    check(snap, "net", &snap.net, |n| format!("{} namespaces", n.netns.len()), |n| &n.gaps, into);
    let cgroups = |c: &crate::snapshot::Cgroups| format!("{} cgroups, layout {:?}", c.rows.len(), c.layout);
    check(snap, "cgroups", &snap.cgroups, cgroups, |c| &c.gaps, into);
    check(snap, "memory", &snap.memory, |m| format!("{} counters", m.vmstat.iter().count()), |_| &[], into);
    check(snap, "pressure", &snap.pressure, |_| "PSI".into(), |_| &[], into);
    check(snap, "slab", &snap.slab, |s| format!("{} caches", s.rows.len()), |s| &s.gaps, into);
    check(snap, "klog", &snap.klog, |k| format!("{} events by {}", k.events.len(), k.source), |_| &[], into);
}

fn render(checks: &[Check], dress: Dress) -> String {
    let mut text = String::new();
    let names = checks.iter().map(|c| c.name.len()).max().unwrap_or(0);
    let indent = names + 10;
    for check in checks {
        let word = format!("{:<6}", check.state);
        let word = match check.state {
            "ok" => dress.good(&word),
            "denied" => dress.warning(&word),
            _ => dress.dim(&word),
        };
        let mut lead = format!("{:<names$}  {word}  ", check.name);
        let fix = check.fix.iter().map(|fix| format!("fix: {fix}"));
        for line in std::iter::once(check.detail.clone()).chain(fix).flat_map(|t| wrap(&t, COLUMNS - indent.min(60), 3))
        {
            let _ = writeln!(text, "{lead}{}", dress.drawn(&line));
            lead = " ".repeat(indent);
        }
    }
    let missing = checks.iter().filter(|c| c.state == "denied").count();
    let _ = match missing {
        0 => writeln!(text, "\nNothing is refused here."),
        n => writeln!(text, "\n{n} refused; the rest of whytop works without."),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Moment, Tasks};

    #[test]
    fn gaps_and_refusals_carry_their_fix() {
        let gap = Gap { what: "other users' processes".into(), fix: "mount /proc without hidepid".into() };
        let snap = Snapshot {
            tasks: Section::ok(Moment(1), Tasks { gaps: vec![gap], ..Tasks::default() }),
            slab: Section::denied("/proc/slabinfo", "root"),
            ..Snapshot::default()
        };
        let mut checks = Vec::new();
        sections(&snap, &mut checks);
        let of = |name, state| checks.iter().find(|c| c.name == name && c.state == state).unwrap();
        assert_eq!(of("tasks", "ok").fix, None);
        assert_eq!(of("tasks", "denied").fix.as_deref(), Some("mount /proc without hidepid"));
        assert_eq!(of("slab", "denied").detail, "/proc/slabinfo was refused");
        assert_eq!(of("klog", "absent").detail, "not read yet");
        let text = render(&checks, Dress { colour: false, ascii: false });
        assert!(text.contains("slab      denied  /proc/slabinfo was refused\n                  fix: root\n"), "{text}");
        assert!(text.ends_with("2 refused; the rest of whytop works without.\n"), "{text}");
    }
}
