//! The layer in which one acts: a plan first, then yes or no, then what became of it.
//!
//! ```text
//! k ─▶ Planning ─Planned─▶ Shown ─Enter─▶ (Typing ─word─▶) Sent ─Acted─▶ Sent … ─▶ KILL offered, never sent by itself
//!          ▲                 │ t 9 s T c p u: another plan for the same, pinned, targets
//!          └─────────────────┘
//! ```

use super::doable::{frozen_above, reap};
use super::layer::{self, Layer};
use super::{App, Effect, plan};
use crate::model::Frame;
use crate::snapshot::{
    Action, Decision, Effect as Foretold, Moment, OutcomeKind, Plan, Proposal, Signal, Target, TaskKey, Text,
};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_input::Input;

/// How long a signal that asks gets before KILL is offered.
pub(super) const GRACE_SECS: f64 = 10.0;
/// For so long the outcome of an action whose layer was left is told.
const TOLD_SECS: f64 = 20.0;

/// What has been asked for, and how far it is.
#[derive(Clone, Debug)]
pub(super) struct Kill {
    /// Number of the plan: answers to another one are dropped.
    pub id: u64,
    pub action: Action,
    pub stage: Stage,
    /// Rows scrolled off.
    pub scroll: u16,
}

#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// The kernel is being read.
    Planning,
    /// No plan could be made.
    Failed(Text),
    /// The plan is on the screen; nothing has been sent.
    Shown(Box<Proposal>),
    /// The word is being typed.
    Typing {
        proposal: Box<Proposal>,
        input: Input,
        /// Another word was typed before.
        wrong: bool,
    },
    /// Another signal is being chosen.
    Choosing { proposal: Box<Proposal>, at: u8 },
    /// It was sent, or refused at the last moment.
    Sent { proposal: Box<Proposal>, since: Moment },
}

impl Kill {
    pub fn proposal(&self) -> Option<&Proposal> {
        match &self.stage {
            Stage::Planning | Stage::Failed(_) => None,
            Stage::Shown(proposal)
            | Stage::Typing { proposal, .. }
            | Stage::Choosing { proposal, .. }
            | Stage::Sent { proposal, .. } => Some(proposal),
        }
    }

    /// The signal that it sends, where it sends one that can be chosen.
    pub fn signal(&self) -> Option<Signal> {
        match &self.action {
            Action::Signal { signal, .. } | Action::Tree { signal, .. } => Some(*signal),
            _ => None,
        }
    }

    fn with_signal(&self, signal: Signal) -> Option<Action> {
        match &self.action {
            Action::Signal { tasks, .. } => Some(Action::Signal { tasks: tasks.clone(), signal }),
            Action::Tree { root, .. } => Some(Action::Tree { root: *root, signal }),
            _ => None,
        }
    }

    /// The one process it is for.
    fn only_task(&self) -> Option<TaskKey> {
        match &self.action {
            Action::Signal { tasks, .. } => match tasks.as_slice() {
                [only] => Some(*only),
                _ => None,
            },
            Action::Tree { root, .. } => Some(*root),
            Action::Reap { parent } => Some(*parent),
            _ => None,
        }
    }

    /// Whether KILL may be offered now: what asked has had its time, or is known to have changed nothing.
    pub fn offers_kill(&self, now: Moment) -> bool {
        let Stage::Sent { proposal, since } = &self.stage else { return false };
        let over = now.since(*since) >= GRACE_SECS || proposal.is_settled();
        self.signal().is_some_and(|s| s != Signal::KILL && s.asks_to_end()) && over && !self.left().is_empty()
    }

    /// Whether nothing more is expected.
    pub fn is_settled(&self) -> bool {
        self.proposal().is_some_and(Proposal::is_settled)
    }

    /// The processes that are still there.
    fn left(&self) -> Vec<TaskKey> {
        let lives = |plan: &&Plan| {
            plan.outcome.as_ref().is_some_and(|o| matches!(o.result, OutcomeKind::Survived | OutcomeKind::Pending))
        };
        let plans = self.proposal().map(|p| p.plans.as_slice()).unwrap_or_default();
        let keys = plans.iter().filter(lives).filter_map(|plan| match &plan.target {
            Target::Task(task) => Some(task.key),
            _ => None,
        });
        keys.collect()
    }
}

/// Another plan that a key makes from the one on the screen.
pub(super) struct Choice {
    pub key: char,
    pub word: &'static str,
    make: fn(&Frame, &Kill) -> Option<Action>,
}

