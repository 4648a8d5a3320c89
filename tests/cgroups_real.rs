//! Cgroups of the running kernel: made here, blown up, frozen, removed, and what the collector says of them.
//!
//! Needs root and a v1 memory hierarchy that can be written.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails in a helper fails the test")]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use whytop::collect::cgroups::CgroupsCollector;
use whytop::collect::containers::Runtimes;
use whytop::collect::readers::{FileAsk, Readers};
use whytop::collect::{Collector, Context, Roots, now};
use whytop::snapshot::{Cgroup, Cgroups, Section};

const V1: &str = "/sys/fs/cgroup";

/// Why the v1 tests can't run here.
fn unable() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root");
    }
    if !Path::new(V1).join("memory/memory.limit_in_bytes").exists() {
        return Some("no v1 memory hierarchy at /sys/fs/cgroup/memory");
    }
    None
}

macro_rules! skip_unless_able {
    () => {
        if let Some(why) = unable() {
            println!("SKIPPED: {why}");
            return;
        }
    };
}

/// A cgroup of ours, below the root of v1 `controller`; removed with everything below it.
struct Group {
    dir: PathBuf,
    path: String,
}

impl Group {
    fn new(controller: &str, name: &str) -> Self {
        let path = format!("/whytop-test-{}-{name}", std::process::id());
        let dir = Path::new(V1).join(controller).join(path.trim_start_matches('/'));
        std::fs::create_dir_all(&dir).unwrap();
        Self { dir, path }
    }

    fn below(&self, name: &str) -> Self {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self { dir, path: format!("{}/{name}", self.path) }
    }

    fn set(&self, file: &str, value: &str) -> &Self {
        std::fs::write(self.dir.join(file), value).unwrap();
        self
    }

    fn get(&self, file: &str) -> u64 {
        std::fs::read_to_string(self.dir.join(file)).unwrap().trim().parse().unwrap()
    }

