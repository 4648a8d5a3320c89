//! Actions on the system as plain data: what is asked, the plan of it, what happened.
//!
//! ```text
//! Action ─▶ act reads the kernel ─▶ Proposal{plans} ─ yes ─▶ act sends, watches ─▶ plans with outcomes ─▶ ActionRecord
//! ```
//!
//! The words of [`Decision`], [`Effect`] and [`Outcome`] are those of `kill --json`, a public contract.

use super::{CgroupKey, Moment, NetnsId, Signal, TaskKey, TaskState, TcpState, Text};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What somebody asks whytop to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Send a signal to processes, each on its own.
    Signal {
        /// Who; in the order of sending.
        tasks: Vec<TaskKey>,
        /// What.
        signal: Signal,
    },
    /// Send a signal to a process and all below it, leaves first, until nothing new is forked.
    Tree {
        /// The top of the tree.
        root: TaskKey,
        /// What.
        signal: Signal,
    },
    /// Kill every process of a cgroup and of those below it, until it is empty. The signal is SIGKILL.
    KillCgroup {
        /// Which.
        cgroup: CgroupKey,
    },
    /// Thaw a frozen cgroup.
    Thaw {
        /// Which.
        cgroup: CgroupKey,
    },
    /// Ask a parent to reap its zombies: SIGCHLD, which it may well ignore.
    Reap {
        /// The parent of the zombies.
        parent: TaskKey,
    },
    /// Destroy TCP sockets (`SOCK_DESTROY`): their owners see `ECONNABORTED`, peers an RST.
    DestroySockets {
        /// Which.
        sockets: SocketSelection,
    },
}

/// The TCP sockets of one namespace that match everything that is `Some`: a row of the TCP pane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SocketSelection {
    /// Their network namespace.
    pub netns: NetnsId,
    /// The process that holds a descriptor of them. Sockets without an owner (TIME_WAIT, SYN_RECV) then match never.
    pub owner: Option<TaskKey>,
    /// Their state.
    pub state: Option<TcpState>,
    /// Local port.
    pub local_port: Option<u16>,
    /// Far address.
    pub remote_addr: Option<IpAddr>,
    /// Far port.
    pub remote_port: Option<u16>,
}

/// Whether a plan may be carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Yes, after the plan was seen.
    Allowed,
    /// Only after a word was typed ([`Proposal::confirm`]).
    Confirm,
    /// Never; the reasons say why.
    #[default]
    Refused,
}

/// What an action will do to one target, foretold from what the kernel says before anything is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It ends.
    #[default]
    Terminates,
    /// It has a handler for the signal and does what that does.
    Caught,
    /// It ignores the signal, or the kernel does so for it (kernel threads, pid 1 of a namespace without a handler).
    Ignored,
    /// It blocks the signal: pending until it unblocks it.
    Blocked,
    /// It is in D, or stopped: pending until it wakes or is continued.
    PendingUntilWakes,
    /// Its v1 cgroup is frozen: pending until thawed.
    PendingUntilThawed,
    /// It waits for a FUSE daemon: after a fatal signal it may stay, in D, until the daemon answers.
    PendingUntilServerAnswers,
    /// It is in D, and `/proc` can't tell whether that wait is killable: whytop watches and says.
    UncertainD,
    /// It is dead already: only its parent can take it away.
    NoneZombie,
    /// It is the init of a container: the whole container ends, or restarts.
    ContainerStops,
    /// The signal stops it (SIGSTOP, SIGTSTP, …).
    Stops,
    /// The signal lets it go on (SIGCONT), or its cgroup is thawed.
    Continues,
    /// It has gone already.
    NoneGone,
}

/// What became of one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// It ended (a cgroup: is empty).
    Exited,
    /// It is dead and waits for its parent.
    Zombie,
    /// The signal waits to be taken: in D, frozen, stopped or blocked.
    Pending,
    /// It lives on.
    #[default]
    Survived,
    /// It was gone before anything was sent; nothing was sent.
    Gone,
    /// It ended, and something started it anew.
    Respawned,
    /// What was asked for besides ending a process is done: thawed, reaped, sockets destroyed.
    Done,
}

