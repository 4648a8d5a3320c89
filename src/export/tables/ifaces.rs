//! Network interfaces.
use crate::export::table::table;

table!(
    "ifaces", "network interfaces, one row an interface and sample", net,
    |_snap, data| data.netns.iter().flat_map(|n| n.ifaces.iter().map(move |i| (n.id, i))), |(netns, i)| {
    netns: Int = netns, "network namespace, inode";
    iface: Text = &i.name, "name";
    up: Bool = i.up, "whether it is up";
    rx_bytes: Int = i.rx_bytes, "bytes received";
    rx_packets: Int = i.rx_packets, "packets received";
    rx_errors: Int = i.rx_errors, "receive errors";
    rx_dropped: Int = i.rx_dropped, "dropped on receive";
    rx_missed: Int = i.rx_missed, "missed by the device";
    rx_fifo: Int = i.rx_fifo, "overruns of the device's queue";
    tx_bytes: Int = i.tx_bytes, "bytes sent";
    tx_packets: Int = i.tx_packets, "packets sent";
    tx_errors: Int = i.tx_errors, "send errors";
    tx_dropped: Int = i.tx_dropped, "dropped on send";
    speed_mbit: Int = i.speed_mbit, "speed of the link, Mbit/s";
});
