//! Which lanes there are, what they read and how often.

use super::lane::{Lane, Rhythm, start};
use crate::collect::Roots;
use crate::collect::cgroups::CgroupsCollector;
use crate::collect::pressure::PressureCollector;
use crate::snapshot::Section;

/// Starts every lane; the order is the order in which late ones are waited for.
pub(super) fn lanes(roots: &Roots, stack_bytes: usize) -> Vec<Box<dyn Lane>> {
    let each = Rhythm::default();
    vec![
        start(PressureCollector::new(roots), stack_bytes, each, |snap, s| snap.pressure = s, Section::clone),
        start(CgroupsCollector::new(roots), stack_bytes, each, |snap, s| snap.cgroups = s, Section::clone),
    ]
}
