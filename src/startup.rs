//! What must be done before anything else, so that whytop keeps working when the host does not.
//!
//! ```text
//! readers forked ─▶ oom_score_adj −1000 ─▶ descriptors raised ─▶ priority raised ─▶ memory locked ─▶ threads, TUI
//! (no thread yet)   (not inherited by the readers: they stay ordinary)              (all of it, small stacks)
//! ```
//!
//! Nothing here fails: each step says what it got, or what would give it.

use crate::collect::Roots;
use crate::collect::readers::{Pools, Readers, Request, detach, exit};
use crate::record::{self, Helper};
use crate::snapshot::Gap;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::MlockAllFlags;
use rustix::pipe::PipeFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

/// Stack of a lane's thread, bytes. `MCL_FUTURE` makes all of it resident, so it is small; the deepest lane needs far
/// less.
pub const LANE_STACK_BYTES: usize = 256 * 1024;
/// Room asked for in the pipe to one: most samples go into it whole.
const PIPE_BYTES: usize = 1 << 20;
/// Nice value while sampling: ahead of what makes the host busy, behind what keeps it alive.
const NICE: i32 = -10;

/// One step of the start and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was tried, for example `memory locked`.
    pub what: &'static str,
    /// What was obtained, in words; or what is missing and what would give it.
    pub got: Result<String, Gap>,
}

/// What the start obtained. Keep it for as long as whytop runs.
#[derive(Debug)]
pub struct Startup {
    /// For the collectors; `None` where no process could be forked.
    pub readers: Pools,
    /// A descriptor in reserve (`/dev/null`): dropping it frees one for what must be opened at the limit.
    pub spare: Option<OwnedFd>,
    /// Every step, in order.
    pub steps: Vec<Step>,
}

impl Startup {
    /// What could not be obtained.
    pub fn gaps(&self) -> impl Iterator<Item = &Gap> {
        self.steps.iter().filter_map(|step| step.got.as_ref().err())
    }
}

/// Prepares this process, for `screens` with the readers of drill-downs and plans. Call it in `main` before any thread
/// exists and before anything large is allocated.
#[must_use]
pub fn prepare(roots: &Roots, screens: bool) -> Startup {
    let (forked, readers) = fork_readers(roots, screens);
    let steps = vec![
        Step { what: "readers", got: forked },
        Step { what: "spared by the OOM killer", got: spare_from_oom() },
        Step { what: "descriptors", got: raise_descriptors() },
        Step { what: "priority", got: raise_priority() },
        Step { what: "memory locked", got: lock_memory() },
    ];
    let spare = rustix::fs::open(c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
    Startup { readers, spare, steps }
}

/// Forks the pools of readers, those of the collectors first: what fails is missing, the others work. Those that nobody
/// would hold are not forked: they would end at once and stay as zombies.
fn fork_readers(roots: &Roots, screens: bool) -> (Result<String, Gap>, Pools) {
    fn start<R: Request>(roots: &Roots, count: usize, failed: &mut Option<Errno>) -> Option<Readers<R>> {
        Readers::start_few(&roots.proc, count).map_err(|error| *failed = Some(error)).ok()
    }
    let mut failed = None;
    let mut pools =
        Pools { tasks: start(roots, 3, &mut failed), files: start(roots, 3, &mut failed), ..Pools::default() };
    if roots.is_live() {
        pools.traffic = start(roots, 2, &mut failed);
    }
    pools.names = start(roots, 1, &mut failed);
    if screens {
        pools.deep = start(roots, 1, &mut failed);
        pools.act_tasks = start(roots, 2, &mut failed);
        pools.act_files = start(roots, 1, &mut failed);
    }
    let forked = match failed {
        None => Ok(format!("{} processes", pools.pids().count())),
        Some(error) => Err(gap("helper processes for reads that can hang", error, "room for 13 processes more")),
    };
    (forked, pools)
}

/// So many processes that write files. As [`prepare`], and before it: they must not hold what that opens.
///
/// They end when their orders do, and not by the signals that end whytop: what has been sampled is still written.
///
/// # Errors
/// When no pipe or process can be made.
pub fn fork_writers(count: usize) -> Result<Vec<Helper>, Errno> {
    (0..count).map(|_| fork_writer()).collect()
}

fn fork_writer() -> Result<Helper, Errno> {
    let (orders_out, orders_in) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (reports_out, reports_in) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    // An ordinary user may have used up the room for pipes; the queue is then the longer.
    let _ = rustix::pipe::fcntl_setpipe_size(&orders_in, PIPE_BYTES);
    for ours in [&orders_in, &reports_in, &reports_out] {
        rustix::fs::fcntl_setfl(ours, OFlags::NONBLOCK)?;
    }
    #[expect(unsafe_code, reason = "fork(2) has no safe wrapper")]
    // SAFETY: no other thread exists yet, so the child may do all that its parent might; it leaves by `exit`.
    let pid = unsafe { libc::fork() };
    match pid {
        0 => {
            let _ = std::panic::catch_unwind(|| {
                detach(c"whytop-writer", [orders_out.as_raw_fd(), reports_in.as_raw_fd()]);
                ignore_signals();
                let _ = (spare_from_oom(), raise_priority(), lock_memory());
                record::serve(&orders_out, &reports_in);
            });
            exit()
        }
        1.. => Ok(Helper { pid: pid.unsigned_abs(), orders: orders_in, reports: reports_out }),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::AGAIN)),
    }
}