/// The other plans, in the order of the key bar.
pub(super) static CHOICES: &[Choice] = &[
    Choice { key: 't', word: "SIGTERM", make: |_, kill| other_signal(kill, Signal::TERM) },
    Choice { key: '9', word: "SIGKILL", make: |_, kill| other_signal(kill, Signal::KILL) },
    Choice {
        key: 'T',
        word: "whole tree",
        make: |_, kill| match (&kill.action, kill.only_task()) {
            (Action::Signal { signal, .. }, Some(root)) => Some(Action::Tree { root, signal: *signal }),
            _ => None,
        },
    },
    Choice {
        key: 'c',
        word: "whole cgroup",
        make: |frame, kill| {
            let Action::Signal { .. } = kill.action else { return None };
            let home = frame.task(kill.only_task()?)?.cgroup.as_deref().filter(|path| *path != "/")?;
            frame.cgroup(home).map(|c| Action::KillCgroup { cgroup: c.key.clone() })
        },
    },
    Choice {
        key: 'u',
        word: "thaw",
        make: |frame, kill| match &kill.action {
            Action::KillCgroup { cgroup } => frozen_above(frame, &cgroup.path).map(|cgroup| Action::Thaw { cgroup }),
            Action::Thaw { .. } => None,
            _ => {
                let home = frame.task(kill.only_task()?)?.freezer_path()?;
                frozen_above(frame, home).map(|cgroup| Action::Thaw { cgroup })
            }
        },
    },
    Choice {
        key: 'r',
        word: "ask parent to reap",
        make: |frame, kill| {
            let dead = kill.proposal()?.plans.iter().any(|plan| plan.effect == Foretold::NoneZombie);
            let zombie = frame.task(kill.only_task()?).filter(|task| dead && task.is_zombie())?;
            reap(frame, zombie)
        },
    },
    Choice {
        key: 'k',
        word: "end the parent",
        make: |_, kill| match &kill.action {
            Action::Reap { parent } => Some(Action::Signal { tasks: vec![*parent], signal: Signal::TERM }),
            _ => None,
        },
    },
];

fn other_signal(kill: &Kill, signal: Signal) -> Option<Action> {
    kill.with_signal(signal).filter(|_| kill.signal() != Some(signal))
}

impl Choice {
    /// Whether there is such a plan from here.
    pub fn fits(&self, frame: &Frame, kill: &Kill) -> bool {
        matches!(kill.stage, Stage::Shown(_)) && (self.make)(frame, kill).is_some()
    }
}

impl App {
    /// Asks for a plan, and opens the layer that shows it.
    pub(super) fn propose(&mut self, action: Action) {
        self.plans += 1;
        let kill = Kill { id: self.plans, action: action.clone(), stage: Stage::Planning, scroll: 0 };
        if let Some(Layer::Kill(open)) = self.layers.last_mut() {
            // What it holds open is let go.
            self.effects.push(Effect::Forget(open.id));
            **open = kill;
        } else {
            self.layers.push(Layer::Kill(Box::new(kill)));
        }
        self.effects.push(Effect::Plan { id: self.plans, action });
    }

    /// Takes a plan that was asked for.
    pub(super) fn planned(&mut self, id: u64, plan: Result<Box<Proposal>, Text>) {
        let Some(kill) = self.open_kill(id) else { return };
        if matches!(kill.stage, Stage::Planning) {
            kill.stage = match plan {
                Ok(proposal) => Stage::Shown(proposal),
                Err(why) => Stage::Failed(why),
            };
        }
    }

    /// Takes what became of an action.
    pub(super) fn acted(&mut self, id: u64, proposal: Box<Proposal>) {
        let (now, clock) = (self.now, self.clock);
        match self.open_kill(id) {
            Some(Kill { stage: Stage::Sent { proposal: shown, .. }, .. }) => *shown = proposal,
            Some(kill) => kill.stage = Stage::Sent { proposal, since: now },
            None => self.told = Some((plan::told(&proposal), clock)),
        }
    }

    /// What became of an action whose layer was left, while it is new.
    pub(super) fn told(&self) -> Option<&str> {
        self.told.as_ref().filter(|(_, at)| self.clock.since(*at) < TOLD_SECS).map(|(words, _)| words.as_str())
    }

    fn open_kill(&mut self, id: u64) -> Option<&mut Kill> {
        self.layers.iter_mut().find_map(|layer| match layer {
            Layer::Kill(kill) if kill.id == id => Some(&mut **kill),
            _ => None,
        })
    }

    fn leave_kill(&mut self) {
        if let Some(Layer::Kill(kill)) = self.layers.pop() {
            match kill.stage {
                Stage::Sent { .. } => {}
                _ => self.effects.push(Effect::Forget(kill.id)),
            }
        }
    }

