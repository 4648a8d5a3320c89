//! How one scenario, or one control, is played and judged.
//!
//! ```text
//! scenario: watcher looks ─ baseline ─ stage ─┬─ cold why ─ judged ─┬─ end ─ watcher closes it ─ warm why is silent
//!                                             └─ watcher opens it ──┘        (time to detect)
//! control:  watcher looks ─ baseline ─ load ─ cold why in its middle ─ end
//! ```

use super::look::line;
use super::twin::Twin;
use super::watcher::{Watcher, same, standing, uptime_s};
use super::{Control, Expect, Look, Row, Scenario, Stage, Subject, which};
use serde_json::{Value, json};
use std::time::Duration;

/// Longest wait for a detection, seconds.
const DETECT_S: f64 = 30.0;
/// Longest wait until the trouble that ended is no longer said, seconds; a busy machine takes its time.
const CLEAR_S: f64 = 40.0;
/// How long a load lasts, seconds.
const LOAD_S: f64 = 12.0;
/// Looks at most: a busy machine may need a second one. A scoreboard gives none.
const LOOKS: usize = 3;

/// How a scenario ended.
pub enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
}

/// A scenario's or control's end and its row.
pub struct Played {
    pub outcome: Outcome,
    pub row: Row,
}

impl Played {
    /// A line of JSON: how another process, here or in a virtual machine, reports it.
    pub fn line(&self, name: &str) -> String {
        let (ended, why) = match &self.outcome {
            Outcome::Passed => ("passed", ""),
            Outcome::Skipped(why) => ("skipped", why.as_str()),
            Outcome::Failed(why) => ("failed", why.as_str()),
        };
        json!({"played": name, "ended": ended, "why": why, "row": self.row}).to_string()
    }

    /// The name and what came of it, where a line is one of those.
    pub fn heard(line: &str) -> Option<(String, Self)> {
        let told: Value = serde_json::from_str(line).ok()?;
        let why = told["why"].as_str()?.to_owned();
        let outcome = match told["ended"].as_str()? {
            "passed" => Outcome::Passed,
            "skipped" => Outcome::Skipped(why),
            _ => Outcome::Failed(why),
        };
        let row = serde_json::from_value(told["row"].clone()).ok()?;
        Some((told["played"].as_str()?.to_owned(), Self { outcome, row }))
    }
}

/// Plays a scenario; `strict` gives a slow machine no second look.
pub fn scenario(scenario: &Scenario, side: &str, strict: bool) -> Played {
    let Scenario { name, root, tools, cannot, .. } = *scenario;
    let row = Row { name: name.into(), side: side.into(), subject: Subject::Missed, ..Row::default() };
    played(row, lacking(root, tools).or_else(cannot), |row| trouble(scenario, strict, row))
}

/// Plays a control.
pub fn control(control: &Control, side: &str, strict: bool) -> Played {
    let row = Row { name: control.name.into(), side: side.into(), calm: true, ..Row::default() };
    played(row, lacking(control.root, control.tools), |row| calm(control, strict, row))
}

fn played(mut row: Row, cannot: Option<String>, play: impl FnOnce(&mut Row) -> Result<(), String>) -> Played {
    if let Some(why) = cannot {
        let outcome =
            if may_skip() { Outcome::Skipped(why) } else { Outcome::Failed(format!("unexpected skip: {why}")) };
        return Played { outcome, row };
    }
    let started = uptime_s();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&mut row)));
    row.took_s = uptime_s() - started;
    let outcome = match result {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(why)) => Outcome::Failed(why),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Outcome::Failed(text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default())
        }
    };
    Played { outcome, row }
}

/// Whether a missing program may skip a scenario: not in CI, which installs what scenarios need.
pub fn may_skip() -> bool {
    std::env::var_os("CI").is_none() || !is_root()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn lacking(root: bool, tools: &[&str]) -> Option<String> {
    if root && !is_root() {
        return Some("needs root".into());
    }
    let missing: Vec<&str> = tools.iter().copied().filter(|t| which(t).is_none()).collect();
    (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(", ")))
}

/// What stands before anything is staged: a short cold look, and what the watcher has opened meanwhile.
fn baseline(watcher: &Watcher, span: &str) -> Vec<Value> {
    let mut before = Look::take(span, false).findings().to_vec();
    before.extend(standing(&watcher.lines()));
    before
}

