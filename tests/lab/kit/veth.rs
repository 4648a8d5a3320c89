//! A network namespace with a wire into nothing.

use super::stage::must;

/// What answers nowhere: packets to it leave by a wire whose other end drops them.
pub const NOBODY: &str = "10.9.0.9";
/// The same for IPv6.
pub const NOBODY6: &str = "fd00:9::9";
/// This end's address.
pub const HERE: &str = "10.9.0.1";

/// Brings up `lo`, and `v0` at 10.9.0.1 and fd00:9::1 with its other end `v1`, in the namespace that this process is in:
/// a fresh one (`unshare -n`). The far addresses have a neighbour entry, so that no one is asked for them.
pub fn wire_into_nothing() {
    let ip = |args: &str| must("ip", &args.split(' ').collect::<Vec<_>>());
    ip("link set lo up");
    ip("link add v0 address 02:00:00:00:00:01 type veth peer name v1 address 02:00:00:00:00:02");
    ip("link set v0 up");
    ip("link set v1 up");
    ip(&format!("addr add {HERE}/24 dev v0"));
    ip("addr add fd00:9::1/64 dev v0 nodad");
    ip(&format!("neigh add {NOBODY} lladdr 02:00:00:00:00:02 dev v0 nud permanent"));
    ip(&format!("neigh add {NOBODY6} lladdr 02:00:00:00:00:02 dev v0 nud permanent"));
}
