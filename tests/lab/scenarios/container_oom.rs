//! Story D in a Docker container: at its limit, failcnt rising, children killed, pid 1 alive.

use crate::kit::{self, Expect, Scenario, Stage, may, must, until};
use std::path::Path;
use std::process::{Command, Stdio};

pub const ALL: &[Scenario] = &[Scenario {
    name: "docker_container_at_its_limit",
    root: true,
    tools: &["dockerd", "docker", "busybox", "tar"],
    stage,
    expects,
    may_say: &["task.respawn_loop", "host.pressure", "host.oom_kill"],
    ..Scenario::BASE
}];

/// Starts a Docker Engine of our own, imports a busybox root as an image, and starts a container that outgrows 32 MB.
fn stage() -> Stage {
    let mut stage = Stage::default();
    let dir = kit::scratch(&mut stage, "docker");
    stage.undo(remove_empty_docker_cgroups);
    let sock = start_engine(&mut stage, &dir);
    let image = dir.join("root.tar");
    make_root(&dir, &image);
    let host = format!("unix://{sock}");
    must("docker", &["-H", &host, "import", image.to_str().expect("utf-8"), "whytop-lab"]);
    let name = "checkout";
    let eat = "while :; do dd if=/dev/zero of=/dev/null bs=96M count=1; sleep 0.3; done";
    must(
        "docker",
        &[
            "-H",
            &host,
            "run",
            "-d",
            "--name",
            name,
            "--network",
            "none",
            "--memory",
            "32m",
            "whytop-lab",
            "/bin/sh",
            "-c",
            eat,
        ],
    );
    stage.stands();
    let undo_host = host.clone();
    stage.undo(move || may("docker", &["-H", &undo_host, "rm", "-f", name]));
    must("docker", &["-H", &host, "inspect", "-f", "{{.Id}}", name]).trim().clone_into(&mut stage.path);
    stage.owns(stage.path.clone());
    stage
}

fn start_engine(stage: &mut Stage, dir: &Path) -> String {
    let at = |name: &str| dir.join(name).to_str().expect("utf-8").to_owned();
    let (sock, log) = (at("docker.sock"), std::fs::File::create(dir.join("log")).expect("log"));
    let dockerd = kit::which("dockerd").expect("checked before");
    let mut engine = Command::new(dockerd)
        .args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")])
        .args(["-H", &format!("unix://{sock}"), "--iptables=false", "--ip6tables=false", "--bridge=none"])
        .args(["--storage-driver=vfs", "--exec-opt", "native.cgroupdriver=cgroupfs"])
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("log"))
        .stderr(log)
        .spawn()
        .expect("start dockerd");
    let pid = rustix::process::Pid::from_child(&engine);
    stage.undo(move || {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        engine.wait().ok();
    });
    let host = format!("unix://{sock}");
    until("the Docker Engine answers", || {
        Command::new("docker")
            .args(["-H", &host, "version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    });
    sock
}

/// The engine leaves an empty `docker` cgroup in every hierarchy; one in use is not removed by `rmdir`.
fn remove_empty_docker_cgroups() {
    let root = Path::new("/sys/fs/cgroup");
    let trees = std::fs::read_dir(root).into_iter().flatten().flatten().map(|d| d.path());
    for tree in trees.chain([root.to_owned()]) {
        std::fs::remove_dir(tree.join("docker")).ok();
    }
}

/// A root file system of busybox alone, as a tar.
fn make_root(dir: &Path, image: &Path) {
    let root = dir.join("root");
    std::fs::create_dir_all(root.join("bin")).expect("root");
    let busybox = kit::which("busybox").expect("checked before");
    std::fs::copy(busybox, root.join("bin/busybox")).expect("copy busybox");
    for applet in ["sh", "dd", "sleep"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("applet");
    }
    must("tar", &["-C", root.to_str().expect("utf-8"), "-cf", image.to_str().expect("utf-8"), "."]);
}

fn expects(stage: &Stage) -> Vec<Expect> {
    vec![
        Expect::warning("cgroup.at_limit")
            .cgroup(&stage.path)
            .leads()
            .that("32 MiB", |f| f["limit"] == f64::from(32 * 1024 * 1024)),
        Expect::critical("cgroup.oom_kill")
            .cgroup(&stage.path)
            .that("the container's name", |f| f["subject"]["container"].is_string()),
    ]
}
