//! Story E's core: a UDP receiver that doesn't read.

use crate::kit::{Look, Scenario, Stage};

pub const DEAF: Scenario = Scenario {
    name: "udp_receiver_does_not_read",
    root: false,
    tools: &[],
    stage,
    during,
    gone: &["udp.rcvbuf_drops"],
};

fn stage() -> Stage {
    let mut stage = Stage::default();
    stage.pid = stage.actor(&["udp-deaf", "17800"]);
    stage
}

fn during(look: &Look, stage: &Stage) -> Result<(), String> {
    let f = look.expect("udp.rcvbuf_drops", |f| {
        f["subject"]["owner"]["pid"] == stage.pid || f["subject"]["pid"] == stage.pid
    })?;
    let rate = f["rate_per_s"].as_f64().unwrap_or(0.0);
    if rate > 100.0 { Ok(()) } else { Err(format!("a flood of 2,000 a second drops at {rate}/s? {f:#}")) }
}
