//! Which network namespaces there are, and how to get a `sock_diag` socket inside one.
//!
//! Such a socket sees the namespace it was made in and keeps it alive. One thread of its own enters, makes the socket
//! and comes back: any other thread would see another `/proc/net` meanwhile.

use super::dump;
use crate::snapshot::{NetnsId, Tasks};
use netlink_sys::Socket;
use rustc_hash::FxHashMap;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Where `ip netns` and Docker bind namespaces that may have no process.
const BINDS: [&str; 2] = ["/run/netns", "/var/run/docker/netns"];
/// Processes remembered per namespace: one of them is likely to be still there when it is needed.
const PIDS: usize = 4;

/// One network namespace, and ways to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Namespace {
    pub(super) id: NetnsId,
    /// Some of its processes.
    pub(super) pids: Vec<u32>,
    /// A file that stands for it.
    pub(super) bind: Option<PathBuf>,
}

/// The namespaces of `tasks`, in the order of their ids.
pub(super) fn of_tasks(tasks: &Tasks) -> Vec<Namespace> {
    let mut found: FxHashMap<NetnsId, Vec<u32>> = FxHashMap::default();
    for task in tasks.rows.iter().filter(|t| !t.is_zombie()) {
        if let Some(netns) = task.netns {
            let pids = found.entry(netns).or_default();
            if pids.len() < PIDS {
                pids.push(task.key.pid);
            }
        }
    }
    let mut all: Vec<_> = found.into_iter().map(|(id, pids)| Namespace { id, pids, bind: None }).collect();
    all.sort_unstable_by_key(|n| n.id);
    all
}

/// Adds the namespaces that are bound below well-known folders, and the caller's own.
pub(super) fn add_bound(all: &mut Vec<Namespace>, own: Option<&Own>) {
    let Some(own) = own else { return };
    let at = |all: &mut Vec<Namespace>, id: NetnsId| match all.binary_search_by_key(&id, |n| n.id) {
        Ok(at) => at,
        Err(at) => {
            all.insert(at, Namespace { id, pids: Vec::new(), bind: None });
            at
        }
    };
    at(all, own.id);
    for folder in BINDS.iter().map(Path::new) {
        for (name, id) in bound(folder, own.device).into_iter().flatten() {
            let at = at(all, id);
            if let Some(namespace) = all.get_mut(at) {
                namespace.bind = Some(folder.join(name));
            }
        }
    }
}

/// The files of `folder` that are namespaces: those on the device that all namespaces are on.
fn bound(folder: &Path, device: u64) -> Result<Vec<(String, NetnsId)>, Errno> {
    let fd = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut found = Vec::new();
    for entry in Dir::read_from(&fd)?.flatten() {
        if !matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown) {
            continue;
        }
        if let Ok(stat) = rustix::fs::statat(&fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            && stat.st_dev == device
        {
            found.push((entry.file_name().to_string_lossy().into_owned(), NetnsId(stat.st_ino)));
        }
    }
    Ok(found)
}

/// The namespace that this process runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) id: NetnsId,
    device: u64,
}

impl Own {
    pub(super) fn find(proc: &Path) -> Result<Self, Errno> {
        let stat = rustix::fs::stat(proc.join("thread-self/ns/net"))
            .or_else(|_| rustix::fs::stat(proc.join("self/ns/net")))?;
        Ok(Self { id: NetnsId(stat.st_ino), device: stat.st_dev })
    }
}

/// A `sock_diag` socket inside a namespace, with the ports that its connections start from.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) socket: Socket,
    pub(super) ports: RangeInclusive<u16>,
}

impl Inside {
    /// In the namespace of the calling thread.
    pub(crate) fn here(proc: &Path) -> Result<Self, Errno> {
        Ok(Self { socket: dump::open()?, ports: local_ports(proc) })
    }
}

/// `ip_local_port_range`: the calling thread's namespace, whatever `proc` is a mount of.
pub(super) fn local_ports(proc: &Path) -> RangeInclusive<u16> {
    let mut text = Vec::new();
    let read = crate::collect::io::read_path(&proc.join("sys/net/ipv4/ip_local_port_range"), &mut text);
    read.ok().and_then(|()| parse_ports(&text)).unwrap_or(32_768..=60_999)
}

fn parse_ports(text: &[u8]) -> Option<RangeInclusive<u16>> {
    let mut numbers = std::str::from_utf8(text).ok()?.split_ascii_whitespace().map(str::parse);
    Some(numbers.next()?.ok()?..=numbers.next()?.ok()?)
}

/// The way in: a thread that enters a namespace, makes a socket there, and returns to its own.
#[derive(Debug)]
pub(crate) struct Door {
    ask: SyncSender<OwnedFd>,
    answer: Receiver<Result<Inside, Errno>>,
}

impl Door {
    /// Starts the thread; it ends with this value.
    pub(crate) fn open(proc: &Path) -> Option<Self> {
        let home = open_namespace(&proc.join("self/ns/net")).ok()?;
        let (ask, asked) = sync_channel::<OwnedFd>(1);
        let (tell, answer) = sync_channel(1);
        let proc = proc.to_path_buf();
        let run = move || {
            for target in asked {
                let (inside, back) = visit(&target, &home, &proc);
                drop(target);
                if tell.send(inside).is_err() || !back {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("netns".into()).stack_size(128 * 1024).spawn(run).ok()?;
        Some(Self { ask, answer })
    }

    /// Goes into `target`. `EIO` when the thread is stuck or gone.
    pub(crate) fn enter(&self, target: OwnedFd) -> Result<Inside, Errno> {
        self.ask.try_send(target).map_err(|_| Errno::IO)?;
        self.answer.recv_timeout(Duration::from_secs(1)).unwrap_or(Err(Errno::IO))
    }
}

/// What was found inside, and whether the thread is home again.
fn visit(target: &OwnedFd, home: &OwnedFd, proc: &Path) -> (Result<Inside, Errno>, bool) {
    let net = Some(LinkNameSpaceType::Network);
    if let Err(refused) = move_into_link_name_space(target.as_fd(), net) {
        return (Err(refused), true);
    }
    let inside = Inside::here(proc);
    (inside, move_into_link_name_space(home.as_fd(), net).is_ok())
}

/// Opens a file that stands for a namespace.
pub(crate) fn open_namespace(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
}
