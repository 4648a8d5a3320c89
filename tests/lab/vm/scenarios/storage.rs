//! Disks that fail and servers that do not answer.

use crate::actors::{loopback, name, number, ready};
use crate::kit::{Cleanup, Expect, Scenario, Stage, may};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

/// Reads of one part of a disk end in a medium error.
pub const MEDIUM_ERROR: Scenario = Scenario {
    name: "disk_with_a_medium_error",
    root: true,
    actors: &[("reads-disk", reads_disk)],
    stage: || {
        let mut stage = Stage::default();
        stage.owns("sda");
        stage.pid = stage.actor(&["reads-disk"]);
        stage
    },
    expects: |_| vec![Expect::critical("kmsg.io_error").about(|s| s["kind"] == "device" && s["name"] == "sda")],
    may_say: &["kmsg.buffer_io_error"],
    gone: &["kmsg.buffer_io_error"],
    ..Scenario::BASE
};

/// A hard NFS mount whose server has stopped to answer.
pub const NFS: Scenario = Scenario {
    name: "nfs_server_does_not_answer",
    root: true,
    actors: &[("nfs-server", nfs_server)],
    stage: nfs,
    expects: |_| {
        let server = |s: &serde_json::Value| s["kind"] == "device" && s["name"] == "127.0.0.1";
        vec![Expect::critical("kmsg.nfs_not_responding").about(server)]
    },
    may_say: &["task.d_state_long"],
    gone: &["task.d_state_long"],
    ..Scenario::BASE
};

fn reads_disk(_: &[&str]) {
    name("reader");
    ready();
    loop {
        may("dd", &["if=/dev/sda", "of=/dev/null", "bs=4096", "skip=580", "count=4"]);
        std::fs::write("/proc/sys/vm/drop_caches", "1").ok();
        sleep(Duration::from_millis(500));
    }
}

fn nfs() -> Stage {
    let mut stage = Stage::default();
    let server = stage.actor(&["nfs-server", "2049"]);
    let server = rustix::process::Pid::from_raw(i32::try_from(server).expect("a pid")).expect("not 0");
    // It answers again when it is told to; the mount then ends with an error.
    let mount = Command::new("mount")
        .args(["-t", "nfs", "-o", NFS_OPTIONS])
        .args(["127.0.0.1:/srv", "/mnt"])
        .stdout(Stdio::null())
        .spawn();
    let mut mount = mount.expect("mount");
    stage.pid = mount.id();
    stage.release.push(Cleanup(Some(Box::new(move || {
        rustix::process::kill_process(server, rustix::process::Signal::USR1).ok();
        mount.wait().ok();
    }))));
    stage
}

const NFS_OPTIONS: &str = "vers=3,nolock,proto=tcp,addr=127.0.0.1,port=2049,mountproto=tcp,mountaddr=127.0.0.1,mountport=2049,timeo=10,retrans=1,hard";

static ANSWERS: AtomicBool = AtomicBool::new(false);

/// Enough of a server that a mount begins: it answers for the mount program, and for NFS only after SIGUSR1, and then
/// that there is no such program.
fn nfs_server(args: &[&str]) {
    let listener = TcpListener::bind(loopback(number(args[0]))).expect("listen");
    answer_after_usr1();
    ready();
    for peer in listener.incoming().flatten() {
        thread::spawn(move || serve(peer));
    }
}

fn answer_after_usr1() {
    let signals = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (send, armed) = std::sync::mpsc::channel();
    thread::spawn(move || {
        signals.block_on(async {
            let mut usr1 =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::user_defined1()).expect("SIGUSR1");
            send.send(()).expect("armed");
            usr1.recv().await;
            ANSWERS.store(true, Ordering::SeqCst);
        });
    });
    armed.recv().expect("armed");
}

const NFS_PROGRAM: u32 = 100_003;

/// One connection: ONC RPC over TCP, records with a length before them.
fn serve(mut peer: TcpStream) -> Option<()> {
    loop {
        let mut mark = [0; 4];
        peer.read_exact(&mut mark).ok()?;
        let mut call = vec![0; usize::try_from(u32::from_be_bytes(mark) & 0x7fff_ffff).ok()?];
        peer.read_exact(&mut call).ok()?;
        let word = |n: usize| u32::from_be_bytes(call[4 * n..4 * n + 4].try_into().expect("four bytes"));
        let (xid, program, procedure) = (word(0), word(3), word(5));
        // Accepted, no verifier, success.
        let mut reply = vec![xid, 1, 0, 0, 0, 0];
        if program == NFS_PROGRAM && procedure != 0 {
            while !ANSWERS.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(50));
            }
            reply[5] = 1;
        } else if procedure == 1 {
            // MNT: fine, a file handle of eight bytes, one flavour: AUTH_SYS.
            reply.extend([0, 8, 1, 2, 1, 1]);
        }
        let bytes: Vec<u8> = reply.iter().flat_map(|w| w.to_be_bytes()).collect();
        let length = 0x8000_0000 | u32::try_from(bytes.len()).ok()?;
        peer.write_all(&length.to_be_bytes()).ok()?;
        peer.write_all(&bytes).ok()?;
    }
}
