//! Story D's core: threads in D on a frozen file system, and zombies that their parent never reaps.

use crate::kit::{self, Cleanup, Look, Scenario, Stage, may, must, until};

pub const FROZEN: Scenario = Scenario {
    name: "d_state_pile_on_a_frozen_file_system",
    root: true,
    tools: &["mkfs.ext4", "fsfreeze", "mount", "umount", "truncate"],
    stage: frozen,
    during: blocked,
    gone: &["task.d_state_pile", "task.d_state_long", "host.load_blocked"],
};

pub const ZOMBIES: Scenario = Scenario {
    name: "zombie_pile",
    root: false,
    tools: &[],
    stage: zombies,
    during: unreaped,
    gone: &["task.zombie_pile"],
};

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

fn blocked(look: &Look, stage: &Stage) -> Result<(), String> {
    let f = look.expect("task.d_state_pile", |f| f["value"].as_f64().is_some_and(|v| v >= 100.0))?;
    if f["subject"]["kind"] != "wchan" {
        return Err(format!("subject is not a wait channel: {f:#}"));
    }
    if !f.to_string().contains(&format!("{}", stage.pid)) && !f.to_string().contains("fs-writer") {
        return Err(format!("nothing names the process that holds the threads: {f:#}"));
    }
    look.expect("host.load_blocked", |f| f["subject"]["kind"] == "host").map(|_| ())
}

fn zombies() -> Stage {
    let mut stage = Stage::default();
    stage.pid = stage.actor(&["zombies", "100"]);
    stage
}

fn unreaped(look: &Look, stage: &Stage) -> Result<(), String> {
    let f = look.expect("task.zombie_pile", |f| f["subject"]["pid"] == stage.pid)?;
    if f["value"] == 100.0 && f["subject"]["comm"] == "bad-parent" { Ok(()) } else { Err(format!("{f:#}")) }
}
