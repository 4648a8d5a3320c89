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
    if let Some(span) = span(&now.net, &before.net) {
        m.drop_rates = losses(span);
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

/// Losses by place, each counter held against its own value before: what came or went in between counts for nothing.
fn losses(span: Span<'_, Net>) -> FxHashMap<&'static str, f64> {
    let mut rates: FxHashMap<&'static str, f64> = FxHashMap::default();
    let mut add = |place, old: u64, now: u64| {
        if let Some(rate) = per_second(old, now, span.secs).filter(|r| *r > 0.0) {
            *rates.entry(place).or_default() += rate;
        }
    };
    for now in &span.now.softnet {
        if let Some(old) = span.old.softnet.iter().find(|c| c.cpu == now.cpu) {
            add("softnet_stat dropped", old.dropped, now.dropped);
            add("softnet_stat time_squeeze", old.time_squeeze, now.time_squeeze);
        }
    }
    let olds: FxHashMap<NetnsId, &NetnsCounters> = span.old.netns.iter().map(|n| (n.id, n)).collect();
    for now in &span.now.netns {
        let Some(old) = olds.get(&now.id) else { continue };
        add("nf_conntrack drop", old.conntrack_drops.unwrap_or(0), now.conntrack_drops.unwrap_or(0));
        add("table_fulls", old.neigh_table_fulls.unwrap_or(0), now.neigh_table_fulls.unwrap_or(0));
        for (now, old) in now.ifaces.iter().filter_map(|i| Some((i, old.ifaces.iter().find(|o| o.name == i.name)?))) {
            let missed = |i: &Iface| i.rx_missed.unwrap_or(0).saturating_add(i.rx_fifo);
            add("rx_errors", old.rx_errors, now.rx_errors);
            add("rx_missed_errors", missed(old), missed(now));
            add("rx_dropped", old.rx_dropped, now.rx_dropped);
            add(
                "tx_dropped",
                old.tx_dropped.saturating_add(old.tx_errors),
                now.tx_dropped.saturating_add(now.tx_errors),
            );
        }
        for now in now.qdiscs.iter().filter(|q| q.root) {
            if let Some(old) = old.qdiscs.iter().find(|o| o.iface == now.iface && o.handle == now.handle) {
                add("qdisc drops", old.drops, now.drops);
            }
        }
    }
    rates
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
