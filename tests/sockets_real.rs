//! The sockets collector against the running kernel and against `ss`: piles, listeners, two namespaces, both families.
//!
//! Needs root and `ip`/`ss`. The namespaces are made here and deleted at the end; nothing leaves their loopback.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this file is tests")]

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use whytop::collect::sockets::SocketsCollector;
use whytop::collect::{Collector, Context, Roots};
use whytop::snapshot::{NetnsId, Side, Sockets, Task, TaskKey, TaskState, Tasks, TcpState};

/// The arguments that make this program run [`child`] alone.
const CHILD: [&str; 4] = ["--exact", "child", "--ignored", "--nocapture"];

/// A network namespace of this test, with loopback up; deleted when dropped.
struct Netns(String);

impl Netns {
    fn new(name: &str) -> Result<Self, String> {
        let netns = Self(format!("whytop-{name}-{}", std::process::id()));
        run("ip", &["netns", "add", &netns.0])?;
        run("ip", &["-n", &netns.0, "link", "set", "lo", "up"])?;
        Ok(netns)
    }

    fn path(&self) -> String {
        format!("/run/netns/{}", self.0)
    }

    fn id(&self) -> NetnsId {
        NetnsId(rustix::fs::stat(self.path().as_str()).unwrap().st_ino)
    }

    /// Runs `work` on a thread inside: sockets made there stay there.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = std::fs::File::open(self.path()).unwrap();
        let enter = move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().unwrap())
    }

    /// A process inside that runs [`child`] in the given role, and says when it is ready.
    fn child(&self, role: &str) -> Guest {
        let test = std::env::current_exe().unwrap();
        guest(Command::new("ip").args(["netns", "exec", &self.0]).arg(test), role)
    }

    fn ss(&self, flags: &str) -> String {
        run("ip", &["netns", "exec", &self.0, "ss", flags, "-H"]).unwrap()
    }

    /// Counts by `ss`'s word for the state.
    fn ss_states(&self, flags: &str) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for line in self.ss(flags).lines() {
            *counts.entry(line.split_whitespace().next().unwrap().to_owned()).or_default() += 1;
        }
        counts
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = run("ip", &["netns", "del", &self.0]);
    }
}

/// A child process; ends with this value.
struct Guest(
    Child,
    #[expect(dead_code, reason = "kept open: the process writes to it at its end")] Lines<BufReader<ChildStdout>>,
);

impl Drop for Guest {
    fn drop(&mut self) {
        drop(self.0.stdin.take()); // its signal to leave
        let _ = self.0.wait();
    }
}

/// Starts a command that ends in this program, as [`child`].
fn guest(command: &mut Command, role: &str) -> Guest {
    let piped = command.args(CHILD).env("WHYTOP_CHILD", role).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = piped.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("READY")), "the child came up");
    Guest(process, lines)
}

fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let out = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    if !out.status.success() {
        return Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The namespaces, or the reason why this test can't run here.
fn namespaces<const N: usize>(test: &str) -> Option<[Netns; N]> {
    let made = (0..N).map(|n| Netns::new(&format!("{test}{n}"))).collect::<Result<Vec<_>, _>>();
    match made.and_then(|all| run("ss", &["-V"]).map(|_| all)) {
        Ok(all) => all.try_into().ok(),
        Err(why) => {
            println!("SKIPPED: {why}");
            None
        }
    }
}

/// The processes of this host as the collector needs them.
fn tasks() -> Tasks {
    let mut rows: Vec<Task> = procfs::process::all_processes().unwrap().flatten().filter_map(|p| task(&p)).collect();
    rows.sort_by_key(|t| t.key.pid);
    Tasks { rows, ..Tasks::default() }
}

fn task(process: &procfs::process::Process) -> Option<Task> {
    let stat = process.stat().ok()?;
    let pid = u32::try_from(stat.pid).ok()?;
    let netns = rustix::fs::stat(format!("/proc/{pid}/ns/net").as_str()).ok().map(|s| NetnsId(s.st_ino));
    Some(Task {
        key: TaskKey { pid, start_ticks: stat.starttime },
        ppid: u32::try_from(stat.ppid).unwrap_or(0),
        comm: stat.comm.as_str().into(),
        state: TaskState::from_letter(u8::try_from(stat.state).unwrap_or(0)),
        threads: u32::try_from(stat.num_threads).unwrap_or(0),
        kthread: stat.flags & 0x0020_0000 != 0,
        netns,
        ..Task::default()
    })
}

fn look(collector: &mut SocketsCollector) -> Arc<Sockets> {
    let cx = Context { tasks: Some(Arc::new(tasks())), eager: true, ..Context::default() };
    Arc::clone(collector.collect(&cx).shared().expect("sockets can be read"))
}

fn key_of(tasks: &Tasks, pid: u32) -> Option<TaskKey> {
    tasks.rows.iter().find(|t| t.key.pid == pid).map(|t| t.key)
}

/// A listener whose queue is full, and `count` connections to it that stay in `SYN_SENT`.
fn syn_sent_pile(count: usize) -> (SocketAddr, Vec<OwnedFd>) {
    let listener = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let addr: SocketAddr = rustix::net::getsockname(&listener).unwrap().try_into().unwrap();
    let mut held = vec![listener, TcpStream::connect(addr).unwrap().into()];
    for _ in 0..count {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let dialing =
            rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP)).unwrap();
        assert_eq!(rustix::net::connect(&dialing, &addr), Err(rustix::io::Errno::INPROGRESS));
        held.push(dialing);
    }
    (addr, held)
}

