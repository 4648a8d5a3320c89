//! Calm guests.

use crate::kit::Control;

pub const IDLE: Control = Control { name: "idle_guest", root: true, ..Control::BASE };
