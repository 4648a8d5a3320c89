//! Containers that come and go, and cgroups that are made and removed: nothing is left of them.

use crate::actors::{forever, name, ready};
use crate::kit::docker::{self, Docker};
use crate::kit::{Control, Stage, cgroup};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, sleep};
use std::time::Duration;

pub const CALM: Control = Control {
    name: "container_churn",
    root: true,
    tools: docker::TOOLS,
    actors: &[("container-churn", churn)],
    load,
};

fn load() -> Stage {
    let mut stage = Stage::default();
    let docker = Docker::start(&mut stage, &["true"]);
    stage.owns("docker/");
    let groups = cgroup::limited(&mut stage, "churn", 1 << 30);
    stage.pid = stage.actor(&["container-churn", docker.host(), groups.to_str().expect("utf-8")]);
    stage
}

/// `docker run --rm` after another, and twenty cgroups a second with a short process in each.
fn churn(args: &[&str]) {
    let [host, groups] = args else { panic!("container-churn HOST CGROUP") };
    name("churn");
    let (host, groups) = (host.to_string(), Path::new(groups).to_owned());
    thread::spawn(move || {
        loop {
            let mut run = Command::new("docker");
            run.args(["-H", &host, "run", "--rm", "--network", "none", docker::IMAGE, "/bin/sh", "-c", "true"]);
            run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
        }
    });
    thread::spawn(move || {
        for n in 0_u64.. {
            let group = groups.join(format!("job{n}"));
            std::fs::create_dir(&group).expect("make a cgroup");
            let enter = format!("echo $$ > {}/cgroup.procs", group.display());
            Command::new("/bin/sh").args(["-c", &enter]).status().expect("a short process");
            std::fs::remove_dir(&group).ok();
            sleep(Duration::from_millis(50));
        }
    });
    ready();
    forever()
}
