//! Processes that make trouble: this binary run again as `--actor NAME ARGS…`. Each says READY, and ends with its parent.

use crate::kit::must;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::thread::{self, sleep};
use std::time::Duration;

pub fn run(args: &[String]) {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).expect("die with the parent");
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["syn-sent", port, count] => syn_sent(number(port), number(count)),
        ["time-wait", port, buckets] => time_wait(number(port), buckets),
        ["udp-deaf", port] => udp_deaf(number(port)),
        ["threads", count] => idle_threads(number(count)),
        ["server", port, close] => server(number(port), number(close)),
        ["client", port, count] => client(number(port), number(count)),
        ["zombies", count] => zombies(number(count)),
        ["exit"] => {}
        ["freeze-writers", dir, count] => freeze_writers(dir, number(count)),
        ["dying-cgroups", group, dir] => dying_cgroups(Path::new(group), Path::new(dir)),
        [name, args @ ..] => brought_along(name, args),
        [] => panic!("which actor?"),
    }
}

/// An actor that a scenario or control has of its own.
fn brought_along(name: &str, args: &[&str]) {
    let theirs = crate::scenarios::ALL.iter().copied().flatten().map(|s| s.actors);
    let guests = crate::vm::BOOTS.iter().flat_map(|boot| boot.works).map(crate::Work::actors);
    let all = theirs.chain(crate::controls::ALL.iter().map(|c| c.actors)).chain(guests).flatten();
    let of_that_name: Vec<_> = all.filter(|(n, _)| *n == name).map(|(_, act)| *act).collect();
    let Some(act) = of_that_name.first() else { panic!("no such actor: {name}") };
    assert!(of_that_name.iter().all(|other| std::ptr::fn_addr_eq(*other, *act)), "two actors are called {name}");
    act(args);
}

pub fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

pub fn name(comm: &str) {
    std::fs::write("/proc/self/comm", comm).expect("name this process");
}

pub fn ready() {
    println!("READY");
    std::io::stdout().flush().expect("say READY");
}

/// Ends the calling thread and no other: a process whose first thread has ended goes on as a zombie leader.
#[expect(unsafe_code, reason = "no wrapper ends a single thread")]
pub fn end_this_thread() -> ! {
    // SAFETY: the call takes no memory of ours and does not come back; nothing of this thread's is used after it.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("the thread has ended")
}

pub fn forever() -> ! {
    loop {
        sleep(Duration::from_hours(1));
    }
}

pub fn loopback(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

pub fn stream(flags: SocketFlags) -> OwnedFd {
    rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("socket")
}

/// Changes links, addresses and routes of this process's namespace.
pub fn ip(words: &[&str]) {
    must("ip", words);
}

/// Sets a sysctl, named by its path below `/proc/sys`.
pub fn sysctl(path: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{path}"), value).unwrap_or_else(|e| panic!("{path}: {e}"));
}

/// A listener whose accept queue is full answers no SYN: every further connect stays in SYN_SENT.
fn syn_sent(port: u16, count: usize) {
    name("amq-client");
    let listener = stream(SocketFlags::empty());
    rustix::net::sockopt::set_socket_reuseaddr(&listener, true).expect("reuse");
    rustix::net::bind(&listener, &loopback(port)).expect("bind");
    rustix::net::listen(&listener, 0).expect("listen");
    let _first = TcpStream::connect(loopback(port)).expect("fill the queue");
    let held: Vec<OwnedFd> = (0..count)
        .map(|_| {
            let s = stream(SocketFlags::NONBLOCK);
            match rustix::net::connect(&s, &loopback(port)) {
                Ok(()) | Err(rustix::io::Errno::INPROGRESS) => s,
                Err(e) => panic!("connect: {e}"),
            }
        })
        .collect();
    ready();
    while !held.is_empty() {
        sleep(Duration::from_hours(1));
    }
}

/// The server closes first, so TIME_WAIT stays at its port; more than the namespace's table holds.
fn time_wait(port: u16, buckets: &str) {
    name("scheduler");
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip").success(), "lo up");
    std::fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", buckets).expect("set the table's size");
    let listener = TcpListener::bind(loopback(port)).expect("listen");
    thread::spawn(move || {
        for peer in listener.incoming() {
            drop(peer);
        }
    });
    let churn = move |n: u32| {
        for _ in 0..n {
            let mut s = TcpStream::connect(loopback(port)).expect("connect");
            std::io::Read::read(&mut s, &mut [0]).ok();
        }
    };
    churn(number::<u32>(buckets) + 100);
    ready();
    loop {
        churn(20);
        sleep(Duration::from_millis(100));
    }
}

fn udp_deaf(port: u16) {
    name("jgroups");
    let deaf = UdpSocket::bind(loopback(port)).expect("bind");
    let sender = UdpSocket::bind(loopback(0)).expect("bind");
    ready();
    loop {
        for _ in 0..20 {
            sender.send_to(&[0; 1400], loopback(port)).ok();
        }
        sleep(Duration::from_millis(10));
        assert!(deaf.local_addr().is_ok(), "the receiver stays open");
    }
}

fn idle_threads(count: usize) {
    name("crowd-threads");
    // One after the other: thousands that start at once hang in D for their address space's lock.
    let (go, begun) = std::sync::mpsc::channel();
    for _ in 1..count {
        let go = go.clone();
        let idle = move || {
            go.send(()).expect("heard");
            forever()
        };
        thread::Builder::new().stack_size(64 << 10).spawn(idle).expect("thread");
        begun.recv().expect("begun");
    }
    ready();
    forever()
}

pub fn many_descriptors() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).expect("raise the descriptor limit");
}

