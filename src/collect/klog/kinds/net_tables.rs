//! Tables of the network stack that are full: `conntrack_full`, `neigh_overflow`.

use super::Kind;
use crate::collect::klog::fields::Fields;
use crate::collect::klog::line::Line;
use crate::collect::klog::scan::{number, re, text};
use crate::collect::klog::sink::Sink;

/// Reads single lines.
#[derive(Default)]
pub(super) struct Machine;

impl Kind for Machine {
    fn literals(&self) -> &'static [&'static str] {
        &["_conntrack: table full", "table overflow"]
    }

    fn folds(&self) -> bool {
        true
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        if let Some(caps) = re!(r"^(?:[ni][fp]_conntrack: )+table full(?: in netns (\d+))?, dropping packet").captures(line.text) {
            let netns = text(&caps, 1);
            sink.fold("conntrack_full", netns.unwrap_or_default(), line, |e| e.put("netns", number::<i64>(&caps, 1)));
            return true;
        }
        // Up to 3.12 `Neighbour table overflow.`, of IPv4's or IPv6's routing code.
        let re = re!(r"^(?:neighbour: (\w+): neighbor table overflow|(?:(?i:(ip|ipv4|ipv6|route): ))?Neighbour table overflow)");
        let Some(caps) = re.captures(line.text) else { return false };
        let of_family = text(&caps, 2).map(|f| if f.ends_with('6') { "ndisc_cache" } else { "arp_cache" });
        let table = text(&caps, 1).or(of_family);
        sink.fold("neigh_overflow", table.unwrap_or_default(), line, |e| e.put("table", table));
        true
    }
}
