//! Single processes in every condition.

use crate::kit::{self, Case, Undo, Victim, Want, case, expect, may, must, root, until_state};
use std::process::{Command, Stdio};
use whytop::act::Consent;
use whytop::snapshot::{Action, Decision, Effect, OutcomeKind, Signal};

pub const ALL: &[Case] = &[
    case("running", running),
    case("sleeping", sleeping),
    case("sleeping, KILL", killed),
    case("stopped", stopped),
    case("stopped, KILL", stopped_killed),
    case("stopped, CONT", continued),
    case("STOP", stop),
    case("TERM handled, ends", handled),
    case("TERM handled, lives on", shrugged),
    case("TERM ignored", ignored),
    case("TERM blocked", blocked),
    case("TERM blocked, read from a signalfd", signalfd),
    case("TERM taken by sigwait", sigwait),
    case("D in vfork", vfork),
    case("zombie of a live parent", zombie),
    case("zombie leader with live threads", headless),
    case("dies between plan and send", dies),
    case("its parent starts it anew", respawned),
    case("kernel thread", kthread),
    case("own shell", own_shell),
    case("own process", own_process),
    case("pid 1", pid_one),
    case("a thread's number", thread),
    case("without pidfd", without_pidfd),
    root("D on a frozen file system", &["mkfs.ext4", "mount", "umount", "fsfreeze"], frozen_fs),
    root("frozen v1 cgroup", &[], frozen_v1),
    root("frozen v2 cgroup, KILL", &[], frozen_v2),
    root("frozen v2 cgroup, TERM handled", &[], frozen_v2_handled),
    root("init of a pid namespace, TERM", &["unshare"], init_term),
    root("init of a pid namespace, KILL", &["unshare"], init_kill),
    root("zombie of an init of a pid namespace", &["unshare"], init_zombie),
    root("without root: own and others'", &["setpriv"], without_root),
];

const ALLOWED: Decision = Decision::Allowed;

fn want(effect: Effect, result: OutcomeKind) -> Want {
    Want { decision: ALLOWED, effect, result }
}

fn running() -> Result<String, String> {
    let victim = Victim::start(&["spin"]);
    expect(victim.pid(), Signal::TERM, &want(Effect::Terminates, OutcomeKind::Exited))
}

fn sleeping() -> Result<String, String> {
    let victim = Victim::start(&["sleep", "term"]);
    expect(victim.pid(), Signal::TERM, &want(Effect::Terminates, OutcomeKind::Exited))
}

fn killed() -> Result<String, String> {
    let victim = Victim::start(&["sleep", "kill"]);
    expect(victim.pid(), Signal::KILL, &want(Effect::Terminates, OutcomeKind::Exited))
}

fn stopped_victim(name: &str) -> Victim {
    let victim = Victim::start(&["sleep", name]);
    kit::act().pin_pid(victim.pid()).unwrap().send(Signal::STOP).unwrap();
    until_state(victim.pid(), 'T');
    victim
}

fn stopped() -> Result<String, String> {
    let victim = stopped_victim("stopped");
    expect(victim.pid(), Signal::TERM, &want(Effect::PendingUntilWakes, OutcomeKind::Pending))
}

fn stopped_killed() -> Result<String, String> {
    let victim = stopped_victim("stopped-kill");
    expect(victim.pid(), Signal::KILL, &want(Effect::Terminates, OutcomeKind::Exited))
}

fn continued() -> Result<String, String> {
    let victim = stopped_victim("stopped-cont");
    expect(victim.pid(), Signal::CONT, &want(Effect::Continues, OutcomeKind::Survived))
}

fn stop() -> Result<String, String> {
    let victim = Victim::start(&["sleep", "stop"]);
    expect(victim.pid(), Signal::STOP, &want(Effect::Stops, OutcomeKind::Survived))
}

fn handled() -> Result<String, String> {
    let victim = Victim::start(&["handle", "15", "ends"]);
    expect(victim.pid(), Signal::TERM, &want(Effect::Caught, OutcomeKind::Exited))
}

fn shrugged() -> Result<String, String> {
    let victim = Victim::start(&["handle", "15", "lives"]);
    expect(victim.pid(), Signal::TERM, &want(Effect::Caught, OutcomeKind::Survived))
}

fn ignored() -> Result<String, String> {
    let victim = Victim::start(&["ignore", "15"]);
    expect(victim.pid(), Signal::TERM, &want(Effect::Ignored, OutcomeKind::Survived))
}

fn blocked() -> Result<String, String> {
    let victim = Victim::start(&["block", "15"]);
    expect(victim.pid(), Signal::TERM, &want(Effect::Blocked, OutcomeKind::Pending))
}

