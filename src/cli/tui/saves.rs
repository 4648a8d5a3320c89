//! What the screens have written to files: the ring, pictures. Others do it, and the screens never wait for them.

use crate::collect::{now, wall_unix_ns};
use crate::record::{Helper, Keep, Link, Report, Save};
use crate::snapshot::Moment;
use crate::view::num;
use jiff::Timestamp;
use std::path::PathBuf;

/// A file that takes longer is told once.
const SLOW_S: f64 = 3.0;
/// Between two looks at the end, ms.
const STEP_MS: u32 = 20;

/// Files on their way.
pub struct Saves {
    /// Where they go; `None` where no directory is known.
    dir: Option<PathBuf>,
    seats: Vec<Seat>,
    /// What was written, in words.
    done: Vec<String>,
}

/// A process that writes, and what it has to.
struct Seat {
    link: Link,
    job: Option<Job>,
}

struct Job {
    /// What it is, as `the last 10 min`.
    what: String,
    since: Moment,
    is_told: bool,
}

impl Saves {
    /// Saves below `dir`, by processes that write; each does one thing at a time.
    pub fn new(dir: Option<PathBuf>, helpers: Vec<Helper>) -> Self {
        let seats = helpers.into_iter().map(|helper| Seat { link: Link::new(vec![helper]), job: None }).collect();
        Self { dir, seats, done: Vec::new() }
    }

    /// Has files written that are named by `word` and the time; `what` they are, in words. A later word tells what came
    /// of it.
    ///
    /// # Errors
    /// Why it can't be done now, in words.
    pub fn save(
        &mut self,
        what: String,
        word: &str,
        parts: Vec<(String, Vec<u8>)>,
        keep: Option<Keep>,
    ) -> Result<(), String> {
        let dir = self.dir.clone().ok_or("not saved: no directory is known; set state_dir in the configuration")?;
        if self.seats.is_empty() {
            return Err("not saved: no process that writes could be started".into());
        }
        let Some(seat) = self.seats.iter_mut().find(|seat| seat.job.is_none()) else {
            return Err("not saved: the disk does not answer, and every process that writes waits for it".into());
        };
        seat.link.save(Save { dir, stem: format!("{word}-{}", stamp(wall_unix_ns())), parts, keep });
        seat.job = Some(Job { what, since: now(), is_told: false });
        Ok(())
    }

    /// Whether something is on its way.
    pub fn is_busy(&self) -> bool {
        self.seats.iter().any(|seat| seat.job.is_some())
    }

    /// What has become of what was to be saved, in words.
    pub fn hear(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        for seat in &mut self.seats {
            let Some(job) = &mut seat.job else { continue };
            if !job.is_told && now().since(job.since) > SLOW_S {
                job.is_told = true;
                let pid = seat.link.pid().unwrap_or_default();
                words.push(format!("the disk does not answer: process {pid} saves {} when it does", job.what));
            }
            for report in seat.link.reports() {
                let (word, is_done) = match report {
                    Report::Saved { paths, bytes, removed } => {
                        (format!("saved {}: {}", job.what, written(&paths, bytes, removed)), true)
                    }
                    Report::NotSaved { dir, why } => {
                        (format!("{} not saved in {}: {why}", job.what, dir.display()), false)
                    }
                    Report::Died => (format!("{} not saved: the process that writes was ended", job.what), false),
                    _ => continue,
                };
                if is_done {
                    self.done.push(word.clone());
                }
                words.push(word);
                seat.job = None;
                break;
            }
        }
        // One that died has no successor.
        self.seats.retain(|seat| seat.link.pid().is_some());
        words
    }

    /// Waits for what is on its way, so long at most; what was saved since the start and what was not, in words.
    pub fn end(mut self, wait_ms: u32) -> Vec<String> {
        for _ in 0..=wait_ms / STEP_MS {
            self.hear();
            let Some(busy) = self.seats.iter().find(|seat| seat.job.is_some()) else { break };
            busy.link.wait(STEP_MS);
        }
        let mut words = self.done;
        for seat in &self.seats {
            let Some(job) = &seat.job else { continue };
            let pid = seat.link.pid().unwrap_or_default();
            words.push(match seat.link.waiting_bytes() {
                0 => format!("the disk does not answer: process {pid} saves {} when it does", job.what),
                _ => format!("{} not saved: the disk does not answer", job.what),
            });
        }
        words
    }
}

/// Where something is, and how large.
fn written(paths: &[PathBuf], bytes: u64, removed: usize) -> String {
    let Some((first, others)) = paths.split_first() else { return String::new() };
    let mut names = first.display().to_string();
    for other in others {
        names.push_str(" and .");
        names.push_str(&other.extension().unwrap_or_default().to_string_lossy());
    }
    let room = match removed {
        0 => String::new(),
        1 => "; the oldest went".into(),
        n => format!("; the {n} oldest went"),
    };
    format!("{names}, {}{room}", num::prose_bytes(bytes))
}

/// A time in the name of a file: `20261122T031207Z`.
fn stamp(unix_ns: i64) -> String {
    let at = Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or_default();
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}
