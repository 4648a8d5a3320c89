//! Network counters and limits by namespace.
use crate::export::table::table;
use crate::snapshot::{Net, NetnsId};

table!("counters", "network counters, one row a namespace, counter and sample", net, |_snap, data| rows(data), |(netns, file, field, value)| {
    netns: Int = netns, "network namespace, inode";
    source: Text = file, "netstat (with snmp and snmp6), sockstat or sysctl";
    field: Text = field, "name as nstat prints it";
    value: Int = value, "its value";
});

fn rows(net: &Net) -> impl Iterator<Item = (NetnsId, &'static str, &str, u64)> {
    net.netns.iter().flat_map(|n| {
        let files = [("netstat", &n.counters), ("sockstat", &n.sockstat), ("sysctl", &n.sysctls)];
        let tables = [
            ("conntrack", "count", n.conntrack),
            ("conntrack", "drops", n.conntrack_drops),
            ("neighbour", "table_fulls", n.neigh_table_fulls),
        ];
        let named = files.into_iter().flat_map(move |(file, c)| c.iter().map(move |(name, v)| (n.id, file, &**name, v)));
        named.chain(tables.into_iter().filter_map(|(file, name, value)| Some((n.id, file, name, value?))))
    })
}