/// Connections to a listener, each as `(near, far)`.
fn connect(listener: &TcpListener, to: SocketAddr, count: usize) -> Vec<(TcpStream, TcpStream)> {
    (0..count).map(|_| (TcpStream::connect(to).unwrap(), listener.accept().unwrap().0)).collect()
}

/// Waits until `count` sockets of `port` are in a state of `ss`'s word.
fn settle(netns: &Netns, filter: &str, port: u16, count: usize) {
    for _ in 0..1000 {
        let all = netns.ss("-tan");
        if all.lines().filter(|l| l.starts_with(filter) && l.contains(&format!(":{port} "))).count() == count {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{count} sockets in {filter} of port {port} never stood:\n{}", netns.ss("-tan"));
}

fn by_state(sockets: &Sockets, netns: NetnsId) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for group in sockets.groups.iter().filter(|g| g.netns == netns) {
        let word = match group.state {
            TcpState::Established => "ESTAB".to_owned(),
            TcpState::Close => "UNCONN".to_owned(),
            other => other.name().to_uppercase().replace('_', "-").replace("FIN-WAIT", "FIN-WAIT-"),
        };
        *counts.entry(word).or_default() += group.count;
    }
    let listeners = sockets.listeners.iter().filter(|l| l.key.netns == netns).count() as u64;
    if listeners > 0 {
        counts.insert("LISTEN".into(), listeners);
    }
    counts
}

/// The other process of these tests.
#[test]
#[ignore = "not a test: what the other tests start inside a namespace"]
fn child() {
    let Ok(role) = std::env::var("WHYTOP_CHILD") else { return };
    let held: Box<dyn std::any::Any> = match role.as_str() {
        "listen" => {
            let listener = TcpListener::bind("[::]:7070").unwrap();
            let pairs = connect(&listener, "[::1]:7070".parse().unwrap(), 3);
            Box::new((listener, pairs))
        }
        "leader gone" => return leader_gone(),
        "look" => return look_as_a_plain_user(),
        _ => Box::new(()),
    };
    println!("READY");
    let _ = std::io::stdin().read(&mut [0]);
    drop(held);
}

/// A process whose leader has exited while a thread holds a listener. The test's thread is not the leader, so the
/// leader itself is ended through a system call of a thread that it runs: only a program of its own can do that.
fn leader_gone() {
    let script = "import ctypes,os,socket,threading\n\
        s = socket.create_server(('127.0.0.1', 7171))\n\
        def hold():\n    print('READY', flush=True); os.read(0, 1); os._exit(0)\n\
        threading.Thread(target=hold).start()\n\
        ctypes.CDLL(None).syscall(60, 0)\n";
    let mut python = Command::new("python3").args(["-c", script]).spawn().unwrap();
    let _ = python.wait();
}

#[test]
fn piles_are_counted_and_owned_as_ss_says() {
    let Some([netns]) = namespaces("piles") else { return };
    let guest = netns.child("idle");
    let (pile, listener, held) = netns.inside(|| {
        let (pile, dialing) = syn_sent_pile(60);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        // The far end closes, the near one never does.
        let close_wait: Vec<TcpStream> = connect(&listener, to, 40).into_iter().map(|(near, _)| near).collect();
        // The listener's end closes first, then the near one: TIME_WAIT on the listener's port.
        for (near, far) in connect(&listener, to, 30) {
            drop(far);
            std::thread::sleep(Duration::from_millis(1));
            drop(near);
        }
        let waiting: Vec<_> = (0..5).map(|_| TcpStream::connect(to).unwrap()).collect();
        (pile, to, (dialing, listener, close_wait, waiting))
    });
    settle(&netns, "TIME-WAIT", listener.port(), 30);
    let mut collector = SocketsCollector::new(&Roots::default(), None);
    let sockets = look(&mut collector);
    assert_eq!(&*sockets.source, "sock_diag");
    assert_eq!(by_state(&sockets, netns.id()), netns.ss_states("-tan"));
    let me = key_of(&tasks(), std::process::id());
    let count = |state, by_listener, remote_port, local_port| {
        let same = sockets.groups.iter().filter(|g| {
            g.netns == netns.id()
                && g.owner == me
                && (g.state, g.by_listener) == (state, by_listener)
                && (g.remote_port, g.local_port) == (remote_port, local_port)
        });
        same.map(|g| g.count).sum::<u64>()
    };
    let (to, port) = (Some(pile.port()), Some(listener.port()));
    assert_eq!(count(TcpState::SynSent, false, to, None), 60);
    assert_eq!(count(TcpState::CloseWait, false, port, None), 40);
    assert_eq!(count(TcpState::FinWait2, true, None, port), 40);
    assert_eq!(count(TcpState::TimeWait, true, None, port), 30);
    assert_eq!(count(TcpState::Established, true, None, port), 5, "not accepted yet");
    let row = sockets.listeners.iter().find(|l| l.key.local == listener && l.key.netns == netns.id()).unwrap();
    assert_eq!((row.owner, row.queue), (me, 5));
    let full = sockets.listeners.iter().find(|l| l.key.local == pile && l.key.netns == netns.id()).unwrap();
    assert_eq!((full.queue, full.backlog, full.drops.is_some_and(|d| d >= 60)), (1, 0, true));

    // The same through /proc/PID/net, by a process that is in the namespace.
    let tree = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/proc", tree.path().join("proc")).unwrap();
    let mut reader = SocketsCollector::new(&Roots { proc: tree.path().join("proc"), ..Roots::default() }, None);
    let text = look(&mut reader);
    assert_eq!(&*text.source, "/proc/net");
    assert_eq!(by_state(&text, netns.id()), netns.ss_states("-tan"));
    let owned =
        |s: &Sockets| s.groups.iter().filter(|g| g.owner == me && g.netns == netns.id()).map(|g| g.count).sum::<u64>();
    assert_eq!(owned(&text), owned(&sockets));
    drop((held, guest));
}

#[test]
fn a_second_namespace_ipv6_and_both_families_on_one_listener() {
    let Some([one, two]) = namespaces("two") else { return };
    let guest = two.child("listen");
    let (port, held) = one.inside(|| {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let six = connect(&listener, SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)), 4);
        let four = connect(&listener, SocketAddr::from(([127, 0, 0, 1], port)), 6);
        (port, (listener, six, four))
    });
    let mut collector = SocketsCollector::new(&Roots::default(), None);
    let sockets = look(&mut collector);
    for netns in [&one, &two] {
        assert!(sockets.netns.contains(&netns.id()));
        assert_eq!(by_state(&sockets, netns.id()), netns.ss_states("-tan"));
    }
    // `ip netns exec` becomes the program it runs.
    let all = tasks();
    let (me, other) = (key_of(&all, std::process::id()), key_of(&all, guest.0.id()));
    let listener = sockets.listeners.iter().find(|l| l.key.netns == two.id()).unwrap();
    assert_eq!((listener.key.local.port(), listener.owner, listener.shared_by), (7070, other, 1));
    assert!(sockets.groups.iter().filter(|g| g.netns == two.id()).all(|g| g.owner == other && other.is_some()));
    let mut served: Vec<_> = sockets
        .groups
        .iter()
        .filter(|g| g.netns == one.id() && g.side == Side::Server && g.local_port == Some(port))
        .map(|g| (g.remote_addr.unwrap().to_string(), g.count, g.owner))
        .collect();
    served.sort();
    assert_eq!(served, [("127.0.0.1".to_owned(), 6, me), ("::1".to_owned(), 4, me)]);

    // A namespace whose last process has gone is let go of in the next look.
    let gone = two.id();
    drop(guest);
    drop(two);
    let after = look(&mut collector);
    assert!(!after.netns.contains(&gone) && after.netns.contains(&one.id()));
    let held_open = procfs::process::Process::myself().unwrap().fd_count().unwrap();
    look(&mut collector);
    assert_eq!(procfs::process::Process::myself().unwrap().fd_count().unwrap(), held_open);
    drop(held);
}

