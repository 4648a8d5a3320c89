//! Which container a cgroup path is, and what runtimes wrote down about it.
