//! What carries out, on the live host, what the screens ask for. A replay has no hands.

use super::deep::DeepReads;
use crate::app::{Effect, Event};
use crate::cli::setup::Host;
use crate::collect::detail::DeepReader;
use std::io;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The threads that do it, and what they answer.
pub struct Hands {
    deep: DeepReads,
    answer: UnboundedSender<Event>,
    answers: UnboundedReceiver<Event>,
}

impl Hands {
    /// Starts the threads.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(host: &mut Host) -> io::Result<Self> {
        let (answer, answers) = unbounded_channel();
        let reader = DeepReader::new(&host.roots, host.startup.readers.deep.take());
        let tell = answer.clone();
        let deep = DeepReads::start(reader, move |deep| {
            let _ = tell.send(Event::Deep(Box::new(deep)));
        })?;
        Ok(Self { deep, answer, answers })
    }

    /// The next answer.
    pub async fn next(&mut self) -> Option<Event> {
        self.answers.recv().await
    }

    /// Carries out what is not the screen's own affair.
    pub fn carry_out(&mut self, effect: &Effect) {
        match effect {
            Effect::Read(task, kind) => self.deep.ask(*task, *kind),
            Effect::StopReading => self.deep.stop(),
            Effect::Plan { id, .. } => {
                let plan = Err("acting is not part of this build".into());
                let _ = self.answer.send(Event::Planned { id: *id, plan });
            }
            _ => {}
        }
    }
}
