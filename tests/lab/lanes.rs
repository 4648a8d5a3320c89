//! Scenarios beside one another: those whose every finding is about their own tasks, cgroups and namespaces.
//!
//! A lane is this binary run again (`--lane NAMES…`), so that what is a scenario's own stems from its lane; it reports
//! as a virtual machine does. Those of one file share what they make on the host, and so a lane.

use crate::Work;
use crate::kit::Played;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;

/// Lanes at a time: scenarios mostly wait, but two cores are not many.
const LANES: usize = 3;

/// Plays `files` of scenarios and reports each; one that a lane did not report is in the answer.
pub fn play(files: &[Vec<Work>], mut report: impl FnMut(&Work, Played)) -> Vec<Work> {
    let mut missing: Vec<Work> = files.iter().flatten().copied().collect();
    let queue = Mutex::new(files.iter());
    let (send, played) = channel();
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            let (send, queue) = (send.clone(), &queue);
            scope.spawn(move || {
                let next = || queue.lock().expect("no lane panics with it").next();
                while let Some(file) = next() {
                    lane(file, |name, played| send.send((name, played)).expect("reported to the end"));
                }
            });
        }
        drop(send);
        for (name, played) in played {
            if let Some(at) = missing.iter().position(|work| work.name() == name) {
                report(&missing.remove(at), played);
            }
        }
    });
    missing
}

fn lane(works: &[Work], mut played: impl FnMut(String, Played)) {
    let exe = std::env::current_exe().expect("own path");
    let names = works.iter().map(Work::name);
    let mut lane = Command::new(exe)
        .arg("--lane")
        .args(names)
        .stdout(Stdio::piped())
        .spawn()
        .expect("start a lane of this binary");
    let out = lane.stdout.take().expect("piped");
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        if let Some((name, heard)) = Played::heard(&line) {
            played(name, heard);
        }
    }
    lane.wait().ok();
}

/// A lane's part.
pub fn run(names: &[String]) {
    for work in crate::all().filter(|work| names.iter().any(|name| name == work.name())) {
        println!("{}", work.play("host", false).line(work.name()));
    }
}
