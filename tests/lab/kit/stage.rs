//! Trouble that stands: actors, what undoes it, and whose is what.

use super::watcher::uptime_s;
use rustc_hash::FxHashSet;
use serde_json::Value;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread::sleep;
use std::time::Duration;

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
    /// What is ours: a finding about it that nobody expects is of the scenario's own making.
    pub whose: Whose,
    /// When the condition stood, seconds since boot, where that was before the end of staging.
    pub stands: Option<f64>,
    /// When its last condition stood, seconds since boot, where that comes only after staging: a kill, say.
    pub later: Option<Arc<OnceLock<f64>>>,
}

/// What belongs to a stage: its processes with all they started, the network namespaces they are in, cgroups.
#[derive(Clone, Default)]
pub struct Whose {
    pids: FxHashSet<u64>,
    netns: FxHashSet<u64>,
    /// Parts of the names of cgroups, interfaces and devices.
    names: Vec<String>,
}

impl Whose {
    /// Whether a finding is about what is ours: `None` where its subject is everyone's (the host, a slab cache, a wait
    /// channel).
    pub fn of(&self, finding: &Value) -> Option<bool> {
        let s = &finding["subject"];
        let is = |set: &FxHashSet<u64>, v: &Value| v.as_u64().is_some_and(|v| set.contains(&v));
        let named = |v: &Value| v.as_str().is_some_and(|v| self.names.iter().any(|n| v.contains(n.as_str())));
        Some(match s["kind"].as_str()? {
            "task" => is(&self.pids, &s["pid"]) || named(&s["cgroup"]),
            "socket" | "listener" => {
                is(&self.pids, &s["owner"]["pid"]) || named(&s["owner"]["cgroup"]) || is(&self.netns, &s["netns"])
            }
            "cgroup" => named(&s["path"]),
            "netns" => is(&self.netns, &s["inode"]),
            "remote" => is(&self.netns, &s["netns"]),
            "iface" => is(&self.netns, &s["netns"]) || named(&s["name"]),
            "device" => named(&s["name"]),
            _ => return None,
        })
    }
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

    /// The condition stands from now on, though staging goes on.
    pub fn stands(&mut self) {
        self.stands.get_or_insert_with(uptime_s);
    }

    /// The condition stands when `done`, which is looked at beside all that follows.
    pub fn stands_when(&mut self, done: impl Fn() -> bool + Send + 'static) {
        let later = Arc::new(OnceLock::new());
        self.later = Some(Arc::clone(&later));
        std::thread::spawn(move || {
            // Ends with the stage, which holds the other half.
            while Arc::strong_count(&later) > 1 && later.get().is_none() {
                if done() {
                    later.set(uptime_s()).ok();
                }
                sleep(Duration::from_millis(20));
            }
        });
    }

    /// A part of the path of cgroups, or of the name of interfaces or devices, that belong to this stage.
    pub fn owns(&mut self, name: impl Into<String>) {
        self.whose.names.push(name.into());
    }

    /// Learns which processes and network namespaces are of this stage now.
    pub fn learn(&mut self) {
        if !self.path.is_empty() && !self.whose.names.contains(&self.path) {
            self.whose.names.push(self.path.clone());
        }
        let netns = |pid: u64| std::fs::metadata(format!("/proc/{pid}/ns/net")).map(|m| m.ino()).ok();
        let own = u64::from(std::process::id());
        let host = netns(own);
        for pid in descendants(own) {
            self.whose.pids.insert(pid);
            self.whose.netns.extend(netns(pid).filter(|n| Some(*n) != host));
        }
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

pub fn which(tool: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).map(|d| Path::new(d).join(tool)).find(|p| p.is_file())
}

/// Every process that stems from `root`, itself left out.
fn descendants(root: u64) -> Vec<u64> {
    let parent = |pid: u64| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let links: Vec<(u64, u64)> =
        all.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(at) = found.get(next).copied() {
        found.extend(links.iter().filter(|(_, parent)| *parent == at).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
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

/// Waits until `done`, at most thirty seconds.
pub fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..600 {
        if done() {
            return;
        }
        sleep(Duration::from_millis(50));
    }
    panic!("gave up waiting: {what}");
}

/// `name` as one of this run's own; alone where `WHYTOP_LAB_PLAIN` is set, in a machine that is a recording's alone.
pub fn own_name(name: &str) -> String {
    if std::env::var_os("WHYTOP_LAB_PLAIN").is_some() {
        return name.to_owned();
    }
    format!("whytop-lab-{}-{name}", std::process::id())
}

/// A directory of this run's own, removed when the stage ends.
pub fn scratch(stage: &mut Stage, name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(own_name(name));
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

/// A cgroup of this run's own in the hierarchy of `controller`; what is still in it when the stage ends is killed, and it
/// is removed. The same name may stand in several hierarchies: on v2 that is one cgroup.
pub fn cgroup(stage: &mut Stage, controller: &str, name: &str) -> PathBuf {
    let v1 = Path::new("/sys/fs/cgroup").join(controller);
    let root = if v1.is_dir() { v1 } else { PathBuf::from("/sys/fs/cgroup") };
    // On v2 the root hands controllers down; on v1 there is no such file, and nothing to be done.
    let hand_down = root.join("cgroup.subtree_control");
    if hand_down.exists() {
        std::fs::write(hand_down, format!("+{controller}")).expect("hand the controller down");
    }
    let mine = own_name(name);
    let dir = root.join(&mine);
    std::fs::create_dir_all(&dir).expect("make a cgroup");
    stage.owns(mine);
    let left = dir.clone();
    stage.undo(move || {
        let procs = left.join("cgroup.procs");
        let gone = || {
            for pid in std::fs::read_to_string(&procs).unwrap_or_default().lines() {
                may("kill", &["-9", pid]);
            }
            // What an actor made in it goes first.
            for below in std::fs::read_dir(&left).into_iter().flatten().flatten() {
                std::fs::remove_dir(below.path()).ok();
            }
            std::fs::remove_dir(&left).is_ok() || !left.exists()
        };
        until("the cgroup is empty", gone);
    });
    dir
}
