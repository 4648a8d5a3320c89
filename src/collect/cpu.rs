//! CPU time and load average.
