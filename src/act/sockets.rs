//! TCP sockets: which a process holds, and destroying those of a selection (`SOCK_DESTROY`, 4.5).
//!
//! A netlink socket acts in the namespace it was made in, so one is made there, by a thread that enters it and returns.
//! Each socket is destroyed by its addresses and its cookie, which the kernel compares: never one that came after it.

use super::Act;
use super::census::Census;
use super::facts::Facts;
use super::pin::Pin;
use super::plan::Guard;
use super::prepare::{Work, gone};
use crate::collect::sockets::namespaces::{Door, Inside, open_namespace};
use crate::collect::sockets::wire::{Messages, errno_of};
use crate::snapshot::{
    Decision, Effect, Holds, OutcomeKind, Plan, SocketSelection, SocketTarget, Target, TcpState, Text,
};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use netlink_packet_sock_diag::constants::SOCK_DIAG_BY_FAMILY;
use netlink_sys::Socket;
use rustc_hash::FxHashSet;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const SOCK_DESTROY: u16 = 21;
const IPPROTO_TCP: u8 = 6;
/// Every state that the kernel has a number for.
const ALL_STATES: u32 = 0x1fff;
/// Length of `inet_diag_sockid`.
const ID: usize = 48;
const BUFFER: usize = 64 * 1024;

/// One TCP socket, as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sock {
    family: u8,
    state: TcpState,
    /// `inet_diag_sockid`, bytes as they came.
    id: [u8; ID],
    inode: u32,
}

impl Sock {
    fn parse(payload: &[u8]) -> Option<Self> {
        let (&[family, state, _, _], rest) = payload.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk::<ID>()?;
        // expires, rqueue, wqueue, uid, inode: 4 bytes each.
        let inode = rest.get(16..20)?.try_into().ok().map(u32::from_ne_bytes)?;
        Some(Self { family, state: TcpState::from_kernel(state)?, id: *id, inode })
    }

    fn port(&self, at: usize) -> u16 {
        self.id.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_be_bytes)
    }

    fn addr(&self, at: usize) -> IpAddr {
        let bytes = |len: usize| self.id.get(at..at + len).unwrap_or_default();
        if i32::from(self.family) == libc::AF_INET {
            let octets: [u8; 4] = bytes(4).try_into().unwrap_or_default();
            return Ipv4Addr::from(octets).into();
        }
        let octets: [u8; 16] = bytes(16).try_into().unwrap_or_default();
        Ipv6Addr::from(octets).to_canonical()
    }

    fn fits(&self, selection: &SocketSelection) -> bool {
        let same = |wanted: Option<u16>, at| wanted.is_none_or(|port| port == self.port(at));
        same(selection.local_port, 0)
            && same(selection.remote_port, 2)
            && selection.state.is_none_or(|state| state == self.state)
            && selection.remote_addr.is_none_or(|addr| addr.to_canonical() == self.addr(20))
    }

    fn local(&self) -> String {
        let addr = std::net::SocketAddr::new(self.addr(4), self.port(0));
        format!("tcp {addr}")
    }
}

/// The sockets that were selected, and the way to their namespace.
#[derive(Debug)]
pub struct Chosen {
    socket: Socket,
    socks: Vec<Sock>,
}

impl Chosen {
    /// Destroys them, one by one.
    pub fn destroy(self) -> (OutcomeKind, Text) {
        let all = self.socks.len();
        let (mut destroyed, mut gone, mut refused) = (0, 0, None);
        for sock in &self.socks {
            match destroy(&self.socket, sock) {
                Ok(()) => destroyed += 1,
                Err(Errno::NOENT) => gone += 1,
                Err(error) => refused = Some(error),
            }
        }
        let had_gone = if gone > 0 { format!(", {gone} had gone") } else { String::new() };
        match refused {
            None => (OutcomeKind::Done, format!("{destroyed} of {all} sockets destroyed{had_gone}").into()),
            Some(error) => {
                let detail = format!("{destroyed} of {all} sockets destroyed{had_gone}; the rest: {}", why_not(error));
                (OutcomeKind::Survived, detail.into())
            }
        }
    }
}

fn why_not(error: Errno) -> String {
    match error {
        Errno::OPNOTSUPP => "this kernel can't destroy sockets (built without CONFIG_INET_DIAG_DESTROY)".into(),
        Errno::PERM | Errno::ACCESS => "that needs CAP_NET_ADMIN in their network namespace (root has it)".into(),
        other => other.to_string(),
    }
}

