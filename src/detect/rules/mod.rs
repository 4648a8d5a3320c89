//! The rules, one file each.

/// Declares the rules' modules and their table, causes above consequences. Each has `RULES`, one rule or a family.
macro_rules! rules {
    ($($name:ident)*) => {
        $(mod $name;)*
        pub(super) static TABLE: &[&[super::Rule]] = &[$($name::RULES),*];
    };
}

rules! {
    tcp_syn_sent_pile
    task_d_state_pile
    task_zombie_pile
}
