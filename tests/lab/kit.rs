//! What scenarios share: running whytop, waiting, cleaning up, and saying why one can't run here.

use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// One scenario of the lab.
pub struct Scenario {
    pub name: &'static str,
    /// Whether it needs root (namespaces, cgroups, mounts).
    pub root: bool,
    /// Programs it calls.
    pub tools: &'static [&'static str],
    /// Stages the trouble; dropping the result ends it.
    pub stage: fn() -> Stage,
    /// Judges a look taken while the trouble stands.
    pub during: fn(&Look, &Stage) -> Result<(), String>,
    /// Ids that must be gone from a look taken after the trouble ended.
    pub gone: &'static [&'static str],
}

/// Trouble that stands. Fields are dropped in order: what would keep actors from ending is undone, then the actors end,
/// then what they stood on is torn down.
#[derive(Default)]
pub struct Stage {
    pub release: Vec<Cleanup>,
    pub actors: Vec<Actor>,
    pub cleanups: Vec<Cleanup>,
    /// Facts that the judgement needs.
    pub pid: u32,
    pub inode: u64,
    pub path: String,
}

/// A command or closure that undoes a step; run in reverse order of staging.
pub struct Cleanup(pub Option<Box<dyn FnOnce()>>);

impl Drop for Cleanup {
    fn drop(&mut self) {
        if let Some(undo) = self.0.take() {
            undo();
        }
    }
}

impl Stage {
    /// Undoes what was staged after it first: actors, then cleanups from the last to the first.
    pub fn undo(&mut self, undo: impl FnOnce() + 'static) {
        self.cleanups.insert(0, Cleanup(Some(Box::new(undo))));
    }

    /// Starts an actor and waits until it says READY.
    pub fn actor(&mut self, args: &[&str]) -> u32 {
        self.actor_in(&[], args)
    }

    /// Starts an actor by way of another program that executes it (`unshare -n`).
    pub fn actor_in(&mut self, wrapper: &[&str], args: &[&str]) -> u32 {
        let actor = Actor::start(wrapper, args);
        let pid = actor.child.id();
        self.actors.push(actor);
        pid
    }
}

/// A process of this test binary that makes trouble; killed when dropped.
pub struct Actor {
    child: Child,
}