/// What became of one target, and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// What.
    pub result: OutcomeKind,
    /// How long after the sending it was seen, ms.
    pub after_ms: u64,
    /// In words: `zombie of 812 java`, `in D at rwsem_down_write, SIGKILL pending`.
    pub detail: Text,
    /// Whether nothing more is expected; until then the watch goes on and this may change.
    pub settled: bool,
    /// The process that took its place, for [`OutcomeKind::Respawned`].
    pub successor: Option<TaskKey>,
}

/// Who an action is aimed at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// A process.
    Task(TaskTarget),
    /// A cgroup with all that is in and below it.
    Cgroup(CgroupTarget),
    /// TCP sockets.
    Sockets(SocketTarget),
}

/// A process as the plan read it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskTarget {
    /// Who.
    pub key: TaskKey,
    /// Inode of its pidfd: no other process ever has it while the machine runs; `None` before 6.9.
    pub pidfd_inode: Option<u64>,
    /// Name (`stat` field 2).
    pub comm: Text,
    /// Command line, arguments joined by a space; `None` when empty, or not read because the task is in D.
    pub cmdline: Option<Text>,
    /// State of its leader.
    pub state: TaskState,
    /// Parent's pid.
    pub ppid: u32,
    /// Parent's name; `None` when it could not be read.
    pub parent_comm: Option<Text>,
    /// Real user id; `None` when it could not be read.
    pub uid: Option<u32>,
    /// The user's name (`/etc/passwd`); `None` when that has none.
    pub user: Option<Text>,
    /// Age when the plan was made, ms.
    pub age_ms: u64,
    /// Cgroup path, chosen as for [`super::Task::cgroup`].
    pub cgroup: Option<Text>,
    /// Container it is in, by its shortest true name.
    pub container: Option<Text>,
    /// systemd unit it belongs to.
    pub unit: Option<Text>,
    /// What it holds.
    pub holds: Holds,
}

/// What goes with a process when it ends. `None`: not read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holds {
    /// Its children.
    pub children: Option<u32>,
    /// Its threads.
    pub threads: u32,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Swapped memory, bytes.
    pub swap_bytes: Option<u64>,
    /// Open descriptors.
    pub fds: Option<u64>,
    /// What it listens on: `tcp 0.0.0.0:80`, at most [`Holds::LISTENERS_MAX`].
    pub listeners: Vec<Text>,
    /// Its TCP connections (sockets with an owner that don't listen).
    pub connections: Option<u64>,
    /// Other processes of the session that it leads; 0 when it leads none.
    pub session_members: u32,
}

impl Holds {
    /// Rows of [`Holds::listeners`] at most.
    pub const LISTENERS_MAX: usize = 16;
}

/// A cgroup as the plan read it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CgroupTarget {
    /// Which.
    pub key: CgroupKey,
    /// Container it is or lies in.
    pub container: Option<Text>,
    /// systemd unit it is.
    pub unit: Option<Text>,
    /// Processes in it and below it.
    pub processes: u32,
    /// Whether it, or a cgroup above it, is frozen; `None` where no freezer can be seen.
    pub frozen: Option<bool>,
    /// How it will be done: `cgroup.kill`, or `freeze, kill, thaw (v1 freezer)`, or `kill until empty`.
    pub method: Text,
}

/// Sockets as the plan counted them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SocketTarget {
    /// What was selected.
    pub selection: SocketSelection,
    /// How many match now.
    pub count: u64,
    /// The owner's name, when one was selected.
    pub owner_comm: Option<Text>,
}

/// The plan for one target, and later what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Who.
    pub target: Target,
    /// Whether it may be done.
    pub decision: Decision,
    /// What it will do.
    pub effect: Effect,
    /// Why this decision and this effect: sentences, most important first.
    #[serde(default)]
    pub reasons: Vec<Text>,
    /// What to do instead, or next.
    #[serde(default)]
    pub advice: Vec<Text>,
    /// What will start it anew when it ends: `unit nginx.service (Restart=always)`; `None` when nothing is known to.
    #[serde(default)]
    pub restarts: Option<Text>,
    /// What became of it; `None` until something was seen.
    #[serde(default)]
    pub outcome: Option<Outcome>,
}

impl Plan {
    /// A plan without reasons yet.
    #[must_use]
    pub fn new(target: Target, decision: Decision, effect: Effect) -> Self {
        let (reasons, advice) = (Vec::new(), Vec::new());
        Self { target, decision, effect, reasons, advice, restarts: None, outcome: None }
    }
}