impl Act {
    /// Fills in what sockets a process holds, where no look has told.
    pub(super) fn sockets_of(&mut self, facts: &mut Facts) {
        let pid = facts.target.key.pid;
        let inodes = self.reader.socket_inodes(pid);
        if inodes.is_empty() {
            facts.target.holds.connections = facts.target.holds.fds.map(|_| 0);
            return;
        }
        let Ok(socket) = self.socket_in(pid) else { return };
        let (mut listeners, mut connections) = (Vec::new(), 0);
        let dumped = dump(&socket, |sock| {
            if inodes.contains(&sock.inode) {
                if sock.state == TcpState::Listen {
                    listeners.push(Text::from(sock.local()));
                } else {
                    connections += 1;
                }
            }
        });
        if dumped.is_ok() {
            listeners.sort_unstable();
            listeners.dedup();
            listeners.truncate(Holds::LISTENERS_MAX);
            facts.target.holds.listeners = listeners;
            facts.target.holds.connections = Some(connections);
        }
    }

    /// A netlink socket in the network namespace of a process.
    fn socket_in(&mut self, pid: u32) -> Result<Socket, Errno> {
        let proc = self.roots.proc.clone();
        if self.reader.netns(pid).is_some_and(|theirs| self.reader.netns(std::process::id()) == Some(theirs)) {
            return Ok(Inside::here(&proc)?.socket);
        }
        let target = open_namespace(&proc.join(format!("{pid}/ns/net")))?;
        Ok(Door::open(&proc).ok_or(Errno::AGAIN)?.enter(target)?.socket)
    }

    /// The plan to destroy the sockets of a selection.
    pub(super) fn plan_sockets(
        &mut self,
        selection: &SocketSelection,
        work: &mut Work,
        census: &Census,
        guard: &Guard,
    ) -> (Vec<(Option<Pin>, Plan)>, Vec<Text>) {
        let owner = selection.owner.and_then(|key| census.get(key.pid).filter(|person| person.key == key));
        let target = SocketTarget {
            selection: selection.clone(),
            owner_comm: owner.map(|person| person.comm.clone()),
            ..SocketTarget::default()
        };
        let mut plan = Plan::new(Target::Sockets(target.clone()), Decision::Refused, Effect::Terminates);
        match self.choose(selection, census, guard) {
            Err(why) => plan.reasons.push(why),
            Ok((chosen, spared)) => {
                let count = chosen.socks.len();
                let listens = chosen.socks.iter().any(|sock| sock.state == TcpState::Listen);
                plan.target = Target::Sockets(SocketTarget { count: count as u64, ..target });
                plan.decision = if count > 1 || listens { Decision::Confirm } else { Decision::Allowed };
                plan.reasons.push(match count {
                    0 => "no socket matches any more".into(),
                    _ => Text::from("the process that holds one sees ECONNABORTED, the other end a reset"),
                });
                if listens {
                    plan.reasons.push("one of them listens: nobody can connect to it any more".into());
                }
                if spared > 0 {
                    plan.reasons.push(format!("{spared} sockets of your own session are left out").into());
                }
                if count == 0 {
                    (plan.effect, plan.outcome) = (Effect::NoneGone, Some(gone()));
                }
                *work = Work::Sockets(chosen);
            }
        }
        (vec![(None, plan)], Vec::new())
    }

    fn choose(&mut self, selection: &SocketSelection, census: &Census, guard: &Guard) -> Result<(Chosen, usize), Text> {
        if let Some(why) = &guard.forbidden {
            return Err(why.clone());
        }
        let owner = selection.owner.map(|key| key.pid);
        let inside = |act: &mut Self, pid: u32| act.reader.netns(pid) == Some(selection.netns.0);
        let mut candidates =
            owner.into_iter().chain([std::process::id()]).chain(census.people.iter().map(|p| p.key.pid));
        let door = candidates.find(|pid| inside(self, *pid));
        let door = door.ok_or("no process that we can see is in their network namespace any more")?;
        let socket = self.socket_in(door).map_err(|error| format!("their network namespace: {}", why_not(error)))?;
        // Nothing has these addresses: what comes back tells whether anything could be destroyed.
        let nothing =
            Sock { family: u8::try_from(libc::AF_INET).unwrap_or(2), state: TcpState::Close, id: [0; ID], inode: 0 };
        match destroy(&socket, &nothing) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(why_not(error).into()),
        }
        let held = match selection.owner {
            None => None,
            Some(key) if census.get(key.pid).is_some_and(|person| person.key == key) => {
                Some(self.reader.socket_inodes(key.pid))
            }
            Some(_) => return Err("their owner has gone".into()),
        };
        let own: FxHashSet<u32> = guard
            .ancestors
            .iter()
            .map(|(pid, _)| *pid)
            .chain([guard.own_pid])
            .flat_map(|pid| self.reader.socket_inodes(pid))
            .collect();
        let (mut socks, mut spared) = (Vec::new(), 0);
        dump(&socket, |sock| {
            if !sock.fits(selection) || held.as_ref().is_some_and(|held| !held.contains(&sock.inode)) {
                return;
            }
            if sock.inode != 0 && own.contains(&sock.inode) { spared += 1 } else { socks.push(sock) }
        })
        .map_err(|error| format!("the sockets can't be listed: {error}"))?;
        Ok((Chosen { socket, socks }, spared))
    }
}

