//! docker's socket, the late answer where its files gave no name.
//!
//! The socket may be systemd's, and a connection would start a daemon that is down: only a living one is asked.

use super::files::Look;
use super::runtimes::{Runtimes, with_labels};
use crate::collect::now;
use crate::snapshot::{Container, Moment};
use rustc_hash::FxHashMap;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::Value;
use std::path::Path;

/// A daemon may take this long.
const DEADLINE_SECS: f64 = 5.0;
/// A list stays good this long.
const FRESH_SECS: f64 = 10.0;
const BODY_MAX: usize = 32 << 20;
const PID_MAX: u32 = 64;
const REQUEST: &[u8] = b"GET /containers/json HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n";

/// The last list of each daemon. Nothing here waits.
#[derive(Debug, Default)]
pub struct Docker {
    asked: Option<Moment>,
    running: FxHashMap<String, Container>,
    calls: Vec<Call>,
}

/// A question under way.
#[derive(Debug)]
struct Call {
    socket: OwnedFd,
    began: Moment,
    raw: Vec<u8>,
}

impl Docker {
    /// What the daemons say of the container `id`.
    pub fn find(&mut self, runtimes: &Runtimes, id: &str, look: &mut Look<'_>) -> Option<Container> {
        let at = now();
        if self.calls.is_empty() && self.asked.is_none_or(|asked| at.since(asked) > FRESH_SECS) {
            let sockets = runtimes.docker_sockets.iter();
            let living: Vec<_> = sockets.filter(|(_, pid_file)| lives(pid_file, &runtimes.proc, look)).collect();
            if look.pending {
                return None;
            }
            self.asked = Some(at);
            self.running.clear();
            // The pid file beside it was read a moment ago: looking up the socket's path hangs no more than that did.
            self.calls.extend(living.into_iter().filter_map(|(socket, _)| Call::start(socket, at)));
        }
        look.pending |= !self.calls.is_empty();
        self.running.get(id).cloned()
    }

    /// Takes what daemons have answered. `true`: one has, or has failed to.
    pub fn turn(&mut self, at: Moment) -> bool {
        let before = self.calls.len();
        let running = &mut self.running;
        self.calls.retain_mut(|call| {
            let ended = call.drain();
            let list = body(&call.raw);
            running.extend(list.iter().flat_map(|list| containers(list)));
            list.is_none() && !ended && at.since(call.began) < DEADLINE_SECS
        });
        self.calls.len() < before
    }
}

impl Call {
    fn start(socket: &Path, began: Moment) -> Option<Self> {
        // Without NONBLOCK a connect waits for as long as a hanging daemon's backlog is full.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
        rustix::net::connect(&fd, &SocketAddrUnix::new(socket).ok()?).ok()?;
        let sent = rustix::net::send(&fd, REQUEST, rustix::net::SendFlags::NOSIGNAL);
        (sent == Ok(REQUEST.len())).then_some(Self { socket: fd, began, raw: Vec::new() })
    }

    /// Takes what is there. `true`: there will be no more.
    fn drain(&mut self) -> bool {
        while self.raw.len() < BODY_MAX {
            self.raw.reserve(64 * 1024);
            match rustix::io::read(&self.socket, rustix::buffer::spare_capacity(&mut self.raw)) {
                Ok(0) => return true,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return error != Errno::AGAIN,
            }
        }
        true
    }
}

fn lives(pid_file: &Path, proc: &Path, look: &mut Look<'_>) -> bool {
    let raw = look.file(pid_file, pid_file, PID_MAX);
    let pid = raw.and_then(|raw| std::str::from_utf8(&raw).ok()?.trim().parse::<u32>().ok());
    pid.is_some_and(|pid| proc.join(pid.to_string()).exists())
}

/// The body of a complete answer of status 200.
fn body(raw: &[u8]) -> Option<Vec<u8>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = head.parse(raw).ok()? else { return None };
    if head.code != Some(200) {
        return None;
    }
    let rest = raw.get(start..)?;
    let header = |name: &str| head.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
    if header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case(b"chunked")) {
        return rest.ends_with(b"\r\n\r\n").then(|| unchunk(rest)).flatten();
    }
    let length: usize = std::str::from_utf8(header("content-length")?).ok()?.trim().parse().ok()?;
    rest.get(..length).map(<[u8]>::to_vec)
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(rest.len());
    loop {
        let httparse::Status::Complete((start, size)) = httparse::parse_chunk_size(rest).ok()? else { return None };
        if size == 0 {
            return Some(body);
        }
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        body.extend_from_slice(rest.get(start..end)?);
        rest = rest.get(end..)?.strip_prefix(b"\r\n")?;
    }
}

