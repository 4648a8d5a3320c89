//! Story B's core: TIME_WAIT over a small `tcp_max_tw_buckets`, in a network namespace of its own.

use crate::kit::{Expect, Scenario, Stage};
use std::os::unix::fs::MetadataExt;

pub const ALL: &[Scenario] = &[Scenario {
    name: "time_wait_full",
    root: true,
    tools: &["ip", "unshare"],
    stage,
    expects,
    apart: true,
    ..Scenario::BASE
}];

fn stage() -> Stage {
    let mut stage = Stage::default();
    stage.pid = stage.actor_in(&["unshare", "-n"], &["time-wait", "8700", "200"]);
    stage.inode = std::fs::metadata(format!("/proc/{}/ns/net", stage.pid)).expect("its namespace").ino();
    stage
}

fn expects(stage: &Stage) -> Vec<Expect> {
    vec![
        Expect::warning("tcp.time_wait_full")
            .netns(stage.inode)
            .leads()
            .that("200 buckets, full", |f| f["limit"] == 200.0 && f["value"].as_f64() >= Some(180.0))
            .that("the sysctl, and never tcp_tw_recycle", |f| {
                let advice = f["advice"].to_string();
                advice.contains("tcp_max_tw_buckets") && !advice.contains("tcp_tw_recycle")
            }),
    ]
}
