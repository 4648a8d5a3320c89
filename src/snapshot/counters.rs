//! Counter files (`netstat`, `snmp`, `meminfo`, `vmstat`) as names and values; the names are shared between samples.

use super::Text;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The sorted names of a counter file. A collector keeps it while the file's header stays the same.
pub type Names = Arc<[Text]>;

/// Counters by the kernel's own name. `values[i]` belongs to `names[i]`; names are sorted.
///
/// Counters of `/proc/net/netstat`, `snmp` and `snmp6` carry the names `nstat` prints: `TcpExtTCPTimeWaitOverflow`,
/// `UdpRcvbufErrors`, `Udp6RcvbufErrors`. Those of `meminfo` are in bytes, under meminfo's own names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    names: Option<Names>,
    values: Vec<u64>,
}

impl Counters {
    /// Counters from pairs in any order; of a name that comes twice the last value counts.
    #[must_use]
    pub fn from_pairs<N: Into<Text>>(pairs: impl IntoIterator<Item = (N, u64)>) -> Self {
        let sorted: std::collections::BTreeMap<Text, u64> = pairs.into_iter().map(|(n, v)| (n.into(), v)).collect();
        let (names, values): (Vec<Text>, Vec<u64>) = sorted.into_iter().unzip();
        Self { names: Some(names.into()), values }
    }

    /// Counters over names already known. `names` must be sorted and as long as `values`; otherwise they are empty.
    #[must_use]
    pub fn with_names(names: Names, values: Vec<u64>) -> Self {
        if names.len() != values.len() {
            return Self::default();
        }
        Self { names: Some(names), values }
    }

    /// The value under the kernel's `name`; `None` where this kernel has no such counter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        let names = self.names.as_ref()?;
        let at = names.binary_search_by(|n| (**n).cmp(name)).ok()?;
        self.values.get(at).copied()
    }

    /// All counters in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, u64)> {
        self.names.iter().flat_map(|n| n.iter()).zip(self.values.iter().copied())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_by_name_and_misses_honestly() {
        let c = Counters::from_pairs([("TcpExtListenDrops", 7), ("IpInDiscards", 1)]);
        assert_eq!(c.get("TcpExtListenDrops"), Some(7));
        assert_eq!(c.get("TcpExtListenOverflows"), None);
        assert_eq!(c.iter().map(|(n, _)| &**n).collect::<Vec<_>>(), ["IpInDiscards", "TcpExtListenDrops"]);
    }

    #[test]
    fn names_that_do_not_fit_the_values_give_nothing() {
        let names: Names = vec![Text::from("a")].into();
        assert!(Counters::with_names(names, vec![1, 2]).is_empty());
    }
}
