//! What one pass over the cgroups knows, spends and finds.

use super::files::Reading;
use super::mounts::Mount;
use super::places::{Dir, Each};
use super::v1::Bounds;

/// Which hierarchy has what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Roles {
    /// v1 `memory`.
    pub memory_v1: Option<usize>,
    /// v1 `pids`.
    pub pids_v1: Option<usize>,
    /// v1 `cpu`.
    pub cpu_v1: Option<usize>,
    /// v1 `cpuacct`.
    pub cpuacct_v1: Option<usize>,
    /// v1 `freezer`.
    pub freezer_v1: Option<usize>,
    /// The v2 tree.
    pub unified: Option<usize>,
    /// The v2 tree, when the memory controller is not bound to v1.
    pub memory_v2: Option<usize>,
    /// The v2 tree, when the cpu controller is not bound to v1.
    pub cpu_v2: Option<usize>,
}

impl Roles {
    /// Reads the mounts' controllers.
    pub fn of(trees: &[Mount]) -> Self {
        let v1 = |controller| trees.iter().position(|m| m.has(controller));
        let (memory_v1, cpu_v1) = (v1("memory"), v1("cpu"));
        let unified = trees.iter().position(|m| m.controllers.is_none());
        Self {
            memory_v1,
            pids_v1: v1("pids"),
            cpu_v1,
            cpuacct_v1: v1("cpuacct"),
            freezer_v1: v1("freezer"),
            unified,
            memory_v2: unified.filter(|_| memory_v1.is_none()),
            cpu_v2: unified.filter(|_| cpu_v1.is_none()),
        }
    }

    /// Where the pids controller is.
    pub fn pids(self) -> Option<usize> {
        self.pids_v1.or(self.unified)
    }

    /// Where the memory controller is.
    pub fn memory(self) -> Option<usize> {
        self.memory_v1.or(self.memory_v2)
    }
}

/// One pass.
pub struct Pass<'a> {
    /// Which hierarchy has what.
    pub roles: Roles,
    /// What the host has.
    pub bounds: Bounds,
    /// Whether everything is wanted now.
    pub eager: bool,
    /// Whether some task of the host has been killed for memory since the last pass.
    pub kills_moved: bool,
    /// Whether tasks below the parent of what is read now waited for memory or I/O since the last pass.
    pub stalls: bool,
    /// Time for `memory.stat`.
    pub stat: StatBudget,
    /// Buffer and errors.
    pub reading: &'a mut Reading,
    /// Buffer for directory entries.
    pub listing: &'a mut Vec<u8>,
    /// Directories that may still be kept open.
    pub fds_left: usize,
    /// Spreads new cgroups over the rota.
    pub turn: u32,
    /// What it found besides rows.
    pub found: Found,
}

/// What a walk found besides rows.
#[derive(Debug, Default)]
pub struct Found {
    /// Directories of each hierarchy.
    pub directories: Each<u64>,
    /// Directories kept open.
    pub fds_kept: usize,
    /// Directories that could not be listed.
    pub unlisted: u64,
    /// Whether something is nested deeper than is looked.
    pub too_deep: bool,
}

impl Found {
    /// Counts the directories of one path.
    pub fn count(&mut self, dirs: &Each<Option<Dir>>) {
        for (count, dir) in self.directories.iter_mut().zip(dirs) {
            *count += u64::from(dir.is_some());
        }
    }

    /// Whether every directory was seen.
    pub fn is_complete(&self) -> bool {
        self.unlisted == 0 && !self.too_deep
    }
}

/// Time that the `memory.stat` files of one pass may take. Thousands of dying cgroups make one take up to seconds: then
/// fewer are read a pass, and it takes longer until each has had its turn.
#[derive(Clone, Copy, Debug)]
pub struct StatBudget {
    left_ns: u64,
    stretch: u32,
    skipped: bool,
}

impl StatBudget {
    /// Longest stretch of the rota.
    const STRETCH_MAX: u32 = 64;

    /// A budget of `left_ns`; every period is `stretch` times as long as it should be.
    pub fn new(left_ns: u64, stretch: u32) -> Self {
        Self { left_ns, stretch, skipped: false }
    }

    /// Whether one more may be read that was last read `age` passes ago and should be every `period`.
    pub fn allows(&mut self, age: u32, period: u32) -> bool {
        let due = age >= period.saturating_mul(self.stretch);
        self.skipped |= due && self.left_ns == 0;
        due && self.left_ns > 0
    }

    /// Takes off what a read cost.
    pub fn spend(&mut self, ns: u64) {
        self.left_ns = self.left_ns.saturating_sub(ns);
    }

    /// The stretch of the next pass: longer when something due was skipped.
    pub fn next_stretch(&self) -> u32 {
        if self.skipped { (self.stretch * 2).min(Self::STRETCH_MAX) } else { (self.stretch / 2).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_stretches_the_rota_until_all_fit() {
        let mut budget = StatBudget::new(10, 1);
        assert!(budget.allows(10, 10) && !budget.allows(9, 10));
        budget.spend(11);
        assert!(!budget.allows(11, 10));
        assert_eq!(budget.next_stretch(), 2);
        assert!(!StatBudget::new(10, 2).allows(19, 10));
        assert_eq!(StatBudget::new(10, 2).next_stretch(), 1);
        assert_eq!(StatBudget::new(0, 1).next_stretch(), 1);
    }
}
