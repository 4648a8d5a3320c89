//! The scenarios, a file each or each kind: `pub const ALL: &[Scenario]`.

use crate::kit::Scenario;

macro_rules! scenarios {
    ($($file:ident),* $(,)?) => {
        $(pub mod $file;)*
        pub const ALL: &[&[Scenario]] = &[$($file::ALL),*];
    };
}

scenarios! {
    cgroup_limits,
    container_oom,
    crowd,
    d_state_and_zombies,
    dying_cgroups,
    kernel_log,
    kernel_memory,
    lossy_path,
    net_limits,
    story_a,
    story_b,
    story_c,
    story_d,
    story_e,
    syn_sent,
    task_limits,
    tcp_limits,
    time_wait,
    two_troubles,
    udp_drops,
    waits,
}
