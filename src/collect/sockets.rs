//! TCP and UDP of every network namespace by `sock_diag`, folded while reading, with owners.
