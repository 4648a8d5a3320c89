//! Story D in a Docker container: at its limit, failcnt rising, children killed, pid 1 alive.

use crate::kit::docker::{self, Docker};
use crate::kit::{Expect, Scenario, Stage};

pub const ALL: &[Scenario] = &[Scenario {
    name: "docker_container_at_its_limit",
    root: true,
    tools: docker::TOOLS,
    stage,
    expects,
    may_say: &["task.respawn_loop", "host.pressure", "host.oom_kill"],
    ..Scenario::BASE
}];

/// A container that outgrows 32 MB again and again.
fn stage() -> Stage {
    let mut stage = Stage::default();
    let docker = Docker::start(&mut stage, &["dd", "sleep"]);
    let eat = "while :; do dd if=/dev/zero of=/dev/null bs=96M count=1; sleep 0.3; done";
    stage.path = docker.run(&mut stage, "checkout", &["--memory", "32m"], eat);
    stage.stands();
    stage
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
