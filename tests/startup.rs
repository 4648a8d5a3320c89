//! What the start really obtains, seen from outside: in a process of its own, as root and as an ordinary user.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;
use whytop::collect::Roots;
use whytop::startup::prepare;

#[test]
#[ignore = "what the other tests run in a process of its own"]
fn started() {
    if std::env::var_os("STARTED").is_none() {
        return;
    }
    let startup = prepare(&Roots::default(), true);
    for step in &startup.steps {
        println!("step {}={}", step.what, if step.got.is_ok() { "got" } else { "missing" });
        assert!(step.got.as_ref().err().is_none_or(|gap| !gap.what.is_empty() && !gap.fix.is_empty()));
    }
    assert_eq!(startup.gaps().count(), startup.steps.iter().filter(|step| step.got.is_err()).count());
    assert!(startup.spare.is_some());
    let readers = startup.readers;
    assert_eq!(readers.pids().count(), 13);
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("step locked_kib={}", own.lines().find_map(|l| l.strip_prefix("VmLck:")).unwrap().trim());
    println!("step nice={}", rustix::process::getpriority_process(None).unwrap());
    for reader in readers.pids() {
        assert!(settled(reader), "reader {reader} has not come up");
        let adj = std::fs::read_to_string(format!("/proc/{reader}/oom_score_adj")).unwrap();
        assert!(adj.trim().parse::<i32>().unwrap() >= 0, "a reader must not be immune");
        let status = std::fs::read_to_string(format!("/proc/{reader}/status")).unwrap();
        assert!(status.contains("VmLck:\t       0 kB"), "a reader locks nothing: {status}");
        // Its own three and /dev/null three times: no pipe, terminal or file of ours is held open.
        let fds = std::fs::read_dir(format!("/proc/{reader}/fd")).map(Iterator::count);
        assert!(fds.is_err() || matches!(fds, Ok(6)), "{fds:?}");
    }
}

/// Whether a reader has taken its name, which it does once it is on its own.
fn settled(reader: u32) -> bool {
    (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let fds = std::fs::read_dir(format!("/proc/{reader}/fd")).map(Iterator::count);
        let named = std::fs::read_to_string(format!("/proc/{reader}/comm")).is_ok_and(|name| name == "whytop-reader\n");
        named && !matches!(fds, Ok(7..))
    })
}

/// Runs [`started`] and gives what it printed.
fn start(user: Option<u32>) -> BTreeMap<String, String> {
    // The user may not be able to reach the build folder.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let exe = dir.path().join("started");
    std::fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
    let mut command = Command::new(exe);
    command.args(["started", "--exact", "--ignored", "--nocapture", "--test-threads=1"]).env("STARTED", "1");
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let steps = text.lines().filter_map(|line| line.split_once("step ")?.1.split_once('='));
    steps.map(|(what, got)| (what.to_owned(), got.to_owned())).collect()
}

#[test]
fn root_gets_what_it_may_and_an_ordinary_user_is_told_what_is_missing() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let root = start(None);
    assert_eq!((&*root["readers"], &*root["descriptors"]), ("got", "got"));
    assert!(root.contains_key("spared by the OOM killer"));
    let user = start(Some(65534));
    assert_eq!(user["readers"], "got");
    for what in ["spared by the OOM killer", "priority"] {
        assert_eq!(user[what], "missing", "{user:?}");
    }
    // A container's root may lack a capability; then the step says so.
    for steps in [root, user] {
        assert_eq!(steps["memory locked"] == "got", steps["locked_kib"] != "0 kB", "{steps:?}");
        assert_eq!(steps["priority"] == "got", steps["nice"].parse::<i32>().unwrap() <= -10, "{steps:?}");
    }
}