fn trouble(scenario: &Scenario, strict: bool, row: &mut Row) -> Result<(), String> {
    let watcher = Watcher::start();
    let before = baseline(&watcher, "1500ms");
    let seen = watcher.lines().len();
    let mut stage = (scenario.stage)();
    let stands = stage.stands.unwrap_or_else(uptime_s);
    stage.learn();
    let expects = (scenario.expects)(&stage);
    row.expected = expects.len();

    let twin = Twin::start(row, strict);
    let mut look = Look::take(scenario.look, scenario.text);
    stage.learn();
    let mut judged = judge(scenario, &stage, &expects, &look);
    for _ in 1..if strict { 1 } else { LOOKS } {
        if judged.is_ok() {
            break;
        }
        look = Look::take("8s", scenario.text);
        stage.learn();
        judged = judge(scenario, &stage, &expects, &look);
    }
    detected(row, &watcher, seen, stands, &stage, &expects);
    let mut said = look.findings().to_vec();
    said.extend(opened(&watcher, seen));
    let ours = sort_out(row, scenario, &stage, &expects, &before, said);
    let whose = stage.whose.clone();
    drop(stage);
    twin.end(&look, row);

    judged?;
    if row.named < row.expected {
        return Err(format!(
            "the live screens did not name it in {DETECT_S} s; they said:\n{}",
            list(&opened(&watcher, seen))
        ));
    }
    if !ours.is_empty() {
        return Err(format!("said of what was staged, and not expected:\n{}", list(&ours)));
    }
    let lasting = |f: &Value| {
        let is = |id: &&str| f["id"] == **id;
        let ended = expects.iter().any(|e| e.is(f) && !scenario.stays.contains(&e.id));
        let gone = scenario.gone.iter().any(is) && whose.of(f) != Some(false) && !before.iter().any(|b| same(b, f));
        ended || gone
    };
    clears(&watcher, &lasting)
}

/// Whether a cold look says what it must.
fn judge(scenario: &Scenario, stage: &Stage, expects: &[Expect], look: &Look) -> Result<(), String> {
    let mut wrong = Vec::new();
    for expect in expects {
        let fits: Vec<(usize, &Value)> = look.findings().iter().enumerate().filter(|(_, f)| expect.is(f)).collect();
        let lacks = fits.iter().map(|(_, f)| expect.lacks(f)).min_by_key(Vec::len);
        match lacks {
            None => wrong.push(format!("no {} about the right subject", expect.id)),
            Some(lacks) => wrong.extend(lacks.into_iter().map(|l| format!("{}: {l}", expect.id))),
        }
        if expect.leads && !fits.is_empty() && !fits.iter().any(|(i, _)| look.leads(*i)) {
            wrong.push(format!("{} is not the root of its story", expect.id));
        }
    }
    if scenario.text {
        wrong.extend(text_is_wrong(look, expects));
    }
    wrong.extend((scenario.check)(look, stage).err());
    if wrong.is_empty() { Ok(()) } else { Err(format!("{}\nsaid:\n{}", wrong.join("\n"), look.said())) }
}

/// The story that the first leader leads: 30 lines of 100 columns. Other stories of this machine stand beside it.
fn text_is_wrong(look: &Look, expects: &[Expect]) -> Option<String> {
    let leader = expects.iter().find(|e| e.leads)?;
    let stories: Vec<Vec<&str>> = look.text.split("\n\n").map(|s| s.lines().collect()).collect();
    // Below the sentence stands the root; consequences are on branches.
    let led = |story: &&Vec<&str>| story.iter().any(|l| l.strip_prefix("  ").is_some_and(|l| l.starts_with(leader.id)));
    let fits = |story: &Vec<&str>| story.len() <= 30 && story.iter().all(|l| l.chars().count() <= 100);
    match stories.iter().find(led) {
        Some(story) if fits(story) => None,
        Some(story) => Some(format!(
            "the story has {} lines of more than 100 columns, or more than 30:\n{}",
            story.len(),
            look.text
        )),
        None => Some(format!("no story in the text is led by {}:\n{}", leader.id, look.text)),
    }
}

/// Waits for the live screens to name everything, and notes when they did.
fn detected(row: &mut Row, watcher: &Watcher, seen: usize, stands: f64, stage: &Stage, expects: &[Expect]) {
    let first = |lines: &[Value], e: &Expect| {
        let named = lines.iter().skip(seen).find(|l| l["event"] != "closed" && e.is_met(&l["finding"]));
        named.and_then(|l| l["uptime_s"].as_f64())
    };
    let all = |lines: &[Value]| expects.iter().map(|e| first(lines, e)).collect::<Option<Vec<f64>>>();
    watcher.wait(DETECT_S - (uptime_s() - stands), all);
    let stands = stage.later.as_ref().and_then(|later| later.get()).copied().unwrap_or(stands);
    let lines = watcher.lines();
    let times: Vec<f64> = expects.iter().filter_map(|e| first(&lines, e)).collect();
    row.named = times.len();
    let last = times.into_iter().max_by(f64::total_cmp);
    row.detect_s = last.filter(|_| row.named == row.expected).map(|at| (at - stands).max(0.0));
    let of_id = |e: &Expect| lines.iter().skip(seen).any(|l| l["finding"]["id"] == e.id);
    row.subject = if row.expected == 0 {
        Subject::None
    } else if row.named == row.expected {
        Subject::Right
    } else if expects.iter().all(of_id) {
        Subject::Wrong
    } else {
        Subject::Missed
    };
}

