//! Actions on many: trees, cgroups with fork bombs in them, parents of zombies, sockets; and the audit line.

use crate::cases::{Cgroup, v2};
use crate::kit::{self, Case, Victim, case, key, root};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;
use whytop::act::{Act, AuditConfig, Consent, Lookup, Options};
use whytop::collect::Roots;
use whytop::snapshot::{Action, Decision, Effect, OutcomeKind, Signal, SocketSelection};

pub const ALL: &[Case] = &[
    root("tree that goes on forking", &[], tree),
    alone("fork bomb, v1 freezer", bomb_freezer),
    alone("fork bomb, v1 without freezer", bomb_stop),
    alone("fork bomb, v2 cgroup.kill", bomb_v2),
    case("reap: the parent listens", reap),
    case("reap: the parent does not", reap_in_vain),
    case("many: confirmed by their number", many),
    root("cgroup: confirmed by its processes", &[], many_in_cgroup),
    case("read-only", read_only),
    case("foreign /proc", foreign),
    root("sockets destroyed", &[], sockets),
    case("audit line", audit),
    case("exit status of the command", statuses),
];

const fn alone(name: &'static str, play: fn() -> Result<String, String>) -> Case {
    Case { name, root: true, alone: true, tools: &[], play }
}

fn tree() -> Result<String, String> {
    let bound = Cgroup::make("pids", "tree")?;
    bound.set("pids.max", "60");
    let mut victim = Victim::start(&["tree"]);
    bound.put(victim.pid());
    if !is_bounded(victim.pid(), 60) {
        return Err("the tree is not bounded: not let go".into());
    }
    victim.go();
    kit::until("the tree has grown", || bound.procs().len() > 6);
    let mut act = kit::act();
    let prepared = act.propose(&Action::Tree { root: key(victim.pid()), signal: Signal::TERM }, Vec::new(), None);
    let planned = prepared.proposal.plans.len();
    if prepared.proposal.decision != Decision::Confirm {
        return Err(format!("not to be confirmed: {:?}", prepared.proposal.reasons));
    }
    std::thread::sleep(Duration::from_millis(100));
    let seen = kit::carry_out_until(&mut act, prepared, |_| bound.procs().is_empty());
    if !bound.procs().is_empty() {
        return Err(format!("{} live on", bound.procs().len()));
    }
    Ok(format!("{planned} planned, {} ended", seen.plans.len()))
}

/// Whether the pids controller holds this process to at most `most`: nothing that forks is let go before.
fn is_bounded(pid: u32, most: u64) -> bool {
    let lines = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let path = lines.lines().find_map(|line| line.splitn(3, ':').nth(2).filter(|_| line.contains(":pids:")));
    let file = path.map(|path| format!("/sys/fs/cgroup/pids{path}/pids.max"));
    let limit = file.and_then(|file| std::fs::read_to_string(file).ok());
    limit.and_then(|limit| limit.trim().parse::<u64>().ok()).is_some_and(|limit| limit <= most)
}

/// A bomb in these hierarchies, all under the same path, and always under a limit of pids.
fn bomb(trees: &[&str], name: &str, method: &str) -> Result<String, String> {
    let cgroups = trees.iter().map(|tree| Cgroup::make(tree, name)).collect::<Result<Vec<_>, _>>()?;
    let own = if trees.contains(&"pids") { None } else { Some(Cgroup::make("pids", &format!("{name}-bound"))?) };
    let all = || cgroups.iter().chain(&own);
    let bound = all().find(|cgroup| cgroup.dir.join("pids.max").exists()).ok_or("SKIPPED: no pids controller")?;
    bound.set("pids.max", "80");
    let mut victim = Victim::start(&["bomb", name]);
    all().for_each(|cgroup| cgroup.put(victim.pid()));
    if !is_bounded(victim.pid(), 80) {
        return Err("the bomb is not bounded: not let go".into());
    }
    victim.go();
    let main = &cgroups[0];
    kit::until("the bomb fills its limit", || main.procs().len() >= 60);
    let mut act = kit::act();
    let cgroup = act.cgroup_key(main.dir.to_str().unwrap()).ok_or("the cgroup is not found")?;
    let prepared = act.propose(&Action::KillCgroup { cgroup }, Vec::new(), None);
    let (plan, all) = (prepared.proposal.plans[0].clone(), prepared.proposal.decision);
    if (all, plan.effect) != (Decision::Confirm, Effect::Terminates) || !plan.reasons.iter().any(|r| r.contains(method))
    {
        return Err(format!("planned {} {}: {:?}", all.word(), plan.effect.word(), plan.reasons));
    }
    let seen = kit::carry_out_until(&mut act, prepared, |proposal| {
        proposal.plans[0].outcome.as_ref().is_some_and(|outcome| outcome.settled)
    });
    let row = kit::told(&seen.plans[0], OutcomeKind::Exited)?;
    match main.procs().len() {
        0 => Ok(format!("{row} ({method})")),
        n => Err(format!("{n} live on")),
    }
}

