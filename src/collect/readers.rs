//! Helper processes for reads that can hang in D (`cmdline`, `smaps_rollup`): forked first, abandoned when stuck.
