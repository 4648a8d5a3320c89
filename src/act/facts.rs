//! What the plan is made of: everything that is read from the kernel about one process before anything is sent.

use super::supervise::UnitPath;
use super::wait::Wait;
use crate::snapshot::{Signal, TaskState, TaskTarget, Text};

/// One process, read at one moment. The default is a process in its right mind, of which nothing special is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Who it is and what it holds.
    pub target: TaskTarget,
    /// It is a kernel thread.
    pub kthread: bool,
    /// Its threads that are not dead; of a crowd the first [`Facts::THREADS_MAX`], those in D before others.
    pub threads: Vec<ThreadFacts>,
    /// Signals it ignores (`SigIgn`).
    pub ignored: u64,
    /// Signals it has handlers for (`SigCgt`).
    pub caught: u64,
    /// Signals pending for the process (`ShdPnd`).
    pub pending: u64,
    /// Signals it reads from a `signalfd`.
    pub signalfd: u64,
    /// Its pid in its innermost pid namespace, when that is not ours.
    pub inner_pid: Option<u32>,
    /// Processes in the pid namespace that it is the init of, itself left out; 0 when it is none's.
    pub namespace_others: u32,
    /// Whether its cgroup is frozen.
    pub freezer: Freezer,
    /// Who traces it.
    pub tracer: Option<(u32, Text)>,
    /// It leads a session.
    pub leads_session: bool,
    /// It leads a session that has a terminal.
    pub leads_terminal: bool,
    /// Its container.
    pub container: Option<ContainerFacts>,
    /// Its systemd unit.
    pub unit: Option<UnitFacts>,
    /// Its parent.
    pub parent: ParentFacts,
    /// Whether this user may send it a signal.
    pub permission: Permission,
}

impl Facts {
    /// Threads that are looked at, at most.
    pub const THREADS_MAX: usize = 512;

    /// Whether it is dead and waits for its parent: its leader has exited and no thread of it lives.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        matches!(self.target.state, TaskState::Zombie | TaskState::Dead) && self.threads.is_empty()
    }

    /// Whether it is the init of a pid namespace below ours.
    #[must_use]
    pub fn is_inner_init(&self) -> bool {
        self.inner_pid == Some(1)
    }

    /// Whether its end is the end of a container: its init, or what the runtime calls its process.
    #[must_use]
    pub fn is_container_main(&self) -> bool {
        self.is_inner_init() || self.container.as_ref().is_some_and(|container| container.is_main)
    }

    /// Whether every thread that can still run blocks `signal`.
    #[must_use]
    pub fn all_block(&self, signal: Signal) -> bool {
        !self.threads.is_empty() && self.threads.iter().all(|thread| thread.blocked & signal.bit() != 0)
    }

    /// Whether it has been stopped (every thread is, but for those in D).
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.threads.iter().any(|thread| matches!(thread.state, TaskState::Stopped | TaskState::Traced))
            && self
                .threads
                .iter()
                .all(|thread| matches!(thread.state, TaskState::Stopped | TaskState::Traced | TaskState::Blocked))
    }
}

/// One thread.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadFacts {
    /// Thread id.
    pub tid: u32,
    /// Its state.
    pub state: TaskState,
    /// Signals it blocks (`SigBlk`).
    pub blocked: u64,
    /// Signals pending for it alone (`SigPnd`).
    pub pending: u64,
    /// Kernel function it sleeps in.
    pub wchan: Option<Text>,
    /// What a fatal signal does to that sleep; meaningful in D, and in S on a FUSE server.
    pub wait: Wait,
    /// It waits for signals themselves (`sigwait`).
    pub sigwait: bool,
    /// It is on its way out (`PF_EXITING`).
    pub exiting: bool,
}

/// Whether a process is frozen with its cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Freezer {
    /// No.
    #[default]
    Free,
    /// By the v1 freezer, in the cgroup of this path.
    V1(Text),
    /// By v2's `cgroup.freeze`, in the cgroup of this path.
    V2(Text),
}

/// A container, as far as its process matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Its shortest true name.
    pub label: Text,
    /// Name to give to its runtime's commands; `None` when only the path is known.
    pub name: Option<Text>,
    /// `docker`, `containerd`, `podman`, `kubernetes`, …
    pub runtime: Text,
    /// Whether the runtime says that this very process is the container's.
    pub is_main: bool,
    /// What starts it again when it ends.
    pub restart: Option<Restart>,
}

/// A promise to start something again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// In its own words: `--restart=always`, `Restart=on-failure`, `restartPolicy of the pod`.
    pub policy: Text,
    /// On which ends.
    pub on: RestartOn,
}

/// After which ends something is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartOn {
    /// Any.
    Always,
    /// A clean exit only; systemd counts HUP, INT, TERM and PIPE as clean.
    Success,
    /// What is not clean.
    Failure,
    /// An unclean signal, a time-out or the watchdog, but no exit status.
    Abnormal,
    /// An exit status other than 0, as a signal makes: docker's `on-failure`.
    NonZero,
}

impl Restart {
    /// Whether an end by `signal` leads to a start; `None` where the process decides how it ends, and so that.
    #[must_use]
    pub fn follows(&self, signal: Signal, caught: bool) -> Option<bool> {
        let clean = matches!(signal, Signal::HUP | Signal::INT | Signal::TERM | Signal(13));
        match self.on {
            RestartOn::Always => Some(true),
            RestartOn::NonZero => (!caught).then_some(true),
            RestartOn::Success => {
                if caught {
                    None
                } else {
                    Some(clean)
                }
            }
            RestartOn::Failure => {
                if caught {
                    None
                } else {
                    Some(!clean)
                }
            }
            RestartOn::Abnormal => Some(!caught && !clean),
        }
    }
}

/// A systemd service, as far as its process matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFacts {
    /// Which one.
    pub unit: UnitPath,
    /// Whether this is likely its main process: the service manager is its parent.
    pub is_main: bool,
    /// Its manager, where that is the init of a pid namespace below ours.
    pub inner_manager: Option<u32>,
    /// `Restart=`, unless `no` or not known; of a main process only.
    pub restart: Option<Restart>,
}

/// The parent of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParentFacts {
    /// Its pid; 0 when it has none that we can see.
    pub pid: u32,
    /// Its name.
    pub comm: Text,
    /// Its state; `None` when it could not be read.
    pub state: Option<TaskState>,
    /// It is the init of a container or pid namespace below ours.
    pub is_inner_init: bool,
    /// It has a handler for SIGCHLD.
    pub catches_chld: bool,
}

/// Whether this user may send signals to a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Permission {
    /// The kernel says yes.
    #[default]
    Granted,
    /// It says no.
    Denied {
        /// Our effective user id.
        euid: u32,
    },
    /// It has gone.
    Gone,
}
