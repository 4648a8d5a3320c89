//! The thread that makes deep reads: one at a time, each given up when another is asked for.

use crate::collect::detail::DeepReader;
use crate::snapshot::{Deep, DeepKind, TaskKey};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};

const STACK_BYTES: usize = 256 * 1024;

/// The screen's end of the thread. Dropping it ends the thread after its read.
pub struct DeepReads {
    asks: Sender<(TaskKey, DeepKind, Arc<AtomicBool>)>,
    stop: Arc<AtomicBool>,
}

impl DeepReads {
    /// Starts the thread; `answer` hears of every read.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(mut reader: DeepReader, mut answer: impl FnMut(Deep) + Send + 'static) -> io::Result<Self> {
        let (asks, inbox) = channel::<(TaskKey, DeepKind, Arc<AtomicBool>)>();
        let body = move || {
            while let Ok((task, kind, stop)) = inbox.recv() {
                let mut tell = |state| answer(Deep { task, kind, state });
                if let Some(state) = reader.read(task, kind, &stop, &mut tell) {
                    tell(state);
                }
            }
        };
        std::thread::Builder::new().name("deep-reads".into()).stack_size(STACK_BYTES).spawn(body)?;
        Ok(Self { asks, stop: Arc::default() })
    }

    /// Asks for a read; one under way is given up.
    pub fn ask(&mut self, task: TaskKey, kind: DeepKind) {
        self.stop();
        self.stop = Arc::default();
        let _ = self.asks.send((task, kind, Arc::clone(&self.stop)));
    }

    /// Gives up the read under way.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