/// The containers of `/containers/json`, by id.
fn containers(list: &[u8]) -> Vec<(String, Container)> {
    let Ok(Value::Array(list)) = serde_json::from_slice(list) else { return Vec::new() };
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    let one = |entry: &Value| {
        let name = entry.get("Names")?.as_array()?.first()?.as_str()?.trim_start_matches('/');
        let found = with_labels("docker", name, text(entry, "Image").as_deref(), entry.get("Labels"));
        Some((text(entry, "Id")?, found))
    };
    list.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::files::Files;
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    const LIST: &str = r#"[{"Id":"ab","Names":["/web"],"Image":"bb","Labels":{}},{"Id":"cd"}]"#;

    fn chunked(text: &str) -> Vec<u8> {
        let (a, b) = text.split_at(text.len() / 2);
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{:x}\r\n{a}\r\n{:X};x=y\r\n{b}\r\n0\r\n\r\n", a.len(), b.len()).into_bytes()
    }

    #[test]
    fn bodies_by_length_and_by_chunks() {
        assert_eq!(body(&chunked(LIST)).as_deref(), Some(LIST.as_bytes()));
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]").as_deref(), Some(&b"[]"[..]));
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[]"), None);
        assert_eq!(body(b"HTTP/1.1 500 no\r\nContent-Length: 2\r\n\r\n[]"), None);
    }

    fn serve(answer: Option<Vec<u8>>) -> (tempfile::TempDir, Runtimes) {
        let dir = tempfile::tempdir().unwrap();
        let (socket, pid_file) = (dir.path().join("d.sock"), dir.path().join("d.pid"));
        std::fs::write(&pid_file, std::process::id().to_string()).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 256];
            let n = stream.read(&mut request).unwrap();
            assert!(request[..n].starts_with(b"GET /containers/json HTTP/1.1\r\n"));
            match answer {
                Some(answer) => {
                    // In pieces, and without closing: the end must be seen in the bytes.
                    for piece in answer.chunks(40) {
                        stream.write_all(piece).unwrap();
                    }
                    let _ = stream.read(&mut request);
                }
                None => {
                    let _ = stream.read(&mut request);
                }
            }
        });
        let sockets = vec![(socket, pid_file)];
        (dir, Runtimes { docker_sockets: sockets, proc: "/proc".into(), ..Runtimes::default() })
    }

    /// Looks until nothing is pending.
    fn find(docker: &mut Docker, runtimes: &Runtimes, id: &str) -> Option<Container> {
        let mut files = Files::new(None);
        for _ in 0..5000 {
            let mut look = Look::new(&mut files, now());
            let found = docker.find(runtimes, id, &mut look);
            if !look.pending {
                return found;
            }
            files.turn(now());
            docker.turn(now());
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("it does not end");
    }

    #[test]
    fn a_daemon_names_its_containers() {
        let (_dir, runtimes) = serve(Some(chunked(LIST)));
        let mut docker = Docker::default();
        let web = find(&mut docker, &runtimes, "ab").unwrap();
        assert_eq!((web.name.as_deref(), web.image.as_deref()), (Some("web"), Some("bb")));
        // From the list that is fresh: the server answers once only.
        assert_eq!(find(&mut docker, &runtimes, "cd"), None);
    }

    #[test]
    fn a_hanging_daemon_is_waited_for_by_nobody_and_given_up() {
        let (_dir, runtimes) = serve(None);
        let (mut docker, mut files) = (Docker::default(), Files::new(None));
        let began = now();
        for _ in 0..20 {
            docker.find(&runtimes, "ab", &mut Look::new(&mut files, now()));
            files.turn(now());
            assert!(!docker.turn(now()));
        }
        assert!(now().since(began) < 4.0);
        assert_eq!(docker.calls.len(), 1);
        assert!(docker.turn(Moment(now().0 + 6_000_000_000)));
        let mut look = Look::new(&mut files, now());
        assert_eq!((docker.find(&runtimes, "ab", &mut look), look.pending), (None, false));
    }

    #[test]
    fn a_dead_daemon_is_not_woken() {
        let (dir, runtimes) = serve(Some(chunked(LIST)));
        std::fs::write(dir.path().join("d.pid"), "4194305").unwrap();
        assert_eq!(find(&mut Docker::default(), &runtimes, "ab"), None);
    }

    proptest! {
        #[test]
        fn never_panics(raw: Vec<u8>, text in "(HTTP/1.1 200 OK\r\n|Content-Length: |Transfer-Encoding: chunked|\r\n|[0-9a-f]{1,17}|\\[|\\{|\\PC){0,20}") {
            for bytes in [raw.as_slice(), text.as_bytes()] {
                let _ = (body(bytes), unchunk(bytes), containers(bytes));
            }
        }
    }
}
