//! Story E's core: a UDP receiver that doesn't read.

use crate::kit::{Expect, Scenario, Stage};

pub const ALL: &[Scenario] = &[Scenario { name: "udp_receiver_does_not_read", stage, expects, apart: true, ..Scenario::BASE }];

fn stage() -> Stage {
    let mut stage = Stage::default();
    stage.pid = stage.actor(&["udp-deaf", "17800"]);
    stage
}

fn expects(stage: &Stage) -> Vec<Expect> {
    let drops = Expect::critical("udp.rcvbuf_drops").task(stage.pid).leads();
    vec![drops.that("hundreds of drops a second", |f| f["rate_per_s"].as_f64() > Some(100.0))]
}
