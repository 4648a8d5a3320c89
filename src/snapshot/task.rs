//! Processes, and those of their threads that are not asleep.

use super::{Gap, NetnsId, TaskKey, Text};
use serde::{Deserialize, Serialize};

/// State of a task, as the letter in `/proc/PID/stat` field 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaskState {
    /// R: on a CPU or waiting for one.
    Running,
    /// S: interruptible sleep.
    #[default]
    Sleeping,
    /// D: uninterruptible sleep; counts into the load.
    Blocked,
    /// Z: dead, not reaped by its parent.
    Zombie,
    /// T: stopped by a signal.
    Stopped,
    /// t: stopped by a tracer.
    Traced,
    /// I: idle kernel thread (4.14 and later); not load.
    Idle,
    /// X: dying this moment.
    Dead,
    /// P: parked kernel thread.
    Parked,
    /// A letter this version does not know.
    Unknown,
}

impl TaskState {
    /// The state of a letter of `/proc/PID/stat`.
    #[must_use]
    pub fn from_letter(letter: u8) -> Self {
        match letter {
            b'R' => Self::Running,
            b'S' => Self::Sleeping,
            b'D' => Self::Blocked,
            b'Z' => Self::Zombie,
            b'T' => Self::Stopped,
            b't' => Self::Traced,
            b'I' => Self::Idle,
            b'X' | b'x' => Self::Dead,
            b'P' => Self::Parked,
            _ => Self::Unknown,
        }
    }

    /// The kernel's letter.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Running => 'R',
            Self::Sleeping => 'S',
            Self::Blocked => 'D',
            Self::Zombie => 'Z',
            Self::Stopped => 'T',
            Self::Traced => 't',
            Self::Idle => 'I',
            Self::Dead => 'X',
            Self::Parked => 'P',
            Self::Unknown => '?',
        }
    }
}

/// How many threads are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StateCounts {
    /// R.
    pub running: u32,
    /// S.
    pub sleeping: u32,
    /// D.
    pub blocked: u32,
    /// Z (an exited leader with live threads counts here too).
    pub zombie: u32,
    /// T and t.
    pub stopped: u32,
    /// I.
    pub idle: u32,
    /// Anything else.
    pub other: u32,
}

impl StateCounts {
    /// Counts one more thread in `state`.
    pub fn add(&mut self, state: TaskState) {
        let slot = match state {
            TaskState::Running => &mut self.running,
            TaskState::Sleeping => &mut self.sleeping,
            TaskState::Blocked => &mut self.blocked,
            TaskState::Zombie => &mut self.zombie,
            TaskState::Stopped | TaskState::Traced => &mut self.stopped,
            TaskState::Idle => &mut self.idle,
            TaskState::Dead | TaskState::Parked | TaskState::Unknown => &mut self.other,
        };
        *slot = slot.saturating_add(1);
    }

    /// Adds another count to this one.
    pub fn merge(&mut self, other: &Self) {
        self.running = self.running.saturating_add(other.running);
        self.sleeping = self.sleeping.saturating_add(other.sleeping);
        self.blocked = self.blocked.saturating_add(other.blocked);
        self.zombie = self.zombie.saturating_add(other.zombie);
        self.stopped = self.stopped.saturating_add(other.stopped);
        self.idle = self.idle.saturating_add(other.idle);
        self.other = self.other.saturating_add(other.other);
    }
}

