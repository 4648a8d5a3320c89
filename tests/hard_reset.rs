//! A machine that records to a disk is stopped dead, again and again: every time the file opens and its end is there.
//!
//! `WHYTOP_RESETS=50 cargo test --test hard_reset -- --nocapture` for more of it, with figures.
#![allow(dead_code, reason = "the virtual machine's module has more than is used here")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

#[path = "lab/vm/machine/mod.rs"]
mod machine;

use machine::{Machine, Spec};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use whytop::record::Reader;

/// Longest wait for a guest to say something, s.
const PATIENCE_S: f64 = 180.0;
/// Of this machine's own beat, that the disk may lag behind when the plug is pulled: a sample that is being taken, and the
/// one before it that is being written. Under a loaded host a guest's samples come late.
const BEHIND_S: f64 = 15.0;

fn must(command: &str, args: &[&str], good: &[i32]) {
    let out = Command::new(command).args(args).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").output().unwrap();
    let code = out.status.code().unwrap();
    assert!(good.contains(&code), "{command} {args:?}: {code} {}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn a_machine_stopped_dead_leaves_a_recording_that_opens_and_lacks_a_sample_at_most() {
    if let Some(why) = machine::cannot() {
        println!("SKIPPED: {why}");
        return;
    }
    let resets: u64 = std::env::var("WHYTOP_RESETS").map_or(2, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk");
    must("truncate", &["-s", "64M", image.to_str().unwrap()], &[0]);
    must("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()], &[0]);
    let mut before = 0;
    for reset in 0..resets {
        // Spread over the beat of a sample: taken, written, synced.
        let wait = Duration::from_millis(1500 + reset * 7919 % 3000);
        let (stopped_s, copy) = run(&image, dir.path(), wait);
        let reader = Reader::open(&copy).unwrap();
        let check = reader.check().unwrap();
        let (_, last) = reader.span().unwrap();
        let snap = reader.at(last).unwrap().next_snapshot().unwrap().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "seconds since boot")]
        let behind = stopped_s - snap.at.0 as f64 / 1e9;
        println!(
            "reset {reset}: {} samples, {} bytes torn, {} gaps, the last sample {behind:.2} s before the stop",
            check.samples,
            reader.torn_tail(),
            check.gaps.len(),
        );
        assert!(check.samples > before, "nothing new was recorded: {} then {}", before, check.samples);
        assert!(check.gaps.is_empty(), "{:?}", check.gaps);
        assert!(behind < BEHIND_S, "{behind} s");
        before = check.samples;
    }
}

/// Boots the machine, lets it record for `wait` and stops it; gives its clock then, and a copy of its recording.
fn run(image: &Path, dir: &Path, wait: Duration) -> (f64, std::path::PathBuf) {
    let script = "mount -t ext4 /dev/vda /mnt || exit
        whytop record /mnt/r --interval 1s 2>&1 &
        while :; do echo clock $(cut -d' ' -f1 /proc/uptime); usleep 20000; done";
    let spec =
        Spec { run: script, disks: &[image], modules: &["virtio_pci", "virtio_blk", "ext4"], ..Spec::new("recorder") };
    let mut vm = Machine::boot(&spec).unwrap();
    vm.wait_for("whytop: records to", PATIENCE_S).unwrap();
    std::thread::sleep(wait);
    // The clock's last word before the stop.
    let mut clock = vm.wait_for("clock", PATIENCE_S).unwrap();
    while let Ok(Some(line)) = vm.line(0.0) {
        clock = line;
    }
    vm.stop_dead();
    let copy = dir.join("copy");
    let image = image.to_str().unwrap();
    // The filesystem's journal is played back, as a boot would; 1 = it was.
    must("e2fsck", &["-fy", image], &[0, 1]);
    must("debugfs", &["-R", &format!("dump /r {}", copy.display()), image], &[0]);
    (clock.trim_start_matches("clock").trim().parse().unwrap(), copy)
}
