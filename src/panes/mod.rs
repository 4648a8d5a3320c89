//! One file a pane.
