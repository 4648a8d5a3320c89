//! A Docker Engine of the lab's own, with a data root, socket and pid file in a scratch directory, and an image of
//! busybox alone.

use super::{Stage, may, must, scratch, until, which};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Programs that it needs.
pub const TOOLS: &[&str] = &["dockerd", "docker", "busybox", "tar", "mount", "umount"];

/// The image that an engine has.
pub const IMAGE: &str = "whytop-lab";

/// A running engine; it ends with the stage.
pub struct Docker {
    host: String,
    data: PathBuf,
}

impl Docker {
    /// Starts an engine and imports the image, whose shell knows `applets`.
    pub fn start(stage: &mut Stage, applets: &[&str]) -> Self {
        let dir = scratch(stage, "docker");
        stage.undo(remove_empty_cgroups);
        let docker = Self { host: start_engine(stage, &dir), data: dir.join("data") };
        let image = dir.join("root.tar");
        make_root(&dir, &image, applets);
        docker.ask(&["import", image.to_str().expect("utf-8"), IMAGE]);
        docker
    }

    /// Where it listens, as `docker -H` takes it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A `docker` command that must succeed; what it printed.
    pub fn ask(&self, args: &[&str]) -> String {
        must("docker", &[&["-H", &self.host], args].concat())
    }

    /// Starts a container of `script` in the background; its id. It is removed when the stage ends.
    pub fn run(&self, stage: &mut Stage, name: &str, options: &[&str], script: &str) -> String {
        self.run_program(stage, name, options, &["/bin/sh", "-c", script])
    }

    /// The same for a program.
    pub fn run_program(&self, stage: &mut Stage, name: &str, options: &[&str], program: &[&str]) -> String {
        let fixed = ["run", "-d", "--name", name, "--network", "none"];
        let args = [&fixed[..], options, &[IMAGE], program].concat();
        let id = self.ask(&args).trim().to_owned();
        let (host, name) = (self.host.clone(), name.to_owned());
        stage.undo(move || may("docker", &["-H", &host, "rm", "-f", &name]));
        self.show(stage, &id);
        stage.owns(id.clone());
        id
    }

    /// The first process of a container, as the host numbers it.
    pub fn pid(&self, name: &str) -> u32 {
        self.ask(&["inspect", "-f", "{{.State.Pid}}", name]).trim().parse().expect("a pid")
    }

    /// Shows the engine's files of a container where engines have them that are not the lab's: its name is there.
    fn show(&self, stage: &mut Stage, id: &str) {
        let place = Path::new("/var/lib/docker/containers").join(id);
        let of_others = Path::new("/var/lib/docker").exists();
        std::fs::create_dir_all(&place).expect("a place for the container's files");
        let files = self.data.join("containers").join(id);
        must("mount", &["--bind", files.to_str().expect("utf-8"), place.to_str().expect("utf-8")]);
        stage.undo(move || {
            may("umount", &[place.to_str().expect("utf-8")]);
            let made = if of_others { 1 } else { 3 };
            place.ancestors().take(made).for_each(|dir| drop(std::fs::remove_dir(dir)));
        });
    }
}

/// Options that let a container run this test binary, as `/lab`, with the host's libraries.
pub fn with_this_binary() -> Vec<String> {
    let exe = std::env::current_exe().expect("own path");
    let exe = format!("{}:/lab:ro", exe.display());
    let libraries = ["/lib", "/lib64", "/usr/lib"].into_iter().filter(|dir| Path::new(dir).exists());
    let binds = libraries.map(|dir| format!("{dir}:{dir}:ro")).chain([exe]);
    binds.flat_map(|bind| ["-v".to_owned(), bind]).collect()
}

fn start_engine(stage: &mut Stage, dir: &Path) -> String {
    let at = |name: &str| dir.join(name).to_str().expect("utf-8").to_owned();
    let (sock, log) = (at("docker.sock"), std::fs::File::create(dir.join("log")).expect("log"));
    let host = format!("unix://{sock}");
    let mut engine = Command::new(which("dockerd").expect("checked before"))
        .args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")])
        .args(["-H", &host, "--iptables=false", "--ip6tables=false", "--bridge=none"])
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
    let answers = || {
        let mut ask = Command::new("docker");
        ask.args(["-H", &host, "version"]).stdout(Stdio::null()).stderr(Stdio::null());
        ask.status().is_ok_and(|s| s.success())
    };
    until("the Docker Engine answers", answers);
    host
}

/// The engine leaves an empty `docker` cgroup in every hierarchy; one in use is not removed by `rmdir`.
fn remove_empty_cgroups() {
    let root = Path::new("/sys/fs/cgroup");
    let trees = std::fs::read_dir(root).into_iter().flatten().flatten().map(|d| d.path());
    for tree in trees.chain([root.to_owned()]) {
        std::fs::remove_dir(tree.join("docker")).ok();
    }
}

/// A root file system of busybox alone, as a tar.
fn make_root(dir: &Path, image: &Path, applets: &[&str]) {
    let root = dir.join("root");
    std::fs::create_dir_all(root.join("bin")).expect("root");
    let busybox = which("busybox").expect("checked before");
    std::fs::copy(busybox, root.join("bin/busybox")).expect("copy busybox");
    for applet in ["sh"].iter().chain(applets) {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("applet");
    }
    must("tar", &["-C", root.to_str().expect("utf-8"), "-cf", image.to_str().expect("utf-8"), "."]);
}
