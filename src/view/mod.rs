//! The draw kit: theme, text, numbers, cells, tables. Knows nothing of panes.

pub mod canvas;
mod cell;
pub mod line;
pub mod listing;
pub mod num;
pub mod query;
mod sheet;
pub mod sight;
pub mod spark;
pub mod svg;
pub mod table;
mod target;
pub mod text;
mod theme;

pub use canvas::Canvas;
pub use cell::Cell;
pub use line::{Line, Span};
pub use listing::{Arrange, Listing};
pub use query::Query;
pub use sheet::{Column, Entry, Grid, Head, Sheet, Tree, View};
pub use sight::State;
pub use target::{RowId, Target};
pub use theme::{Depth, Role, Theme, ThemeError};
