//! Packet processing by CPU.
use crate::export::table::table;

table!("softnet", "packet processing, one row a CPU and sample", net, |_snap, data| &data.softnet, |c| {
    cpu: Int = c.cpu, "CPU";
    processed: Int = c.processed, "packets processed";
    dropped: Int = c.dropped, "packets dropped, backlog full";
    time_squeeze: Int = c.time_squeeze, "times the budget ran out";
    flow_limit: Int = c.flow_limit, "packets dropped by the flow limit";
    backlog: Int = c.backlog, "packets in the backlog";
});
