//! Calm controls, a file each: loads that a host carries well. What is said of one is false.

use crate::kit::Control;

macro_rules! controls {
    ($($file:ident),* $(,)?) => {
        $(mod $file;)*
        pub const ALL: &[Control] = &[$($file::CALM),*];
    };
}

controls! {
    idle,
    parallel_compile,
    web_server,
    database,
    file_copy,
    backup_burst,
    keep_alive,
    container_churn,
}
