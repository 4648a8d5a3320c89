//! Story A's core: one process holds hundreds of SYN_SENT sockets to one remote.

use crate::kit::{Look, Scenario, Stage};

pub const PILE: Scenario =
    Scenario { name: "syn_sent_pile", root: false, tools: &[], stage, during, gone: &["tcp.syn_sent_pile"] };

const PORT: &str = "21616";

fn stage() -> Stage {
    let mut stage = Stage::default();
    stage.pid = stage.actor(&["syn-sent", PORT, "300"]);
    stage
}

fn during(look: &Look, stage: &Stage) -> Result<(), String> {
    let f = look.expect("tcp.syn_sent_pile", |f| f["subject"]["pid"] == stage.pid)?;
    let value = f["value"].as_f64().unwrap_or(0.0);
    let port = f["remote"]["port"].to_string();
    if f["subject"]["kind"] == "task" && f["subject"]["comm"] == "amq-client" && value >= 290.0 && port == PORT {
        Ok(())
    } else {
        Err(format!("wrong subject, value or remote: {f:#}"))
    }
}
