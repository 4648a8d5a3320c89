//! Kernel object caches, merged names resolved.
