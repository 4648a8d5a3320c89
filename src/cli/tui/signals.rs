//! Signals that end the program, waited for on a thread of their own: a terminal that takes no more output (Ctrl-S, a
//! dead link) holds the screen's thread in a write, and must not keep the program alive.

use super::terminal;
use std::io;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long the screen's thread gets to leave by itself.
const PATIENCE: Duration = Duration::from_secs(1);
const STACK_BYTES: usize = 256 * 1024;

/// Starts the thread. What it gives turns from 0 to the number of the signal that came.
///
/// # Errors
/// When no thread can be started or no handler installed.
pub fn watch() -> io::Result<watch::Receiver<i32>> {
    let (tell, told) = watch::channel(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let inside = runtime.enter();
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(inside);
    let body = move || {
        let kind = runtime.block_on(async {
            tokio::select! {
                _ = hangup.recv() => SignalKind::hangup(),
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = quit.recv() => SignalKind::quit(),
                _ = terminate.recv() => SignalKind::terminate(),
            }
        });
        let _ = tell.send(kind.as_raw_value());
        std::thread::sleep(PATIENCE);
        terminal::leave_without_writing();
        std::process::exit(super::status_of(kind.as_raw_value()));
    };
    std::thread::Builder::new().name("signals".into()).stack_size(STACK_BYTES).spawn(body)?;
    Ok(told)
}
