//! Counters, interfaces, queueing disciplines and limits of every network namespace.
