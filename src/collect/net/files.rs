//! The text files of `/proc/net`: counters by header, per-CPU tables, interfaces.

use crate::collect::text::{Tally, hex, lines, number, text, words};
use crate::snapshot::{Iface, MulticastGroup, NetnsCounters, SoftnetCpu};
use std::net::{Ipv4Addr, Ipv6Addr};

/// `netstat` and `snmp`: a line of names, then a line of values, both after the same group. Fields are added in the
/// middle from kernel to kernel, so only the names count.
pub(super) fn tally_header_pairs(file: &[u8], tally: &mut Tally) {
    let mut lines = lines(file).peekable();
    while let Some(header) = lines.next() {
        let Some((group, names)) = split_group(header) else { continue };
        let Some((_, values)) = lines.next_if(|l| split_group(l).is_some_and(|g| g.0 == group)).and_then(split_group)
        else {
            continue;
        };
        for (name, value) in words(names).zip(words(values)) {
            if let Some(value) = number(value) {
                tally.push(group, name, value);
            }
        }
    }
}

/// `snmp6`: a name and a value a line.
pub(super) fn tally_pairs(file: &[u8], tally: &mut Tally) {
    for line in lines(file) {
        let mut words = words(line);
        if let (Some(name), Some(value)) = (words.next(), words.next().and_then(number)) {
            tally.push(b"", name, value);
        }
    }
}

/// `sockstat` and `sockstat6`: `TCP: inuse 1 orphan 0 …`.
pub(super) fn tally_sockstat(file: &[u8], tally: &mut Tally) {
    for (group, rest) in lines(file).filter_map(split_group) {
        let mut words = words(rest);
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            if let Some(value) = number(value) {
                tally.push(group, name, value);
            }
        }
    }
}

fn split_group(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    Some((line.get(..colon)?.trim_ascii(), line.get(colon + 1..)?))
}

/// `softnet_stat`: hexadecimal columns, a row per online CPU. 3.10 has ten or eleven columns, 5.10 and later thirteen
/// or more; then the thirteenth is the CPU's number.
pub(super) fn parse_softnet(file: &[u8]) -> Vec<SoftnetCpu> {
    lines(file)
        .enumerate()
        .filter_map(|(row, line)| {
            let columns: Vec<u64> = words(line).map_while(hex).collect();
            let column = |number: usize| columns.get(number - 1).copied();
            let cpu = column(13).unwrap_or(row as u64);
            Some(SoftnetCpu {
                cpu: u32::try_from(cpu).ok()?,
                processed: column(1)?,
                dropped: column(2)?,
                time_squeeze: column(3)?,
                flow_limit: column(11).unwrap_or(0),
                backlog: column(13).and(column(12)),
            })
        })
        .collect()
}

/// A file of `/proc/net/stat`: a header of names, then a row of hexadecimal numbers per CPU.
pub(super) struct CpuTable<'a>(&'a [u8]);

impl<'a> CpuTable<'a> {
    pub(super) fn new(file: &'a [u8]) -> Self {
        Self(file)
    }

    /// The first row's value: for columns that are the same in all rows (`entries`).
    pub(super) fn first(&self, name: &str) -> Option<u64> {
        self.column(name).next()
    }

    /// All CPUs together; `None` where this kernel has no such column.
    pub(super) fn sum(&self, name: &str) -> Option<u64> {
        self.column(name).reduce(u64::saturating_add)
    }

    fn column(&self, name: &str) -> impl Iterator<Item = u64> {
        let mut rows = lines(self.0);
        let at = rows.next().and_then(|header| words(header).position(|word| word == name.as_bytes()));
        rows.filter_map(move |row| words(row).nth(at?).and_then(hex))
    }
}

/// `/proc/net/dev`: for namespaces whose links can't be asked for by netlink. It shows no flags: what is listed counts
/// as up.
pub(super) fn parse_dev(file: &[u8]) -> Vec<Iface> {
    lines(file)
        .filter_map(|line| {
            // The name ends at the last colon: `eth0:1` was a name once.
            let colon = memchr::memrchr(b':', line)?;
            let (name, rest) = (line.get(..colon)?.trim_ascii(), line.get(colon + 1..)?);
            let columns: Vec<u64> = words(rest).map_while(number).collect();
            let column = |number: usize| columns.get(number - 1).copied();
            Some(Iface {
                name: text(name),
                up: true,
                rx_bytes: column(1)?,
                rx_packets: column(2)?,
                rx_errors: column(3)?,
                rx_dropped: column(4)?,
                rx_fifo: column(5)?,
                tx_bytes: column(9)?,
                tx_packets: column(10)?,
                tx_errors: column(11)?,
                tx_dropped: column(12)?,
                ..Iface::default()
            })
        })
        .collect()
}

