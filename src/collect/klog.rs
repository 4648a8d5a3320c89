//! The kernel log: from bytes to events.
