//! Snapshot in, frame out: series, rates, rules, stories.
