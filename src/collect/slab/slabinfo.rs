//! `/proc/slabinfo`, version 2.x: one line a cache.

use crate::collect::text::{lines, number, words};
use memchr::memmem;
use rustc_hash::FxHashMap;

/// One cache, its per-cgroup copies added.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub name: &'a [u8],
    pub active_objs: u64,
    pub num_objs: u64,
    pub obj_bytes: u64,
    /// Pages in all: slabs × pages per slab.
    pub pages: u64,
    /// Copies `name(ID:cgroup)` that were added.
    pub per_cgroup: u32,
}

/// The caches in the order of the file. A line that can't be understood is passed over.
pub(super) fn parse(text: &[u8]) -> Vec<Line<'_>> {
    let mut caches: Vec<Line<'_>> = Vec::new();
    let mut copies: Vec<Line<'_>> = Vec::new();
    for mut line in lines(text).filter_map(parse_line) {
        match parent_of(line.name) {
            Some(parent) => {
                line.name = parent;
                line.per_cgroup = 1;
                copies.push(line);
            }
            None => caches.push(line),
        }
    }
    if !copies.is_empty() {
        fold(&mut caches, copies);
    }
    caches
}

/// `name active num size objs/slab pages/slab : tunables … : slabdata active_slabs num_slabs shared`. The name is
/// what stands before the five numbers, because a copy's name holds a cgroup's name, blanks and all.
fn parse_line(line: &[u8]) -> Option<Line<'_>> {
    const SLABDATA: &[u8] = b" : slabdata ";
    let head_end = memmem::find(line, b" : tunables ")?;
    let slabdata = memmem::find(line, SLABDATA)?;
    let slabs = words(line.get(slabdata + SLABDATA.len()..)?).nth(1).and_then(number)?;
    let mut rest = line.get(..head_end)?;
    let mut values = [0; 5];
    for value in values.iter_mut().rev() {
        let trimmed = rest.trim_ascii_end();
        let blank = memchr::memrchr(b' ', trimmed)?;
        *value = number(trimmed.get(blank + 1..)?)?;
        rest = trimmed.get(..blank)?;
    }
    let name = rest.trim_ascii();
    let [active_objs, num_objs, obj_bytes, _, pages_per_slab] = values;
    let pages = slabs.saturating_mul(pages_per_slab);
    (!name.is_empty()).then_some(Line { name, active_objs, num_objs, obj_bytes, pages, per_cgroup: 0 })
}

/// The cache of which `name(ID:cgroup)` is a memory cgroup's copy (3.8 to 5.8).
pub(super) fn parent_of(name: &[u8]) -> Option<&[u8]> {
    let inside = name.strip_suffix(b")")?;
    let open = memchr::memchr(b'(', inside)?;
    let (parent, id) = (name.get(..open)?, inside.get(open + 1..)?);
    let colon = memchr::memchr(b':', id)?;
    number(id.get(..colon)?)?;
    (!parent.is_empty()).then_some(parent)
}

/// A leaking kernel has thousands of copies: they are added to their cache, bytes and all.
fn fold<'a>(caches: &mut Vec<Line<'a>>, copies: Vec<Line<'a>>) {
    let mut at: FxHashMap<&[u8], usize> = caches.iter().enumerate().map(|(at, line)| (line.name, at)).collect();
    for copy in copies {
        let Some(parent) = at.get(copy.name).and_then(|at| caches.get_mut(*at)) else {
            at.insert(copy.name, caches.len());
            caches.push(copy);
            continue;
        };
        parent.active_objs = parent.active_objs.saturating_add(copy.active_objs);
        parent.num_objs = parent.num_objs.saturating_add(copy.num_objs);
        parent.pages = parent.pages.saturating_add(copy.pages);
        parent.per_cgroup = parent.per_cgroup.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEEN: &[u8] = include_bytes!("../../../tests/fixtures/proc/linux-6.18/slabinfo");
    const EL7: &[u8] = include_bytes!("../../../tests/fixtures/proc/linux-3.10/slabinfo");

    #[test]
    fn a_6_18_kernel() {
        let caches = parse(SEEN);
        assert_eq!(caches.len(), lines(SEEN).count() - 2);
        let dentry = caches.iter().find(|c| c.name == b"dentry").unwrap();
        assert_eq!((dentry.active_objs, dentry.obj_bytes, dentry.pages), (104_076, 192, 4956));
        assert!(caches.iter().all(|c| c.per_cgroup == 0));
    }

    #[test]
    fn copies_of_cgroups_are_added_to_their_cache() {
        let caches = parse(EL7);
        let dentry = caches.iter().find(|c| c.name == b"dentry").unwrap();
        assert_eq!(dentry.per_cgroup, 3);
        assert_eq!(dentry.num_objs, 84_000 + 4200 + 2100 + 21);
        assert_eq!(dentry.pages, 4000 + 200 + 100 + 1);
        let orphan = caches.iter().find(|c| c.name == b"inode_cache").unwrap();
        assert_eq!((orphan.per_cgroup, orphan.pages), (2, 1600));
    }

    #[test]
    fn only_a_number_before_the_colon_makes_a_copy() {
        assert_eq!(parent_of(b"dentry(12:my pod)"), Some(&b"dentry"[..]));
        assert_eq!(parent_of(b"ext4(8:a(b):c)"), Some(&b"ext4"[..]));
        assert_eq!(parent_of(b"fat_cache(x)"), None);
        assert_eq!(parent_of(b":A-0000064"), None);
        assert_eq!(parent_of(b"(3:x)"), None);
    }

    #[test]
    fn a_torn_line_costs_itself() {
        let good = SEEN.len() - 40;
        let whole = parse(SEEN).len();
        assert_eq!(parse(&SEEN[..good]).len(), whole - 1);
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            parse(&bytes);
        }

        #[test]
        fn never_panics_on_a_damaged_file(at in 0..EL7.len(), byte: u8) {
            let mut text = EL7.to_vec();
            text[at] = byte;
            parse(&text);
        }
    }
}
