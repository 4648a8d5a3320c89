//! What cases share: victims, waiting, and a plan with its outcome.

use rustix::process::Pid;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;
use whytop::act::{Act, Consent, Lookup, Options, Prepared};
use whytop::collect::Roots;
use whytop::snapshot::{Action, Decision, Effect, OutcomeKind, Plan, Proposal, Signal, TaskKey};

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub root: bool,
    pub alone: bool,
    pub tools: &'static [&'static str],
    /// What was seen, or what is wrong.
    pub play: fn() -> Result<String, String>,
}

/// A case that any user can run.
pub const fn case(name: &'static str, play: fn() -> Result<String, String>) -> Case {
    Case { name, root: false, alone: false, tools: &[], play }
}

/// A case for root.
pub const fn root(name: &'static str, tools: &'static [&'static str], play: fn() -> Result<String, String>) -> Case {
    Case { name, root: true, alone: false, tools, play }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn now_ms() -> u64 {
    whytop::collect::now().0 / 1_000_000
}

pub fn which(tool: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).map(|d| Path::new(d).join(tool)).find(|p| p.is_file())
}

/// Runs a command that must succeed.
pub fn must(program: &str, args: &[&str]) -> String {
    let tool = which(program).unwrap_or_else(|| program.into());
    let out = Command::new(tool).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Runs a command whose failure doesn't matter.
pub fn may(program: &str, args: &[&str]) {
    let tool = which(program).unwrap_or_else(|| program.into());
    Command::new(tool).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
}

/// Waits until `done`, at most 20 s.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("gave up waiting: {what}");
}

/// The letter of a process's state; `None` when it has gone.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

/// Whether it runs or sleeps, not dead and not stopped.
pub fn lives(pid: u32) -> bool {
    matches!(state(pid), Some('R' | 'S' | 'D'))
}

pub fn until_state(pid: u32, letter: char) {
    until(&format!("pid {pid} in {letter}"), || state(pid) == Some(letter));
}

/// A process of this binary that is to be signalled; killed and waited for when dropped. A thread waits for it all the
/// time, as a good parent does, unless it is to stay a zombie.
pub struct Victim {
    pid: u32,
    input: ChildStdin,
    waiter: Option<JoinHandle<()>>,
    /// What it said when it was ready.
    pub said: String,
}

impl Victim {
    pub fn start(words: &[&str]) -> Self {
        Self::by(&[], words)
    }

    /// By way of another program that executes it.
    pub fn by(wrapper: &[&str], words: &[&str]) -> Self {
        let exe = std::env::current_exe().unwrap();
        let exe = exe.to_str().unwrap();
        let line: Vec<&str> = wrapper.iter().copied().chain([exe, "--victim"]).chain(words.iter().copied()).collect();
        // The one that starts it is its parent for the death signal, and must live as long: the thread that waits.
        let (tell, told) = std::sync::mpsc::channel();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let waiter = std::thread::spawn(move || {
            let mut child = command.spawn().unwrap();
            let mut said = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
            tell.send((child.id(), child.stdin.take().unwrap(), said)).unwrap();
            child.wait().unwrap();
        });
        let (pid, input, said) = told.recv().unwrap();
        let said = said.trim().strip_prefix("READY").expect("the victim is ready").trim().to_owned();
        Self { pid, input, waiter: Some(waiter), said }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The pid that it said.
    pub fn other(&self) -> u32 {
        self.said.parse().unwrap()
    }

    pub fn go(&mut self) {
        self.input.write_all(b"go\n").unwrap();
    }

    /// Whether it has been waited for: then its pid is not ours any more.
    fn is_gone(&self) -> bool {
        self.waiter.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let (false, Some(pid)) = (self.is_gone(), Pid::from_raw(self.pid.cast_signed())) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
        if let Some(waiter) = self.waiter.take() {
            waiter.join().ok();
        }
    }
}

/// Undoes a step.
pub struct Undo(pub Option<Box<dyn FnOnce()>>);

impl Undo {
    pub fn new(undo: impl FnOnce() + 'static) -> Self {
        Self(Some(Box::new(undo)))
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(undo) = self.0.take() {
            undo();
        }
    }
}

pub fn act() -> Act {
    Act::new(&Roots::default(), Lookup::default(), Options { by: "kill", ..Options::default() }).unwrap()
}

/// The identity of a living process.
pub fn key(pid: u32) -> TaskKey {
    act().pin_pid(pid).unwrap().key()
}

/// One process, pinned and planned.
pub fn prepare(act: &mut Act, pid: u32, signal: Signal) -> Prepared {
    let pin = act.pin_pid(pid).unwrap();
    act.propose(&Action::Signal { tasks: vec![pin.key()], signal }, vec![pin], None)
}

/// Does it, and watches for `wait_ms` or until all is settled.
pub fn carry_out(act: &mut Act, prepared: Prepared, wait_ms: u64) -> Proposal {
    let mut running = act.carry_out(prepared, &Consent::Yes);
    let began = now_ms();
    while !running.proposal.is_settled() && now_ms() - began < wait_ms {
        act.look(&mut running, Duration::from_millis(50));
    }
    act.finish(&mut running).0.proposal
}

/// Carries out until `done` says of the outcomes that it has come, at most 20 s.
pub fn carry_out_until(act: &mut Act, prepared: Prepared, done: impl Fn(&Proposal) -> bool) -> Proposal {
    let mut running = act.carry_out(prepared, &Consent::Yes);
    let began = now_ms();
    while !done(&running.proposal) && now_ms() - began < 20_000 {
        act.look(&mut running, Duration::from_millis(50));
    }
    act.finish(&mut running).0.proposal
}

/// What a case expects.
pub struct Want {
    pub decision: Decision,
    pub effect: Effect,
    pub result: OutcomeKind,
}

/// Plans one signal, sends it, and holds the outcome against the plan: it is watched until it is what was foretold, and
/// a moment longer where that could still change.
pub fn expect(pid: u32, signal: Signal, want: &Want) -> Result<String, String> {
    let mut act = act();
    let prepared = prepare(&mut act, pid, signal);
    let plan = prepared.proposal.plans[0].clone();
    if (plan.decision, plan.effect) != (want.decision, want.effect) {
        return Err(format!("planned {} {}: {:?}", plan.decision.word(), plan.effect.word(), plan.reasons));
    }
    let lasts = matches!(want.result, OutcomeKind::Survived | OutcomeKind::Pending | OutcomeKind::Zombie);
    let began = now_ms();
    let result = |proposal: &Proposal| proposal.plans[0].outcome.as_ref().map(|outcome| outcome.result);
    let seen = carry_out_until(&mut act, prepared, |proposal| {
        result(proposal) == Some(want.result) && (!lasts || now_ms() - began > 500)
    });
    told(&seen.plans[0], want.result)
}

/// The row of a plan and its outcome, if that is `result`.
pub fn told(plan: &Plan, result: OutcomeKind) -> Result<String, String> {
    let outcome = plan.outcome.as_ref().ok_or("no outcome")?;
    if outcome.result != result {
        return Err(format!("foretold {}, but {}: {}", plan.effect.word(), outcome.result.word(), outcome.detail));
    }
    Ok(format!("{} {} -> {}: {}", plan.decision.word(), plan.effect.word(), outcome.result.word(), outcome.detail))
}
