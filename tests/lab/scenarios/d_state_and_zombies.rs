//! Story D's core: threads in D on a frozen file system, and zombies that their parent never reaps.

use crate::kit::{Expect, Scenario, Stage, frozen, until};

pub const ALL: &[Scenario] = &[FROZEN, ZOMBIES];

const FROZEN: Scenario = Scenario {
    name: "d_state_pile_on_a_frozen_file_system",
    root: true,
    tools: frozen::TOOLS,
    stage: writers,
    expects: blocked,
    may_say: &["task.d_state_long", "host.load_blocked", "host.pressure"],
    gone: &["task.d_state_long", "host.load_blocked"],
    ..Scenario::BASE
};

pub const ZOMBIES: Scenario = Scenario { name: "zombie_pile", stage: zombies, expects: unreaped, apart: true, ..Scenario::BASE };

fn writers() -> Stage {
    let mut stage = Stage::default();
    let mount = frozen::ext4(&mut stage);
    stage.pid = stage.actor(&["freeze-writers", &mount, "100"]);
    frozen::freeze(&mut stage, &mount);
    let pid = stage.pid;
    until("100 threads in D", || frozen::blocked_threads(pid) >= 100);
    stage
}

fn blocked(_: &Stage) -> Vec<Expect> {
    let pile = Expect::warning("task.d_state_pile").about(|s| s["kind"] == "wchan");
    vec![
        pile.that("100 threads", |f| f["value"].as_f64() >= Some(100.0))
            .that("the process that holds them", |f| f.to_string().contains("fs-writer")),
        Expect::warning("host.load_blocked").host(),
    ]
}

fn zombies() -> Stage {
    let mut stage = Stage::default();
    stage.pid = stage.actor(&["zombies", "100"]);
    stage
}

fn unreaped(stage: &Stage) -> Vec<Expect> {
    let pile = Expect::warning("task.zombie_pile").task(stage.pid).leads();
    vec![
        pile.that("100 zombies of bad-parent", |f| f["value"] == 100.0 && f["subject"]["comm"] == "bad-parent"),
    ]
}
