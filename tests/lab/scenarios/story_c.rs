//! Story C, the kmem leak: a job that tries to log in again and again makes a memory cgroup for each try. What a dead one
//! held stays: kernel memory of their parent, until its limit is full of it and the OOM killer strikes there.

use crate::actors::{name, number, ready};
use crate::kit::cgroup::{below, enter, limited, usage};
use crate::kit::{Expect, Scenario, Stage, may, must, one_story, scratch, until, uptime_s};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

pub const ALL: &[Scenario] = &[Scenario {
    name: "story_c_dead_cgroups_fill_a_limit",
    root: true,
    tools: &["mount", "umount"],
    actors: &[("auth-retry", retry)],
    stage: || fills(LIMIT),
    expects,
    may_say: &["slab.growth", "cgroup.at_limit", "task.memory_growth", "host.pressure"],
    check: |look, stage| one_story(look, &expects(stage)),
    text: true,
    look: "14s",
    stays: &["cgroup.oom_kill"],
    ..Scenario::BASE
}];

const LIMIT: u64 = 192 << 20;

/// Up to `limit` bytes.
pub fn fills(limit: u64) -> Stage {
    let mut stage = Stage::default();
    let dir = scratch(&mut stage, "tmpfs");
    let dir = dir.to_str().expect("utf-8").to_owned();
    must("mount", &["-t", "tmpfs", "-o", "nr_inodes=0", "whytop-lab", &dir]);
    let pods = limited(&mut stage, "pods", limit);
    let gone = dir.clone();
    // What the dead hold goes with the files, and only then their parent's memory.
    stage.undo(move || may("umount", &[&gone]));
    stage.path = pods.file_name().expect("a name").to_str().expect("utf-8").into();
    stage.pid = stage.actor(&["auth-retry", pods.to_str().expect("utf-8"), &dir, &limit.to_string()]);
    let full = pods.clone();
    // A busy machine is given the time for each quarter.
    (1..=3).for_each(|quarter| until("another quarter of the limit is full", || usage(&full) >= limit / 4 * quarter));
    let stat = format!("/proc/{}/stat", stage.pid);
    stage.stands_when(move || std::fs::read_to_string(&stat).is_ok_and(|s| s.contains(") Z ")));
    stage
}

/// A cgroup for each try, with a file's page and the inodes of many, which outlive it. The first three quarters of the
/// limit make the pile; the last is filled with few cgroups and many inodes, as fast on a busy machine as on an idle one.
fn retry(args: &[&str]) {
    let [pods, dir, limit] = args else { panic!("auth-retry PODS DIR LIMIT") };
    let limit: u64 = number(limit);
    name("auth-retry");
    // What else this machine does must not make the growth slow, or the kill come after the look.
    rustix::process::nice(-15).expect("go before what else runs");
    let (pods, dir) = (Path::new(pods), Path::new(dir));
    let home = below(pods, "auth");
    enter(&home);
    ready();
    for n in 0_u64.. {
        let next = uptime_s() + 0.04;
        let last_quarter = usage(pods) >= limit / 4 * 3;
        let pod = below(pods, &format!("pod{n}"));
        enter(&pod);
        let files = dir.join(format!("d{n}"));
        std::fs::create_dir(&files).expect("directory");
        for f in 0..if last_quarter { 400 } else { 120 } {
            std::fs::write(files.join(format!("f{f}")), if f == 0 { &b"x"[..] } else { b"" }).expect("file");
        }
        enter(&home);
        std::fs::remove_dir(&pod).expect("remove the cgroup");
        if last_quarter {
            sleep(Duration::from_secs_f64((next - uptime_s()).max(0.0)));
        }
    }
}

fn expects(stage: &Stage) -> Vec<Expect> {
    vec![
        Expect::warning("cgroup.dying_pile")
            .leads()
            .that("100 of them, of the ids there are", |f| f["limit"] == 65_535 && f["value"].as_f64() >= Some(100.0)),
        Expect::warning("slab.unreclaimable").host(),
        Expect::critical("cgroup.oom_kill")
            .cgroup(&stage.path)
            .that("the process that drives it", |f| f["message"].to_string().contains("auth-retry(")),
    ]
}