#[test]
fn udp_drops_and_buffers_per_socket() {
    let Some([netns]) = namespaces("udp") else { return };
    let (port, held) = netns.inside(|| {
        let slow = UdpSocket::bind("127.0.0.1:0").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&slow, 4096).unwrap();
        let to = slow.local_addr().unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(to).unwrap();
        for _ in 0..200 {
            sender.send(&[0; 500]).unwrap();
        }
        (to.port(), (slow, sender, UdpSocket::bind("[::]:0").unwrap()))
    });
    let sockets = look(&mut SocketsCollector::new(&Roots::default(), None));
    let rows: Vec<_> = sockets.udp.iter().filter(|u| u.key.netns == netns.id()).collect();
    assert_eq!(rows.len() as u64, netns.ss_states("-uan").values().sum::<u64>());
    let slow = rows.iter().find(|u| u.key.local.port() == port).unwrap();
    assert_eq!((slow.rcvbuf_bytes, slow.owner), (Some(8192), key_of(&tasks(), std::process::id())));
    let table = netns.inside(|| std::fs::read_to_string("/proc/thread-self/net/udp").unwrap());
    let line = table.lines().find(|l| l.contains(&format!("0100007F:{port:04X} 00000000"))).unwrap();
    let drops: u64 = line.split_whitespace().last().unwrap().parse().unwrap();
    assert!(drops > 100);
    assert_eq!(slow.drops, drops);
    drop(held);
}