/// `igmp`: a line per interface, then one per group: its address as the host's own number, in hexadecimal.
pub(super) fn parse_igmp(file: &[u8]) -> Vec<MulticastGroup> {
    let mut iface = None;
    let groups = lines(file).skip(1).filter_map(|line| {
        let mut words = words(line);
        if !line.starts_with(b"\t") {
            iface = words.nth(1).map(text);
            return None;
        }
        let addr = Ipv4Addr::from(u32::try_from(hex(words.next()?)?).ok()?.to_ne_bytes());
        // All hosts: every interface is in it.
        (addr != Ipv4Addr::new(224, 0, 0, 1))
            .then(|| MulticastGroup { iface: iface.clone().unwrap_or_default(), addr: addr.into() })
    });
    groups.take(NetnsCounters::GROUPS_MAX).collect()
}

/// `igmp6`: index, interface, address, users, flags, timer.
pub(super) fn parse_igmp6(file: &[u8]) -> Vec<MulticastGroup> {
    let groups = lines(file).filter_map(|line| {
        let mut words = words(line).skip(1);
        let iface = text(words.next()?);
        let digits = words.next().filter(|digits| digits.len() == 32)?;
        let half = |range| digits.get(range).and_then(hex).map(u128::from);
        let addr = Ipv6Addr::from(half(0..16)? << 64 | half(16..32)?);
        // All nodes, and the group of each of its own addresses: every interface is in them.
        let own = matches!(
            addr.segments(),
            [0xff01 | 0xff02, 0, 0, 0, 0, 0, 0, 1] | [0xff02, 0, 0, 0, 0, 1, 0xff00..=0xffff, _]
        );
        (!own).then(|| MulticastGroup { iface, addr: addr.into() })
    });
    groups.take(NetnsCounters::GROUPS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::text::Shapes;
    use crate::snapshot::Counters;
    use proptest::prelude::*;

    macro_rules! fixture {
        ($path:literal) => {
            include_bytes!(concat!("../../../tests/fixtures/proc/", $path))
        };
    }

    fn counters(file: &[u8], of: fn(&[u8], &mut Tally)) -> Counters {
        let mut tally = Tally::default();
        of(file, &mut tally);
        Shapes::default().counters(&tally)
    }

    #[test]
    fn groups_that_programs_joined() {
        // As 6.18 prints them.
        let igmp = b"Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n4\tv1        :     2      V3\n\t\t\t\t080808E4     1 0:00000000\t\t0\n\t\t\t\t010000E0     1 0:00000000\t\t0\n";
        let group = |iface: &str, addr: &str| MulticastGroup { iface: iface.into(), addr: addr.parse().unwrap() };
        if cfg!(target_endian = "little") {
            assert_eq!(parse_igmp(igmp), [group("v1", "228.8.8.8")]);
        }
        let igmp6 = b"1    lo              ff020000000000000000000000000001     1 0000000C 0\n4    eth0            ff0200000000000000000001ff000002     1 00000004 0\n4    eth0            ff0e0000000000000000000000000bad     1 00000004 0\n";
        assert_eq!(parse_igmp6(igmp6), [group("eth0", "ff0e::bad")]);
    }

    proptest! {
        #[test]
        fn no_table_of_groups_panics(raw: Vec<u8>) {
            prop_assert!(parse_igmp(&raw).len() <= NetnsCounters::GROUPS_MAX);
            prop_assert!(parse_igmp6(&raw).len() <= NetnsCounters::GROUPS_MAX);
        }
    }

    #[test]
    fn netstat_and_snmp_have_nstats_names() {
        let netstat = counters(fixture!("linux-6.18/net/netstat"), tally_header_pairs);
        assert_eq!(netstat.get("TcpExtTW"), Some(10));
        assert_eq!(netstat.get("TcpExtTCPTimeWaitOverflow"), Some(0));
        assert_eq!(netstat.get("IpExtInNoECTPkts"), Some(10_902));
        assert!(netstat.get("MPTcpExtMPCapableSYNRX").is_some());
        let snmp = counters(fixture!("linux-6.18/net/snmp"), tally_header_pairs);
        assert_eq!(snmp.get("TcpMaxConn"), Some(u64::MAX));
        assert_eq!(snmp.get("IcmpMsgInType3"), Some(1));
        assert!(snmp.get("UdpRcvbufErrors").is_some());
    }

    #[test]
    fn netstat_of_3_10_lacks_what_came_later() {
        let netstat = counters(fixture!("linux-3.10/net/netstat"), tally_header_pairs);
        assert_eq!(netstat.get("TcpExtListenOverflows"), Some(17));
        assert_eq!(netstat.get("TcpExtTCPTimeWaitOverflow"), Some(795));
        assert_eq!(netstat.get("TcpExtTCPRcvQDrop"), None);
        assert_eq!(netstat.get("IpExtInOctets"), Some(9_876_543_210));
    }

    #[test]
    fn a_torn_or_lonely_line_costs_itself() {
        let c = counters(b"Ip: A B\nTcp: X Y\nTcp: 1 2\nUdp: P Q\nUdp: 3", tally_header_pairs);
        assert_eq!((c.get("IpA"), c.get("TcpX"), c.get("TcpY")), (None, Some(1), Some(2)));
        assert_eq!((c.get("UdpP"), c.get("UdpQ")), (Some(3), None));
        let c = counters(b"Tcp: X Y Z\nTcp: 1 oops 3\n", tally_header_pairs);
        assert_eq!((c.get("TcpX"), c.get("TcpY"), c.get("TcpZ")), (Some(1), None, Some(3)));
    }

    #[test]
    fn snmp6_and_sockstat() {
        let snmp6 = counters(fixture!("linux-6.18/net/snmp6"), tally_pairs);
        assert!(snmp6.get("Udp6RcvbufErrors").is_some() && snmp6.get("Ip6InReceives").is_some());
        let sockstat = counters(fixture!("linux-6.18/net/sockstat"), tally_sockstat);
        assert_eq!((sockstat.get("TCPtw"), sockstat.get("TCPalloc")), (Some(0), Some(1)));
        assert!(sockstat.get("socketsused").is_some() && sockstat.get("UDPmem").is_some());
        let sockstat6 = counters(fixture!("linux-6.18/net/sockstat6"), tally_sockstat);
        assert_eq!(sockstat6.get("TCP6inuse"), Some(0));
    }

    #[test]
    fn softnet_with_and_without_the_cpu_column() {
        let rows = parse_softnet(fixture!("linux-6.18/net/softnet_stat"));
        assert_eq!(rows.iter().map(|r| (r.cpu, r.backlog)).collect::<Vec<_>>(), [(0, Some(0)), (1, Some(0))]);
        let old = parse_softnet(fixture!("linux-3.10/net/softnet_stat"));
        assert_eq!(old.len(), 2);
        let first = SoftnetCpu { cpu: 0, processed: 0x23b4, dropped: 0x1f, time_squeeze: 2, ..SoftnetCpu::default() };
        assert_eq!(old[0], first);
        // CPU 1 is offline: the row says 2.
        let gap = b"1 0 0 0 0 0 0 0 0 0 0 5 00000000 0 0\n1 0 0 0 0 0 0 0 0 0 7 9 00000002 0 0\nx y\n";
        let rows = parse_softnet(gap);
        assert_eq!((rows.len(), rows[1].cpu, rows[1].flow_limit, rows[1].backlog), (2, 2, 7, Some(9)));
    }

    #[test]
    fn tables_per_cpu_by_their_header() {
        let file = b"entries  searched found drop early_drop\n0000000a  00000000 00000000 00000030 00000001\n\
                     0000000a  00000000 00000000 00000002 00000000\n";
        let table = CpuTable::new(file);
        assert_eq!((table.first("entries"), table.sum("drop"), table.sum("table_fulls")), (Some(10), Some(50), None));
        let arp = CpuTable::new(fixture!("linux-6.18/net/stat/arp_cache"));
        assert_eq!((arp.first("entries"), arp.sum("table_fulls")), (Some(2), Some(0)));
        assert_eq!(CpuTable::new(fixture!("linux-6.18/net/stat/nf_conntrack")).sum("drop"), Some(0));
    }

    #[test]
    fn dev_by_column() {
        let ifaces = parse_dev(fixture!("linux-6.18/net/dev"));
        assert_eq!(ifaces.iter().map(|i| &*i.name).collect::<Vec<_>>(), ["lo", "ifb0", "ifb1", "eth0"]);
        assert_eq!((ifaces[3].rx_packets, ifaces[3].tx_packets, ifaces[3].rx_missed), (4073, 2292, None));
        // 2.6 and 3.10 print no blank after the colon.
        assert_eq!(parse_dev(b"  eth0:7 1 0 2 0 0 0 0 9 1 0 3 0 0 0 0\n")[0].tx_dropped, 3);
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            counters(&bytes, tally_header_pairs);
            counters(&bytes, tally_pairs);
            counters(&bytes, tally_sockstat);
            parse_softnet(&bytes);
            parse_dev(&bytes);
            CpuTable::new(&bytes).sum("drop");
        }

        #[test]
        fn never_panics_on_a_damaged_file(at in 0..1000_usize, byte: u8) {
            let mut file = fixture!("linux-6.18/net/snmp").to_vec();
            file[at] = byte;
            counters(&file, tally_header_pairs);
        }
    }
}
