//! The scenarios, one file each.

use crate::kit::Scenario;

mod calm;
mod container_oom;
mod crowd;
mod d_state_and_zombies;
mod dying_cgroups;
mod syn_sent;
mod time_wait;
mod udp_drops;

pub const ALL: &[Scenario] = &[
    calm::IDLE,
    crowd::COUNTS,
    syn_sent::PILE,
    time_wait::OVERFLOW,
    dying_cgroups::DYING,
    container_oom::DOCKER,
    d_state_and_zombies::FROZEN,
    d_state_and_zombies::ZOMBIES,
    udp_drops::DEAF,
];
