//! The limits below `/proc/sys/net`. They are those of the network namespace of the thread that opens the file.

use crate::collect::io::read_path;
use crate::collect::memory::tally_sysctl;
use crate::collect::text::{Tally, lines, number};
use std::ops::RangeInclusive;
use std::path::Path;

/// Limits to hold counters against, and settings that change what counters mean. Those that a kernel or a namespace
/// does not have are left out.
const NUMERIC: &[&str] = &[
    "net.core.netdev_budget",
    "net.core.netdev_budget_usecs",
    "net.core.netdev_max_backlog",
    "net.core.rmem_default",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_default",
    "net.core.wmem_max",
    "net.ipv4.igmp_max_memberships",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.neigh.default.gc_thresh1",
    "net.ipv4.neigh.default.gc_thresh2",
    "net.ipv4.neigh.default.gc_thresh3",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syn_retries",
    "net.ipv4.tcp_synack_retries",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_tw_recycle",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_wmem",
    "net.ipv4.udp_mem",
    "net.ipv6.neigh.default.gc_thresh3",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_max",
];

const RESERVED: &str = "net.ipv4.ip_local_reserved_ports";

/// Reads them below `proc` as the calling thread sees them.
pub(super) fn tally(proc: &Path, tally: &mut Tally, buf: &mut Vec<u8>) {
    let sys = proc.join("sys");
    let mut ports = 32768..=60999;
    for name in NUMERIC {
        // A dot is never part of a name here.
        if read_path(&sys.join(name.replace('.', "/")), buf).is_ok() {
            tally_sysctl(tally, name, buf);
            if name.ends_with("port_range") {
                ports = port_range(buf).unwrap_or(ports);
            }
        }
    }
    if read_path(&sys.join(RESERVED.replace('.', "/")), buf).is_ok() {
        tally.put(RESERVED, reserved_within(buf, &ports));
    }
}

fn port_range(text: &[u8]) -> Option<RangeInclusive<u64>> {
    let mut words = crate::collect::text::words(text.trim_ascii()).map(number);
    Some(words.next()??..=words.next()??)
}

/// How many of `ports` a list such as `8080,40000-40010` takes away.
fn reserved_within(list: &[u8], ports: &RangeInclusive<u64>) -> u64 {
    lines(list)
        .flat_map(|line| line.split(|b| *b == b','))
        .filter_map(|range| {
            let mut ends = range.trim_ascii().split(|b| *b == b'-').map(number);
            let from = ends.next()??;
            let to = ends.next().unwrap_or(Some(from))?;
            let (from, to) = (from.max(*ports.start()), to.min(*ports.end()));
            (from <= to).then(|| (to - from).saturating_add(1))
        })
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::text::Shapes;
    use proptest::prelude::*;

    #[test]
    fn reserved_ports_count_where_they_hurt() {
        let ports = 32768..=60999;
        assert_eq!(reserved_within(b"8080,40000-40010,60990-61010\n", &ports), 11 + 10);
        assert_eq!(reserved_within(b"\n", &ports), 0);
        assert_eq!(reserved_within(b"x-,40000-,7-3,40000\n", &ports), 1);
    }

    #[test]
    fn a_tree_with_some_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join("sys/net").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("ipv4/tcp_max_tw_buckets", "5000\n");
        put("ipv4/ip_local_port_range", "40000\t40009\n");
        put("ipv4/ip_local_reserved_ports", "40000-40004\n");
        put("ipv4/tcp_mem", "573 764 1146\n");
        let (mut counted, mut buf) = (Tally::default(), Vec::new());
        tally(dir.path(), &mut counted, &mut buf);
        let sysctls = Shapes::default().counters(&counted);
        assert_eq!(sysctls.get("net.ipv4.tcp_max_tw_buckets"), Some(5000));
        assert_eq!(sysctls.get("net.ipv4.ip_local_port_range.1"), Some(40009));
        assert_eq!(sysctls.get("net.ipv4.ip_local_reserved_ports"), Some(5));
        assert_eq!(sysctls.get("net.ipv4.tcp_mem.2"), Some(1146));
        assert_eq!(sysctls.get("net.core.somaxconn"), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            reserved_within(&bytes, &(0..=u64::MAX));
            let _ = port_range(&bytes);
        }
    }
}
