//! What carries out, on the live host, what the screens ask for. A replay has no hands.

use super::acts::Acts;
use super::deep::DeepReads;
use crate::act::{Act, Lookup, Options};
use crate::app::{Effect, Event};
use crate::cli::setup::Host;
use crate::collect::detail::DeepReader;
use crate::snapshot::{ActionRecord, Snapshot};
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The threads that do it, and what they answer.
pub struct Hands {
    deep: DeepReads,
    acts: Acts,
    answers: UnboundedReceiver<Event>,
}

impl Hands {
    /// Starts the threads; `keep` gets what is done, to be recorded.
    ///
    /// # Errors
    /// When no thread can be started, or `/proc` can't be opened.
    pub fn start(host: &mut Host, keep: impl Fn(ActionRecord) + Send + 'static) -> io::Result<Self> {
        let (answer, answers) = unbounded_channel();
        let readers = &mut host.startup.readers;
        let reader = DeepReader::new(&host.roots, readers.deep.take());
        let lookup = Lookup { tasks: readers.act_tasks.take(), files: readers.act_files.take() };
        let options = Options {
            read_only: host.settings.read_only,
            by: "tui",
            audit: host.settings.audit.clone(),
            ..Options::default()
        };
        let act = Act::new(&host.roots, lookup, options)?;
        let tell = answer.clone();
        let deep = DeepReads::start(reader, move |deep| {
            let _ = tell.send(Event::Deep(Box::new(deep)));
        })?;
        let told = move |told| {
            let _ = answer.send(told);
        };
        let acts = Acts::start(act, told, keep)?;
        Ok(Self { deep, acts, answers })
    }

    /// The next answer.
    pub async fn next(&mut self) -> Option<Event> {
        self.answers.recv().await
    }

    /// Carries out what is not the screen's own affair; `known` is what the last look saw.
    pub fn carry_out(&mut self, effect: Effect, known: Option<Arc<Snapshot>>) {
        match effect {
            Effect::Read(task, kind) => self.deep.ask(task, kind),
            Effect::StopReading => self.deep.stop(),
            Effect::Plan { id, action } => self.acts.plan(id, action, known),
            Effect::Act { id, typed } => self.acts.act(id, typed),
            Effect::Forget(id) => self.acts.forget(id),
            _ => {}
        }
    }
}
