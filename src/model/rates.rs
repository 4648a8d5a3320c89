//! Rates of counter files and interfaces, growth of slab caches.

use super::before::{Before, Span, per_second, span};
use super::{IfaceRates, Model};
use crate::snapshot::{Counters, Iface, Net, NetnsCounters, NetnsId, Snapshot, Text};
use rustc_hash::FxHashMap;

pub(super) fn derive(m: &mut Model, now: &Snapshot, before: &Before) {
    if let Some(span) = span(&now.net, &before.net) {
        let old: FxHashMap<NetnsId, &NetnsCounters> = span.old.netns.iter().map(|n| (n.id, n)).collect();
        for netns in &span.now.netns {
            if let Some(old) = old.get(&netns.id) {
                netns_rates(m, old, netns, span);
            }
        }
    }
    if let Some(span) = span(&now.memory, &before.memory) {
        m.vmstat_rates = moved(&span.old.vmstat, &span.now.vmstat, span.secs);
    }
    if let Some(span) = span(&now.slab, &before.slab) {
        let old: FxHashMap<&Text, u64> = span.old.rows.iter().map(|s| (&s.name, s.bytes)).collect();
        for slab in &span.now.rows {
            let Some(&bytes) = old.get(&slab.name) else { continue };
            if bytes != slab.bytes {
                let per_s = (slab.bytes as f64 - bytes as f64) / span.secs;
                m.slab_bytes_per_s.insert(slab.name.clone(), per_s);
            }
        }
    }
}

/// Rates of the counters that rose.
fn moved(old: &Counters, now: &Counters, secs: f64) -> FxHashMap<Text, f64> {
    let mut rates = FxHashMap::default();
    for (name, value) in now.iter() {
        let Some(before) = old.get(name) else { continue };
        if before != value
            && let Some(rate) = per_second(before, value, secs)
        {
            rates.insert(name.clone(), rate);
        }
    }
    rates
}

fn netns_rates(m: &mut Model, old: &NetnsCounters, now: &NetnsCounters, span: Span<'_, Net>) {
    let rates = moved(&old.counters, &now.counters, span.secs);
    if !rates.is_empty() {
        m.net_rates.insert(now.id, rates);
    }
    for iface in &now.ifaces {
        let earlier = old.ifaces.iter().find(|i| i.name == iface.name);
        if let Some(rates) = earlier.and_then(|old| iface_rates(old, iface, span.secs)) {
            m.iface_rates.insert((now.id, iface.name.clone()), rates);
        }
    }
}

/// Packets an interface dropped or missed, both ways.
#[must_use]
pub fn iface_drops(i: &Iface) -> u64 {
    i.rx_dropped.saturating_add(i.rx_missed.unwrap_or(0)).saturating_add(i.tx_dropped)
}

/// `None` where any counter went back: the interface was made anew under its old name.
fn iface_rates(old: &Iface, now: &Iface, secs: f64) -> Option<IfaceRates> {
    Some(IfaceRates {
        rx_bytes_per_s: per_second(old.rx_bytes, now.rx_bytes, secs)?,
        tx_bytes_per_s: per_second(old.tx_bytes, now.tx_bytes, secs)?,
        rx_packets_per_s: per_second(old.rx_packets, now.rx_packets, secs)?,
        tx_packets_per_s: per_second(old.tx_packets, now.tx_packets, secs)?,
        drops_per_s: per_second(iface_drops(old), iface_drops(now), secs)?,
    })
}
