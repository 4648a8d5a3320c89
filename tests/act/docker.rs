//! A process in a Docker container that restarts: a Docker Engine of our own, and pid 1 of a container from outside.

use crate::kit::{self, Case, Undo, Want, expect, may, must};
use std::path::Path;
use std::process::{Command, Stdio};
use whytop::snapshot::{Action, Decision, Effect, OutcomeKind, Signal};

pub const ALL: &[Case] = &[Case {
    name: "container with --restart=always",
    root: true,
    alone: true,
    tools: &["dockerd", "docker", "busybox", "tar"],
    play: container,
}];

fn container() -> Result<String, String> {
    let dir = tempfile::Builder::new().prefix("whytop-act-docker").tempdir().unwrap();
    let (_engine, host) = engine(dir.path());
    let image = make_root(dir.path());
    must("docker", &["-H", &host, "import", &image, "whytop-act"]);
    let script = "(exec true) & exec sleep 100000";
    let run = ["-H", &host, "run", "-d", "--name", "whytop-act", "--network", "none", "--restart=always", "whytop-act"];
    must("docker", &[&run[..], &["/bin/sh", "-c", script]].concat());
    let gone = host.clone();
    let _remove = Undo::new(move || may("docker", &["-H", &gone, "rm", "-f", "whytop-act"]));
    let pid = || -> u32 {
        must("docker", &["-H", &host, "inspect", "-f", "{{.State.Pid}}", "whytop-act"]).trim().parse().unwrap()
    };
    let is_sleep =
        |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "sleep");
    let init = pid();
    kit::until("it runs its program", || is_sleep(init));
    let rows = [
        (
            "TERM",
            expect(
                init,
                Signal::TERM,
                &Want { decision: Decision::Allowed, effect: Effect::Ignored, result: OutcomeKind::Survived },
            )?,
        ),
        ("zombie", zombie(init)?),
        ("KILL", kill(init)?),
    ];
    kit::until("docker has started it again", || {
        let now = pid();
        now != 0 && now != init && is_sleep(now)
    });
    Ok(rows.map(|(name, row)| format!("{name}: {row}")).join("; "))
}

/// A child that pid 1 of the container never waits for.
fn zombie(init: u32) -> Result<String, String> {
    let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap();
    let dead = || children.split_whitespace().map(|pid| pid.parse().unwrap()).find(|pid| kit::state(*pid) == Some('Z'));
    kit::until("the container has a zombie", || dead().is_some());
    let mut act = kit::act();
    let plan = kit::prepare(&mut act, dead().unwrap(), Signal::KILL).proposal.plans[0].clone();
    if !plan.advice.iter().any(|advice| advice.contains("docker restart whytop-act")) {
        return Err(format!("the container is not named: {:?}", plan.advice));
    }
    expect(
        dead().unwrap(),
        Signal::KILL,
        &Want { decision: Decision::Allowed, effect: Effect::NoneZombie, result: OutcomeKind::Zombie },
    )
}

/// The container ends with its pid 1, and docker starts it again, as the plan said.
fn kill(init: u32) -> Result<String, String> {
    let mut act = kit::act();
    let pin = act.pin_pid(init).unwrap();
    let prepared = act.propose(&Action::Signal { tasks: vec![pin.key()], signal: Signal::KILL }, vec![pin], None);
    let proposal = &prepared.proposal;
    if proposal.confirm.as_deref() != Some("whytop-act") {
        return Err(format!("to be confirmed by {:?}", proposal.confirm));
    }
    if proposal.plans[0].restarts.as_deref() != Some("container whytop-act (--restart=always)") {
        return Err(format!("who restarts it: {:?}", proposal.plans[0].restarts));
    }
    drop(prepared);
    let want = Want { decision: Decision::Confirm, effect: Effect::ContainerStops, result: OutcomeKind::Respawned };
    expect(init, Signal::KILL, &want)
}

fn engine(dir: &Path) -> (Undo, String) {
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let host = format!("unix://{}", at("docker.sock"));
    let mut engine = Command::new(kit::which("dockerd").unwrap())
        .args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid"), "-H", &host])
        .args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"])
        .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&engine);
    let undo = Undo::new(move || {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        engine.wait().ok();
        for tree in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            // Empty ones only; one in use is not removed.
            std::fs::remove_dir(tree.path().join("docker")).ok();
        }
    });
    let answers = || {
        let mut command = Command::new("docker");
        command.args(["-H", &host, "version"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    for _ in 0..6 {
        if (0..200).any(|_| {
            answers() || {
                std::thread::sleep(std::time::Duration::from_millis(50));
                false
            }
        }) {
            break;
        }
    }
    (undo, host)
}

/// A root file system of busybox alone, as a tar.
fn make_root(dir: &Path) -> String {
    let (root, image) = (dir.join("root"), dir.join("root.tar"));
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::copy(kit::which("busybox").unwrap(), root.join("bin/busybox")).unwrap();
    for applet in ["sh", "sleep", "true"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    must("tar", &["-C", root.to_str().unwrap(), "-cf", image.to_str().unwrap(), "."]);
    image.to_str().unwrap().to_owned()
}