fn signalfd() -> Result<String, String> {
    let victim = Victim::start(&["signalfd", "15"]);
    kit::until("it waits on the descriptor", || kit::state(victim.pid()) == Some('S'));
    expect(victim.pid(), Signal::TERM, &want(Effect::Caught, OutcomeKind::Exited))
}

fn sigwait() -> Result<String, String> {
    let victim = Victim::start(&["sigwait", "15"]);
    let wchan = || std::fs::read_to_string(format!("/proc/{}/wchan", victim.pid())).unwrap_or_default();
    if !kit::is_root() && wchan() == "0" {
        return Ok("the wait channel is hidden from this user".into());
    }
    kit::until("it waits for signals", || wchan().contains("sigtimedwait"));
    expect(victim.pid(), Signal::TERM, &want(Effect::Caught, OutcomeKind::Exited))
}

fn vfork() -> Result<String, String> {
    let victim = Victim::start(&["vfork"]);
    until_state(victim.pid(), 'D');
    expect(victim.pid(), Signal::TERM, &want(Effect::Terminates, OutcomeKind::Exited))
}

fn zombie() -> Result<String, String> {
    let victim = Victim::start(&["zombie"]);
    let seen = expect(victim.other(), Signal::KILL, &want(Effect::NoneZombie, OutcomeKind::Zombie))?;
    let parent = format!("({})", victim.pid());
    if seen.contains(&parent) { Ok(seen) } else { Err(format!("the parent {parent} is not named: {seen}")) }
}

fn headless() -> Result<String, String> {
    let victim = Victim::start(&["headless"]);
    expect(victim.pid(), Signal::KILL, &want(Effect::Terminates, OutcomeKind::Exited))
}

fn dies() -> Result<String, String> {
    let victim = Victim::start(&["sleep", "dies"]);
    let mut act = kit::act();
    let prepared = kit::prepare(&mut act, victim.pid(), Signal::TERM);
    drop(victim);
    let seen = kit::carry_out(&mut act, prepared, 2000);
    kit::told(&seen.plans[0], OutcomeKind::Gone)
}

fn respawned() -> Result<String, String> {
    let victim = Victim::start(&["supervise"]);
    let first = victim.other();
    let seen = expect(first, Signal::KILL, &want(Effect::Terminates, OutcomeKind::Respawned))?;
    let parent = format!("({})", victim.pid());
    if seen.contains(&parent) { Ok(seen) } else { Err(format!("not its parent: {seen}")) }
}

/// A plan that must be refused; nothing is ever sent.
fn refused(pid: u32, signal: Signal, why: &str) -> Result<String, String> {
    let mut act = kit::act();
    let prepared = kit::prepare(&mut act, pid, signal);
    let plan = prepared.proposal.plans[0].clone();
    if plan.decision != Decision::Refused || prepared.proposal.decision != Decision::Refused {
        return Err(format!("not refused: {:?}", plan.reasons));
    }
    if !plan.reasons[0].contains(why) {
        return Err(format!("refused for another reason: {:?}", plan.reasons));
    }
    let running = act.carry_out(prepared, &Consent::Yes);
    if running.sent {
        Err("it was sent".into())
    } else {
        Ok(format!("refused {}: {}", plan.effect.word(), plan.reasons[0]))
    }
}

fn kthread() -> Result<String, String> {
    refused(2, Signal::KILL, "kernel thread")
}

fn own_shell() -> Result<String, String> {
    refused(std::os::unix::process::parent_id(), Signal::KILL, "whytop runs below it")
}

fn own_process() -> Result<String, String> {
    refused(std::process::id(), Signal::TERM, "it is this whytop")
}

fn pid_one() -> Result<String, String> {
    refused(1, Signal::TERM, "pid 1")
}

fn thread() -> Result<String, String> {
    let victim = Victim::start(&["headless"]);
    let tasks = std::fs::read_dir(format!("/proc/{}/task", victim.pid())).unwrap();
    let mut tids = tasks.map(|task| task.unwrap().file_name().to_string_lossy().parse::<u32>().unwrap());
    let tid = tids.find(|tid| *tid != victim.pid()).unwrap();
    let error = kit::act().pin_pid(tid).map(|pin| pin.key()).unwrap_err().to_string();
    let want = format!("it is a thread of process {}", victim.pid());
    if error == want { Ok(error) } else { Err(error) }
}

/// What kernels before 5.3 get: the start time is checked, and the plan says so.
fn without_pidfd() -> Result<String, String> {
    use whytop::act::{Act, Identity, Lookup, Options};
    let victim = Victim::start(&["sleep", "old"]);
    let options = Options { by: "kill", identity: Identity::StartTime, ..Options::default() };
    let mut act = Act::new(&whytop::collect::Roots::default(), Lookup::default(), options).unwrap();
    let prepared = kit::prepare(&mut act, victim.pid(), Signal::TERM);
    if !prepared.proposal.reasons.iter().any(|reason| reason.contains("no pidfd")) {
        return Err(format!("it is not said: {:?}", prepared.proposal.reasons));
    }
    let seen = kit::carry_out(&mut act, prepared, 20_000);
    kit::told(&seen.plans[0], OutcomeKind::Exited)
}

