//! The listeners of a pass, and to which of them a connection belongs.

use super::wire::{Addr, Sock};
use rustc_hash::FxHashMap;

/// Listeners by namespace and port.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// Each with the `SYN_RECV` sockets that belong to it.
    pub(super) rows: Vec<(Sock, u64)>,
    by_port: FxHashMap<(u32, u16), Vec<u32>>,
}

impl Listeners {
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.by_port.clear();
    }

    pub(super) fn push(&mut self, sock: Sock) {
        if let Ok(at) = u32::try_from(self.rows.len()) {
            self.by_port.entry((sock.netns, sock.local_port)).or_default().push(at);
            self.rows.push((sock, 0));
        }
    }

    pub(super) fn get(&self, at: u32) -> Option<&Sock> {
        self.rows.get(at as usize).map(|(sock, _)| sock)
    }

    /// The listener that a socket with this local end came from: the one on its address, else the wildcard of its
    /// family, else `::` where that takes IPv4 too. Of several that share a port (`SO_REUSEPORT`) the first: which
    /// one the kernel chose is not told.
    pub(super) fn of(&self, sock: &Sock) -> Option<u32> {
        let rank = |listener: &Sock| match listener.local {
            exact if exact == sock.local => Some(0),
            Addr::ANY_V4 if sock.local.is_v4() => Some(1),
            Addr::ANY_V6 if !sock.local.is_v4() => Some(1),
            Addr::ANY_V6 if !listener.v6_only => Some(2),
            _ => None,
        };
        let same_port = self.by_port.get(&(sock.netns, sock.local_port))?;
        let ranked = same_port.iter().filter_map(|&at| Some((rank(self.get(at)?)?, at)));
        ranked.min().map(|(_, at)| at)
    }

    pub(super) fn count_syn_recv(&mut self, at: u32) {
        if let Some((_, syn_recv)) = self.rows.get_mut(at as usize) {
            *syn_recv += 1;
        }
    }
}
