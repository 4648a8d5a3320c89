//! This kernel's own log: what programs write there is ignored, and a kill in a cgroup made here is told.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use whytop::collect::klog::{KlogCollector, json, read_live_all};
use whytop::collect::{Collector, Context, Roots, now};
use whytop::snapshot::{KernelLog, LogEvent, Section};

/// Why it can't be tested here.
fn unable() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root");
    }
    if !Path::new("/dev/kmsg").exists() {
        return Some("no /dev/kmsg");
    }
    None
}

fn pass(collector: &mut KlogCollector) -> KernelLog {
    match collector.collect(&Context::default()) {
        Section::Ok { data, .. } => (*data).clone(),
        other => unreachable!("{}", other.word()),
    }
}

/// A container's memory cgroup of 24 MiB, v1 or v2; removed at the end.
struct Limited {
    dir: PathBuf,
    path: String,
}

impl Limited {
    fn new(id: &str) -> Option<Self> {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (root, file) = if v1.join("memory.limit_in_bytes").exists() {
            (v1, "memory.limit_in_bytes")
        } else if Path::new("/sys/fs/cgroup/cgroup.subtree_control").exists() {
            std::fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory").ok()?;
            (Path::new("/sys/fs/cgroup"), "memory.max")
        } else {
            return None;
        };
        let name = format!("docker-{id}.scope");
        let dir = root.join(&name);
        std::fs::create_dir(&dir).ok()?;
        let group = Self { dir, path: format!("/{name}") };
        std::fs::write(group.dir.join(file), "25165824").unwrap();
        Some(group)
    }

    /// Runs a shell in it that grows until it is killed; its pid.
    fn blow_up(&self) -> u32 {
        let script = format!("echo $$ > {}/cgroup.procs; exec tail /dev/zero", self.dir.display());
        let mut child =
            Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        assert!(!child.wait().unwrap().success());
        pid
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        for _ in 0..1000 {
            if std::fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

#[test]
fn a_kill_is_told_in_the_pass_after_it() {
    if let Some(why) = unable() {
        println!("SKIPPED: {why}");
        return;
    }
    let id = format!("{:064x}", std::process::id());
    let Some(group) = Limited::new(&id) else {
        println!("SKIPPED: no memory cgroup to write to");
        return;
    };
    let mut collector = KlogCollector::new(&Roots::default());
    while !pass(&mut collector).events.is_empty() {}
    let before = now();
    std::fs::write("/dev/kmsg", "Out of memory: Killed process 4242 (fake) total-vm:1kB, anon-rss:1kB, file-rss:0kB\n")
        .unwrap();
    std::fs::write("/dev/kmsg", "<3>INFO: task fake:4243 blocked for more than 120 seconds.\n").unwrap();
    let pid = group.blow_up();
    let log = pass(&mut collector);
    let of_ours = |e: &&LogEvent| e.pid("victim_pid") == Some(pid);
    let kill = log.events.iter().find(of_ours).unwrap();
    println!("{}", json(kill));
    assert_eq!(&*kill.kind, "oom_kill");
    assert_eq!(
        (kill.str("scope"), kill.str("victim_comm"), kill.str("runtime")),
        (Some("memcg"), Some("tail"), Some("docker"))
    );
    assert_eq!((kill.str("oom_memcg"), kill.str("container_id")), (Some(&*group.path), Some(&*id)));
    assert_eq!((kill.int("limit_kb"), kill.pid("trigger_pid")), (Some(24576), Some(pid)));
    // The log's clock is not quite the boot clock.
    assert!(kill.at.unwrap().since(before) < 60.0 && before.since(kill.at.unwrap()) < 1.0);
    let fakes = |e: &LogEvent| e.pid("victim_pid") == Some(4242) || e.pid("pid") == Some(4243);
    assert!(!log.events.iter().any(fakes));
    assert!(!pass(&mut collector).events.iter().any(|e| e.pid("victim_pid") == Some(pid)), "told twice");
    let Section::Ok { data, .. } = read_live_all() else { unreachable!() };
    assert_eq!(data.events.iter().filter(of_ours).count(), 1);
    assert!(!data.events.iter().any(fakes));
}