/// A thread that is not asleep (R, D, T, t; for drill-downs any).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Thread {
    /// Thread id.
    pub tid: u32,
    /// Its own name (`task/TID/stat`); may differ from the leader's.
    pub comm: Text,
    /// Its state.
    pub state: TaskState,
    /// Kernel function it sleeps in (`wchan`); `None` when unknown or denied (the kernel then prints `0`).
    pub wchan: Option<Text>,
    /// Kernel stack, innermost first, one function name (without offset) each; empty when not read or denied.
    pub stack: Vec<Text>,
    /// Whether SIGKILL is pending for it (`status` `SigPnd`/`ShdPnd`); `None` when not read.
    pub sigkill_pending: Option<bool>,
    /// Context switches so far (`status`, voluntary + not). Unchanged between two looks = it never woke in between.
    pub switches: Option<u64>,
    /// System call number it is in (`/proc/PID/syscall`), root only.
    pub syscall: Option<i64>,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Task {
    /// Identity.
    pub key: TaskKey,
    /// Parent's pid.
    pub ppid: u32,
    /// Session id.
    pub session: u32,
    /// Name, at most 15 bytes (`stat` field 2).
    pub comm: Text,
    /// Command line, arguments joined by a space, cached from a healthy moment; `None` while unknown.
    pub cmdline: Option<Text>,
    /// Real user id; `None` when unreadable.
    pub uid: Option<u32>,
    /// The leader's state. A `Zombie` leader with `by_state` showing live threads is not a zombie to reap:
    /// see [`Task::is_zombie`].
    pub state: TaskState,
    /// Whether it is a kernel thread (`PF_KTHREAD`).
    pub kthread: bool,
    /// Threads, leader included (`stat` field 20).
    pub threads: u32,
    /// The threads by state, leader included.
    pub by_state: StateCounts,
    /// Threads in R, D, T or t, the leader too; at most [`Task::AWAKE_MAX`], D first.
    pub awake: Vec<Thread>,
    /// User CPU time of all threads, ticks.
    pub utime_ticks: u64,
    /// Kernel CPU time of all threads, ticks.
    pub stime_ticks: u64,
    /// Minor faults.
    pub minor_faults: u64,
    /// Major faults: pages that came from a disk.
    pub major_faults: u64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Swapped memory (`VmSwap`), bytes; `None` when not read.
    pub swap_bytes: Option<u64>,
    /// Address space, bytes.
    pub vsize_bytes: u64,
    /// Cgroup path: of the memory hierarchy where that is not `/`, else of the first hierarchy where it is not.
    pub cgroup: Option<Text>,
    /// Cgroup path in the v1 freezer hierarchy, where that is neither `/` nor `cgroup`.
    pub freezer: Option<Text>,
    /// Network namespace; `None` when unreadable.
    pub netns: Option<NetnsId>,
    /// Its pid inside its innermost pid namespace when that is not ours (1 = a container's init).
    pub inner_pid: Option<u32>,
    /// Open file descriptors; `None` when not read.
    pub fds: Option<u64>,
    /// Soft `RLIMIT_NOFILE`; `None` when not read.
    pub fd_limit: Option<u64>,
    /// Soft `RLIMIT_NPROC` (`/proc/PID/limits` `Max processes`): tasks that its real user may have, threads counted;
    /// `u64::MAX` for `unlimited`, `None` when not read. The kernel does not hold root to it.
    pub nproc_limit: Option<u64>,
}

impl Task {
    /// Rows of [`Task::awake`] at most, so that a snapshot follows the variety of the host, not its crowd.
    pub const AWAKE_MAX: usize = 64;

    /// The cgroup whose freezer holds it.
    #[must_use]
    pub fn freezer_path(&self) -> Option<&str> {
        self.freezer.as_deref().or(self.cgroup.as_deref())
    }

    /// Whether it is dead and waits for its parent. A zombie leader whose other threads live on is not.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        self.state == TaskState::Zombie && self.threads <= 1
    }

    /// Whether it is the init of a container (pid 1 of a pid namespace below ours).
    #[must_use]
    pub fn is_container_init(&self) -> bool {
        self.inner_pid == Some(1)
    }
}

/// Every process that can be seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tasks {
    /// The processes, by pid.
    pub rows: Vec<Task>,
    /// Threads in D by wait channel over all processes (not bounded by [`Task::AWAKE_MAX`]), most first. An empty name
    /// stands for those whose wait channel the kernel does not tell (`0`).
    pub blocked_by_wchan: Vec<(Text, u32)>,
    /// What could not be seen (for example other users' processes under `hidepid`).
    pub gaps: Vec<Gap>,
}

impl Tasks {
    /// The gap that processes leave whose namespace is hidden: sockets and counters of a namespace with only such
    /// processes can't be seen either.
    #[must_use]
    pub fn hidden_netns(&self) -> Option<Gap> {
        let hides = |t: &&Task| t.netns.is_none() && !t.kthread && t.state != TaskState::Zombie;
        let hidden = self.rows.iter().filter(hides).count();
        let whose = if hidden == 1 { "1 process".to_owned() } else { format!("{hidden} processes") };
        let fix = "CAP_SYS_PTRACE, which some container roots lack";
        (hidden > 0).then(|| Gap { what: format!("network namespaces of {whose}").into(), fix: fix.into() })
    }
}
