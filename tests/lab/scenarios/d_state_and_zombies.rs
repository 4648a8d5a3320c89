//! Story D's core: threads in D on a frozen file system, and zombies that their parent never reaps.

use crate::kit::{self, Cleanup, Expect, Scenario, Stage, may, must, until};

pub const ALL: &[Scenario] = &[FROZEN, ZOMBIES];

const FROZEN: Scenario = Scenario {
    name: "d_state_pile_on_a_frozen_file_system",
    root: true,
    tools: &["mkfs.ext4", "fsfreeze", "mount", "umount", "truncate"],
    stage: frozen,
    expects: blocked,
    may_say: &["task.d_state_long", "host.load_blocked", "host.pressure"],
    gone: &["task.d_state_long", "host.load_blocked"],
    ..Scenario::BASE
};

const ZOMBIES: Scenario = Scenario { name: "zombie_pile", stage: zombies, expects: unreaped, ..Scenario::BASE };

fn frozen() -> Stage {
    let mut stage = Stage::default();
    let dir = kit::scratch(&mut stage, "frozen");
    let (image, mount) = (dir.join("image"), dir.join("mnt"));
    let (image, mount) = (image.to_str().expect("utf-8").to_owned(), mount.to_str().expect("utf-8").to_owned());
    std::fs::create_dir(&mount).expect("mount point");
    must("truncate", &["-s", "64M", &image]);
    must("mkfs.ext4", &["-q", "-F", &image]);
    must("mount", &["-o", "loop", &image, &mount]);
    let gone = mount.clone();
    stage.undo(move || may("umount", &[&gone]));
    stage.pid = stage.actor(&["freeze-writers", &mount, "100"]);
    must("fsfreeze", &["-f", &mount]);
    // An actor in D ends only after the thaw.
    stage.release.push(Cleanup(Some(Box::new(move || may("fsfreeze", &["-u", &mount])))));
    let pid = stage.pid;
    until("100 threads in D", || blocked_threads(pid) >= 100);
    stage
}

fn blocked_threads(pid: u32) -> usize {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    tasks
        .flatten()
        .filter_map(|t| std::fs::read_to_string(t.path().join("stat")).ok())
        .filter(|s| s.rsplit(')').next().is_some_and(|r| r.trim_start().starts_with('D')))
        .count()
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