fn bomb_freezer() -> Result<String, String> {
    bomb(&["freezer", "pids"], "bomb-freezer", "freeze, kill, thaw")
}

fn bomb_stop() -> Result<String, String> {
    bomb(&["pids"], "bomb-stop", "stop, kill, until empty")
}

fn bomb_v2() -> Result<String, String> {
    bomb(&[v2()], "bomb-v2", "cgroup.kill")
}

fn asked(words: &[&str], result: OutcomeKind) -> Result<String, String> {
    let victim = Victim::start(words);
    let mut act = kit::act();
    let prepared = act.propose(&Action::Reap { parent: key(victim.pid()) }, Vec::new(), None);
    let seen = kit::carry_out(&mut act, prepared, 20_000);
    kit::told(&seen.plans[0], result)
}

fn reap() -> Result<String, String> {
    asked(&["reaper"], OutcomeKind::Done)
}

fn reap_in_vain() -> Result<String, String> {
    asked(&["zombie", "in-vain"], OutcomeKind::Survived)
}

fn many() -> Result<String, String> {
    let victims: Vec<Victim> = (0..5).map(|n| Victim::start(&["sleep", "many", &n.to_string()])).collect();
    let tasks = victims.iter().map(|victim| key(victim.pid())).collect();
    let action = Action::Signal { tasks, signal: Signal::TERM };
    let mut act = kit::act();
    let prepared = act.propose(&action, Vec::new(), None);
    if (prepared.proposal.decision, prepared.proposal.confirm.as_deref()) != (Decision::Confirm, Some("5")) {
        return Err(format!("confirmed by {:?}", prepared.proposal.confirm));
    }
    let running = act.carry_out(prepared, &Consent::Typed("4".into()));
    if running.sent || !victims.iter().all(|victim| kit::lives(victim.pid())) {
        return Err("the wrong word was taken".into());
    }
    let prepared = act.propose(&action, Vec::new(), None);
    let mut running = act.carry_out(prepared, &Consent::Typed("5".into()));
    let began = kit::now_ms();
    while !running.proposal.is_settled() && kit::now_ms() - began < 20_000 {
        act.look(&mut running, Duration::from_millis(50));
    }
    let ended = running.proposal.plans.iter().filter(|plan| kit::told(plan, OutcomeKind::Exited).is_ok()).count();
    if ended == 5 { Ok("5 confirmed, 5 exited".into()) } else { Err(format!("{ended} of 5 exited")) }
}

fn forbidden(options: Options, roots: &Roots, why: &str) -> Result<String, String> {
    let victim = Victim::start(&["sleep", why]);
    let target = key(victim.pid());
    let mut act = Act::new(roots, Lookup::default(), options).unwrap();
    let pin = kit::act().pin(target).unwrap();
    let prepared = act.propose(&Action::Signal { tasks: vec![target], signal: Signal::KILL }, vec![pin], None);
    let reason = prepared.proposal.plans[0].reasons.first().cloned().unwrap_or_default();
    let running = act.carry_out(prepared, &Consent::Yes);
    let lives = kit::lives(victim.pid());
    let refused = running.proposal.decision == Decision::Refused && !running.sent && lives;
    if refused && reason.contains(why) {
        Ok(format!("refused: {reason}"))
    } else {
        Err(format!("{:?}", running.proposal))
    }
}

fn many_in_cgroup() -> Result<String, String> {
    let cgroup = Cgroup::make(v2(), "many")?;
    let victims: Vec<Victim> = (0..6).map(|_| Victim::start(&["sleep", "in-cgroup"])).collect();
    for victim in &victims {
        cgroup.put(victim.pid());
    }
    let mut act = kit::act();
    let key = act.cgroup_key(&cgroup.path).ok_or("the cgroup is not found")?;
    let prepared = act.propose(&Action::KillCgroup { cgroup: key }, Vec::new(), None);
    if prepared.proposal.confirm.as_deref() != Some("6") {
        return Err(format!("to be confirmed by {:?}", prepared.proposal.confirm));
    }
    let seen = kit::carry_out_until(&mut act, prepared, |seen| {
        seen.plans.first().and_then(|p| p.outcome.as_ref()).is_some_and(|o| o.settled)
    });
    if !cgroup.procs().is_empty() {
        return Err(format!("{:?} live on", cgroup.procs()));
    }
    kit::told(&seen.plans[0], OutcomeKind::Exited)
}

fn read_only() -> Result<String, String> {
    forbidden(Options { read_only: true, ..Options::default() }, &Roots::default(), "read-only")
}

fn foreign() -> Result<String, String> {
    // A tree that looks like another host's: our own, with another `self`.
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("1", dir.path().join("self")).unwrap();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        if entry.file_name() != "self" {
            std::os::unix::fs::symlink(entry.path(), dir.path().join(entry.file_name())).ok();
        }
    }
    let roots = Roots { proc: dir.path().into(), ..Roots::default() };
    forbidden(Options::default(), &roots, "another host or pid namespace")
}

