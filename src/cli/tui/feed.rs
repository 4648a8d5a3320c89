//! The thread between a source and the screen: snapshots in, frames out, only the newest kept.

use crate::engine::Engine;
use crate::model::Frame;
use crate::snapshot::Subject;
use crate::source::Source;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use tokio::sync::watch;

/// Stack of the thread: rules join whole snapshots.
const STACK_BYTES: usize = 1024 * 1024;

/// The screen's end of a feed. Dropping it ends the thread after its sample.
pub struct Feed {
    frames: watch::Receiver<Arc<Frame>>,
    focus: Sender<Option<Subject>>,
}

impl Feed {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(source: Box<dyn Source>, engine: Engine) -> io::Result<Self> {
        let (publish, frames) = watch::channel(Arc::default());
        let (focus, wishes) = channel();
        let body = move || run(source, engine, &wishes, &publish);
        std::thread::Builder::new().name("feed".into()).stack_size(STACK_BYTES).spawn(body)?;
        Ok(Self { frames, focus })
    }

    /// Waits for a frame newer than the last one taken; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Arc<Frame>> {
        self.frames.changed().await.ok()?;
        Some(Arc::clone(&self.frames.borrow_and_update()))
    }

    /// Asks for the detail of a subject, at once.
    pub fn focus(&self, subject: Option<Subject>) {
        let _ = self.focus.send(subject);
    }
}

fn run(
    mut source: Box<dyn Source>,
    mut engine: Engine,
    wishes: &Receiver<Option<Subject>>,
    publish: &watch::Sender<Arc<Frame>>,
) {
    loop {
        match wishes.recv_timeout(source.due_in()) {
            Ok(wish) => {
                let wish = wishes.try_iter().last().unwrap_or(wish);
                source.set_focus(match &wish {
                    Some(Subject::Task(key)) => Some(*key),
                    _ => None,
                });
                engine.set_focus(wish);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(snap) = source.look() else { return };
        if publish.send(Arc::new(engine.step(snap))).is_err() {
            return;
        }
    }
}
