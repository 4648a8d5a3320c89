//! No wrong kill: the selected pid is given to another process between selection and action, ten thousand times.
//!
//! In a pid namespace of its own, where `clone3` may choose the pid. The other process blocks SIGTERM, so that one that
//! reached it would stay pending and be seen; SIGKILL would be seen in how it ended.
#![expect(unsafe_code, reason = "clone3 has no safe wrapper")]

use crate::kit::{self, Case};
use rustix::process::{Pid, WaitOptions, waitpid};
use std::process::{Command, ExitCode};
use whytop::act::{Act, Consent, Identity, Lookup, Options, SendError};
use whytop::collect::Roots;
use whytop::snapshot::{Action, OutcomeKind, Signal};

pub const ALL: &[Case] =
    &[Case { name: "no wrong kill: pid reuse", root: true, alone: true, tools: &["unshare"], play: no_wrong_kill }];

const ATTEMPTS: u32 = 10_000;
/// Of these so many go the whole way, plan and all.
const WHOLE: u32 = 200;
const CHOSEN: u32 = 4000;

fn no_wrong_kill() -> Result<String, String> {
    let exe = std::env::current_exe().unwrap();
    let out = Command::new(kit::which("unshare").unwrap())
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(exe)
        .arg("--reuse")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    if out.status.success() {
        return Ok(said);
    }
    Err(format!("{said} {}", String::from_utf8_lossy(&out.stderr)))
}

/// Inside of the namespace.
pub fn inside() -> ExitCode {
    let act = kit::act();
    let mut counts = Counts::default();
    for n in 0..ATTEMPTS {
        if let Err(why) = attempt(&act, n, &mut counts) {
            println!("attempt {n}: {why}");
            return ExitCode::FAILURE;
        }
    }
    println!(
        "{ATTEMPTS} reuses of pid {CHOSEN}, {} within one clock tick of the old start: {} signals to the selected while it \
         lived, 0 to another",
        counts.same_tick, counts.to_selected
    );
    if counts.same_tick == 0 {
        println!("no reuse was within one clock tick");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

#[derive(Default)]
struct Counts {
    same_tick: u32,
    to_selected: u32,
}

fn attempt(act: &Act, n: u32, counts: &mut Counts) -> Result<(), String> {
    let signal = if n.is_multiple_of(2) { Signal::TERM } else { Signal::KILL };
    let selected = spawn()?;
    let pin = act.pin_pid(CHOSEN).map_err(|error| format!("selection: {error}"))?;
    let old = pin.key();
    if n.is_multiple_of(100) {
        // The selected one does get what is sent to it.
        pin.send(Signal::KILL).map_err(|error| error.to_string())?;
        counts.to_selected += 1;
    } else {
        end(selected);
    }
    reap(selected);
    let other = spawn()?;
    let now = act.pin_pid(CHOSEN).map_err(|error| format!("the other: {error}"))?.key();
    counts.same_tick += u32::from(now.start_ticks == old.start_ticks);
    if n < WHOLE {
        whole_way(pin, signal, now.start_ticks == old.start_ticks)?;
    } else {
        match pin.send(signal) {
            Err(SendError::Gone) => {}
            other => return Err(format!("the sending said {other:?}")),
        }
    }
    let untouched = is_untouched(other);
    end(other);
    reap(other);
    untouched
}

/// By plan and carrying out, with the pin of the selection. Where the start time can tell, the way of older kernels too.
fn whole_way(pin: whytop::act::Pin, signal: Signal, same_tick: bool) -> Result<(), String> {
    let mut act = kit::act();
    let key = pin.key();
    let action = Action::Signal { tasks: vec![key], signal };
    let prepared = act.propose(&action, vec![pin], None);
    let running = act.carry_out(prepared, &Consent::Yes);
    let outcome = running.proposal.plans[0].outcome.clone();
    if running.sent || outcome.as_ref().is_none_or(|outcome| outcome.result != OutcomeKind::Gone) {
        return Err(format!("the plan led to {outcome:?}"));
    }
    let options = Options { identity: Identity::StartTime, ..Options::default() };
    let old = Act::new(&Roots::default(), Lookup::default(), options).unwrap();
    if !same_tick && old.pin(key).is_ok() {
        return Err("by its start time the other passed for the selected".into());
    }
    Ok(())
}

/// A process with the chosen pid, which blocks SIGTERM and sleeps.
fn spawn() -> Result<Pid, String> {
    let pid = CHOSEN.cast_signed();
    // SAFETY: `clone3` without flags is a fork; the child makes system calls only.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
        let mut args: libc::clone_args = std::mem::zeroed();
        args.exit_signal = libc::SIGCHLD as u64;
        args.set_tid = (&raw const pid) as u64;
        args.set_tid_size = 1;
        let child = libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>());
        if child == 0 {
            loop {
                libc::pause();
            }
        }
        let error = std::io::Error::last_os_error();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        if child < 0 {
            return Err(format!("clone3 with set_tid: {error}"));
        }
    }
    Ok(Pid::from_raw(pid).unwrap())
}

fn end(pid: Pid) {
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn reap(pid: Pid) {
    waitpid(Some(pid), WaitOptions::empty()).unwrap();
}

fn is_untouched(pid: Pid) -> Result<(), String> {
    if waitpid(Some(pid), WaitOptions::NOHANG).unwrap().is_some() {
        return Err("the other process was killed".into());
    }
    let status = std::fs::read_to_string(format!("/proc/{CHOSEN}/status")).unwrap();
    let pending = status.lines().filter(|line| line.starts_with("SigPnd") || line.starts_with("ShdPnd"));
    if pending.clone().count() == 2 && pending.clone().all(|line| line.ends_with("0000000000000000")) {
        return Ok(());
    }
    Err(format!("the other process got a signal: {}", pending.collect::<Vec<_>>().join(" ")))
}