    fn start(&self, script: &str) -> Child {
        let script = format!("echo $$ > {}/cgroup.procs && {script}", self.dir.display());
        Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn run(&self, script: &str) -> ExitStatus {
        self.start(script).wait().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove_everywhere(self.path.trim_start_matches('/'));
    }
}

/// Removes an empty cgroup from every hierarchy: docker makes its containers' parents in all of them.
fn remove_everywhere(path: &str) {
    for hierarchy in std::fs::read_dir(V1).unwrap().filter_map(Result::ok) {
        let dir = hierarchy.path().join(path);
        // Tasks leave a little after their parent has reaped them.
        for _ in 0..1000 {
            if !dir.exists() || std::fs::remove_dir(&dir).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

struct Looker(CgroupsCollector, Section<Cgroups>);

impl Looker {
    fn new() -> Self {
        Self::with(Runtimes::default())
    }

    fn with(runtimes: Runtimes) -> Self {
        let readers = Readers::start(Path::new("/proc")).ok();
        assert!(readers.is_some());
        Self(CgroupsCollector::new(&Roots::default(), runtimes, readers), Section::default())
    }

    fn look(&mut self) -> &Cgroups {
        self.1 = self.0.collect(&Context::default());
        self.1.data().unwrap()
    }

    fn row(&mut self, path: &str) -> Cgroup {
        let data = self.look();
        data.rows.iter().find(|r| &*r.key.path == path).unwrap_or_else(|| panic!("no row {path}")).clone()
    }
}

/// Touches 100 MB.
const BLOW: &str = "exec dd if=/dev/zero of=/dev/null bs=100M count=1";

#[test]
fn a_limit_on_the_parent_is_hit_there_and_kills_below() {
    skip_unless_able!();
    let pod = Group::new("memory", "pod");
    pod.set("memory.limit_in_bytes", "20M");
    let container = pod.below("container");
    let mut looker = Looker::new();
    let before = looker.row(&pod.path).memory.unwrap();
    assert_eq!((before.limit_bytes, before.limit_hits, before.oom_kills), (Some(20 << 20), Some(0), Some(0)));
    assert_eq!(looker.row(&container.path).memory.unwrap().limit_bytes, None);

    assert!(!container.run(BLOW).success(), "20 MB were not enough to stop it");

    // The next pass must say so, though nothing of it is due in turn.
    let (up, down) = (looker.row(&pod.path).memory.unwrap(), looker.row(&container.path).memory.unwrap());
    assert_eq!(up.limit_hits, Some(pod.get("memory.failcnt")));
    assert!(up.limit_hits > Some(0));
    assert_eq!((up.oom_kills, down.oom_kills), (Some(0), Some(1)));
    assert_eq!(down.limit_hits, Some(0));
    assert_eq!(up.peak_bytes, Some(20 << 20));
}

#[test]
fn a_limit_on_memory_and_swap_alike_hides_the_hits_but_not_the_kill() {
    skip_unless_able!();
    let group = Group::new("memory", "memsw");
    if !group.dir.join("memory.memsw.limit_in_bytes").exists() {
        println!("SKIPPED: swap is not accounted here");
        return;
    }
    group.set("memory.limit_in_bytes", "20M").set("memory.memsw.limit_in_bytes", "20M");
    let mut looker = Looker::new();
    looker.look();
    assert!(!group.run(BLOW).success());
    let memory = looker.row(&group.path).memory.unwrap();
    assert_eq!(memory.swap_limit_bytes, Some(20 << 20));
    assert_eq!(memory.limit_hits, Some(group.get("memory.failcnt")));
    assert_eq!(memory.swap_limit_hits, Some(group.get("memory.memsw.failcnt")));
    assert_eq!(memory.oom_kills, Some(1));
}

#[test]
fn a_cgroup_near_its_limit_is_read_in_full_every_pass() {
    skip_unless_able!();
    let group = Group::new("memory", "near");
    group.set("memory.limit_in_bytes", "40M");
    let mut looker = Looker::new();
    looker.look();
    // 38 of 40 MB stay in tmpfs.
    let mount = tempfile::tempdir().unwrap();
    assert!(Command::new("mount").args(["-t", "tmpfs", "whytop"]).arg(mount.path()).status().unwrap().success());
    let filled = group.run(&format!("exec dd if=/dev/zero of={}/f bs=1M count=38", mount.path().display()));
    let rows = [looker.row(&group.path), looker.row(&group.path)];
    assert!(Command::new("umount").arg(mount.path()).status().unwrap().success());
    assert!(filled.success());
    for row in rows {
        let memory = row.memory.unwrap();
        assert!(memory.usage_bytes > Some(38 << 20), "{memory:?}");
        assert!(memory.shmem_bytes >= Some(38 << 20) && memory.file_bytes >= Some(38 << 20), "{memory:?}");
    }
}

#[test]
fn dying_cgroups_are_counted() {
    skip_unless_able!();
    let mount = tempfile::tempdir().unwrap();
    assert!(Command::new("mount").args(["-t", "tmpfs", "whytop"]).arg(mount.path()).status().unwrap().success());
    for n in 0..30 {
        let group = Group::new("memory", &format!("dying{n}"));
        assert!(group.run(&format!("echo x > {}/{n}", mount.path().display())).success());
    }
    let mut looker = Looker::new();
    let (dying, source) = (looker.look().dying, looker.look().dying_source.clone());
    assert!(Command::new("umount").arg(mount.path()).status().unwrap().success());
    assert!(dying >= Some(30), "{dying:?}");
    assert_eq!(&*source, "/proc/cgroups:memory");
}

#[test]
fn pids_quota_and_freezer_stand_in_the_same_row() {
    skip_unless_able!();
    let need = ["pids", "cpu", "freezer"];
    if let Some(missing) = need.iter().find(|c| !Path::new(V1).join(c).is_dir()) {
        println!("SKIPPED: no v1 {missing} hierarchy");
        return;
    }
    let groups = need.map(|controller| Group::new(controller, "all"));
    let [pids, cpu, freezer] = &groups;
    pids.set("pids.max", "3");
    cpu.set("cpu.cfs_quota_us", "20000");
    let mut looker = Looker::new();
    looker.look();
    let joins =
        format!("echo $$ > {}/cgroup.procs; echo $$ > {}/cgroup.procs;", cpu.dir.display(), freezer.dir.display());
    let mut child = pids.start(&format!("{joins} while :; do :; done"));
    std::thread::sleep(Duration::from_millis(700));
    let spinning = looker.row(&pids.path);
    freezer.set("freezer.state", "FROZEN");
    let frozen = (0..11).map(|_| looker.row(&pids.path).frozen).last().unwrap();
    freezer.set("freezer.state", "THAWED");
    child.kill().unwrap();
    child.wait().unwrap();

    let pids_use = spinning.pids.unwrap();
    assert_eq!((pids_use.current, pids_use.limit), (1, Some(3)));
    let cpu_use = spinning.cpu.unwrap();
    assert_eq!((cpu_use.quota_usec, cpu_use.period_usec), (Some(20_000), Some(100_000)));
    assert!(cpu_use.throttled_periods > Some(0) || cpu_use.periods == Some(0), "{cpu_use:?}");
    assert_eq!(spinning.memory, None);
    assert_eq!((spinning.frozen, frozen), (Some(false), Some(true)));
}

#[test]
fn an_ordinary_user_sees_the_same_numbers() {
    skip_unless_able!();
    let group = Group::new("memory", "user");
    group.set("memory.limit_in_bytes", "20M");
    // The collector's own reads, made by a thread that is nobody.
    let path = group.path.clone();
    let nobody = std::thread::spawn(move || {
        let uid = rustix::process::Uid::from_raw(65_534);
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        let mut looker = Looker::new();
        let row = looker.row(&path);
        (row, looker.look().gaps.clone())
    });
    let (row, gaps) = nobody.join().unwrap();
    let memory = row.memory.unwrap();
    assert_eq!((memory.limit_bytes, memory.oom_kills), (Some(20 << 20), Some(0)));
    assert!(memory.anon_bytes.is_some());
    assert!(gaps.is_empty(), "{gaps:?}");
}

/// A docker daemon of our own.
struct Dockerd {
    child: Child,
    dir: tempfile::TempDir,
}

impl Dockerd {
    fn start() -> Result<Self, String> {
        for program in ["dockerd", "docker", "busybox"] {
            let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
            if !found.status.success() {
                return Err(format!("{program} is not installed"));
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let child = Command::new("dockerd")
            .args(["--data-root", &at("lib/docker"), "--exec-root", &at("run"), "--pidfile", &at("pid")])
            .args(["-H", &format!("unix://{}", at("sock")), "--iptables=false", "--ip6tables=false", "--bridge=none"])
            .args(["--storage-driver=vfs"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())?;
        let daemon = Self { child, dir };
        for _ in 0..300 {
            if daemon.docker("version").is_ok() {
                return Ok(daemon);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err("dockerd does not start here".into())
    }

    fn docker(&self, args: &str) -> Result<String, String> {
        let socket = self.dir.path().join("sock");
        let script = format!("docker -H unix://{} {args}", socket.display());
        let out = Command::new("sh").args(["-c", &script]).output().map_err(|e| e.to_string())?;
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&out.stderr).into_owned());
        }
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    }

    fn import_busybox(&self) -> Result<String, String> {
        let root = self.dir.path().join("root");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        let script = format!(
            "cd {} && cp $(command -v busybox) bin/busybox && ln -s busybox bin/sleep && ln -s busybox bin/dd && \
             tar c . > ../root.tar",
            root.display()
        );
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        self.docker(&format!("import {} bb", self.dir.path().join("root.tar").display()))
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let _ = self.docker("rm -f web poor");
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
        remove_everywhere("docker");
    }
}

const POD: &str = "7c1d2e34-5a6b-4c7d-8e9f-0a1b2c3d4e5f";

#[test]
fn docker_containers_have_names_limits_and_kills() {
    skip_unless_able!();
    let daemon = match Dockerd::start() {
        Ok(daemon) => daemon,
        Err(why) => {
            println!("SKIPPED: {why}");
            return;
        }
    };
    daemon.import_busybox().unwrap();
    let parent = Group::new("memory", "kubepods");
    let pod = parent.below(&format!("pod{POD}"));
    pod.set("memory.limit_in_bytes", "32M");
    let run = "run -d --network none --label io.kubernetes.pod.name=web-0 --label io.kubernetes.pod.namespace=shop";
    let web = daemon.docker("run -d --network none --memory 48m --name web bb /bin/sleep 600").unwrap();
    let poor = daemon.docker(&format!("{run} --cgroup-parent {} --name poor bb /bin/sleep 600", pod.path)).unwrap();

    let dir = daemon.dir.path();
    let by_files = Runtimes { docker: vec![dir.join("lib/docker")], ..Runtimes::default() };
    let sockets = vec![(dir.join("sock"), dir.join("pid"))];
    let by_socket = Runtimes { docker_sockets: sockets, proc: "/proc".into(), ..Runtimes::default() };
    for (way, runtimes) in [("files", by_files), ("socket", by_socket)] {
        let mut looker = Looker::with(runtimes);
        let (path, began) = (format!("/docker/{web}"), now());
        while looker.row(&path).container.unwrap().name.is_none() && now().since(began) < 30.0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        println!("{way}: named after {:.0} ms", now().since(began) * 1000.0);
        let row = looker.row(&path);
        let container = row.container.unwrap();
        assert_eq!(
            (&*container.runtime, &*container.id, container.label().as_str()),
            ("docker", &*web, "web"),
            "{way}"
        );
        assert_eq!(container.image.as_deref(), Some("bb"), "{way}");
        assert_eq!(row.memory.unwrap().limit_bytes, Some(48 << 20));
        let inner = looker.row(&format!("{}/{poor}", pod.path)).container.unwrap();
        assert_eq!((&*inner.runtime, inner.label().as_str()), ("docker", "shop/web-0/poor"), "{way}");
        assert_eq!(inner.pod_uid.as_deref(), Some(POD), "{way}");
        assert_eq!(looker.row(&pod.path).pod_uid.as_deref(), Some(POD));
    }

    let mut looker = Looker::new();
    looker.look();
    let blow = "/bin/dd if=/dev/zero of=/dev/null bs=100M count=1";
    assert!(daemon.docker(&format!("exec web {blow}")).is_err());
    assert!(daemon.docker(&format!("exec poor {blow}")).is_err());
    let memory = |looker: &mut Looker, path: &str| looker.row(path).memory.unwrap();
    let own = memory(&mut looker, &format!("/docker/{web}"));
    assert!(own.limit_hits > Some(0) && own.oom_kills == Some(1), "{own:?}");
    let (above, inside) = (memory(&mut looker, &pod.path), memory(&mut looker, &format!("{}/{poor}", pod.path)));
    assert!(above.limit_hits > Some(0) && above.oom_kills == Some(0), "{above:?}");
    assert!(inside.limit_hits == Some(0) && inside.oom_kills == Some(1), "{inside:?}");
    drop(daemon);
    drop((pod, parent));
}

/// A FUSE filesystem whose daemon answers nothing but the first handshake: what is killed while it waits for it stays in
/// D, until the filesystem is unmounted by force or this process ends.
struct DeadDisk(std::fs::File);

const FUSE_INIT: u32 = 26;

/// Mounts standard input on the last argument; without mount(8)'s own helper, which would start a daemon.
const MOUNT_DEAD: &str = "mount -i -t fuse -o fd=0,rootmode=40000,user_id=0,group_id=0 dead";

impl DeadDisk {
    fn start() -> Option<Self> {
        let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
        let mut daemon = device.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut request = vec![0; 1 << 20];
            loop {
                match daemon.read(&mut request) {
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                        // Not mounted yet.
                        std::thread::sleep(Duration::from_millis(5));
                        continue;
                    }
                    Err(_) => return,
                }
                if request.get(4..8) == Some(&FUSE_INIT.to_ne_bytes()[..]) {
                    // fuse_out_header, then fuse_init_out: version 7.31, no flags.
                    let mut reply = [80_u32.to_ne_bytes(), [0; 4]].concat();
                    reply.extend(request.get(8..16).unwrap_or_default());
                    reply.extend([7_u32, 31].map(u32::to_ne_bytes).concat());
                    reply.resize(80, 0);
                    daemon.write_all(&reply).unwrap();
                }
            }
        });
        Some(Self(device))
    }

    /// Runs `script` with the disk's device as standard input.
    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-ec", script, "sh"]).stdin(self.0.try_clone().unwrap());
        command
    }
}

/// A disk that is mounted on a directory of ours.
struct DeadMount(tempfile::TempDir);

impl DeadMount {
    fn new(disk: &DeadDisk) -> Self {
        let dir = tempfile::tempdir().unwrap();
        assert!(disk.command(&format!("{MOUNT_DEAD} {}", dir.path().display())).status().unwrap().success());
        Self(dir)
    }
}

impl Drop for DeadMount {
    fn drop(&mut self) {
        // Forced, so that the connection is cut and whoever waits goes on.
        assert!(Command::new("umount").arg("-fl").arg(self.0.path()).status().unwrap().success());
    }
}

/// Until the process has this state; fails after 20 s.
fn settle_in(pid: u32, state: &str) {
    for _ in 0..400 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.contains(&format!(") {state} ")) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{pid} is not in {state}");
}

#[test]
fn a_dead_disk_under_one_runtime_costs_one_reader_and_no_time() {
    skip_unless_able!();
    let Some(disk) = DeadDisk::start() else {
        println!("SKIPPED: no /dev/fuse");
        return;
    };
    let parent = Group::new("memory", "dead-kubepods");
    let (dead, well) = (parent.below(&"3f".repeat(32)), tempfile::tempdir().unwrap());
    let config = well.path().join("containers").join("3f".repeat(32));
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.v2.json"), r#"{"Name":"/web"}"#).unwrap();
    let mount = DeadMount::new(&disk);
    let docker = vec![mount.0.path().to_owned(), well.path().to_owned()];
    let readers = Readers::<FileAsk>::start(Path::new("/proc")).unwrap();
    let first = readers.pids().next().unwrap();
    let runtimes = Runtimes { docker, ..Runtimes::default() };
    let mut looker = Looker(CgroupsCollector::new(&Roots::default(), runtimes, Some(readers)), Section::default());
    let (mut name, mut longest) = (None, 0.0_f64);
    let began = now();
    while name.is_none() && now().since(began) < 60.0 {
        let pass = now();
        name = looker.row(&dead.path).container.unwrap().name;
        longest = longest.max(now().since(pass));
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("named after {:.1} s, longest pass {:.1} ms", now().since(began), longest * 1000.0);
    assert_eq!(name.as_deref(), Some("web"), "from the disk that is well, when the other one is given up");
    assert!(now().since(began) > 4.0 && longest < 2.0);
    let told = |cgroups: &Cgroups| cgroups.gaps.iter().any(|gap| gap.what.contains("do not answer"));
    assert!(told(looker.look()), "{:?}", looker.look().gaps);
    settle_in(first, "D");
    drop(mount);
    settle_in(first, "Z");
}

#[test]
fn a_dead_disk_under_a_runtime_does_not_delay_the_exit() {
    skip_unless_able!();
    let Some(disk) = DeadDisk::start() else {
        println!("SKIPPED: no /dev/fuse");
        return;
    };
    let parent = Group::new("memory", "exit-kubepods");
    let container = parent.below(&"3f".repeat(32));
    // In a mount namespace of its own, where docker's directory is on the disk that has died.
    let own = format!(
        "mount -t tmpfs none /var/lib; mkdir /var/lib/docker; {MOUNT_DEAD} /var/lib/docker; exec \"$@\" </dev/null"
    );
    let mut whytop = disk.command(&format!("exec unshare -m sh -ec '{own}' sh \"$@\""));
    whytop.args([env!("CARGO_BIN_EXE_whytop"), "why", "--for", "1s", "--json"]);
    let began = now();
    let mut whytop = whytop.stdout(Stdio::null()).spawn().unwrap();
    while whytop.try_wait().unwrap().is_none() && now().since(began) < 20.0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = now().since(began);
    println!("ended after {took:.2} s");
    drop((container, parent));
    assert!(took < 15.0, "{took}");
}
