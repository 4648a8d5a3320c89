//! Consent: a typed word on a terminal, or `--yes`.

use super::stop::Interrupted;
use crate::act::Consent;
use crate::cli::out;
use crate::snapshot::{Decision, Proposal};
use crate::view::text::printable;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What came of asking.
pub enum Answer {
    /// Go on.
    Yes(Consent),
    /// Don't, and why.
    No(String),
}

/// Asks for what the proposal needs.
pub fn ask(proposal: &Proposal, yes: bool, terminal: bool, interrupted: &mut Interrupted) -> Answer {
    if proposal.decision == Decision::Refused {
        return Answer::No("refused".into());
    }
    if yes {
        return Answer::Yes(Consent::Yes);
    }
    let Some(word) = &proposal.confirm else { return Answer::Yes(Consent::Seen) };
    if !terminal {
        return Answer::No("this needs a yes, and there is no terminal to ask on (--yes answers it)".into());
    }
    out::tell(&format!("Type {} to go on: ", printable(word)));
    match line(interrupted) {
        Some(typed) if typed.trim() == &**word => Answer::Yes(Consent::Typed(typed)),
        _ => Answer::No("not confirmed".into()),
    }
}

/// A line from the terminal; `None` at its end, and when a signal asks us to leave.
fn line(interrupted: &mut Interrupted) -> Option<String> {
    let stdin = std::io::stdin();
    let turn = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    loop {
        if interrupted.is() {
            return None;
        }
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut fds, Some(&turn)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => break,
            Err(_) => return None,
        }
    }
    let mut typed = String::new();
    let read = stdin.read_line(&mut typed).ok()?;
    (read > 0).then_some(typed)
}
