//! Rules over a frame: one file a rule, a measurement and a verdict on its history.
