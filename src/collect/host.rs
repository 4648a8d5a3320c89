//! Who the host is.