impl Actor {
    fn start(wrapper: &[&str], args: &[&str]) -> Self {
        use std::io::{BufRead, BufReader};
        let exe = std::env::current_exe().expect("own path");
        let exe = exe.to_str().expect("utf-8");
        let words: Vec<&str> = wrapper.iter().copied().chain([exe, "--actor"]).chain(args.iter().copied()).collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start an actor");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("read from the actor");
        assert_eq!(line.trim(), "READY", "actor {args:?} did not get ready");
        Self { child }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What `whytop why --json` said.
pub struct Look {
    pub json: Value,
}

impl Look {
    /// Runs the real binary for `span`.
    pub fn take(span: &str) -> Self {
        let out = Command::new(env!("CARGO_BIN_EXE_whytop"))
            .args(["why", "--for", span, "--json"])
            .stdin(Stdio::null())
            .output()
            .expect("run whytop");
        let text = String::from_utf8_lossy(&out.stdout);
        let json = serde_json::from_str(&text).unwrap_or_else(|e| {
            panic!("why --json is not JSON: {e}\nstdout: {text}\nstderr: {}", String::from_utf8_lossy(&out.stderr))
        });
        Self { json }
    }

    pub fn findings(&self) -> &[Value] {
        self.json["findings"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The findings of one rule.
    pub fn of(&self, id: &str) -> Vec<&Value> {
        self.findings().iter().filter(|f| f["id"] == id).collect()
    }

    /// One finding of `id` that `fits`; the error lists what was said instead.
    pub fn expect(&self, id: &str, fits: impl Fn(&Value) -> bool) -> Result<&Value, String> {
        self.of(id).into_iter().find(|f| fits(f)).ok_or_else(|| {
            let mut said = format!("no fitting {id} among:\n");
            for f in self.findings() {
                let _ = writeln!(said, "  {} {} value={} limit={}", f["id"], f["subject"], f["value"], f["limit"]);
            }
            said
        })
    }

    /// What was said, in one line.
    pub fn summary(&self) -> String {
        let stories = self.json["stories"].as_array().map_or(0, Vec::len);
        let mut ids: Vec<&str> = self.findings().iter().filter_map(|f| f["id"].as_str()).collect();
        ids.dedup();
        format!("{stories} stories: {}", ids.join(" "))
    }
}

/// How a scenario ended.
pub enum Outcome {
    Passed(String),
    Skipped(String),
    Failed(String),
}

/// Whether a missing program may skip a scenario: not in CI, which installs what scenarios need.
fn may_skip() -> bool {
    std::env::var_os("CI").is_none()
}

pub fn run(scenario: &Scenario) -> Outcome {
    if let Some(why) = cannot(scenario) {
        return if may_skip() || !is_root() {
            Outcome::Skipped(why)
        } else {
            Outcome::Failed(format!("unexpected skip: {why}"))
        };
    }
    let result = std::panic::catch_unwind(|| play(scenario));
    match result {
        Ok(Ok(note)) => Outcome::Passed(note),
        Ok(Err(why)) => Outcome::Failed(why),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Outcome::Failed(text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default())
        }
    }
}

fn play(scenario: &Scenario) -> Result<String, String> {
    let stage = (scenario.stage)();
    let look = Look::take("5s");
    let judged = (scenario.during)(&look, &stage);
    let pid = stage.pid;
    drop(stage);
    judged?;
    sleep(Duration::from_secs(1));
    let after = Look::take("4s");
    // Of another process on this machine the same may be true.
    let ours = |f: &&Value| f["subject"]["kind"] != "task" || f["subject"]["pid"] == pid;
    let still: Vec<String> =
        scenario.gone.iter().flat_map(|id| after.of(id)).filter(ours).map(ToString::to_string).collect();
    if !still.is_empty() {
        return Err(format!("still said after the trouble ended:\n  {}", still.join("\n  ")));
    }
    Ok(look.summary())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn cannot(scenario: &Scenario) -> Option<String> {
    if scenario.root && !is_root() {
        return Some("needs root".into());
    }
    let missing: Vec<&str> = scenario.tools.iter().copied().filter(|t| which(t).is_none()).collect();
    (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(", ")))
}

pub fn which(tool: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).map(|d| Path::new(d).join(tool)).find(|p| p.is_file())
}

/// Runs a command that must succeed.
pub fn must(program: &str, args: &[&str]) -> String {
    let tool = which(program).unwrap_or_else(|| PathBuf::from(program));
    let out = Command::new(tool).args(args).stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {args:?}: {stderr}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Runs a command whose failure doesn't matter (clean-up).
pub fn may(program: &str, args: &[&str]) {
    let tool = which(program).unwrap_or_else(|| PathBuf::from(program));
    Command::new(tool).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
}

/// Waits until `done`, at most ten seconds.
pub fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..200 {
        if done() {
            return;
        }
        sleep(Duration::from_millis(50));
    }
    panic!("gave up waiting: {what}");
}

/// A directory of this run's own, removed when the stage ends.
pub fn scratch(stage: &mut Stage, name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("whytop-lab-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("make a scratch directory");
    let gone = dir.clone();
    stage.undo(move || {
        std::fs::remove_dir_all(gone).ok();
    });
    dir
}

/// The v1 memory hierarchy, or the v2 tree where memory is there.
pub fn memory_cgroup_root() -> PathBuf {
    let v1 = Path::new("/sys/fs/cgroup/memory");
    if v1.is_dir() { v1.to_owned() } else { PathBuf::from("/sys/fs/cgroup") }
}