fn frozen_fs() -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let (image, point) = (dir.path().join("image"), dir.path().join("mnt"));
    std::fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    std::fs::create_dir(&point).unwrap();
    let (image, point) = (image.to_str().unwrap().to_owned(), point.to_str().unwrap().to_owned());
    must("mkfs.ext4", &["-qF", &image]);
    must("mount", &["-o", "loop", &image, &point]);
    let gone = point.clone();
    let _umount = Undo::new(move || may("umount", &[&gone]));
    let file = format!("{point}/file");
    let mut victim = Victim::start(&["write", &file]);
    must("fsfreeze", &["-f", &point]);
    let frozen = point.clone();
    let thaw = Undo::new(move || may("fsfreeze", &["-u", &frozen]));
    victim.go();
    until_state(victim.pid(), 'D');
    let seen = expect(victim.pid(), Signal::KILL, &want(Effect::PendingUntilWakes, OutcomeKind::Pending))?;
    if !seen.contains("still in D at") || !seen.contains("SIGKILL pending") {
        return Err(format!("not told where: {seen}"));
    }
    drop(thaw);
    kit::until("it ends with the thaw", || kit::state(victim.pid()).is_none());
    Ok(seen + "; ended with the thaw")
}

/// A cgroup of one hierarchy with a victim in it; both gone when dropped.
pub struct Cgroup {
    pub dir: std::path::PathBuf,
    pub path: String,
}

impl Cgroup {
    pub fn make(tree: &str, name: &str) -> Result<Self, String> {
        let path = format!("/whytop-act-{}-{name}", std::process::id());
        let root = std::path::Path::new("/sys/fs/cgroup").join(tree);
        // A v1 tree also of that name would be a plain directory: it must be mounted.
        if !root.join("cgroup.procs").exists() {
            return Err(format!("SKIPPED: no cgroup hierarchy at {}", root.display()));
        }
        let dir = root.join(path.trim_start_matches('/'));
        std::fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(Self { dir, path })
    }

