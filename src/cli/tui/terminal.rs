//! The terminal: taken once, given back on every way out.

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use rustix::process::{Signal, getpid, kill_process};
use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, Stdout};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The screen that is drawn on: a whole screen is one write. Never dropped: that would show the cursor, and panic where
/// the terminal has gone; [`leave`] does what is needed.
pub type Screen = ManuallyDrop<Terminal<CrosstermBackend<BufWriter<Stdout>>>>;

/// Room for a whole screen of changed cells.
const WRITE_BYTES: usize = 64 * 1024;

static TAKEN: AtomicBool = AtomicBool::new(false);
/// What other threads' panics said while the screen was taken.
static PANICS: Mutex<String> = Mutex::new(String::new());

/// Why live screens can't be drawn here; `None` when they can.
pub fn unfit() -> Option<&'static str> {
    let term = std::env::var_os("TERM").unwrap_or_default();
    // Keys come from the controlling terminal where standard input is a pipe.
    let keys = || io::stdin().is_terminal() || std::fs::File::open("/dev/tty").is_ok();
    if !io::stdout().is_terminal() {
        Some("standard output is no terminal")
    } else if !keys() {
        Some("there is no terminal to read keys from")
    } else if term == "dumb" || term.is_empty() {
        Some("TERM is dumb or not set, nothing can be drawn")
    } else {
        None
    }
}

/// Takes the terminal: raw mode, alternate screen. [`leave`] gives it back.
///
/// # Errors
/// When it is none, or has gone.
pub fn enter() -> io::Result<Screen> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    let mut out = BufWriter::with_capacity(WRITE_BYTES, io::stdout());
    // Not Terminal::clear: it asks the terminal where the cursor is, and one that doesn't answer would be lost.
    execute!(out, EnterAlternateScreen, Clear(ClearType::All), Hide)?;
    Terminal::new(CrosstermBackend::new(out)).map(ManuallyDrop::new)
}

/// Gives the terminal back. Does nothing when it is not taken; a terminal that has gone is no error.
pub fn leave() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let panics = std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner));
        crate::cli::out::tell(&panics);
    }
}

/// Gives the terminal back, stops until the shell says to go on, and takes it again.
///
/// # Errors
/// As [`enter`].
pub fn suspend() -> io::Result<Screen> {
    leave();
    kill_process(getpid(), Signal::TSTP)?;
    // Another thread may take the signal: this one must not draw before all stand still.
    std::thread::sleep(Duration::from_millis(100));
    enter()
}

/// Gives back only the line settings, which never waits for a terminal that takes no more output.
pub fn leave_without_writing() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
    }
}

/// From now on a panic of this thread gives the terminal back before it is told; those of other threads, which the
/// screen survives, are told when it is given back.
pub fn install_panic_hook() {
    let screen_thread = std::thread::current().id();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == screen_thread {
            leave();
        } else if TAKEN.load(Ordering::SeqCst) {
            let mut panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writeln!(panics, "whytop: thread {:?}: {info}", std::thread::current().name());
            return;
        }
        before(info);
    }));
}
