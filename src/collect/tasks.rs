//! Every process and its threads, from `/proc/PID/stat` and what hangs below it.