    pub fn put(&self, pid: u32) {
        std::fs::write(self.dir.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    pub fn set(&self, file: &str, value: &str) {
        std::fs::write(self.dir.join(file), value).unwrap();
    }

    pub fn procs(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        std::fs::write(self.dir.join("freezer.state"), "THAWED").ok();
        std::fs::write(self.dir.join("cgroup.freeze"), "0").ok();
        for _ in 0..500 {
            // Only what a case put here, and its children, is in it.
            for pid in self.procs().into_iter().filter_map(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
            }
            if std::fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// The v2 tree: the whole of `/sys/fs/cgroup`, or `unified` beside v1.
pub fn v2() -> &'static str {
    if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "" } else { "unified" }
}

fn frozen_v1() -> Result<String, String> {
    let cgroup = Cgroup::make("freezer", "v1")?;
    let victim = Victim::start(&["sleep", "frozen-v1"]);
    cgroup.put(victim.pid());
    cgroup.set("freezer.state", "FROZEN");
    until_state(victim.pid(), 'D');
    let seen = expect(victim.pid(), Signal::KILL, &want(Effect::PendingUntilThawed, OutcomeKind::Pending))?;
    let mut act = kit::act();
    let key = act.cgroup_key(&cgroup.path).ok_or("the cgroup is not found")?;
    let prepared = act.propose(&Action::Thaw { cgroup: key }, Vec::new(), None);
    let thawed = kit::carry_out(&mut act, prepared, 20_000);
    kit::told(&thawed.plans[0], OutcomeKind::Done)?;
    kit::until("it ends with the thaw", || kit::state(victim.pid()).is_none());
    Ok(seen + "; ended when whytop thawed it")
}

fn frozen_in_v2(words: &[&str]) -> Result<(Cgroup, Victim), String> {
    let cgroup = Cgroup::make(v2(), &words.join("-"))?;
    let victim = Victim::start(words);
    cgroup.put(victim.pid());
    cgroup.set("cgroup.freeze", "1");
    let frozen = || std::fs::read_to_string(cgroup.dir.join("cgroup.events")).unwrap_or_default().contains("frozen 1");
    kit::until("it is frozen", frozen);
    Ok((cgroup, victim))
}

fn frozen_v2() -> Result<String, String> {
    let (_cgroup, victim) = frozen_in_v2(&["sleep", "frozen-v2"])?;
    expect(victim.pid(), Signal::KILL, &want(Effect::Terminates, OutcomeKind::Exited))
}

fn frozen_v2_handled() -> Result<String, String> {
    let (cgroup, victim) = frozen_in_v2(&["handle", "15", "ends", "frozen-v2"])?;
    let seen = expect(victim.pid(), Signal::TERM, &want(Effect::PendingUntilThawed, OutcomeKind::Pending))?;
    let mut act = kit::act();
    let key = act.cgroup_key(cgroup.dir.to_str().unwrap()).ok_or("the cgroup is not found")?;
    let prepared = act.propose(&Action::Thaw { cgroup: key }, Vec::new(), None);
    let thawed = kit::carry_out(&mut act, prepared, 20_000);
    kit::told(&thawed.plans[0], OutcomeKind::Done)?;
    kit::until("it ends with the thaw", || kit::state(victim.pid()).is_none());
    Ok(seen + "; ended when whytop thawed it")
}

/// The init of a pid namespace, from outside.
fn namespace(name: &str) -> (Victim, u32) {
    let victim = Victim::by(&["unshare", "--pid", "--fork", "--kill-child"], &["init", name]);
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", victim.pid())).unwrap();
    let init = children.trim().parse().unwrap();
    (victim, init)
}

fn init_term() -> Result<String, String> {
    let (_outer, init) = namespace("term");
    expect(init, Signal::TERM, &want(Effect::Ignored, OutcomeKind::Survived))
}

fn init_kill() -> Result<String, String> {
    let (_outer, init) = namespace("kill");
    let inside = || std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap_or_default();
    let children: Vec<u32> = inside().split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    let want = Want { decision: Decision::Confirm, effect: Effect::ContainerStops, result: OutcomeKind::Exited };
    let seen = expect(init, Signal::KILL, &want)?;
    kit::until("all in it end", || children.iter().all(|pid| kit::state(*pid).is_none()));
    Ok(format!("{seen}; {} in it ended too", children.len()))
}

fn init_zombie() -> Result<String, String> {
    let (_outer, init) = namespace("zombie");
    let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap();
    let dead = || children.split_whitespace().map(|pid| pid.parse().unwrap()).find(|pid| kit::state(*pid) == Some('Z'));
    kit::until("one is a zombie", || dead().is_some());
    let mut act = kit::act();
    let plan = kit::prepare(&mut act, dead().unwrap(), Signal::KILL).proposal.plans[0].clone();
    if !plan.reasons.iter().any(|reason| reason.contains("init of its container")) {
        return Err(format!("its parent is not said to be an init: {:?}", plan.reasons));
    }
    expect(dead().unwrap(), Signal::KILL, &want(Effect::NoneZombie, OutcomeKind::Zombie))
}

/// The real binary as another user: a process of its own ends, one of root is refused before anything is sent.
fn without_root() -> Result<String, String> {
    let dir = tempfile::Builder::new().prefix("whytop-act").tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let whytop = dir.path().join("whytop");
    std::fs::copy(env!("CARGO_BIN_EXE_whytop"), &whytop).unwrap();
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
    let whytop = whytop.to_str().unwrap();
    let run = |pid: u32| {
        let pid = pid.to_string();
        let args = [&nobody[..], &[whytop, "kill", "--json", &pid]].concat();
        let out = Command::new(kit::which("setpriv").unwrap())
            .args(args)
            .env_clear()
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out.stderr)));
        (out.status.code(), json["plans"][0].clone())
    };
    let roots = Victim::start(&["sleep", "of-root"]);
    let (status, plan) = run(roots.pid());
    let why = plan["reasons"][0].as_str().unwrap_or_default().to_owned();
    if status != Some(2) || plan["decision"] != "refused" || !plan["outcome"].is_null() || !why.contains("uid 65534") {
        return Err(format!("root's process: {status:?} {plan}"));
    }
    if !kit::lives(roots.pid()) {
        return Err("root's process did not live on".into());
    }
    let mut own = Command::new(kit::which("setpriv").unwrap());
    let mut own = own.args(nobody).args(["sleep", "1000"]).stdin(Stdio::null()).spawn().unwrap();
    let comm = format!("/proc/{}/comm", own.id());
    kit::until("it runs", || std::fs::read_to_string(&comm).is_ok_and(|comm| comm.trim() == "sleep"));
    let pid = own.id();
    let waiter = std::thread::spawn(move || own.wait());
    let (status, plan) = run(pid);
    if status != Some(0) || plan["outcome"]["result"] != "exited" {
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(pid.cast_signed()).unwrap(),
            rustix::process::Signal::KILL,
        )
        .ok();
        return Err(format!("its own: {status:?} {plan}"));
    }
    waiter.join().unwrap().unwrap();
    Ok(format!("refused: {why}; own: exited"))
}
