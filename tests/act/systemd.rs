//! Units that restart: a systemd of our own, as pid 1 of its own namespaces, in a cgroup v2 tree without controllers.

use crate::cases::{Cgroup, v2};
use crate::kit::{self, Case, Want, expect, must};
use rustix::process::{Pid, Signal as Number, kill_process};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use whytop::snapshot::{Decision, Effect, OutcomeKind, Signal};

pub const ALL: &[Case] = &[Case {
    name: "unit with Restart=always, and on-failure",
    root: true,
    alone: false,
    tools: &["systemctl", "unshare", "nsenter", "mount"],
    play: units,
}];

/// What the new pid 1 does first. It sees the host's files but can't write them, nor the kernel's settings.
const BOOT: &str = r#"set -e
echo $$ > "$CGROUP/cgroup.procs"
exec unshare --pid --mount --cgroup --ipc --uts --net --fork --kill-child --mount-proc /bin/sh -ec '
    mount -o bind /proc/sys /proc/sys
    mount -o remount,bind,ro /proc/sys
    mount -o remount,bind,ro /
    mount -t tmpfs tmpfs /run
    mount -t tmpfs tmpfs /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir -p /run/systemd/system
    cd /run/systemd/system
    for unit in again:always tidy:on-failure; do
        printf "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 86399.7\nRestart=%s\n" \
            "${unit#*:}" > "${unit%:*}.service"
    done
    printf "[Unit]\nDefaultDependencies=no\nWants=again.service tidy.service\n" > whytop.target
    cd /
    exec env -i PATH="$PATH" container=whytop SYSTEMD_GENERATOR_PATH= "$SYSTEMD" \
        --system --unit=whytop.target --log-target=null --show-status=no'
"#;

fn units() -> Result<String, String> {
    let paths = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
    let Some(systemd) = paths.into_iter().find(|path| Path::new(path).exists()) else {
        return Err("SKIPPED: systemctl without systemd".into());
    };
    let cgroup = Cgroup::make(v2(), "systemd")?;
    let log = tempfile::NamedTempFile::new().unwrap();
    let boot = Command::new("/bin/sh")
        .args(["-c", BOOT])
        .envs([("CGROUP", cgroup.dir.to_str().unwrap()), ("SYSTEMD", systemd)])
        .stdin(Stdio::null())
        .stdout(log.reopen().unwrap())
        .stderr(log.reopen().unwrap())
        .spawn()
        .unwrap();
    let boot = Boot { unshare: boot, cgroup };
    let again = boot.main("again", None).ok_or_else(|| std::fs::read_to_string(log.path()).unwrap())?;
    let tidy = boot.main("tidy", None).ok_or("the second unit does not run")?;
    let manager = parent_of(again);

    let mut act = kit::act();
    let plan = kit::prepare(&mut act, again, Signal::TERM).proposal.plans[0].clone();
    if plan.restarts.as_deref() != Some("unit again.service (Restart=always)") {
        return Err(format!("who restarts it: {:?}, {:?}", plan.restarts, plan.reasons));
    }
    let stop = plan.advice.iter().find_map(|advice| advice.strip_prefix("to keep it down: "));
    let stop = stop.ok_or_else(|| format!("{:?}", plan.advice))?.to_owned();
    // A daemon leads a session.
    let want = |result| Want { decision: Decision::Confirm, effect: Effect::Terminates, result };
    let outside = expect(again, Signal::TERM, &want(OutcomeKind::Respawned))?;
    if !outside.ends_with("by unit again.service") {
        return Err(outside);
    }
    let again = boot.main("again", Some(again)).ok_or("it was not seen again")?;
    let inside = kill_inside(manager, again)?;
    let clean = kit::prepare(&mut act, tidy, Signal::TERM).proposal.plans[0].clone();
    if clean.restarts.is_some() || !clean.reasons.iter().any(|why| why.contains("does not follow an end by SIGTERM")) {
        return Err(format!("Restart=on-failure does not follow SIGTERM: {clean:?}"));
    }
    expect(tidy, Signal::TERM, &want(OutcomeKind::Exited))?;

    // What the plan advised keeps it down.
    let words: Vec<&str> = stop.split(' ').collect();
    must(words[0], &words[1..]);
    if !boot.procs("again").is_empty() || !boot.procs("tidy").is_empty() {
        return Err(format!("after {stop}: {:?} {:?}", boot.procs("again"), boot.procs("tidy")));
    }
    Ok(format!("TERM: {outside}; KILL inside: {inside}; on-failure stays down after TERM; so does {stop}"))
}

/// KILL by whytop itself, which runs beside the unit.
fn kill_inside(manager: u32, pid: u32) -> Result<String, String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    let inner = pids.split_whitespace().last().unwrap();
    let out = Command::new(kit::which("nsenter").unwrap())
        .args(["-t", &manager.to_string(), "--pid", "--mount", "--cgroup", env!("CARGO_BIN_EXE_whytop")])
        .args(["kill", inner, "--signal", "KILL", "--yes", "--json", "--wait", "20s"])
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
    let plan = &json["plans"][0];
    let detail = plan["outcome"]["detail"].as_str().unwrap_or_default();
    let is_right = plan["restarts"] == "unit again.service (Restart=always)"
        && plan["advice"][0] == "to keep it down: systemctl stop again.service"
        && plan["outcome"]["result"] == "respawned"
        && detail.ends_with("by unit again.service");
    if is_right { Ok(detail.into()) } else { Err(format!("{plan} {}", String::from_utf8_lossy(&out.stderr))) }
}

fn parent_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The systemd, ended with all that it runs when dropped.
struct Boot {
    unshare: Child,
    cgroup: Cgroup,
}

impl Boot {
    fn procs(&self, unit: &str) -> Vec<u32> {
        let file = self.cgroup.dir.join(format!("system.slice/{unit}.service/cgroup.procs"));
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// The process of a unit once it runs its program, another one than `before`; waits 20 s for it.
    fn main(&self, unit: &str, before: Option<u32>) -> Option<u32> {
        let is_sleep = |pid: u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == "sleep")
        };
        for _ in 0..2000 {
            let found = self.procs(unit).into_iter().find(|pid| Some(*pid) != before && is_sleep(*pid));
            if found.is_some() {
                return found;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        // `--kill-child`: the pid namespace ends with it.
        kill_process(Pid::from_child(&self.unshare), Number::KILL).ok();
        self.unshare.wait().ok();
        for _ in 0..500 {
            remove_below(&self.cgroup.dir);
            if std::fs::read_dir(&self.cgroup.dir).is_ok_and(|all| !all.flatten().any(|e| e.path().is_dir())) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// Removes the empty cgroups below one.
fn remove_below(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove_below(&entry.path());
        std::fs::remove_dir(entry.path()).ok();
    }
}