/// A whole action with the plan for each of its targets: what a person says yes or no to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// What was asked.
    pub action: Action,
    /// When the kernel was read.
    pub at: Moment,
    /// The strictest decision of the plans. A refused target doesn't refuse the others: only if every plan is refused,
    /// or the whole action is, is this `Refused`.
    pub decision: Decision,
    /// The word to type when `decision` is `Confirm`: a container's name, a process's, or how many.
    #[serde(default)]
    pub confirm: Option<Text>,
    /// Reasons that are of the whole, not of one target.
    #[serde(default)]
    pub reasons: Vec<Text>,
    /// The plans. Of a cgroup the first is the cgroup itself.
    pub plans: Vec<Plan>,
}

impl Proposal {
    /// Whether the outcome of every target that was not refused is settled.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let settled = |plan: &Plan| plan.outcome.as_ref().is_some_and(|outcome| outcome.settled);
        self.plans.iter().all(|plan| plan.decision == Decision::Refused || settled(plan))
    }
}

/// Who acted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Login user (`/proc/self/loginuid`), behind `sudo`; `None` when unset.
    pub login_uid: Option<u32>,
    /// Pid of whytop.
    pub pid: u32,
    /// `tui` or `kill`.
    pub by: Text,
}

/// One attempt, for the recording and the audit line: made also when it was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionRecord {
    /// When it was carried out or refused.
    pub at: Moment,
    /// The same on the wall clock, nanoseconds since 1970-01-01 UTC.
    pub wall_unix_ns: i64,
    /// By whom.
    pub actor: Actor,
    /// The word that was typed, or `--yes`; `None` when none was asked for.
    #[serde(default)]
    pub confirmed: Option<Text>,
    /// Whether anything was sent.
    pub sent: bool,
    /// What was asked, planned, and seen.
    pub proposal: Proposal,
}

impl ActionRecord {
    /// Whether both tell of one attempt, one of them perhaps with outcomes that came later.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.at, self.wall_unix_ns, self.actor.pid) == (other.at, other.wall_unix_ns, other.actor.pid)
    }
}

macro_rules! words {
    ($kind:ty: $($variant:ident = $word:literal),+ $(,)?) => {
        impl $kind {
            /// The word of the JSON contract.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

words!(Decision: Allowed = "allowed", Confirm = "confirm", Refused = "refused");
words!(Effect:
    Terminates = "terminates", Caught = "caught", Ignored = "ignored", Blocked = "blocked",
    PendingUntilWakes = "pending_until_wakes", PendingUntilThawed = "pending_until_thawed",
    PendingUntilServerAnswers = "pending_until_server_answers", UncertainD = "uncertain_d",
    NoneZombie = "none_zombie", ContainerStops = "container_stops",
    Stops = "stops", Continues = "continues", NoneGone = "none_gone",
);
words!(OutcomeKind: Exited = "exited", Zombie = "zombie", Pending = "pending", Survived = "survived", Gone = "gone",
    Respawned = "respawned", Done = "done");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_serialised_form() {
        for effect in
            [Effect::PendingUntilServerAnswers, Effect::NoneZombie, Effect::UncertainD, Effect::ContainerStops]
        {
            assert_eq!(serde_json::to_string(&effect).unwrap(), format!("\"{}\"", effect.word()));
        }
        for decision in [Decision::Allowed, Decision::Confirm, Decision::Refused] {
            assert_eq!(serde_json::to_string(&decision).unwrap(), format!("\"{}\"", decision.word()));
        }
        for kind in [OutcomeKind::Exited, OutcomeKind::Respawned, OutcomeKind::Gone] {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.word()));
        }
    }

    #[test]
    fn fields_that_an_older_file_lacks_default() {
        let target: TaskTarget = serde_json::from_str(r#"{"key":{"pid":7,"start_ticks":9}}"#).unwrap();
        assert_eq!((target.key.pid, target.holds.threads), (7, 0));
        let outcome: Outcome = serde_json::from_str(r#"{"result":"zombie"}"#).unwrap();
        assert_eq!((outcome.result, outcome.settled), (OutcomeKind::Zombie, false));
    }
}
