//! One namespace's text files, read below a `net` folder of `/proc`.

use super::files::{self, CpuTable};
use crate::collect::io::read_at;
use crate::collect::text::{Shapes, Tally};
use crate::snapshot::{Counters, NetnsCounters};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

/// Buffers and shared names for reading one namespace after another.
#[derive(Debug, Default)]
pub(super) struct Texts {
    shapes: Shapes,
    tally: Tally,
    buf: Vec<u8>,
}

impl Texts {
    /// Reads what `net`, a folder such as `/proc/PID/net`, shows of its namespace into `into`.
    ///
    /// # Errors
    /// When even `netstat` and `snmp` can't be read: the process has gone. Other files may be missing.
    pub(super) fn read(&mut self, net: &OwnedFd, into: &mut NetnsCounters) -> Result<(), Errno> {
        self.tally.clear();
        read_at(net, "netstat", &mut self.buf)?;
        files::tally_header_pairs(&self.buf, &mut self.tally);
        read_at(net, "snmp", &mut self.buf)?;
        files::tally_header_pairs(&self.buf, &mut self.tally);
        // Without IPv6 there is no snmp6 and no sockstat6.
        if self.has(net, "snmp6") {
            files::tally_pairs(&self.buf, &mut self.tally);
        }
        into.counters = self.shapes.counters(&self.tally);
        into.sockstat = self.sockstat(net);
        into.multicast = if self.has(net, "igmp") { files::parse_igmp(&self.buf) } else { Vec::new() };
        if self.has(net, "igmp6") {
            into.multicast.extend(files::parse_igmp6(&self.buf));
        }
        if self.has(net, "stat/nf_conntrack") {
            let table = CpuTable::new(&self.buf);
            into.conntrack = table.first("entries");
            into.conntrack_drops = table.sum("drop");
        }
        // The neighbour tables are the host's; their files are in the initial namespace.
        let mut neighbours = |file: &str| {
            let found = self.has(net, file).then(|| CpuTable::new(&self.buf));
            found.map_or((None, None), |table| (table.first("entries"), table.sum("table_fulls")))
        };
        let (arp, ndisc) = (neighbours("stat/arp_cache"), neighbours("stat/ndisc_cache"));
        (into.neigh4, into.neigh6) = (arp.0, ndisc.0);
        into.neigh_table_fulls = arp.1.into_iter().chain(ndisc.1).reduce(u64::saturating_add);
        Ok(())
    }

    /// The interfaces by `dev`, where they could not be asked for by netlink.
    pub(super) fn read_dev(&mut self, net: &OwnedFd, into: &mut NetnsCounters) {
        if self.has(net, "dev") {
            into.ifaces = files::parse_dev(&self.buf);
        }
    }

    fn sockstat(&mut self, net: &OwnedFd) -> Counters {
        self.tally.clear();
        for file in ["sockstat", "sockstat6"] {
            if self.has(net, file) {
                files::tally_sockstat(&self.buf, &mut self.tally);
            }
        }
        self.shapes.counters(&self.tally)
    }

    fn has(&mut self, net: &OwnedFd, file: &str) -> bool {
        read_at(net, file, &mut self.buf).is_ok()
    }
}
