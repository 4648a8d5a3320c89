//! Story C's core: dead memory cgroups that are kept alive, and slab that grows and does not come back.

use crate::kit::{self, Expect, Scenario, Stage, may, must};

pub const ALL: &[Scenario] = &[Scenario {
    name: "dying_cgroups_and_slab_growth",
    root: true,
    tools: &["mount", "umount"],
    stage,
    expects,
    ..Scenario::BASE
}];

fn stage() -> Stage {
    let mut stage = Stage::default();
    let dir = kit::scratch(&mut stage, "slab");
    let dir = dir.to_str().expect("utf-8").to_owned();
    must("mount", &["-t", "tmpfs", "-o", "nr_inodes=0", "whytop-lab", &dir]);
    let gone = dir.clone();
    stage.undo(move || may("umount", &[&gone]));
    let group = kit::memory_cgroup_root().join(format!("whytop-lab-{}", std::process::id()));
    let group = group.to_str().expect("utf-8").to_owned();
    stage.path.clone_from(&group);
    let left = group.clone();
    stage.undo(move || {
        // The actor may have been ended between making a cgroup and removing it.
        for pod in std::fs::read_dir(&left).into_iter().flatten().flatten() {
            std::fs::remove_dir(pod.path()).ok();
        }
        std::fs::remove_dir(&left).ok();
    });
    stage.pid = stage.actor(&["dying-cgroups", &group, &dir]);
    stage
}

fn expects(_: &Stage) -> Vec<Expect> {
    let grows = |s: &serde_json::Value| {
        s["kind"] == "slab" && s["name"].as_str().is_some_and(|n| n.contains("shmem_inode") || n.contains("dentry"))
    };
    vec![
        Expect::warning("cgroup.dying_pile")
            .that("100 of them, of the ids there are", |f| f["limit"] == 65_535.0 && f["value"].as_f64() >= Some(100.0)),
        Expect::warning("slab.growth").about(grows),
        Expect::warning("slab.unreclaimable").host(),
    ]
}
