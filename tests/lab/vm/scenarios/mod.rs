//! What the guests play, a file each kind of trouble.

pub mod calm;
pub mod cgroup_limits;
pub mod lockup;
pub mod memory;
pub mod net;
pub mod storage;
pub mod stuck;
