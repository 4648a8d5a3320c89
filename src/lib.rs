//! whytop: says why a Linux host is dying.
//!
//! ```text
//! kernel ─▶ collect ─▶ Snapshot ─▶ engine (model, detect) ─▶ Frame ─▶ panes, app ─▶ terminal
//!                                                               └───▶ cli (why, show, …)
//! ```
//!
//! A [`snapshot::Snapshot`] is the only seam: everything right of it is deterministic.

pub mod act;
pub mod app;
pub mod cli;
pub mod collect;
pub mod config;
pub mod detect;
pub mod engine;
pub mod export;
pub mod model;
pub mod panes;
pub mod playback;
pub mod record;
pub mod report;
pub mod snapshot;
pub mod source;
pub mod startup;
pub mod view;
