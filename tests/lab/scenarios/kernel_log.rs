//! What the kernel writes to its log when file systems and devices fail: errors set off by hand, a shutdown, a loop device
//! over a tmpfs that is too small, a device too large to make, forks that a pids cgroup refuses. Over and over: a line
//! from before a look is history.

use crate::actors::{name, ready};
use crate::kit::{Expect, Scenario, Stage, cgroup, may, must, scratch};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

pub const ALL: &[Scenario] = &[Scenario {
    name: "kernel_log_of_what_fails",
    root: true,
    tools: &["mkfs.ext4", "mount", "umount", "truncate", "losetup", "dd"],
    actors: &[("breaks", breaks)],
    cannot: || {
        let needed = ["/sys/fs/ext4", ZRAM].into_iter().find(|path| !Path::new(path).exists());
        needed.map(|path| format!("this kernel has no {path}"))
    },
    stage,
    expects,
    // The limit of which the log tells.
    may_say: &["cgroup.pids_limit"],
    // The kernel tells of failed allocations once in ten seconds.
    look: "12s",
    ..Scenario::BASE
}];

const ZRAM: &str = "/sys/class/zram-control/hot_add";

fn stage() -> Stage {
    let mut stage = Stage::default();
    let dir = scratch(&mut stage, "broken");
    let dir = dir.to_str().expect("utf-8").to_owned();
    must("mount", &["-t", "tmpfs", "-o", "size=40M", "whytop-lab", &dir]);
    let mounted = dir.clone();
    stage.undo(move || {
        for image in ["fs", "device"] {
            let loops = Command::new("losetup").args(["-n", "-O", "NAME", "-j", &format!("{mounted}/{image}")]).output();
            may("umount", &["-l", &format!("{mounted}/mnt")]);
            for device in loops.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default().lines() {
                may("losetup", &["-d", device.trim()]);
            }
        }
        may("umount", &["-l", &mounted]);
    });
    let pids = cgroup(&mut stage, "pids", "no-forks");
    stage.owns("loop");
    stage.owns("no-forks");
    stage.actor(&["breaks", &dir, pids.to_str().expect("utf-8")]);
    stage
}

fn expects(_: &Stage) -> Vec<Expect> {
    let device = |s: &Value| s["kind"] == "device" && s["name"].as_str().is_some_and(|n| n.contains("loop"));
    let on_loop = |id: &'static str| {
        Expect::critical(id)
            .about(device)
            .that("the kernel's own line", |f| f["evidence"].to_string().contains("kernel log"))
    };
    vec![
        on_loop("kmsg.fs_error").that("who met it", |f| f["message"].as_str().is_some_and(|m| m.contains("by breaks"))),
        on_loop("kmsg.journal_abort"),
        on_loop("kmsg.fs_readonly"),
        on_loop("kmsg.fs_shutdown"),
        on_loop("kmsg.io_error"),
        on_loop("kmsg.buffer_io_error"),
        Expect::critical("kmsg.vmalloc_failure")
            .that("who asked", |f| f["message"].as_str().is_some_and(|m| m.contains("breaks"))),
        Expect::critical("kmsg.fork_rejected").cgroup("no-forks"),
    ]
}

/// Breaks one thing after the other, again and again.
fn breaks(args: &[&str]) {
    let (dir, pids) = (Path::new(args[0]), Path::new(args[1]));
    name("breaks");
    let mount = dir.join("mnt");
    std::fs::create_dir(&mount).expect("a mount point");
    for n in 0_u64.. {
        fails_and_goes_read_only(dir, &mount);
        shuts_down(dir, &mount);
        has_no_room(dir);
        asks_for_too_much();
        forks_where_it_may_not(&pids.join(n.to_string()));
        if n == 0 {
            ready();
        }
        sleep(Duration::from_secs(1));
    }
}

/// A small ext4 file system; the name of its loop device.
fn ext4(dir: &Path, mount: &Path, options: &str) -> String {
    let image = dir.join("fs");
    let (image, mount) = (image.to_str().expect("utf-8"), mount.to_str().expect("utf-8"));
    must("truncate", &["-s", "16M", image]);
    must("mkfs.ext4", &["-q", "-F", image]);
    must("mount", &["-o", &format!("loop,{options}"), image, mount]);
    must("losetup", &["-n", "-O", "NAME", "-j", image]).trim().replace("/dev/", "")
}

fn fails_and_goes_read_only(dir: &Path, mount: &Path) {
    let device = ext4(dir, mount, "errors=remount-ro");
    std::fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "staged").expect("set off an error");
    must("umount", &[mount.to_str().expect("utf-8")]);
}

/// `EXT4_IOC_SHUTDOWN` without flushing the journal.
#[expect(unsafe_code, reason = "no safe wrapper makes this call")]
fn shuts_down(dir: &Path, mount: &Path) {
    use std::os::fd::AsRawFd as _;
    const EXT4_IOC_SHUTDOWN: libc::Ioctl = 0x8004_587d;
    ext4(dir, mount, "errors=continue");
    let no_log_flush = 2_u32;
    let root = std::fs::File::open(mount).expect("open the mount point");
    // SAFETY: the descriptor is open, and the kernel reads four bytes of a live u32.
    let done = unsafe { libc::ioctl(root.as_raw_fd(), EXT4_IOC_SHUTDOWN, &raw const no_log_flush) };
    assert_eq!(done, 0, "shut it down");
    drop(root);
    must("umount", &[mount.to_str().expect("utf-8")]);
}

/// A device larger than what it stands on: writes that find no room fail.
fn has_no_room(dir: &Path) {
    let image = dir.join("device");
    let image = image.to_str().expect("utf-8");
    must("truncate", &["-s", "128M", image]);
    let device = must("losetup", &["-f", "--show", image]);
    let out = format!("of={}", device.trim());
    let quietly = |args: &[&str]| Command::new("dd").args(args).stderr(Stdio::null()).status();
    quietly(&["if=/dev/zero", &out, "bs=1M", "count=64", "conv=fsync"]).ok();
    must("losetup", &["-d", device.trim()]);
    std::fs::remove_file(image).expect("remove the image");
}

/// A compressed device larger than memory: its table can't be made.
fn asks_for_too_much() {
    let n = std::fs::read_to_string(ZRAM).expect("make a device");
    std::fs::write(format!("/sys/block/zram{}/disksize", n.trim()), "200T").expect_err("it is too large");
    std::fs::write("/sys/class/zram-control/hot_remove", n.trim()).expect("remove the device");
}

/// The kernel tells of each cgroup once: it is a new one every time.
fn forks_where_it_may_not(group: &Path) {
    std::fs::create_dir(group).expect("make a cgroup");
    std::fs::write(group.join("pids.max"), "1").expect("set the limit");
    let script = "echo $$ > \"$0/cgroup.procs\"; /bin/sleep 0 & wait";
    Command::new("/bin/sh").args(["-c", script]).arg(group).stderr(Stdio::null()).status().expect("run a shell");
    std::fs::remove_dir(group).expect("remove the cgroup");
}
