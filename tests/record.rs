//! `record` and `info` as a person runs them: full disks, frozen disks, removed directories, kills.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use whytop::collect::now;
use whytop::snapshot::Moment;

/// Far more than anything here takes on a machine that has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// When patience ends.
struct Deadline(Moment);

impl Deadline {
    fn new() -> Self {
        Self(now())
    }

    fn left(&self) -> Duration {
        PATIENCE.saturating_sub(Duration::from_secs_f64(now().since(self.0)))
    }

    fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

/// A running `whytop record`.
struct Recorder {
    child: Child,
    words: Receiver<String>,
    heard: Vec<String>,
}

impl Recorder {
    fn start(file: &Path) -> Self {
        Self::start_in(file, None)
    }

    /// Starts it in a cgroup.
    fn start_in(file: &Path, cgroup: Option<&Path>) -> Self {
        let enter = cgroup.map(|path| format!("echo $$ > {}/tasks; ", path.display())).unwrap_or_default();
        let mut child = Command::new("sh")
            .args(["-c", &format!("{enter}exec \"$@\""), "sh", env!("CARGO_BIN_EXE_whytop")])
            .args(["record", "--interval", "100ms", "--max-cpu", "100"])
            .arg(file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, words) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).all(|line| tell.send(line).is_ok()));
        let mut recorder = Self { child, words, heard: Vec::new() };
        recorder.hear("records to");
        recorder
    }

    /// Waits for a line with `word`.
    fn hear(&mut self, word: &str) -> String {
        let deadline = Deadline::new();
        loop {
            let Ok(line) = self.words.recv_timeout(deadline.left()) else {
                panic!("no {word:?} after {:?}", self.heard)
            };
            self.heard.push(line.clone());
            if line.contains(word) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Deadline::new();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(!deadline.is_over(), "does not end; {:?}", self.heard);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn end(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn info(file: &Path) -> Value {
    let out = Command::new(env!("CARGO_BIN_EXE_whytop")).args(["info", "--json"]).arg(file).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn samples(file: &Path) -> u64 {
    info(file)["samples"].as_u64().unwrap()
}

/// Waits until the file holds more than `count` samples.
fn grows_beyond(file: &Path, count: u64) {
    let deadline = Deadline::new();
    while samples(file) <= count {
        assert!(!deadline.is_over(), "no more than {count} samples come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("SKIPPED: needs root to mount");
    }
    root
}

fn sh(script: &str) {
    let out = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A mounted filesystem of its own; unmounted at the end.
struct Mount(PathBuf);

impl Mount {
    fn new(dir: &Path, how: &str) -> Self {
        let mount = Self(dir.join("mount"));
        std::fs::create_dir(&mount.0).unwrap();
        sh(&format!("cd {}; {how} mount", dir.display()));
        mount
    }

    fn freeze(&self, flag: &str) {
        sh(&format!("fsfreeze {flag} {}", self.0.display()));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let path = self.0.display();
        let _ = Command::new("sh").args(["-c", &format!("fsfreeze -u {path} 2>/dev/null; umount -l {path}")]).status();
    }
}

#[test]
fn a_signal_closes_the_file_and_a_second_recorder_is_refused_and_then_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("host.whytop");
    let recorder = Recorder::start(&file);
    grows_beyond(&file, 2);
    let second = Command::new(env!("CARGO_BIN_EXE_whytop")).arg("record").arg(&file).output().unwrap();
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{words}");
    assert!(words.contains(&format!("another process ({}) records to it", recorder.child.id())), "{words}");
    assert!(recorder.end().success());
    let first = info(&file);
    assert_eq!((&first["closed"], &first["torn_tail"]), (&true.into(), &false.into()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let mut recorder = Recorder::start(&file);
    assert!(recorder.heard.last().unwrap().contains("goes on"), "{:?}", recorder.heard);
    grows_beyond(&file, first["samples"].as_u64().unwrap());
    // What has been sampled is written though the recorder is not there to close the file.
    recorder.signal(Signal::KILL);
    recorder.wait();
    let deadline = Deadline::new();
    while info(&file)["closed"] != true {
        assert!(!deadline.is_over(), "{}", info(&file));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_torn_tail_is_told_and_cut_off_and_the_recording_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("host.whytop");
    let recorder = Recorder::start(&file);
    grows_beyond(&file, 3);
    assert!(recorder.end().success());
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 5]).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_whytop")).arg("info").arg(&file).output().unwrap();
    assert!(String::from_utf8_lossy(&out.stderr).contains("torn tail"), "{out:?}");
    assert_eq!(info(&file)["torn_tail"], true);
    let before = samples(&file);
    let recorder = Recorder::start(&file);
    assert!(recorder.heard.last().unwrap().contains("cut off"), "{:?}", recorder.heard);
    grows_beyond(&file, before);
    assert!(recorder.end().success());
    assert_eq!(info(&file)["torn_tail"], false);
}

#[test]
fn a_file_that_is_no_recording_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("letter.txt");
    std::fs::write(&file, "Dear reader").unwrap();
    for command in ["record", "info"] {
        let out = Command::new(env!("CARGO_BIN_EXE_whytop")).arg(command).arg(&file).output().unwrap();
        let words = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{words}");
        assert!(words.contains("letter.txt: is no recording of whytop"), "{words}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"Dear reader");
}

#[test]
fn a_directory_that_vanishes_is_told_and_recording_goes_on_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("state");
    let file = inner.join("host.whytop");
    std::fs::create_dir(&inner).unwrap();
    let mut recorder = Recorder::start(&file);
    grows_beyond(&file, 2);
    std::fs::remove_dir_all(&inner).unwrap();
    recorder.hear("removed or replaced");
    std::fs::create_dir(&inner).unwrap();
    recorder.hear("records again");
    grows_beyond(&file, 2);
    assert!(recorder.end().success());
    assert!(info(&file)["gaps"].as_array().unwrap().iter().any(|gap| gap["samples"].as_u64() > Some(0)));
}

#[test]
fn a_full_disk_is_told_and_recording_goes_on_when_there_is_room() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = Mount::new(dir.path(), "mount -t tmpfs -o size=2m none");
    let (file, ballast) = (mount.0.join("host.whytop"), mount.0.join("ballast"));
    let mut recorder = Recorder::start(&file);
    grows_beyond(&file, 2);
    // More than fits: what fits of it fills the disk.
    let _ = std::fs::write(&ballast, vec![1; 4 << 20]);
    recorder.hear("No space left");
    let before = samples(&file);
    std::fs::remove_file(&ballast).unwrap();
    let words = recorder.hear("records again");
    assert!(words.contains("lost"), "{words}");
    grows_beyond(&file, before);
    assert!(recorder.end().success());
    let info = info(&file);
    let gap = info["gaps"].as_array().unwrap().iter().find(|gap| gap["samples"].as_u64() > Some(0));
    assert!(gap.unwrap()["why"].as_str().unwrap().contains("No space left"), "{info}");
    assert_eq!(info["torn_tail"], false);
}

#[test]
fn a_frozen_disk_stops_neither_the_sampling_nor_the_end() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = "truncate -s 32M disk; mkfs.ext4 -q -F disk; mount -o loop disk";
    let mount = Mount::new(dir.path(), disk);
    let file = mount.0.join("host.whytop");
    let mut recorder = Recorder::start(&file);
    grows_beyond(&file, 2);
    mount.freeze("-f");
    recorder.hear("has not answered");
    mount.freeze("-u");
    recorder.hear("answers again");
    let before = samples(&file);
    grows_beyond(&file, before);
    mount.freeze("-f");
    recorder.hear("has not answered");
    recorder.signal(Signal::TERM);
    assert_eq!(recorder.wait().code(), Some(1), "{:?}", recorder.heard);
    recorder.hear("writes what it has when it does");
    mount.freeze("-u");
    // The process that was left behind writes what it has, and closes the file.
    let deadline = Deadline::new();
    while info(&file)["closed"] != true {
        assert!(!deadline.is_over(), "{}", info(&file));
        std::thread::sleep(Duration::from_millis(50));
    }
    let info = info(&file);
    assert_eq!(info["gaps"], Value::Array(Vec::new()), "nothing was lost: {info}");
}

/// A memory cgroup (v1) of its own, removed at the end with what is left in it.
struct Tight(PathBuf);

impl Tight {
    fn new() -> Option<Self> {
        let below = Path::new("/sys/fs/cgroup/memory");
        if !is_root() || !below.join("memory.limit_in_bytes").exists() {
            println!("SKIPPED: needs root and cgroup v1 memory");
            return None;
        }
        let tight = Self(below.join(format!("whytop-record-{}", std::process::id())));
        std::fs::create_dir(&tight.0).unwrap();
        Some(tight)
    }

    fn number(&self, file: &str) -> u64 {
        std::fs::read_to_string(self.0.join(file)).unwrap().trim().parse().unwrap()
    }

    /// Runs a shell script in it.
    fn run(&self, script: &str) -> ExitStatus {
        let script = format!("echo $$ > {}/tasks; {script}", self.0.display());
        Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status().unwrap()
    }
}

impl Drop for Tight {
    fn drop(&mut self) {
        let deadline = Deadline::new();
        while std::fs::remove_dir(&self.0).is_err() && !deadline.is_over() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn it_goes_on_while_its_neighbours_are_killed_for_memory() {
    let Some(tight) = Tight::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("host.whytop");
    let recorder = Recorder::start_in(&file, Some(&tight.0));
    grows_beyond(&file, 10);
    // As much again as it needs: what others take beyond that gets them killed. They are named as victims, for root of
    // a container may not spare the recorder.
    let limit = tight.number("memory.usage_in_bytes") + (48 << 20);
    std::fs::write(tight.0.join("memory.limit_in_bytes"), limit.to_string()).unwrap();
    let before = samples(&file);
    for _ in 0..8 {
        let victim = tight.run("echo 1000 > /proc/self/oom_score_adj; exec tail /dev/zero");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&victim), Some(9), "{victim:?}");
    }
    assert!(tight.number("memory.failcnt") > 0);
    grows_beyond(&file, before + 10);
    assert!(recorder.end().success());
    let info = info(&file);
    assert_eq!((&info["gaps"], &info["torn_tail"]), (&Value::Array(Vec::new()), &false.into()), "{info}");
}
