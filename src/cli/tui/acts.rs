//! The thread that plans, sends and watches: the screen never waits for the kernel, and only here is the system changed.

use crate::act::{Act, Consent, Pin, Prepared, Running};
use crate::app::Event;
use crate::collect::now;
use crate::snapshot::{Action, ActionRecord, Moment, Snapshot, TaskKey, Text};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::Duration;

const STACK_BYTES: usize = 512 * 1024;
/// One look at outcomes.
const LOOK: Duration = Duration::from_millis(100);
/// For so long an outcome is watched.
const WATCH_SECS: f64 = 120.0;
/// Longest wait at the end for the last audit lines.
const END: Duration = Duration::from_secs(1);

/// What the screen asks for.
enum Ask {
    Plan { id: u64, action: Action, known: Option<Arc<Snapshot>> },
    Act { id: u64, typed: Option<Text> },
    Forget(u64),
}

/// The screen's end of the thread. Dropping it ends the watching, and waits for its last word.
pub struct Acts {
    asks: Option<Sender<Ask>>,
    ended: Receiver<()>,
}

impl Acts {
    /// Starts the thread; `answer` hears of plans and outcomes, `keep` gets every action when it is done and again when
    /// its outcome is known.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        act: Act,
        answer: impl Fn(Event) + Send + 'static,
        keep: impl Fn(ActionRecord) + Send + 'static,
    ) -> io::Result<Self> {
        let (asks, inbox) = channel();
        let (end, ended) = channel();
        let body = move || {
            let mut desk = Desk { act, prepared: None, held: Vec::new(), running: Vec::new(), answer, keep };
            desk.serve(&inbox);
            let _ = end.send(());
        };
        std::thread::Builder::new().name("act".into()).stack_size(STACK_BYTES).spawn(body)?;
        Ok(Self { asks: Some(asks), ended })
    }

    /// Pins the targets now, and plans. `known` is what the last look saw.
    pub fn plan(&self, id: u64, action: Action, known: Option<Arc<Snapshot>>) {
        self.ask(Ask::Plan { id, action, known });
    }

    /// Carries a plan out.
    pub fn act(&self, id: u64, typed: Option<Text>) {
        self.ask(Ask::Act { id, typed });
    }

    /// Lets a plan go.
    pub fn forget(&self, id: u64) {
        self.ask(Ask::Forget(id));
    }

    fn ask(&self, ask: Ask) {
        if let Some(asks) = &self.asks {
            let _ = asks.send(ask);
        }
    }
}

impl Drop for Acts {
    fn drop(&mut self) {
        self.asks = None;
        let _ = self.ended.recv_timeout(END);
    }
}

/// An action that is watched.
struct Watched {
    id: u64,
    running: Running,
    since: Moment,
}

struct Desk<F, K> {
    act: Act,
    /// The plan on the screen.
    prepared: Option<(u64, Prepared)>,
    /// Processes that were pinned for a plan before: another plan for the same ones goes on with these.
    held: Vec<Pin>,
    running: Vec<Watched>,
    answer: F,
    keep: K,
}

impl<F: Fn(Event), K: Fn(ActionRecord)> Desk<F, K> {
    fn serve(&mut self, inbox: &Receiver<Ask>) {
        loop {
            let ask = if self.running.is_empty() {
                match inbox.recv_timeout(Duration::from_hours(1)) {
                    Ok(ask) => Some(ask),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            } else {
                match inbox.try_recv() {
                    Ok(ask) => Some(ask),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => break,
                }
            };
            match ask {
                Some(Ask::Plan { id, action, known }) => self.plan(id, &action, known.as_deref()),
                Some(Ask::Act { id, typed }) => self.carry_out(id, typed),
                Some(Ask::Forget(id)) => self.forget(id),
                None => self.watch(),
            }
        }
        for mut watched in std::mem::take(&mut self.running) {
            self.finish(&mut watched);
        }
    }

    fn plan(&mut self, id: u64, action: &Action, known: Option<&Snapshot>) {
        self.take_over(&targets(action));
        let pins = std::mem::take(&mut self.held);
        let prepared = self.act.propose(action, pins, known);
        let plan = Ok(Box::new(prepared.proposal.clone()));
        self.prepared = Some((id, prepared));
        (self.answer)(Event::Planned { id, plan });
    }

    /// Ends the watch over processes that another plan is wanted for; they stay pinned.
    fn take_over(&mut self, keys: &[TaskKey]) {
        let watches = |w: &Watched| targets(&w.running.proposal.action).iter().any(|key| keys.contains(key));
        let (mut ended, others) = std::mem::take(&mut self.running).into_iter().partition::<Vec<_>, _>(watches);
        self.running = others;
        for watched in &mut ended {
            self.finish(watched);
        }
        self.held.extend(ended.into_iter().flat_map(|watched| watched.running.into_pins()));
    }

    fn carry_out(&mut self, id: u64, typed: Option<Text>) {
        let Some((_, prepared)) = self.prepared.take_if(|(known, _)| *known == id) else { return };
        let consent = typed.map_or(Consent::Seen, |word| Consent::Typed(word.to_string()));
        let running = self.act.carry_out(prepared, &consent);
        let mut watched = Watched { id, running, since: now() };
        self.tell(&watched);
        if watched.running.sent {
            // The host may not live to see the outcome.
            (self.keep)(self.act.record(&watched.running));
            self.running.push(watched);
        } else {
            self.finish(&mut watched);
        }
    }

    fn forget(&mut self, id: u64) {
        if let Some((_, prepared)) = self.prepared.take_if(|(known, _)| *known == id) {
            self.held = prepared.into_pins();
        }
    }

    fn watch(&mut self) {
        for mut watched in std::mem::take(&mut self.running) {
            let before = watched.running.proposal.clone();
            self.act.look(&mut watched.running, LOOK);
            let over = watched.running.proposal.is_settled() || now().since(watched.since) > WATCH_SECS;
            if over {
                self.finish(&mut watched);
            } else {
                if watched.running.proposal != before {
                    self.tell(&watched);
                }
                self.running.push(watched);
            }
        }
    }

    fn tell(&self, watched: &Watched) {
        let proposal = Box::new(watched.running.proposal.clone());
        (self.answer)(Event::Acted { id: watched.id, proposal });
    }

    /// The last word on an action, for the screen, what is recorded, and the audit line.
    fn finish(&mut self, watched: &mut Watched) {
        let (record, written) = self.act.finish(&mut watched.running);
        let mut proposal = Box::new(record.proposal.clone());
        (self.keep)(record);
        if let Err(why) = written {
            proposal.reasons.push(why.into());
        }
        (self.answer)(Event::Acted { id: watched.id, proposal });
    }
}

/// The processes that an action names.
fn targets(action: &Action) -> Vec<TaskKey> {
    match action {
        Action::Signal { tasks, .. } => tasks.clone(),
        Action::Tree { root, .. } => vec![*root],
        Action::Reap { parent } => vec![*parent],
        Action::KillCgroup { .. } | Action::Thaw { .. } | Action::DestroySockets { .. } => Vec::new(),
    }
}
