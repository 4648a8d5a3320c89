//! The kernel's line about a fork that a pids limit refused: below the rule about the limit, which is its cause.

use super::kmsg;
use crate::detect::Rule;
use crate::model::Severity;

const KIND: &str = "fork_rejected";
const ABOUT: &str = "fork was refused by a pids limit";
const ADVICE: &str = "find what forks there; the line names the forking cgroup, the limit may be above it";

pub(super) static RULES: &[Rule] = &[Rule {
    id: "kmsg.fork_rejected",
    about: ABOUT,
    effect: "the kernel reports fork_rejected",
    knobs: &[],
    explains: &[],
    hold_s: 0.0,
    measure: |look, out| kmsg::measure(look, out, KIND),
    judge: |case| kmsg::judge(case, KIND, Severity::Critical, ABOUT, ADVICE),
}];
