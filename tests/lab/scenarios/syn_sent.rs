//! Story A's core: one process holds hundreds of SYN_SENT sockets to one remote.

use crate::kit::{Expect, Scenario, Stage};

pub const ALL: &[Scenario] = &[Scenario { name: "syn_sent_pile", stage, expects, may_say: &["tcp.listen_overflow"], apart: true, ..Scenario::BASE }];

const PORT: u16 = 21616;

fn stage() -> Stage {
    let mut stage = Stage::default();
    stage.pid = stage.actor(&["syn-sent", &PORT.to_string(), "300"]);
    stage
}

fn expects(stage: &Stage) -> Vec<Expect> {
    // Where the listener is seen to drop them, that is the cause and leads.
    let pile = Expect::warning("tcp.syn_sent_pile").task(stage.pid).to(PORT);
    vec![
        pile.that("300 sockets", |f| f["value"].as_f64() >= Some(290.0))
            .that("the name of the process", |f| f["subject"]["comm"] == "amq-client"),
    ]
}
