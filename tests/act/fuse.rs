//! A process that waits for a FUSE server which has read its request and never answers.
#![expect(unsafe_code, reason = "mounts a file system of its own")]

use crate::kit::{self, Case, Undo, Victim, Want, expect, root};
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use whytop::snapshot::{Decision, Effect, OutcomeKind, Signal};

pub const ALL: &[Case] = &[root("waiting on FUSE", &[], waiting)];

const FUSE_INIT: u32 = 26;

fn waiting() -> Result<String, String> {
    let Ok(mut device) = OpenOptions::new().read(true).write(true).open("/dev/fuse") else {
        return Err("SKIPPED: no /dev/fuse".into());
    };
    let dir = tempfile::tempdir().unwrap();
    let point = std::ffi::CString::new(dir.path().to_str().unwrap()).unwrap();
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    let options = std::ffi::CString::new(options).unwrap();
    // SAFETY: all pointers are to strings that outlive the call.
    let mounted = unsafe {
        libc::mount(
            c"whytop-test".as_ptr(),
            point.as_ptr(),
            c"fuse".as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV,
            options.as_ptr().cast(),
        )
    };
    if mounted != 0 {
        return Err(format!("SKIPPED: mount: {}", std::io::Error::last_os_error()));
    }
    let gone = point.clone();
    // SAFETY: a string that outlives the call.
    let _umount = Undo::new(move || unsafe {
        libc::umount2(gone.as_ptr(), libc::MNT_DETACH);
    });
    let init = request(&mut device);
    assert_eq!(init.0, FUSE_INIT);
    answer_init(&mut device, init.1);
    let file = dir.path().join("x");
    let mut victim = Victim::start(&["stat", file.to_str().unwrap()]);
    victim.go();
    let lookup = request(&mut device);
    assert_ne!(lookup.0, FUSE_INIT);
    let wchan = || std::fs::read_to_string(format!("/proc/{}/wchan", victim.pid())).unwrap_or_default();
    kit::until("it waits for the server", || wchan().contains("request_wait_answer"));
    let before = kit::state(victim.pid());
    let want =
        Want { decision: Decision::Allowed, effect: Effect::PendingUntilServerAnswers, result: OutcomeKind::Pending };
    let seen = expect(victim.pid(), Signal::KILL, &want)?;
    let after = kit::state(victim.pid());
    // With its last descriptor the server is gone, and every wait for it ends.
    drop(device);
    kit::until("it ends with its server", || kit::state(victim.pid()).is_none());
    Ok(format!("{seen}; was {}, became {}, ended with its server", before.unwrap_or('-'), after.unwrap_or('-')))
}

/// The next request: its operation and number.
fn request(device: &mut std::fs::File) -> (u32, u64) {
    let mut buf = vec![0; 1 << 17];
    let len = device.read(&mut buf).unwrap();
    assert!(len >= 40);
    (u32::from_ne_bytes(buf[4..8].try_into().unwrap()), u64::from_ne_bytes(buf[8..16].try_into().unwrap()))
}

/// `fuse_out_header` and `fuse_init_out` of protocol 7.31.
fn answer_init(device: &mut std::fs::File, unique: u64) {
    let mut reply = Vec::new();
    reply.extend(80_u32.to_ne_bytes());
    reply.extend(0_i32.to_ne_bytes());
    reply.extend(unique.to_ne_bytes());
    for word in [7_u32, 31, 1 << 16, 0] {
        reply.extend(word.to_ne_bytes());
    }
    reply.extend(16_u16.to_ne_bytes());
    reply.extend(12_u16.to_ne_bytes());
    reply.extend((1_u32 << 16).to_ne_bytes());
    reply.resize(80, 0);
    device.write_all(&reply).unwrap();
}
