//! `whytop watch` beside a scenario: the live screens' view, with the moment of each change.

use super::look::whytop;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Seconds since boot.
pub fn uptime_s() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    #[expect(clippy::cast_precision_loss, reason = "seconds of a day, nanoseconds")]
    let secs = t.tv_sec as f64 + t.tv_nsec as f64 / 1e9;
    secs
}

type Lines = Arc<(Mutex<Vec<Value>>, Condvar)>;

/// A running `whytop watch --json`; ended when dropped.
pub struct Watcher {
    child: Child,
    lines: Lines,
}

impl Watcher {
    /// Starts it and waits for its first look.
    pub fn start() -> Self {
        let mut child = whytop(&["watch", "--json"]).stdout(Stdio::piped()).spawn().expect("start whytop watch");
        let lines = Lines::default();
        let (out, into) = (child.stdout.take().expect("piped"), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or_else(|e| panic!("watch: {e}: {line}"));
                into.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                into.1.notify_all();
            }
        });
        let watcher = Self { child, lines };
        let looked = watcher.wait(30.0, |lines| lines.iter().any(|l| l["event"] == "looking").then_some(()));
        assert!(looked.is_some(), "whytop watch took no first look in 30 s");
        watcher
    }

    /// Everything it said up to now.
    pub fn lines(&self) -> Vec<Value> {
        self.lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until what it said satisfies `done`, at most `secs`.
    pub fn wait<T>(&self, secs: f64, done: impl Fn(&[Value]) -> Option<T>) -> Option<T> {
        let until = uptime_s() + secs;
        let mut lines = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = until - uptime_s();
            if let Some(done) = done(&lines) {
                return Some(done);
            }
            if left <= 0.0 {
                return None;
            }
            let waited = self.lines.1.wait_timeout(lines, Duration::from_secs_f64(left));
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        self.child.wait().ok();
    }
}

/// Same finding: id, subject, remote. Names may come late, so only the keys of a subject count.
pub fn same(a: &Value, b: &Value) -> bool {
    a["id"] == b["id"] && a["remote"] == b["remote"] && key(&a["subject"]) == key(&b["subject"])
}

fn key(subject: &Value) -> Vec<Value> {
    let keys = ["kind", "inode", "pid", "start_ticks", "proto", "local", "netns", "addr", "port", "path", "cpu"];
    let named = ["slab", "iface", "wchan", "device"].iter().any(|k| subject["kind"] == *k);
    let name = named.then(|| subject["name"].clone());
    keys.iter().map(|k| subject[*k].clone()).chain(name).collect()
}

/// Findings that stand after these lines.
pub fn standing(lines: &[Value]) -> Vec<Value> {
    let mut open: Vec<Value> = Vec::new();
    for line in lines.iter().filter(|l| l["finding"].is_object()) {
        let finding = &line["finding"];
        open.retain(|f| !same(f, finding));
        if line["event"] != "closed" {
            open.push(finding.clone());
        }
    }
    open
}
