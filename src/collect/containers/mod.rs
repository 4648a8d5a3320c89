//! Which container a cgroup path is, and what runtimes wrote down about it.

mod docker;
mod files;
mod names;
mod path;
mod runtimes;

pub use names::Names;
pub use path::{PathMeaning, of_path};
pub use runtimes::Runtimes;
