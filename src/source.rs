//! Where frames come from: the live host, or a script of snapshots.
