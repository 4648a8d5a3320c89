//! Story A's core: one process holds hundreds of SYN_SENT sockets to one remote. Its listener stands on this host and does
//! not accept: that is the cause, and leads.

use crate::kit::{Expect, Scenario, Stage, one_story};

pub const ALL: &[Scenario] = &[Scenario {
    name: "syn_sent_pile",
    stage,
    expects,
    check: |look, stage| one_story(look, &expects(stage)),
    apart: true,
    ..Scenario::BASE
}];

const PORT: u16 = 21616;

fn stage() -> Stage {
    let mut stage = Stage::default();
    stage.pid = stage.actor(&["syn-sent", &PORT.to_string(), "300"]);
    stage
}

fn expects(stage: &Stage) -> Vec<Expect> {
    let names = |f: &serde_json::Value| f["subject"]["comm"] == "amq-client";
    vec![
        Expect::warning("tcp.listen_overflow")
            .task(stage.pid)
            .leads()
            .that("its full queue", |f| f["message"].to_string().contains("its backlog is 0 and 1 waits")),
        Expect::warning("tcp.syn_sent_pile")
            .task(stage.pid)
            .to(PORT)
            .that("300 sockets", |f| f["value"].as_f64() >= Some(290.0))
            .that("the name of the process", names),
    ]
}
