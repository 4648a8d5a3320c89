//! Beside the judged look: is what is recorded what was live?
//!
//! The judged look keeps a recording of its own samples, of which `why --from` must say the same to the letter. On this
//! host another process looks, records, and compares each frame and the pictures of every pane.

use super::look::Look;
use super::score::Row;
use crate::screens::twin::compare_this_host;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long the other process looks.
const SPAN: Duration = Duration::from_secs(2);

/// The process that looks and compares; killed when dropped.
pub struct Twin(Option<Child>);

impl Twin {
    /// Starts it where it takes nothing from what is timed: on this host, not for a scoreboard.
    pub fn start(row: &Row, strict: bool) -> Self {
        let exe = std::env::current_exe().expect("own path");
        let start = || Command::new(exe).arg("--twin").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self((row.side == "host" && !strict).then(|| start().expect("start the twin")))
    }

    /// Compares what the judged look said with its recording, and hears what the other process found.
    pub fn end(mut self, look: &Look, row: &mut Row) {
        row.replayed += 1;
        row.unlike.extend(look.unlike_recorded().map(|what| format!("why --from: {what}")));
        let Some(child) = self.0.take() else { return };
        let out = child.wait_with_output().expect("the twin's end");
        if out.status.success() {
            let pictures: usize = String::from_utf8_lossy(&out.stdout).trim().parse().expect("a number of pictures");
            row.replayed += pictures;
        } else {
            row.unlike.push(String::from_utf8_lossy(&out.stderr).into_owned());
        }
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The other process.
pub fn run() {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).expect("die with the parent");
    let (frames, pictures) = compare_this_host(SPAN);
    println!("{}", frames + pictures);
}
