//! Tasks in real trouble: threads in D on a frozen filesystem, a leader that exited, zombies, and a process whose
//! `cmdline` can't be read without hanging. Root only.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use whytop::collect::detail::DetailCollector;
use whytop::collect::readers::{Ask, Kind, Readers};
use whytop::collect::tasks::TasksCollector;
use whytop::collect::{Collector, Context, Roots, now};
use whytop::snapshot::{Section, Task, TaskState, Tasks, WaitFor};

const THREADS: u32 = 100;

/// A small ext4 on a loop device; thawed and unmounted when dropped.
struct Filesystem {
    dir: tempfile::TempDir,
}

impl Filesystem {
    /// `None` where this host can't have one, with the reason printed.
    fn mount() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: needs root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
        std::fs::create_dir(dir.path().join("mnt")).unwrap();
        let this = Self { dir };
        for (program, args) in [("mkfs.ext4", vec!["-qF"]), ("mount", vec!["-o", "loop"])] {
            let mut command = Command::new(program);
            command.args(args).arg(&image);
            if program == "mount" {
                command.arg(this.point());
            }
            match command.status() {
                Ok(status) if status.success() => {}
                other => {
                    println!("SKIPPED: {program}: {other:?}");
                    return None;
                }
            }
        }
        Some(this)
    }

    fn point(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    fn freeze(&self, how: &str) -> bool {
        Command::new("fsfreeze").arg(how).arg(self.point()).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Filesystem {
    fn drop(&mut self) {
        self.freeze("-u");
        for _ in 0..50 {
            if Command::new("umount").arg(self.point()).stderr(Stdio::null()).status().is_ok_and(|s| s.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// This test binary run as the victim `part`; killed when dropped.
struct Victim(Child);

impl Victim {
    fn start(part: &str, dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["victim", "--exact", "--ignored", "--nocapture"])
            .env("VICTIM", part)
            .env("VICTIM_DIR", dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.ends_with("READY")), "the victim did not get ready");
        Self(child)
    }

    fn go(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        // Not waited for: in D it ends only when the filesystem is thawed.
    }
}

#[test]
#[ignore = "what the other tests run as their victim"]
fn victim() {
    let Ok(part) = std::env::var("VICTIM") else { return };
    let dir = PathBuf::from(std::env::var_os("VICTIM_DIR").unwrap());
    let wait = || {
        println!("READY");
        std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    };
    match part.as_str() {
        "writers" => {
            wait();
            for n in 0..THREADS {
                let path = dir.join(n.to_string());
                std::thread::spawn(move || std::fs::write(path, "x"));
            }
        }
        "mmap_lock" => hold_mmap_lock(&dir, wait),
        "exited_leader" => exit_leader(wait),
        other => panic!("{other}"),
    }
    loop {
        std::thread::park();
    }
}

/// One thread faults on a page of a frozen file, another unmaps it and waits for the first, the lock taken for writing:
/// whoever reads this process's `cmdline` then hangs.
#[expect(unsafe_code, reason = "the trouble is made of raw mappings")]
fn hold_mmap_lock(dir: &Path, wait: impl Fn()) {
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(dir.join("mapped")).unwrap();
    file.set_len(4096).unwrap();
    // SAFETY: a fresh mapping that only the two threads below touch.
    let map = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    assert_ne!(map, libc::MAP_FAILED);
    let address = map as usize;
    wait();
    // SAFETY: the page is mapped until the unmapping below, which waits for this fault.
    std::thread::spawn(move || unsafe { (address as *mut u8).write_volatile(1) });
    std::thread::sleep(Duration::from_millis(300));
    // SAFETY: nothing uses the mapping afterwards but the thread that is meant to hang.
    std::thread::spawn(move || unsafe { libc::munmap(address as *mut libc::c_void, 4096) });
}

#[expect(unsafe_code, reason = "only the raw system call ends one thread")]
fn exit_leader(wait: impl Fn()) {
    // The test harness runs this on a thread, so the leader is another: forking makes this thread the leader.
    // SAFETY: the child goes on with system calls and thread creation in a process that held no other lock.
    let child = unsafe { libc::fork() };
    if child != 0 {
        println!("{child}");
        wait();
        return;
    }
    // SAFETY: the clone runs on its own leaked stack; then only this thread ends.
    unsafe {
        extern "C" fn sleep_on(_: *mut libc::c_void) -> libc::c_int {
            loop {
                // SAFETY: sleeps.
                unsafe { libc::pause() };
            }
        }
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::prctl(libc::PR_SET_NAME, c"headless".as_ptr());
        let stack = Box::leak(vec![0_u8; 64 * 1024].into_boxed_slice());
        let flags = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
        let top = stack.as_mut_ptr_range().end;
        let top = top.sub(top as usize % 16);
        assert!(libc::clone(sleep_on, top.cast(), flags, std::ptr::null_mut()) > 0);
        libc::syscall(libc::SYS_exit, 0);
    }
}

fn pass(collector: &mut TasksCollector) -> Arc<Tasks> {
    match collector.collect(&Context::default()) {
        Section::Ok { data, .. } => data,
        other => panic!("{other:?}"),
    }
}

/// Passes until `wanted` holds of the task; fails after 10 s.
fn until(collector: &mut TasksCollector, pid: u32, wanted: impl Fn(&Task) -> bool) -> (Arc<Tasks>, Task) {
    until_all(collector, pid, |_, task| wanted(task))
}

/// The same, judged by the whole look.
fn until_all(collector: &mut TasksCollector, pid: u32, wanted: impl Fn(&Tasks, &Task) -> bool) -> (Arc<Tasks>, Task) {
    let mut last = None;
    for _ in 0..100 {
        let tasks = pass(collector);
        if let Some(task) = tasks.rows.iter().find(|task| task.key.pid == pid) {
            if wanted(&tasks, task) {
                let task = task.clone();
                return (tasks, task);
            }
            last = Some(task.clone());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("not seen in 10 s: {last:?}");
}

#[test]
fn threads_in_d_are_counted_with_their_wait_channel_stack_and_pending_kill() {
    let Some(filesystem) = Filesystem::mount() else { return };
    let mut victim = Victim::start("writers", &filesystem.point());
    let mut collector = TasksCollector::new(&Roots::default(), Readers::start(Path::new("/proc")).ok());
    let pid = victim.0.id();
    let (_, calm) = until(&mut collector, pid, |task| task.cmdline.is_some());
    assert_eq!(calm.by_state.blocked, 0);
    assert!(filesystem.freeze("-f"));
    victim.go();
    // On their way to the frozen filesystem they may be in D elsewhere for a moment (the table of descriptors grows).
    let settled = |tasks: &Tasks, task: &Task| {
        let first = task.awake.first().and_then(|thread| thread.wchan.clone());
        task.by_state.blocked == THREADS
            && task.awake.iter().all(|thread| thread.wchan == first && !thread.stack.is_empty())
            && tasks.blocked_by_wchan.iter().any(|(name, piled)| Some(name) == first.as_ref() && *piled >= THREADS)
    };
    let (tasks, task) = until_all(&mut collector, pid, settled);
    assert!(task.cmdline.is_some_and(|line| line.contains("victim")), "kept from the healthy moment");
    assert_eq!(task.awake.len(), Task::AWAKE_MAX);
    let thread = &task.awake[0];
    let wchan = thread.wchan.clone().unwrap();
    let (_, piled) = tasks.blocked_by_wchan.iter().find(|(name, _)| *name == wchan).unwrap();
    assert!(*piled >= THREADS, "{:?}", tasks.blocked_by_wchan);
    assert_eq!(thread.sigkill_pending, Some(false));
    let before = thread.switches.unwrap();
    victim.signal(Signal::KILL);
    let (_, task) = until(&mut collector, pid, |task| task.awake.iter().any(|t| t.sigkill_pending == Some(true)));
    let same = task.awake.iter().find(|other| other.tid == thread.tid).unwrap();
    assert_eq!(same.switches, Some(before), "it has not woken since");
    let detail = DetailCollector::new(&Roots::default(), None).collect(task.key).task.unwrap();
    assert!(detail.threads[0].state == TaskState::Blocked && !detail.threads[0].stack.is_empty(), "{detail:?}");
    assert!(detail.signals.is_some_and(|sets| (sets.pending | sets.shared_pending) & 0x100 != 0));
    let wait = &detail.waits[0];
    assert_eq!((wait.kind, wait.sigkill_pending > 0), (WaitFor::FrozenFs, true), "{wait:?}");
}

#[test]
fn a_command_line_that_hangs_costs_one_reader_and_nothing_else() {
    let Some(filesystem) = Filesystem::mount() else { return };
    let mut victim = Victim::start("mmap_lock", &filesystem.point());
    assert!(filesystem.freeze("-f"));
    victim.go();
    let pid = victim.0.id();
    // The collector itself leaves such a process alone and is not held up.
    let mut collector = TasksCollector::new(&Roots::default(), Readers::start(Path::new("/proc")).ok());
    until(&mut collector, pid, |task| task.by_state.blocked >= 2);
    let began = now();
    pass(&mut collector);
    assert!(now().since(began) < 5.0);
    // A reader that is asked all the same hangs, is given up, and a spare answers.
    let mut readers = Readers::start(Path::new("/proc")).unwrap();
    let own = std::process::id();
    for pid in [pid, own] {
        assert!(readers.ask(Ask { kind: Kind::Cmdline, pid, tid: pid, start_ticks: 0 }, now()));
    }
    let (began, mut answers) = (now(), Vec::new());
    while answers.len() < 2 && now().since(began) < 5.0 {
        readers.turn(now(), &mut answers);
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = now().since(began);
    assert_eq!(answers[0].bytes, Err(rustix::io::Errno::TIMEDOUT), "{answers:?}");
    assert!(answers[1].ask.pid == own && answers[1].bytes.is_ok(), "{answers:?}");
    assert_eq!(readers.alive(), 2);
    assert!((0.2..3.0).contains(&took), "{took}");
}

#[test]
fn a_leader_that_exited_is_no_zombie_to_reap() {
    let dir = tempfile::tempdir().unwrap();
    let victim = Victim::start("exited_leader", dir.path());
    let mut collector = TasksCollector::new(&Roots::default(), None);
    let mut found = None;
    for _ in 0..100 {
        let tasks = pass(&mut collector);
        found = tasks.rows.iter().find(|t| t.ppid == victim.0.id() && t.state == TaskState::Zombie).cloned();
        if found.as_ref().is_some_and(|task| task.cmdline.is_some() && task.by_state.sleeping == 1) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let task = found.unwrap();
    assert!(!task.is_zombie(), "{task:?}");
    assert_eq!((task.threads, task.by_state.zombie, task.by_state.sleeping), (2, 1, 1));
    assert!(task.rss_bytes > 0 && task.fds.is_some_and(|n| n > 0) && task.netns.is_some(), "{task:?}");
    assert!(task.cmdline.is_some());
}

#[test]
fn zombies_are_counted_under_the_parent_that_does_not_wait() {
    let children: Vec<Child> = (0..20).map(|_| Command::new("true").spawn().unwrap()).collect();
    let mut collector = TasksCollector::new(&Roots::default(), None);
    let own = std::process::id();
    let mut zombies = 0;
    for _ in 0..100 {
        let tasks = pass(&mut collector);
        zombies = tasks.rows.iter().filter(|t| t.ppid == own && t.is_zombie() && &*t.comm == "true").count();
        if zombies == children.len() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(zombies, children.len());
    for mut child in children {
        child.wait().unwrap();
    }
}
