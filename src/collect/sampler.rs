//! Lanes with deadlines, and the snapshot they are put together into.
