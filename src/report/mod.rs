//! An outage written up: frames are folded into stories with first and last times, and printed as a document.
//!
//! ```text
//! Frame, Frame, … ─▶ Outage (episodes, reels) ─▶ Report (plain data, JSON) ─▶ document ─▶ Markdown | HTML
//! ```

mod acts;
mod document;
mod html;
mod markdown;
mod outage;
mod reel;
mod summary;

pub use acts::{acted, marked};
pub use document::{Block, blocks};
pub use html::html;
pub use markdown::markdown;
pub use outage::{Episode, Outage};
pub use reel::Reel;
pub use summary::{Entry, Occasion, Report, Saying, Tale};