/// `nlmsghdr` and `inet_diag_req_v2`.
fn request(kind: u16, flags: u16, family: u8, id: &[u8; ID]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(72);
    bytes.extend(72_u32.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([family, IPPROTO_TCP, 0, 0]);
    bytes.extend(ALL_STATES.to_ne_bytes());
    bytes.extend(id);
    bytes
}

/// Every TCP socket of the namespace.
fn dump(socket: &Socket, mut each: impl FnMut(Sock)) -> Result<(), Errno> {
    for family in [libc::AF_INET, libc::AF_INET6] {
        let family = u8::try_from(family).unwrap_or_default();
        rustix::net::send(socket, &request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, family, &[0; ID]), SendFlags::empty())?;
        answer(socket, |payload| {
            if let Some(sock) = Sock::parse(payload) {
                each(sock);
            }
        })?;
    }
    Ok(())
}

fn destroy(socket: &Socket, sock: &Sock) -> Result<(), Errno> {
    rustix::net::send(socket, &request(SOCK_DESTROY, NLM_F_ACK, sock.family, &sock.id), SendFlags::empty())?;
    answer(socket, |_| {})
}

/// Reads to the end of an answer.
fn answer(socket: &Socket, mut each: impl FnMut(&[u8])) -> Result<(), Errno> {
    let mut buf = vec![0; BUFFER];
    loop {
        let len = match rustix::net::recv(socket, &mut *buf, RecvFlags::empty()) {
            Ok((0, _)) => return Err(Errno::IO),
            Ok((len, _)) => len,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        };
        for message in Messages(buf.get(..len).unwrap_or_default()) {
            match message.kind {
                SOCK_DIAG_BY_FAMILY => each(message.payload),
                NLMSG_DONE | NLMSG_ERROR => {
                    return match errno_of(message.payload) {
                        0.. => Ok(()),
                        error => Err(Errno::from_raw_os_error(error.saturating_neg())),
                    };
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{TcpListener, TcpStream};

    /// The sockets of this test alone, by both their ports: on a busy machine one is used toward several others.
    fn find(ports: [u16; 2]) -> Vec<Sock> {
        let socket = Inside::here(std::path::Path::new("/proc")).unwrap().socket;
        let mut found = Vec::new();
        let is_ours = |sock: &Sock| ports.contains(&sock.port(0)) && [ports[0], ports[1], 0].contains(&sock.port(2));
        dump(&socket, |sock| found.extend(is_ours(&sock).then_some(sock))).unwrap();
        found
    }

    #[test]
    fn sockets_are_named_as_the_kernel_does() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let stream = TcpStream::connect(there).unwrap();
        let here = stream.local_addr().unwrap();
        let found = find([there.port(), here.port()]);
        assert_eq!(found.len(), 3);
        let near = found.iter().find(|sock| sock.port(0) == here.port()).unwrap();
        assert_eq!((near.addr(4), near.addr(20), near.port(2)), (here.ip(), there.ip(), there.port()));
        assert_eq!(near.state, TcpState::Established);
        let fits = |selection: SocketSelection| found.iter().filter(|sock| sock.fits(&selection)).count();
        let all = SocketSelection::default();
        assert_eq!(fits(all.clone()), 3);
        assert_eq!(fits(SocketSelection { remote_port: Some(there.port()), ..all.clone() }), 1);
        assert_eq!(fits(SocketSelection { state: Some(TcpState::Listen), ..all.clone() }), 1);
        assert_eq!(fits(SocketSelection { remote_addr: Some("10.9.8.7".parse().unwrap()), ..all }), 0);
    }

    proptest! {
        #[test]
        fn never_panics(noise: Vec<u8>) {
            if let Some(sock) = Sock::parse(&noise) {
                let _ = (sock.local(), sock.addr(20), sock.fits(&SocketSelection::default()));
            }
        }
    }
}