fn sockets() -> Result<String, String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = listener.local_addr().unwrap();
    // This very process would be spared as whytop's own: the sockets are another's.
    let mut other = Command::new("bash")
        .args([
            "-c",
            &format!("exec 3<>/dev/tcp/127.0.0.1/{} && echo READY >&2 && read -u 3 || true; sleep 1000", there.port()),
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("SKIPPED: bash: {error}"))?;
    let (near, _) = listener.accept().unwrap();
    let pid = other.id();
    let _end = kit::Undo::new(move || {
        other.kill().ok();
        other.wait().ok();
    });
    let mut act = kit::act();
    let selection = SocketSelection {
        netns: act.netns_of(pid).ok_or("no namespace")?,
        owner: Some(key(pid)),
        remote_port: Some(there.port()),
        ..SocketSelection::default()
    };
    let prepared = act.propose(&Action::DestroySockets { sockets: selection.clone() }, Vec::new(), None);
    let plan = &prepared.proposal.plans[0];
    if plan.reasons.iter().any(|reason| reason.contains("CONFIG_INET_DIAG_DESTROY")) {
        return Err("SKIPPED: this kernel can't destroy sockets".into());
    }
    let seen = kit::carry_out(&mut act, prepared, 5000);
    let row = kit::told(&seen.plans[0], OutcomeKind::Done)?;
    // The other end sees a reset.
    near.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let ended = std::io::Read::read(&mut &near, &mut [0; 8]);
    let reset = ended.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
    let again = act.propose(&Action::DestroySockets { sockets: selection }, Vec::new(), None);
    let none = again.proposal.plans[0].effect == Effect::NoneGone;
    let _ = TcpStream::connect(there);
    if reset && none { Ok(row) } else { Err(format!("{row}, but the other end saw {ended:?}")) }
}

fn audit() -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.jsonl");
    let audit = AuditConfig { file: Some(file.clone()), syslog: false };
    let mut act =
        Act::new(&Roots::default(), Lookup::default(), Options { by: "kill", audit, ..Options::default() }).unwrap();
    let victim = Victim::start(&["sleep", "audit"]);
    for pid in [victim.pid(), std::os::unix::process::parent_id()] {
        let prepared = kit::prepare(&mut act, pid, Signal::TERM);
        kit::carry_out(&mut act, prepared, 20_000);
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [sent, refused] = lines.as_slice() else { return Err(format!("{} lines", lines.len())) };
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions()) & 0o777;
    let good = sent["targets"][0]["pid"] == victim.pid()
        && sent["targets"][0]["outcome"]["result"] == "exited"
        && sent["sent"] == true
        && refused["decision"] == "refused"
        && refused["sent"] == false
        && refused["targets"][0]["why"].is_string();
    if good && mode == 0o600 { Ok(format!("2 lines, mode {mode:o}")) } else { Err(format!("{mode:o} {text}")) }
}

/// The real command: its exit status and JSON.
fn statuses() -> Result<String, String> {
    let run = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_whytop"))
            .args(args)
            .env_clear()
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
        (out.status.code().unwrap_or(-1), json["plans"][0].clone())
    };
    let mut victims: Vec<Victim> =
        ["plan", "end", "leader"].iter().map(|name| Victim::start(&["sleep", name])).collect();
    let pids: Vec<String> = victims.iter().map(|victim| victim.pid().to_string()).collect();
    let own = std::process::id().to_string();
    let shrugs = Victim::start(&["handle", "15", "lives", "statuses"]);
    let lives = shrugs.pid().to_string();
    let mut wrong = Vec::new();
    let mut check = |args: &[&str], status: i32, field: &str, value: &str| {
        let (seen, plan) = run(args);
        let found = field.split('.').fold(&plan, |at, key| &at[key]);
        if seen != status || found.as_str().unwrap_or("null") != value {
            wrong.push(format!("{args:?}: {seen} {plan}"));
        }
    };
    check(&["kill", "--plan", "--json", &pids[0]], 0, "effect", "terminates");
    check(&["kill", "--json", &pids[1]], 0, "outcome.result", "exited");
    drop(victims.remove(1));
    check(&["kill", "--json", &pids[1]], 1, "outcome.result", "gone");
    check(&["kill", "--json", "--yes", &own], 2, "decision", "refused");
    check(&["kill", "--json", "--read-only", &pids[0]], 2, "decision", "refused");
    check(&["kill", "--json", "--wait", "500ms", &lives], 1, "outcome.result", "survived");
    check(&["kill", "--json", "--signal", "CONT", &pids[0]], 0, "effect", "ignored");
    check(&["kill"], 3, "effect", "null");
    check(&["kill", "--signal", "NOPE", "1"], 3, "effect", "null");
    check(&["kill", "0"], 3, "effect", "null");
    if wrong.is_empty() { Ok("0, 1, 2 and 3".into()) } else { Err(wrong.join("; ")) }
}
