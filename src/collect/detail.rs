//! The dear reads of one task, for a drill-down.