/// Accepts for ever, and closes the first `close` connections: their other ends stay in CLOSE_WAIT.
fn server(port: u16, close: usize) {
    name("crowd-server");
    many_descriptors();
    if rustix::process::getuid().is_root() {
        Command::new("ip").args(["link", "set", "lo", "up"]).status().ok();
    }
    let listener = TcpListener::bind(loopback(port)).expect("listen");
    ready();
    let mut held = Vec::new();
    for (n, peer) in listener.incoming().enumerate() {
        if n >= close {
            held.push(peer);
        }
    }
}

fn client(port: u16, count: usize) {
    name("crowd-client");
    many_descriptors();
    let held: Vec<TcpStream> = (0..count).map(|_| TcpStream::connect(loopback(port)).expect("connect")).collect();
    ready();
    while !held.is_empty() {
        sleep(Duration::from_hours(1));
    }
}

fn zombies(count: usize) {
    name("bad-parent");
    let exe = std::env::current_exe().expect("own path");
    let children: Vec<_> =
        (0..count).map(|_| Command::new(&exe).args(["--actor", "exit"]).spawn().expect("spawn a child")).collect();
    let dead = |pid: u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|s| s.rsplit(')').next().is_some_and(|r| r.trim_start().starts_with('Z')))
    };
    while !children.iter().all(|c| dead(c.id())) {
        sleep(Duration::from_millis(20));
    }
    ready();
    forever()
}

/// Threads that write a file each, again and again: once the file system is frozen all of them are in D.
fn freeze_writers(dir: &str, count: usize) {
    name("fs-writer");
    for i in 0..count {
        let file = Path::new(dir).join(format!("f{i}"));
        thread::spawn(move || {
            loop {
                std::fs::write(&file, b"x").ok();
                sleep(Duration::from_millis(20));
            }
        });
    }
    ready();
    forever()
}

/// Keeps making memory cgroups, charges a tmpfs page and many inodes to each, and removes them: they stay as dying ones.
fn dying_cgroups(group: &Path, dir: &Path) {
    name("pod-churn");
    std::fs::create_dir_all(group).expect("parent group");
    let parent_procs = group.parent().expect("a root").join("cgroup.procs");
    let own = std::process::id().to_string();
    ready();
    for n in 0_u64.. {
        let pod = group.join(format!("pod{n}"));
        std::fs::create_dir(&pod).expect("make a cgroup");
        std::fs::write(pod.join("cgroup.procs"), &own).expect("enter it");
        let files = dir.join(format!("d{n}"));
        std::fs::create_dir(&files).expect("directory");
        for f in 0..200 {
            std::fs::write(files.join(format!("f{f}")), if f == 0 { &b"x"[..] } else { b"" }).expect("file");
        }
        std::fs::write(&parent_procs, &own).expect("leave it");
        std::fs::remove_dir(&pod).expect("remove the cgroup");
        sleep(Duration::from_millis(5));
    }
}
