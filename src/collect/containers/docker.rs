//! docker's socket, the late answer where its files gave no name.
//!
//! The socket may be systemd's, and a connection would start a daemon that is down: only a living one is asked.

use super::runtimes::{Runtimes, with_labels};
use crate::collect::now;
use crate::snapshot::{Container, Moment};
use rustc_hash::FxHashMap;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A hanging daemon is waited for this long.
const DEADLINE: Duration = Duration::from_secs(1);
/// A list stays good this long.
const FRESH_SECS: f64 = 10.0;
const BODY_MAX: usize = 32 << 20;
const REQUEST: &[u8] = b"GET /containers/json HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n";

/// The last list of each daemon.
#[derive(Debug, Default)]
pub struct Docker {
    asked: Option<Moment>,
    running: FxHashMap<String, Container>,
}

impl Docker {
    /// What the daemons say of the container `id`.
    pub fn find(&mut self, runtimes: &Runtimes, id: &str) -> Option<Container> {
        let at = now();
        if self.asked.is_none_or(|asked| at.since(asked) > FRESH_SECS) {
            self.asked = Some(at);
            self.running.clear();
            for (socket, pid_file) in &runtimes.docker_sockets {
                if lives(pid_file, &runtimes.proc)
                    && let Some(list) = ask(socket).as_deref().and_then(body)
                {
                    self.running.extend(containers(&list));
                }
            }
        }
        self.running.get(id).cloned()
    }
}

fn lives(pid_file: &Path, proc: &Path) -> bool {
    let pid = std::fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse::<u32>().ok());
    pid.is_some_and(|pid| proc.join(pid.to_string()).exists())
}

/// The whole answer, head and body.
fn ask(socket: &Path) -> Option<Vec<u8>> {
    // Without NONBLOCK a connect waits for as long as a hanging daemon's backlog is full.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    rustix::net::connect(&fd, &SocketAddrUnix::new(socket).ok()?).ok()?;
    let mut stream = UnixStream::from(fd);
    stream.set_nonblocking(false).ok()?;
    stream.set_write_timeout(Some(DEADLINE)).ok()?;
    stream.write_all(REQUEST).ok()?;
    let began = now();
    let mut raw = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    while raw.len() < BODY_MAX {
        let left = DEADLINE.checked_sub(Duration::from_nanos(now().0.saturating_sub(began.0)))?;
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).ok()?;
        let n = stream.read(&mut chunk).ok()?;
        raw.extend_from_slice(chunk.get(..n)?);
        if n == 0 || body(&raw).is_some() {
            return Some(raw);
        }
    }
    None
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
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::net::UnixListener;

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

    #[test]
    fn a_daemon_names_its_containers() {
        let (_dir, runtimes) = serve(Some(chunked(LIST)));
        let mut docker = Docker::default();
        let web = docker.find(&runtimes, "ab").unwrap();
        assert_eq!((web.name.as_deref(), web.image.as_deref()), (Some("web"), Some("bb")));
        // From the list that is fresh: the server answers once only.
        assert_eq!(docker.find(&runtimes, "cd"), None);
    }

    #[test]
    fn a_hanging_daemon_costs_a_second() {
        let (_dir, runtimes) = serve(None);
        let began = now();
        assert_eq!(Docker::default().find(&runtimes, "ab"), None);
        assert!((0.9..3.0).contains(&now().since(began)));
    }

    #[test]
    fn a_dead_daemon_is_not_woken() {
        let (dir, runtimes) = serve(Some(chunked(LIST)));
        std::fs::write(dir.path().join("d.pid"), "4194305").unwrap();
        assert_eq!(Docker::default().find(&runtimes, "ab"), None);
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
