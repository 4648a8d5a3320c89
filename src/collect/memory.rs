//! meminfo, vmstat, swap and the host's table limits.
