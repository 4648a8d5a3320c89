//! The draw kit: theme, text, numbers, cells, tables. Knows nothing of panes.

pub mod num;
pub mod text;
mod theme;

pub use theme::{Depth, Role, Theme, ThemeError};
