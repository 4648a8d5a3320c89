//! Calm guests.

use crate::actors::{forever, name, ready};
use crate::kit::{Control, Stage, may, must};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

pub const IDLE: Control = Control { name: "idle_guest", root: true, ..Control::BASE };

/// Many idle keep-alive connections, a file copied again and again on a disk, and twice as many workers as processors.
pub const LOADED: Control = Control {
    name: "connections_copy_and_workers",
    root: true,
    tools: &["ip", "unshare", "mount", "umount"],
    actors: &[("work", work)],
    load: || {
        let mut stage = Stage::default();
        must("mount", &["-t", "ext4", "/dev/vda", "/mnt"]);
        stage.undo(|| may("umount", &["/mnt"]));
        stage.actor_in(&["unshare", "-n"], &["keep-alive", "1000"]);
        stage.actor(&["work", "/mnt"]);
        stage
    },
};

/// Small beside the disk: ext4 that runs short of free blocks writes back at once, and the copy hangs for it.
const FILE_BYTES: usize = 8 << 20;

fn work(args: &[&str]) {
    name("work");
    let dir = Path::new(args[0]);
    let (from, to) = (dir.join("from"), dir.join("to"));
    std::fs::write(&from, vec![b'x'; FILE_BYTES]).expect("write");
    thread::spawn(move || {
        loop {
            std::fs::copy(&from, &to).expect("copy");
        }
    });
    for _ in 0..2 * thread::available_parallelism().map_or(2, usize::from) {
        thread::spawn(|| {
            loop {
                let job = Command::new("sh").args(["-c", "seq 5000 | md5sum"]).stdout(Stdio::null()).status();
                assert!(job.is_ok_and(|s| s.success()), "a job");
            }
        });
    }
    ready();
    forever()
}