#[test]
fn a_listener_outlives_the_leader_of_its_process() {
    let Some([netns]) = namespaces("leader") else { return };
    if let Err(why) = run("python3", &["-c", "import ctypes"]) {
        println!("SKIPPED: {why}");
        return;
    }
    let guest = netns.child("leader gone");
    let exited = || tasks().rows.iter().any(|t| t.netns.is_none() && &*t.comm == "python3" && t.threads == 2);
    assert!(
        (0..200).any(|_| exited() || {
            std::thread::sleep(Duration::from_millis(10));
            false
        }),
        "the leader left"
    );
    let sockets = look(&mut SocketsCollector::new(&Roots::default(), None));
    let listener = sockets.listeners.iter().find(|l| l.key.netns == netns.id()).expect("the namespace is bound");
    let owner = listener.owner.expect("a thread holds it");
    let row = tasks().rows.into_iter().find(|t| t.key == owner).unwrap();
    assert_eq!((row.state, &*row.comm, row.threads), (TaskState::Zombie, "python3", 2));
    drop(guest);
}

#[test]
fn a_user_without_rights_is_told_what_is_missing() {
    let Some([netns]) = namespaces("user") else { return };
    let test = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let copy = test.path().join("sockets_real");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    if let Err(why) = run("setpriv", &[&nobody[..], &["true"]].concat()) {
        println!("SKIPPED: {why}");
        return;
    }
    let ready = |command: &mut Command| guest(command.args(nobody).arg(&copy), "listen");
    let same_user = ready(Command::new("ip").args(["netns", "exec", &netns.0, "setpriv"]));
    // With a /proc of its own, whatever `hidepid` the host's has.
    let mut looking = Command::new("unshare");
    looking.args(["--mount", "sh", "-c", "mount -t proc proc /proc && exec \"$@\"", "sh", "setpriv"]);
    looking
        .args(nobody)
        .arg(&copy)
        .args(CHILD)
        .env("WHYTOP_CHILD", "look")
        .env("WHYTOP_NETNS", netns.id().0.to_string());
    let out = looking.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(String::from_utf8_lossy(&out.stdout).contains("LOOKED"));
    drop(same_user);
}

/// What a plain user sees: a namespace it may not enter is read through a process that is in it.
fn look_as_a_plain_user() {
    let netns = NetnsId(std::env::var("WHYTOP_NETNS").unwrap().parse().unwrap());
    let sockets = look(&mut SocketsCollector::new(&Roots::default(), None));
    assert_eq!(&*sockets.source, "sock_diag and /proc/net");
    assert_eq!(by_state(&sockets, netns), BTreeMap::from([("ESTAB".to_owned(), 6), ("LISTEN".to_owned(), 1)]));
    assert!(sockets.groups.iter().filter(|g| g.netns == netns).all(|g| g.owner.is_some()), "its own processes");
    let missing = |what: &str, fix: &str| sockets.gaps.iter().any(|g| g.what.contains(what) && g.fix.contains(fix));
    assert!(missing("owners of other users' sockets", "CAP_SYS_PTRACE"), "{:?}", sockets.gaps);
    assert!(missing("network namespaces of", "CAP_SYS_PTRACE"), "{:?}", sockets.gaps);
    assert!(missing("read from /proc/net", "CAP_SYS_ADMIN"), "{:?}", sockets.gaps);
    println!("LOOKED");
}