    pub(super) fn kill_key(&mut self, key: KeyEvent) {
        let frame = std::sync::Arc::clone(&self.frame);
        let now = self.now;
        let Some(Layer::Kill(kill)) = self.layers.last_mut() else { return };
        let held = KeyModifiers::CONTROL | KeyModifiers::ALT;
        if key.modifiers.intersects(held) && !matches!(kill.stage, Stage::Typing { .. }) {
            return;
        }
        match key.code {
            KeyCode::Up => kill.scroll = kill.scroll.saturating_sub(1),
            KeyCode::Down if !matches!(kill.stage, Stage::Choosing { .. }) => {
                kill.scroll = kill.scroll.saturating_add(1);
            }
            KeyCode::PageUp => kill.scroll = kill.scroll.saturating_sub(10),
            KeyCode::PageDown => kill.scroll = kill.scroll.saturating_add(10),
            _ => {}
        }
        match &mut kill.stage {
            Stage::Typing { .. } => self.type_word(key),
            Stage::Choosing { .. } => self.choose_signal(key),
            Stage::Shown(proposal) => match key.code {
                KeyCode::Esc | KeyCode::Backspace | KeyCode::Char('q') => self.leave_kill(),
                KeyCode::Enter => match proposal.decision {
                    Decision::Allowed => self.carry_out(None),
                    Decision::Confirm => {
                        let proposal = proposal.clone();
                        kill.stage = Stage::Typing { proposal, input: Input::default(), wrong: false };
                    }
                    Decision::Refused => {}
                },
                KeyCode::Char('s') if kill.signal().is_some() => {
                    let at = kill.signal().map_or(Signal::TERM.0, |s| s.0);
                    let Stage::Shown(proposal) = &kill.stage else { return };
                    kill.stage = Stage::Choosing { proposal: proposal.clone(), at };
                }
                KeyCode::Char(ch) => {
                    let choice = CHOICES.iter().find(|c| c.key == ch && c.fits(&frame, kill));
                    if let Some(action) = choice.and_then(|c| (c.make)(&frame, kill)) {
                        self.propose(action);
                    }
                }
                _ => {}
            },
            Stage::Sent { .. } => match key.code {
                KeyCode::Char('9') if kill.offers_kill(now) => {
                    let tasks = kill.left();
                    self.propose(Action::Signal { tasks, signal: Signal::KILL });
                }
                KeyCode::Esc | KeyCode::Backspace | KeyCode::Enter | KeyCode::Char('q') => self.leave_kill(),
                _ => {}
            },
            Stage::Planning | Stage::Failed(_) => {
                if matches!(key.code, KeyCode::Esc | KeyCode::Backspace | KeyCode::Char('q')) {
                    self.leave_kill();
                }
            }
        }
    }

    fn type_word(&mut self, key: KeyEvent) {
        let Some(Layer::Kill(kill)) = self.layers.last_mut() else { return };
        let Stage::Typing { proposal, input, wrong } = &mut kill.stage else { return };
        match key.code {
            KeyCode::Esc => kill.stage = Stage::Shown(proposal.clone()),
            KeyCode::Enter => {
                let typed: Text = input.value().trim().into();
                if proposal.confirm.as_ref().is_some_and(|word| word.trim() == &*typed) {
                    self.carry_out(Some(typed));
                } else {
                    *wrong = true;
                    input.reset();
                }
            }
            _ => layer::edit(input, key),
        }
    }

    fn choose_signal(&mut self, key: KeyEvent) {
        let Some(Layer::Kill(kill)) = self.layers.last_mut() else { return };
        let Stage::Choosing { proposal, at } = &mut kill.stage else { return };
        match key.code {
            KeyCode::Up => *at = at.saturating_sub(1).max(1),
            KeyCode::Down => *at = (*at + 1).min(LAST_SIGNAL),
            KeyCode::Home => *at = 1,
            KeyCode::End => *at = LAST_SIGNAL,
            KeyCode::Esc | KeyCode::Backspace => kill.stage = Stage::Shown(proposal.clone()),
            KeyCode::Enter => {
                let chosen = Signal(*at);
                kill.stage = Stage::Shown(proposal.clone());
                if let Some(action) = kill.with_signal(chosen).filter(|action| *action != kill.action) {
                    self.propose(action);
                }
            }
            _ => {}
        }
    }

    /// The one place from which something is sent.
    fn carry_out(&mut self, typed: Option<Text>) {
        let now = self.now;
        let Some(Layer::Kill(kill)) = self.layers.last_mut() else { return };
        let Some(proposal) = kill.proposal().cloned() else { return };
        if let Action::Signal { tasks, .. } = &kill.action {
            self.tags.retain(|tag| !tasks.contains(tag));
        }
        self.effects.push(Effect::Act { id: kill.id, typed });
        kill.stage = Stage::Sent { proposal: Box::new(proposal), since: now };
        kill.scroll = 0;
    }

    /// Space: tags the selected task, or takes its tag away, and goes on to the next row.
    pub(super) fn tag(&mut self) {
        if let Some(key) = self.to_tag() {
            if !self.tags.remove(&key) {
                self.tags.insert(key);
            }
            self.view_mut().move_by(1);
        }
    }

    /// Tags of tasks that have ended go with them.
    pub(super) fn sweep_tags(&mut self) {
        if self.frame.snap.tasks.data().is_some() {
            let frame = std::sync::Arc::clone(&self.frame);
            self.tags.retain(|tag| frame.task(*tag).is_some());
        }
    }
}

/// The last signal of the list: the real-time ones are for programs that agreed on them.
pub(super) const LAST_SIGNAL: u8 = 31;