/// Findings that the watcher opened from line `seen` on, as last said of each.
fn opened(watcher: &Watcher, seen: usize) -> Vec<Value> {
    watcher.lines().iter().skip(seen).filter(|l| l["event"] != "closed").map(|l| l["finding"].clone()).collect()
}

/// Sorts what was said into true, extra and not ours; gives the extra findings that are certainly about what was staged.
fn sort_out(
    row: &mut Row,
    scenario: &Scenario,
    stage: &Stage,
    expects: &[Expect],
    before: &[Value],
    said: Vec<Value>,
) -> Vec<Value> {
    let mut told: Vec<Value> = Vec::new();
    let mut ours = Vec::new();
    for f in said {
        let expected = expects.iter().any(|e| e.is(&f));
        if expected && f["severity"].as_str() > Some("") && row.severity != "critical" {
            row.severity = f["severity"].as_str().unwrap_or_default().into();
        }
        if told.iter().any(|t| same(t, &f)) {
            continue;
        }
        told.push(f.clone());
        if expected {
            row.right += 1;
            continue;
        }
        let whose = stage.whose.of(&f);
        if before.iter().any(|b| same(b, &f)) || whose == Some(false) {
            continue;
        }
        if scenario.may_say.iter().any(|id| f["id"] == *id) {
            row.right += 1;
            continue;
        }
        row.extra.push(short(&f));
        if whose == Some(true) {
            ours.push(f);
        }
    }
    ours
}

/// Waits until the live screens have closed what lasts, and a warm look no longer says it.
fn clears(watcher: &Watcher, lasting: &dyn Fn(&Value) -> bool) -> Result<(), String> {
    let until = uptime_s() + CLEAR_S;
    let left = |lines: &[Value]| standing(lines).into_iter().filter(|f| lasting(f)).collect::<Vec<_>>();
    let closed = watcher.wait(CLEAR_S, |lines| left(lines).is_empty().then_some(()));
    if closed.is_none() {
        return Err(format!(
            "still on the live screens {CLEAR_S} s after it ended:\n{}",
            list(&left(&watcher.lines()))
        ));
    }
    loop {
        let look = Look::take("2s", false);
        let still: Vec<Value> = look.findings().iter().filter(|f| lasting(f)).cloned().collect();
        if still.is_empty() {
            return Ok(());
        }
        if uptime_s() > until {
            return Err(format!("a look after the trouble ended still says:\n{}", list(&still)));
        }
    }
}

fn calm(control: &Control, strict: bool, row: &mut Row) -> Result<(), String> {
    let watcher = Watcher::start();
    let before = baseline(&watcher, "4s");
    let seen = watcher.lines().len();
    let started = uptime_s();
    let mut load = (control.load)();
    load.learn();
    std::thread::sleep(Duration::from_secs(3));
    load.learn();
    let twin = Twin::start(row, strict);
    let look = Look::take("5s", false);
    load.learn();
    std::thread::sleep(Duration::from_secs_f64((LOAD_S - (uptime_s() - started)).max(0.0)));
    load.learn();
    let mut said = look.findings().to_vec();
    said.extend(opened(&watcher, seen));
    let mut extra: Vec<Value> = Vec::new();
    for f in said {
        let known = |other: &Value| same(other, &f);
        if !before.iter().any(known) && !extra.iter().any(known) && load.whose.of(&f) != Some(false) {
            extra.push(f);
        }
    }
    drop(load);
    twin.end(&look, row);
    row.extra = extra.iter().map(short).collect();
    let worst = extra.iter().any(|f| f["severity"] == "critical");
    row.severity = if worst {
        "critical"
    } else if extra.is_empty() {
        ""
    } else {
        "warning"
    }
    .into();
    if extra.is_empty() { Ok(()) } else { Err(format!("said of a calm host:\n{}", whole(&extra))) }
}

/// `id of subject`.
fn short(f: &Value) -> String {
    let (id, s) = (f["id"].as_str().unwrap_or_default(), &f["subject"]);
    let name = ["comm", "container", "name", "path"].iter().find_map(|k| s[*k].as_str());
    format!("{id} of {}", name.or(s["kind"].as_str()).unwrap_or("?"))
}

fn list(findings: &[Value]) -> String {
    findings.iter().map(|f| format!("  {}", line(f))).collect::<Vec<_>>().join("\n")
}

/// With message and evidence: what speaks falsely must be understood.
fn whole(findings: &[Value]) -> String {
    findings.iter().map(|f| format!("{f:#}")).collect::<Vec<_>>().join("\n")
}
