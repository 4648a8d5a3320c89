//! Tries what no section's state tells: for `doctor`. Nothing is guessed from a user id or a version.

use super::{Roots, io};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Where Docker listens.
const DOCKER: &str = "/var/run/docker.sock";
/// A daemon that hangs is as good as none.
const DOCKER_WAIT: Duration = Duration::from_secs(1);
const STACK_BYTES: usize = 128 * 1024;

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What it is, for example `kernel stacks`.
    pub name: &'static str,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of trying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It works; what was seen.
    Ok(String),
    /// It was refused: by whom or where, and what would help.
    Denied(String, String),
    /// This host has no such thing; what that means.
    Absent(String),
}

/// Tries everything, in a few milliseconds; a Docker that hangs costs a second.
#[must_use]
pub fn all(roots: &Roots) -> Vec<Probe> {
    let probe = |name, outcome| Probe { name, outcome };
    vec![
        probe("own /proc", own_proc(roots)),
        probe("kernel stacks", stacks(roots)),
        probe("other users' descriptors", descriptors(roots)),
        probe("entering network namespaces", namespaces(roots)),
        probe("docker", docker()),
    ]
}

fn judge(tried: Result<String, Errno>, what: &str, fix: &str) -> Outcome {
    match tried {
        Ok(seen) => Outcome::Ok(seen),
        Err(e @ (Errno::ACCESS | Errno::PERM)) => Outcome::Denied(format!("{what}: {e}"), fix.into()),
        Err(e) => Outcome::Absent(format!("{what}: {e}")),
    }
}

fn own_proc(roots: &Roots) -> Outcome {
    let path = roots.proc.display();
    match super::sampler::own_pid(roots) {
        0 => Outcome::Absent(format!("{path} is not a live /proc of this pid namespace: nothing may be acted on")),
        pid => Outcome::Ok(format!("{path}, pid {pid}")),
    }
}

fn stacks(roots: &Roots) -> Outcome {
    let path = roots.proc("self/stack");
    let mut buf = Vec::new();
    let tried = io::read_path(&path, &mut buf)
        .map(|()| format!("{} frames of our own", buf.split(|b| *b == b'\n').count() - 1));
    judge(tried, &path.display().to_string(), "CAP_SYS_ADMIN; without it a hung task shows its wait channel only")
}

fn descriptors(roots: &Roots) -> Outcome {
    let path = roots.proc("1/fd");
    let tried = std::fs::read_dir(&path).map(|dir| format!("{} of pid 1", dir.count()));
    let tried = tried.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO));
    judge(tried, &path.display().to_string(), "CAP_SYS_PTRACE; without it sockets of other users have no owner")
}

/// Enters our own namespace, on a thread that then ends: the rights needed are those for another one.
fn namespaces(roots: &Roots) -> Outcome {
    let path = roots.proc("self/ns/net");
    let try_it = move || {
        let fd = rustix::fs::open(
            &path,
            rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&fd), Some(LinkNameSpaceType::Network))
    };
    let thread = std::thread::Builder::new().name("probe-setns".into()).stack_size(STACK_BYTES).spawn(try_it);
    let tried = thread.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::AGAIN));
    let tried = tried.and_then(|t| t.join().unwrap_or(Err(Errno::IO))).map(|()| "setns works".into());
    judge(tried, "setns", "CAP_SYS_ADMIN; without it only our own namespace's sockets are seen")
}

/// Asks Docker for its version, on a thread that is left behind when it hangs.
fn docker() -> Outcome {
    let (tell, told) = channel();
    let ask = move || tell.send(docker_version(Path::new(DOCKER)));
    if let Err(e) = std::thread::Builder::new().name("probe-docker".into()).stack_size(STACK_BYTES).spawn(ask) {
        return Outcome::Absent(format!("no thread could be started: {e}"));
    }
    match told.recv_timeout(DOCKER_WAIT) {
        Ok(tried) => {
            judge(tried, DOCKER, "membership of group docker, or root; container names come from files instead")
        }
        Err(_) => Outcome::Absent(format!("{DOCKER} takes connections but does not answer: is dockerd hung?")),
    }
}

fn docker_version(path: &Path) -> Result<String, Errno> {
    let errno = |e: std::io::Error| Errno::from_io_error(&e).unwrap_or(Errno::IO);
    let mut socket = UnixStream::connect(path).map_err(errno)?;
    socket.set_read_timeout(Some(DOCKER_WAIT)).map_err(errno)?;
    socket.write_all(b"GET /version HTTP/1.0\r\nHost: docker\r\n\r\n").map_err(errno)?;
    let mut reply = Vec::new();
    socket.take(64 * 1024).read_to_end(&mut reply).map_err(errno)?;
    let version = reply
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .and_then(|at| serde_json::from_slice::<serde_json::Value>(reply.get(at + 4..)?).ok());
    let version = version.as_ref().and_then(|v| v.get("Version")?.as_str()).unwrap_or("of unknown version");
    Ok(format!("{}, Docker {version}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn refused_and_missing_are_told_apart() {
        assert!(
            matches!(judge(Err(Errno::PERM), "x", "CAP"), Outcome::Denied(why, fix) if why.starts_with("x: ") && fix == "CAP")
        );
        assert!(matches!(judge(Err(Errno::NOENT), "x", "CAP"), Outcome::Absent(_)));
    }

    #[test]
    fn a_tree_that_is_no_procfs_has_no_self() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots { proc: dir.path().into(), ..Roots::default() };
        assert!(matches!(own_proc(&roots), Outcome::Absent(_)));
        assert!(matches!(stacks(&roots), Outcome::Absent(_)));
        assert!(matches!(own_proc(&Roots::default()), Outcome::Ok(_)));
    }

    #[test]
    fn docker_says_its_version() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut ask = [0; 256];
            let n = peer.read(&mut ask).unwrap();
            peer.write_all(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n{\"Version\":\"20.10.24\"}").unwrap();
            ask[..n].starts_with(b"GET /version ")
        });
        let seen = docker_version(&path).unwrap();
        assert!(server.join().unwrap());
        assert!(seen.ends_with("docker.sock, Docker 20.10.24"), "{seen}");
        assert_eq!(docker_version(&dir.path().join("none")), Err(Errno::NOENT));
    }
}
