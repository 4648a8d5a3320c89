//! Docker containers at their memory limit: killed below a pid 1 that lives on, at a limit of the cgroup above, and pid 1
//! itself.

use crate::kit::cgroup::limited;
use crate::kit::docker::{self, Docker};
use crate::kit::{Expect, Scenario, Stage};

pub const ALL: &[Scenario] = &[
    Scenario { name: "docker_container_at_its_limit", stage: own_limit, expects: of_the_container, ..BASE },
    Scenario { name: "docker_limit_on_the_parent", stage: parents_limit, expects: of_the_parent, ..BASE },
    Scenario { name: "docker_victim_is_pid_1", stage: pid_1, expects: restarted, ..BASE },
];

const BASE: Scenario = Scenario {
    root: true,
    tools: docker::TOOLS,
    may_say: &["cgroup.at_limit", "task.respawn_loop", "host.pressure", "host.oom_kill"],
    apart: true,
    ..Scenario::BASE
};

const LIMIT: u32 = 32 << 20;
const EAT: &str = "dd if=/dev/zero of=/dev/null bs=96M count=1";

/// A shell that goes on when its child, which outgrows the container's limit, is killed.
fn own_limit() -> Stage {
    let mut stage = Stage::default();
    let docker = Docker::start(&mut stage, &["dd", "sleep"]);
    let shell = format!("while :; do {EAT}; sleep 0.3; done");
    stage.path = docker.run(&mut stage, "checkout", &["--memory", "32m"], &shell);
    stage.stands();
    stage
}

fn parents_limit() -> Stage {
    let mut stage = Stage::default();
    let parent = limited(&mut stage, "pods", LIMIT.into());
    let parent = parent.file_name().expect("a name").to_str().expect("utf-8").to_owned();
    let name = parent.clone();
    // Docker makes it in every other hierarchy too.
    stage.undo(move || {
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            std::fs::remove_dir(hierarchy.path().join(&name)).ok();
        }
    });
    let docker = Docker::start(&mut stage, &["dd", "sleep"]);
    let shell = format!("while :; do {EAT}; sleep 0.3; done");
    docker.run(&mut stage, "checkout", &["--cgroup-parent", &format!("/{parent}")], &shell);
    stage.path = parent;
    stage.stands();
    stage
}

/// The container's only process outgrows its limit; Docker starts it again each time.
fn pid_1() -> Stage {
    let mut stage = Stage::default();
    let docker = Docker::start(&mut stage, &["dd", "sleep"]);
    let shell = format!("sleep 2; exec {EAT}");
    stage.path = docker.run(&mut stage, "checkout", &["--memory", "32m", "--restart", "always"], &shell);
    stage
}

fn at_limit(stage: &Stage) -> Expect {
    let limit = Expect::warning("cgroup.at_limit").cgroup(&stage.path).leads();
    limit.that("32 MiB", |f| f["limit"] == f64::from(LIMIT))
}

fn of_the_container(stage: &Stage) -> Vec<Expect> {
    vec![
        at_limit(stage).that("the command that raises it", |f| f["advice"].to_string().contains("docker update --memory 64m")),
        Expect::critical("cgroup.oom_kill")
            .cgroup(&stage.path)
            .that("the container's name", |f| f["subject"]["container"] == "checkout")
            .that("who was killed, and that it wasn't pid 1", |f| {
                let message = f["message"].to_string();
                message.contains("dd(") && message.contains("not the container's pid 1")
            }),
    ]
}

fn of_the_parent(stage: &Stage) -> Vec<Expect> {
    let path = stage.path.clone();
    let own = move |s: &serde_json::Value| s["kind"] == "cgroup" && s["path"] == format!("/{path}");
    vec![
        at_limit(stage).about(own.clone()),
        Expect::critical("cgroup.oom_kill").about(own).that("that it wasn't pid 1", |f| {
            f["message"].to_string().contains("not the container's pid 1")
        }),
    ]
}

fn restarted(stage: &Stage) -> Vec<Expect> {
    vec![
        Expect::critical("cgroup.oom_kill")
            .cgroup(&stage.path)
            .that("that it was pid 1", |f| f["message"].to_string().contains(", the container's pid 1, was killed")),
    ]
}
