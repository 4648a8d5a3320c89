//! The scenarios, a file each or each kind: `pub const ALL: &[Scenario]`.

use crate::kit::Scenario;

macro_rules! scenarios {
    ($($file:ident),* $(,)?) => {
        $(mod $file;)*
        pub const ALL: &[&[Scenario]] = &[$($file::ALL),*];
    };
}

scenarios! {
    container_oom,
    crowd,
    d_state_and_zombies,
    dying_cgroups,
    story_a,
    story_d,
    syn_sent,
    time_wait,
    udp_drops,
}
