//! The rules, one file each or one family.

/// Declares the rules' modules and their table, causes above consequences. Each has `RULES`, one rule or a family.
macro_rules! rules {
    ($($name:ident)*) => {
        $(mod $name;)*
        pub(super) static TABLE: &[&[super::Rule]] = &[$($name::RULES),*];
    };
}

rules! {
    kmsg
    tcp_close_wait_pile
    tcp_listen_overflow
    tcp_syn_sent_pile
    udp_rcvbuf_drops
    task_thread_growth
    task_memory_growth
    cgroup_dying_pile
    slab_unreclaimable
    slab_growth
    cgroup_at_limit
    cgroup_oom_kill
    host_memory
    host_oom_kill
    task_d_state_pile
    task_d_state_long
    task_hung
    task_respawn_loop
    task_zombie_pile
    tcp_memory_pressure
    tcp_time_wait_full
    tcp_port_exhaustion
    tcp_retransmits
    net_link_saturated
    net_drops
    net_tables_full
    udp_sndbuf_errors
    cgroup_limits
    kmsg_fork_rejected
    tables_full
    host_load_blocked
    host_pressure
}
