//! Joins and rates over scripted snapshots.
