//! Pressure stall information of the host.
