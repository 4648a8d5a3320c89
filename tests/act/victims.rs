//! What is signalled: this binary run again as `--victim NAME ARGS…`. Each says READY and ends with its parent.
#![expect(unsafe_code, reason = "the trouble is made of raw system calls")]
#![expect(clippy::zombie_processes, reason = "zombies are what is asked for")]

use crate::kit;
use std::io::{BufRead, BufReader, Write};
use std::process::Command;

pub fn run(args: &[String]) -> ! {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    // Each case's own name: of another's victim nobody shall think that it took this one's place.
    let name: Vec<u8> = words.join(" ").bytes().filter(|b| *b != 0).take(15).collect();
    rustix::thread::set_name(&std::ffi::CString::new(name).unwrap()).unwrap();
    match words.as_slice() {
        ["sleep", ..] => ready(),
        ["spin", ..] => {
            ready();
            loop {
                std::hint::spin_loop();
            }
        }
        ["handle", signal, ends, ..] => handle(number(signal), *ends == "ends"),
        ["ignore", signal, ..] => disposition(number(signal), libc::SIG_IGN),
        ["block", signal, ..] => block(number(signal)),
        ["signalfd", signal, ..] => signalfd(number(signal)),
        ["sigwait", signal, ..] => sigwait(number(signal)),
        ["vfork", ..] => vfork(),
        ["headless", ..] => headless(),
        ["zombie", ..] => zombie(),
        ["reaper", ..] => reaper(),
        ["write", path, ..] => write_on_go(path),
        ["stat", path, ..] => {
            ready();
            wait_for_go();
            std::fs::metadata(path).ok();
        }
        ["supervise", ..] => supervise(),
        ["tree", ..] => {
            // On a word, when it is in its cgroup.
            println!("READY");
            wait_for_go();
            tree();
        }
        ["bomb", ..] => bomb(),
        ["init", ..] => init(),
        other => panic!("{other:?}"),
    }
    forever()
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

fn say(text: &str) {
    println!("READY {text}");
    std::io::stdout().flush().unwrap();
}

fn ready() {
    say("");
}

fn wait_for_go() {
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
}

fn forever() -> ! {
    loop {
        std::thread::sleep(std::time::Duration::from_hours(1));
    }
}

extern "C" fn leave(_: libc::c_int) {
    // SAFETY: ends the process, nothing else.
    unsafe { libc::_exit(0) }
}

extern "C" fn shrug(_: libc::c_int) {}

fn handle(signal: i32, ends: bool) {
    let handler: extern "C" fn(libc::c_int) = if ends { leave } else { shrug };
    disposition(signal, handler as libc::sighandler_t);
}

fn disposition(signal: i32, handler: libc::sighandler_t) {
    // SAFETY: the handlers are async-signal-safe.
    unsafe { libc::signal(signal, handler) };
    ready();
}

fn set_of(signal: i32) -> libc::sigset_t {
    // SAFETY: the set is initialised before it is used.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        set
    }
}

fn block(signal: i32) {
    set_of(signal);
    ready();
}

/// Takes the signal from a descriptor, and ends.
fn signalfd(signal: i32) {
    let set = set_of(signal);
    // SAFETY: the set and the buffer outlive the calls.
    unsafe {
        let fd = libc::signalfd(-1, &raw const set, 0);
        assert!(fd >= 0);
        ready();
        let mut info = [0_u8; 128];
        libc::read(fd, info.as_mut_ptr().cast(), info.len());
        libc::_exit(0);
    }
}

fn sigwait(signal: i32) {
    let set = set_of(signal);
    ready();
    // SAFETY: both outlive the call.
    unsafe {
        let mut got = 0;
        libc::sigwait(&raw const set, &raw mut got);
        libc::_exit(0);
    }
}

/// Waits in the kernel for a child that never executes anything.
fn vfork() {
    extern "C" fn child(_: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the child of a vfork makes system calls only.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            loop {
                libc::pause();
            }
        }
    }
    ready();
    let stack = Box::leak(vec![0_u8; 64 * 1024].into_boxed_slice());
    let top = stack.as_mut_ptr_range().end;
    // SAFETY: the child runs on its own leaked stack.
    unsafe {
        let top = top.sub(top as usize % 16);
        libc::clone(child, top.cast(), libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD, std::ptr::null_mut());
    }
}

/// The leader ends, a thread goes on.
fn headless() {
    std::thread::spawn(|| {
        while kit::state(std::process::id()) != Some('Z') {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        ready();
        forever();
    });
    // SAFETY: ends this thread alone.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

fn spawn(words: &[&str]) -> std::process::Child {
    let exe = std::env::current_exe().unwrap();
    Command::new(exe).arg("--victim").args(words).stdout(std::process::Stdio::piped()).spawn().unwrap()
}

/// A child that ends, and is not waited for.
fn zombie() {
    let child = Command::new("true").spawn().unwrap();
    kit::until_state(child.id(), 'Z');
    say(&child.id().to_string());
    forever();
}

/// The same, but SIGCHLD from outside makes it wait.
fn reaper() {
    extern "C" fn reap(_: libc::c_int) {
        // SAFETY: waits for whatever child has ended.
        unsafe { while libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) > 0 {} }
    }
    let child = Command::new("true").spawn().unwrap();
    kit::until_state(child.id(), 'Z');
    handle_with(libc::SIGCHLD, reap);
    say(&child.id().to_string());
    forever();
}

fn handle_with(signal: i32, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: the handler is async-signal-safe.
    unsafe { libc::signal(signal, handler as libc::sighandler_t) };
}

fn write_on_go(path: &str) {
    ready();
    wait_for_go();
    std::fs::write(path, "x").ok();
}

/// Starts its child again whenever it ends.
fn supervise() {
    let mut first = true;
    loop {
        let mut child = spawn(&["sleep", "supervised"]);
        if std::mem::take(&mut first) {
            // Before it says so it has another name.
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
            say(&child.id().to_string());
        }
        child.wait().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

/// Two children, of which one has a child that goes on forking. Their cgroup bounds them.
fn tree() {
    // SAFETY: the forks run system calls only.
    unsafe {
        if libc::fork() == 0 {
            loop {
                libc::pause();
            }
        }
        if libc::fork() == 0 {
            if libc::fork() == 0 {
                loop {
                    if libc::fork() == 0 {
                        libc::sleep(60);
                        libc::_exit(0);
                    }
                    libc::usleep(10_000);
                }
            }
            loop {
                libc::pause();
            }
        }
    }
}

/// Forks for as long as its cgroup lets it; every child too.
fn bomb() {
    ready();
    wait_for_go();
    // SAFETY: system calls only.
    unsafe {
        loop {
            libc::fork();
            libc::usleep(3000);
        }
    }
}

/// The init of a pid namespace, with a child that it doesn't wait for, and another.
fn init() {
    let dead = Command::new("true").spawn().unwrap();
    let _living = spawn(&["sleep", "in-namespace"]);
    let _ = dead;
    // Its own death signal came from a parent outside; inside it has none.
    ready();
    forever();
}
