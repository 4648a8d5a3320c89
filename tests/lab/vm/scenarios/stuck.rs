//! Tasks that the kernel itself reports as hung.

use crate::kit::frozen::told_as_hung_after;
use crate::kit::{Cleanup, Expect, Scenario, Stage, may, must};

/// Writers on a frozen file system, until the kernel says so.
pub const HUNG: Scenario = Scenario {
    name: "hung_tasks_on_a_frozen_disk",
    root: true,
    stage: hung,
    expects: |stage| vec![Expect::critical("task.hung").task(stage.pid)],
    may_say: &["task.d_state_long", "task.d_state_pile", "host.load_blocked"],
    gone: &["task.d_state_long"],
    ..Scenario::BASE
};

fn hung() -> Stage {
    let mut stage = Stage::default();
    must("mount", &["-t", "ext4", "/dev/vda", "/mnt"]);
    stage.undo(|| may("umount", &["/mnt"]));
    told_as_hung_after(&mut stage, 3);
    stage.pid = stage.actor(&["freeze-writers", "/mnt", "8"]);
    must("fsfreeze", &["--freeze", "/mnt"]);
    stage.release.push(Cleanup(Some(Box::new(|| may("fsfreeze", &["--unfreeze", "/mnt"])))));
    stage
}
