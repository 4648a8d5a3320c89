//! Recordings of the stories, for the pictures and the reports: `cargo test --test lab -- --tapes DIR [NAMES]`.
//!
//! A machine of their own plays them: its few processes are all that a recording holds, and nothing of this host.

use super::boots::Disk;
use super::machine::{Machine, Spec, cannot};
use crate::kit::{Stage, must};
use crate::scenarios::{story_a, story_b, story_c, story_d, story_e};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// One recording.
struct Tape {
    name: &'static str,
    /// The host's name in it.
    host: &'static str,
    stage: fn() -> Stage,
}

const TAPES: &[Tape] = &[
    Tape { name: "a-syn-sent", host: "web-17", stage: story_a::without_a_jvm },
    Tape { name: "b-time-wait", host: "sched-2", stage: story_b::ALL[0].stage },
    Tape { name: "c-slab", host: "node-31", stage: || story_c::fills(40 << 20) },
    Tape { name: "d-oom-spiral", host: "dock-4", stage: || story_d::by_hand("/vol", CONTAINER) },
    Tape { name: "e-udp-drops", host: "cluster-8", stage: story_e::ALL[0].stage },
];

/// What an engine would have called story D's container.
const CONTAINER: &str = "3f1c8a52d9e04b67a1c2f38e95d07b46c0aa17e2b5d94f8361e7c20d8b9f5a34";

/// Calm before, trouble, calm after, seconds.
const SPANS_S: [u64; 3] = [8, 20, 8];
/// Longest silence of a guest, seconds.
const SILENT_S: f64 = 240.0;

/// Boots a machine for each recording that is asked for, and leaves `DIR/NAME.wtr`.
pub fn make(dir: &str, names: &[String]) {
    if let Some(why) = cannot() {
        panic!("{why}");
    }
    std::fs::create_dir_all(dir).expect("the directory for recordings");
    for tape in TAPES.iter().filter(|t| names.is_empty() || names.iter().any(|n| t.name.contains(n.as_str()))) {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let [disk, volume] = ["disk", "volume"].map(|n| Disk::Ext4.make(&scratch.path().join(n)).expect("a disk"));
        let mounts = "mkdir /vol; mount -t ext4 /dev/vda /mnt; mount -t ext4 /dev/vdb /vol";
        let lab = format!("WHYTOP_LAB_PLAIN=1 exec /bin/lab --tape {}", tape.name);
        let run = format!("hostname {}; {mounts}; {lab}", tape.host);
        let modules = &["tcp_diag", "udp_diag", "virtio_pci", "virtio_blk", "veth", "sch_tbf"];
        let spec = Spec { run: &run, disks: &[&disk, &volume], modules, memory_mb: 2048, ..Spec::new(tape.name) };
        let mut machine = Machine::boot(&spec).expect("a machine");
        machine.wait_for("recorded", SILENT_S).expect("the recording");
        while machine.line(SILENT_S).expect("the end of the machine").is_some() {}
        let out = Path::new(dir).join(format!("{}.wtr", tape.name));
        let image = disk.to_str().expect("utf-8");
        must("debugfs", &["-R", &format!("dump /{}.wtr {}", tape.name, out.display()), image]);
        println!("{}: {} bytes", out.display(), std::fs::metadata(&out).map_or(0, |m| m.len()));
    }
}

/// The guest's part.
pub fn guest(name: &str) {
    let tape = TAPES.iter().find(|t| t.name == name).expect("a tape of the table");
    let file = format!("/mnt/{name}.wtr");
    let mut recorder = Command::new("/bin/whytop").args(["record", &file]).spawn().expect("start the recorder");
    let [before, during, after] = SPANS_S.map(Duration::from_secs);
    sleep(before);
    let stage = (tape.stage)();
    sleep(during);
    drop(stage);
    sleep(after);
    kill_process(Pid::from_child(&recorder), Signal::TERM).expect("end the recorder");
    recorder.wait().expect("the recorder's end");
    must("sync", &[]);
    must("umount", &["/mnt"]);
    println!("recorded");
}
