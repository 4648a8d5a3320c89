//! The order of the first milliseconds: helpers, memory lock, priority.