fn ignore_signals() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        #[expect(unsafe_code, reason = "signal(2) has no safe wrapper")]
        // SAFETY: no handler is installed: the signal is only ignored.
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
}

fn gap(what: &str, error: Errno, fix: &str) -> Gap {
    Gap { what: format!("{what}: {error}").into(), fix: fix.into() }
}

/// `oom_score_adj` −1000: the OOM killer never takes us. Readers were forked before and keep what they had.
fn spare_from_oom() -> Result<String, Gap> {
    let write = || {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(c"/proc/self/oom_score_adj", flags, Mode::empty())?;
        rustix::io::write(&file, b"-1000")
    };
    match write() {
        Ok(_) => Ok("oom_score_adj -1000".into()),
        Err(error) => Err(gap("immunity from the OOM killer", error, "root with CAP_SYS_RESOURCE")),
    }
}

/// The soft limit of descriptors becomes the hard one.
fn raise_descriptors() -> Result<String, Gap> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let word = |limit: Option<u64>| limit.map_or_else(|| "unlimited".into(), |n| n.to_string());
    if current == maximum {
        return Ok(word(current));
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => Ok(format!("{}, raised from {}", word(maximum), word(current))),
        Err(error) => Err(gap("more descriptors", error, "ulimit -n")),
    }
}

/// Threads inherit the value, so it is raised before the first one starts.
fn raise_priority() -> Result<String, Gap> {
    if rustix::process::getpriority_process(None).is_ok_and(|nice| nice <= NICE) {
        return Ok("already raised".into());
    }
    match rustix::process::setpriority_process(None, NICE) {
        Ok(()) => Ok(format!("nice {NICE}")),
        Err(error) => Err(gap("raised priority", error, "root or CAP_SYS_NICE")),
    }
}

/// Locks all memory, now and later: own pages are then never read again from a sick disk.
///
/// Only where the lock has no limit. Under a finite `RLIMIT_MEMLOCK`, `MCL_FUTURE` would turn the limit into one on the
/// whole address space, and the first allocation above it would end whytop in the middle of the outage.
fn lock_memory() -> Result<String, Gap> {
    let fix = "root with CAP_IPC_LOCK, or ulimit -l unlimited";
    let may_lock = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    if !may_lock && getrlimit(Resource::Memlock).current.is_some() {
        return Err(gap("locked memory", Errno::PERM, fix));
    }
    // Without MCL_ONFAULT: faulting in later would need memory just when there is none. Stacks are small instead.
    match rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE) {
        Ok(()) => Ok("mlockall".into()),
        Err(error) => Err(gap("locked memory", error, fix)),
    }
}
