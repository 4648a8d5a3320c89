//! The parts of a snapshot: what did not change since the sample before costs nothing.

use super::RecordError;
use super::gather::Gatherer;
use super::shape::{NodeId, ROOT};
use super::shred::Shredder;
use crate::snapshot::{Detail, Moment, Own, Section, Snapshot};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A field of a snapshot.
trait Part: Serialize + DeserializeOwned {
    /// Whether it is what it was, without a look into shared data.
    fn same(&self, before: &Self) -> bool;
    /// What stands here when the recorded one can't be read.
    fn unreadable(why: &RecordError) -> Self;
}

impl<T: Serialize + DeserializeOwned> Part for Section<T> {
    fn same(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Ok { at, data }, Self::Ok { at: at0, data: data0 }) => at == at0 && Arc::ptr_eq(data, data0),
            (Self::Stale { at, data, why }, Self::Stale { at: at0, data: data0, why: why0 }) => {
                at == at0 && why == why0 && Arc::ptr_eq(data, data0)
            }
            (Self::Denied { need }, Self::Denied { need: need0 }) => need == need0,
            (Self::Absent { why }, Self::Absent { why: why0 }) => why == why0,
            _ => false,
        }
    }

    fn unreadable(why: &RecordError) -> Self {
        Self::absent(format!("recorded by a version that this one can't follow: {why}"))
    }
}

macro_rules! plain_parts {
    ($($part:ty),*) => {$(
        impl Part for $part {
            fn same(&self, before: &Self) -> bool {
                self == before
            }

            fn unreadable(_: &RecordError) -> Self {
                Self::default()
            }
        }
    )*};
}

plain_parts!(Moment, i64, Option<Detail>, Own);

macro_rules! parts {
    ($($name:ident),*) => {
        /// Their names, as the recording has them.
        #[cfg(test)]
        pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// Takes the parts apart that are not what they were in `before` (all without it); gives their nodes.
        pub(super) fn shred(
            snap: &Snapshot,
            before: Option<&Snapshot>,
            into: &mut Shredder<'_>,
        ) -> Result<u64, RecordError> {
            let (mut mask, mut place) = (0_u64, 0);
            $(
                if before.is_none_or(|before| !snap.$name.same(&before.$name)) {
                    into.field(ROOT, stringify!($name), place, &snap.$name)?;
                    mask |= 1 << place;
                }
                place += 1;
            )*
            let _ = place;
            Ok(mask)
        }

        /// Puts one part together; one that this version does not know is passed over.
        pub(super) fn gather(snap: &mut Snapshot, name: &str, id: NodeId, from: &mut Gatherer<'_>) {
            match name {
                $(stringify!($name) => {
                    snap.$name = serde::Deserialize::deserialize(from.at(id)).unwrap_or_else(|e| Part::unreadable(&e));
                })*
                _ => {}
            }
        }
    };
}

parts!(at, wall_unix_ns, host, cpu, tasks, sockets, net, cgroups, memory, pressure, slab, klog, detail, own);
