//! What scenarios and controls share: staging trouble, what must be said of it, how one is played, and the score.

pub mod cgroup;
pub mod docker;
mod expect;
pub mod frozen;
mod look;
mod play;
mod score;
mod stage;
mod sweep;
pub mod twin;
pub mod veth;
mod watcher;

pub use expect::Expect;
pub use look::{Look, one_story, whytop};
pub use play::{Outcome, Played, control, may_skip, scenario};
pub use score::{Row, Score, Subject};
pub use stage::{Cleanup, Stage, cgroup, may, memory_cgroup_root, must, scratch, until, which};
pub use sweep::sweep;
pub use watcher::uptime_s;

/// Actors that a scenario brings along, by name.
pub type Actors = &'static [(&'static str, fn(&[&str]))];

/// One scenario of the lab. Write only what differs: `Scenario { name, stage, expects, ..Scenario::BASE }`.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// Whether it needs root (namespaces, cgroups, mounts).
    pub root: bool,
    /// Programs it calls.
    pub tools: &'static [&'static str],
    /// Actors of its own, beside those of `actors.rs`.
    pub actors: Actors,
    /// Whether it can be staged here at all; else why not (a kernel, a file, a device that is missing).
    pub cannot: fn() -> Option<String>,
    /// Stages the trouble; dropping the result ends it.
    pub stage: fn() -> Stage,
    /// What must be said of it, in no order.
    pub expects: fn(&Stage) -> Vec<Expect>,
    /// Ids of true consequences that may be said besides.
    pub may_say: &'static [&'static str],
    /// What a cold look must show besides its expectations: for what isn't one finding.
    pub check: fn(&Look, &Stage) -> Result<(), String>,
    /// Whether the text is judged too: the story that the first leader leads, in 30 lines of 100 columns.
    pub text: bool,
    /// How long the cold look is.
    pub look: &'static str,
    /// Ids that must be closed after the trouble ended, besides those expected.
    pub gone: &'static [&'static str],
    /// Whether all its findings are about its own tasks, cgroups and namespaces, so that it may be played beside others.
    pub apart: bool,
    /// Expected ids that stay true for a while after the trouble ended, and why: an OOM kill in the window, say.
    pub stays: &'static [&'static str],
}

impl Scenario {
    pub const BASE: Self = Self {
        name: "",
        root: false,
        tools: &[],
        actors: &[],
        cannot: || None,
        stage: Stage::default,
        expects: |_| Vec::new(),
        may_say: &[],
        check: |_, _| Ok(()),
        text: false,
        look: "4s",
        gone: &[],
        apart: false,
        stays: &[],
    };
}

/// A load under which nothing may be said that a look just before didn't say.
#[derive(Clone, Copy)]
pub struct Control {
    pub name: &'static str,
    pub root: bool,
    pub tools: &'static [&'static str],
    pub actors: Actors,
    /// Starts the load; dropping the result ends it.
    pub load: fn() -> Stage,
}

impl Control {
    pub const BASE: Self = Self { name: "", root: false, tools: &[], actors: &[], load: Stage::default };
}
