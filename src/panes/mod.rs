//! The panes: one file each, all of them data. Help, keys, `whytop show` and tests iterate [`PANES`].

pub mod drill;
mod events;
mod names;
mod table;

pub use events::event_words;
pub use names::subject_name;
pub use table::{Table, TableError, TableOptions, TableRow, table};

use crate::view::View;

/// A pane: several views of one part of the host.
pub struct Pane {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its name on the screen.
    pub title: &'static str,
    /// The question it answers.
    pub question: &'static str,
    /// Findings (ids, or the start of ids) that light its name in the header.
    pub lights: &'static [&'static str],
    /// Its views; the first is the one it opens with.
    pub views: &'static [&'static dyn View],
}

macro_rules! panes {
    ($($name:ident)*) => {
        $(mod $name;)*
        /// Every pane, in the order of their numbers.
        pub static PANES: &[&Pane] = &[$(&$name::PANE),*];
    };
}

panes! { why tcp tasks cgroups memory net log }

/// The pane of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Pane> {
    PANES.iter().copied().find(|p| p.name == name)
}
