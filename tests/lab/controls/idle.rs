//! Nothing is going on.

use crate::kit::Control;

pub const CALM: Control = Control { name: "idle", ..Control::BASE };
