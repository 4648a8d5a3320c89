//! What looking cost.

use super::Text;
use serde::{Deserialize, Serialize};

/// One lane's last pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaneCost {
    /// Lane, for example `tasks`.
    pub name: Text,
    /// CPU time of its last pass, ns.
    pub cpu_ns: u64,
    /// Wall time of its last pass, ns.
    pub wall_ns: u64,
    /// How often it runs now, ns.
    pub period_ns: u64,
    /// How often it would like to run, ns; a longer `period_ns` = stretched to keep `--max-cpu`.
    pub wanted_ns: u64,
}

/// whytop's own cost so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Own {
    /// Its pid in the `/proc` it reads; 0 when that `/proc` is another's.
    pub pid: u32,
    /// CPU time of the whole process since it started, ns.
    pub cpu_ns: u64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// The interval asked for, ns.
    pub interval_ns: u64,
    /// `--max-cpu`, percent of one core; 100 = no cap.
    pub max_cpu_pct: f64,
    /// The lanes.
    pub lanes: Vec<LaneCost>,
}
