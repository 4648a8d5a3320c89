//! Recordings of the stories, for the pictures and the reports: `cargo test --test lab -- --tapes DIR [NAMES]`.
//!
//! A machine of their own plays them: its few processes are all that a recording holds, and nothing of this host.

use super::boots::Disk;
use super::machine::{Machine, Spec, cannot};
use super::scenarios::cgroup_limits;
use crate::kit::{Scenario, Stage, must};
use crate::scenarios as host;
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
    /// Staged at once.
    scenarios: &'static [Scenario],
}

const TAPES: &[Tape] = &[
    Tape { name: "a-syn-sent", host: "web-17", scenarios: host::syn_sent::ALL },
    Tape { name: "b-time-wait", host: "sched-2", scenarios: host::time_wait::ALL },
    Tape { name: "c-slab", host: "node-31", scenarios: host::dying_cgroups::ALL },
    Tape {
        name: "d-oom-spiral",
        host: "dock-4",
        scenarios: &[cgroup_limits::PARENT_OOM, host::d_state_and_zombies::ZOMBIES],
    },
    Tape { name: "e-udp-drops", host: "cluster-8", scenarios: host::udp_drops::ALL },
];

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
        let disk = Disk::Ext4.make(&scratch.path().join("disk")).expect("a disk");
        let run = format!("hostname {}; mount -t ext4 /dev/vda /mnt; exec /bin/lab --tape {}", tape.host, tape.name);
        let modules = &["tcp_diag", "udp_diag", "virtio_pci", "virtio_blk"];
        let spec = Spec { run: &run, disks: &[&disk], modules, ..Spec::new(tape.name) };
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
    let stages: Vec<Stage> = tape.scenarios.iter().map(|s| (s.stage)()).collect();
    sleep(during);
    drop(stages);
    sleep(after);
    kill_process(Pid::from_child(&recorder), Signal::TERM).expect("end the recorder");
    recorder.wait().expect("the recorder's end");
    must("sync", &[]);
    must("umount", &["/mnt"]);
    println!("recorded");
}
