//! Recording.

pub mod findings;
