//! Story C's core: dead memory cgroups that are kept alive, and slab that grows and does not come back.

use crate::kit::{self, Look, Scenario, Stage, may, must};

pub const DYING: Scenario = Scenario {
    name: "dying_cgroups_and_slab_growth",
    root: true,
    tools: &["mount", "umount"],
    stage,
    during,
    gone: &["cgroup.dying_pile", "slab.growth", "slab.unreclaimable"],
};

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

fn during(look: &Look, _: &Stage) -> Result<(), String> {
    let f = look.expect("cgroup.dying_pile", |f| f["limit"] == 65_535.0)?;
    if f["value"].as_f64().unwrap_or(0.0) < 100.0 {
        return Err(format!("too few dying cgroups counted: {f:#}"));
    }
    look.expect("slab.growth", |f| {
        let name = f["subject"]["name"].as_str().unwrap_or("");
        f["subject"]["kind"] == "slab" && (name.contains("shmem_inode") || name.contains("dentry"))
    })?;
    look.expect("slab.unreclaimable", |f| f["subject"]["kind"] == "host").map(|_| ())
}
