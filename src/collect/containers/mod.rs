//! Which container a cgroup path is, and what runtimes wrote down about it.

mod path;

pub use path::{PathMeaning, of_path};
