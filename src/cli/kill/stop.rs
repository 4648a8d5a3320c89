//! Ctrl-C while outcomes are watched: the watch ends, and what was seen by then is told and recorded.

use std::future::poll_fn;
use std::task::Poll;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask a program to leave, caught.
pub struct Interrupted {
    runtime: Runtime,
    signals: Vec<Signal>,
    seen: bool,
}

impl Interrupted {
    /// Catches them from here on.
    pub fn catch() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let inside = runtime.enter();
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let signals = kinds.into_iter().map(signal).collect::<Result<_, _>>()?;
        drop(inside);
        Ok(Self { runtime, signals, seen: false })
    }

    /// Whether one has come.
    pub fn is(&mut self) -> bool {
        let Self { runtime, signals, seen } = self;
        runtime.block_on(async {
            // One turn of the driver, so that what has come is told.
            tokio::task::yield_now().await;
            for signal in signals {
                let came = poll_fn(|cx| Poll::Ready(matches!(signal.poll_recv(cx), Poll::Ready(Some(()))))).await;
                *seen |= came;
            }
        });
        *seen
    }
}
