//! The tables, one file each: adding one is a file and a word here.

use super::Table;

macro_rules! tables {
    ($($name:ident)+) => {
        $(mod $name;)+

        /// Every table over snapshots.
        pub const TABLES: &[Table] = &[$($name::TABLE),+];
    };
}

tables! {
    cpu pressure memory tasks threads tcp listeners udp talkers counters ifaces qdiscs softnet cgroups slab klog own
}
