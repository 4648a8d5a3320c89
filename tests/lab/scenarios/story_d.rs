//! Story D, the container OOM spiral: a container at its limit whose supervisor starts workers and never waits for them.
//! Some hang in D on a frozen volume, with SIGKILL pending once the OOM killer has chosen them; the others eat until they
//! are killed and stay as zombies.

use crate::actors::{name, number, ready};
use crate::kit::cgroup::{below, enter, limit};
use crate::kit::docker::{self, Docker, with_this_binary};
use crate::kit::{Cleanup, Expect, Look, Scenario, Stage, frozen, may, memory_cgroup_root, must, one_story, until};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

pub const ALL: &[Scenario] = &[Scenario {
    name: "story_d_container_oom_spiral",
    root: true,
    tools: &["dockerd", "docker", "busybox", "tar", "mkfs.ext4", "fsfreeze", "mount", "umount", "truncate"],
    actors: &[("supervisor", supervisor), ("worker", worker), ("contained", contained)],
    stage,
    expects,
    may_say: &["task.d_state_long", "task.memory_growth", "host.pressure", "task.hung"],
    check: story,
    text: true,
    look: "5s",
    stays: &["cgroup.oom_kill"],
    ..Scenario::BASE
}];

/// The same without an engine, on a volume that is mounted already: a cgroup where an engine would make it, and a pid
/// namespace.
pub fn by_hand(volume: &str, id: &str) -> Stage {
    let mut stage = Stage::default();
    let cgroup = below(&below(&memory_cgroup_root(), "docker"), id);
    limit(&cgroup, 96 << 20);
    stage.path = id.into();
    stage.actor_in(&["unshare", "-p", "-f"], &["contained", cgroup.to_str().expect("utf-8"), volume]);
    until("the workers write", || std::fs::read_dir(volume).is_ok_and(|files| files.count() >= STUCK));
    must("fsfreeze", &["--freeze", volume]);
    let frozen = volume.to_owned();
    stage.release.push(Cleanup(Some(Box::new(move || may("fsfreeze", &["--unfreeze", &frozen])))));
    stage
}

/// Pid 1 of a pid namespace, in a cgroup.
fn contained(args: &[&str]) {
    let [cgroup, volume] = args else { panic!("contained CGROUP VOLUME") };
    enter(Path::new(cgroup));
    ready();
    supervisor(&[volume]);
}

/// Workers that hang from the start.
const STUCK: usize = 40;

fn stage() -> Stage {
    assert!(docker::TOOLS.iter().chain(frozen::TOOLS).all(|t| ALL[0].tools.contains(t)), "every tool is asked for");
    let mut stage = Stage::default();
    let volume = frozen::ext4(&mut stage);
    let docker = Docker::start(&mut stage, &[]);
    let volume_at = format!("{volume}:/vol");
    let binary = with_this_binary();
    let mut options = vec!["--memory", "96m", "-v", &volume_at];
    options.extend(binary.iter().map(String::as_str));
    stage.path = docker.run_program(&mut stage, "checkout", &options, &["/lab", "--actor", "supervisor", "/vol"]);
    stage.pid = docker.pid("checkout");
    until("the workers write", || std::fs::read_dir(&volume).is_ok_and(|files| files.count() >= STUCK));
    frozen::freeze(&mut stage, &volume);
    let path = stage.path.clone();
    until("they hang, and others are zombies", || {
        let states = states_in(&path);
        states.0 >= STUCK && states.1 >= 20
    });
    stage
}

/// Tasks in D and zombies of a container.
fn states_in(id: &str) -> (usize, usize) {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let letters = processes.filter_map(|p| {
        let of = std::fs::read_to_string(p.path().join("cgroup")).ok().filter(|c| c.contains(id));
        let stat = of.and_then(|_| std::fs::read_to_string(p.path().join("stat")).ok())?;
        stat.rsplit(')').next()?.trim_start().chars().next()
    });
    letters.fold((0, 0), |(d, z), letter| (d + usize::from(letter == 'D'), z + usize::from(letter == 'Z')))
}

/// Pid 1 of the container.
fn supervisor(args: &[&str]) {
    let [volume] = args else { panic!("supervisor VOLUME") };
    name("supervisord");
    let this = std::env::current_exe().expect("own path");
    let start = |kind: &str, n: usize| {
        let worker = Command::new(&this).args(["--actor", "worker", volume, kind, &n.to_string()]).spawn();
        worker.map(drop).ok();
    };
    (0..STUCK).for_each(|n| start("writes", n));
    sleep(Duration::from_secs(3));
    for n in STUCK.. {
        start(if n % 12 == 0 { "eats-and-writes" } else { "eats" }, n);
        sleep(Duration::from_millis(250));
    }
}

fn worker(args: &[&str]) {
    let [volume, kind, n] = args else { panic!("worker VOLUME KIND N") };
    name("java");
    // The supervisor is small, and chosen only where nothing else has grown yet.
    std::fs::write("/proc/self/oom_score_adj", "500").expect("to be chosen before the supervisor");
    let mut held: Vec<Vec<u8>> = Vec::new();
    if *kind == "eats-and-writes" {
        held.push(vec![1; 24 << 20]);
    }
    let file = format!("{volume}/{}", number::<usize>(n));
    loop {
        if *kind == "eats" {
            held.push(vec![1; 4 << 20]);
        } else {
            std::fs::write(&file, b"x").ok();
            sleep(Duration::from_millis(20));
        }
    }
}

fn expects(stage: &Stage) -> Vec<Expect> {
    let here = |f: &serde_json::Value, word: &str| f.to_string().contains(word);
    let pid = stage.pid;
    vec![
        Expect::critical("cgroup.at_limit")
            .cgroup(&stage.path)
            .leads()
            .that("96 MiB", |f| f["limit"] == f64::from(96 << 20))
            .that("the container", |f| f["subject"]["container"] == "checkout"),
        Expect::critical("cgroup.oom_kill")
            .cgroup(&stage.path)
            .that("that it wasn't pid 1", |f| f["message"].to_string().contains("not the container's pid 1")),
        Expect::critical("task.d_state_pile").about(|s| s["kind"] == "wchan").that("the tasks", move |f| here(f, "java")).that("those killed and not dead", move |f| here(f, "killed and not dead")),
        Expect::warning("task.zombie_pile").task(pid).that("that its parent is pid 1 of its container", move |f| here(f, "its container's init")),
        Expect::critical("task.respawn_loop").task(pid),
        Expect::warning("host.load_blocked").host(),
    ]
}

fn story(look: &Look, stage: &Stage) -> Result<(), String> {
    one_story(look, &expects(stage))
}
