//! Story B's core: TIME_WAIT over a small `tcp_max_tw_buckets`, in a network namespace of its own.

use crate::kit::{Look, Scenario, Stage};
use std::os::unix::fs::MetadataExt;

pub const OVERFLOW: Scenario = Scenario {
    name: "time_wait_full",
    root: true,
    tools: &["ip", "unshare"],
    stage,
    during,
    gone: &["tcp.time_wait_full"],
};

fn stage() -> Stage {
    let mut stage = Stage::default();
    stage.pid = stage.actor_in(&["unshare", "-n"], &["time-wait", "8700", "200"]);
    stage.inode = std::fs::metadata(format!("/proc/{}/ns/net", stage.pid)).expect("its namespace").ino();
    stage
}

fn during(look: &Look, stage: &Stage) -> Result<(), String> {
    let f = look.expect("tcp.time_wait_full", |f| f["subject"]["inode"] == stage.inode)?;
    let value = f["value"].as_f64().unwrap_or(0.0);
    let advice = f["advice"].to_string();
    if f["subject"]["kind"] != "netns" || f["limit"] != 200.0 || value < 180.0 {
        return Err(format!("wrong subject, value or limit: {f:#}"));
    }
    if advice.contains("tcp_tw_recycle") || !advice.contains("tcp_max_tw_buckets") {
        return Err(format!("advice does not name the sysctl, or names tcp_tw_recycle: {advice}"));
    }
    Ok(())
}
