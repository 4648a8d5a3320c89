//! What TCP prints: `tw_overflow` (2.6 and el7 only), `syn_flood`, `tcp_out_of_memory`, `tcp_orphans`.

use super::Kind;
use crate::collect::klog::fields::Fields;
use crate::collect::klog::line::Line;
use crate::collect::klog::scan::{number, re, text};
use crate::collect::klog::sink::Sink;
use crate::snapshot::LogEvent;

/// Reads single lines.
#[derive(Default)]
pub(super) struct Machine;

const FOLDED: [(&str, &str); 5] = [
    ("time wait bucket table overflow", "tw_overflow"),
    ("out of memory -- consider tuning tcp_mem", "tcp_out_of_memory"),
    ("Out of socket memory", "tcp_out_of_memory"),
    ("too many orphaned sockets", "tcp_orphans"),
    ("too many of orphaned sockets", "tcp_orphans"),
];

impl Kind for Machine {
    fn literals(&self) -> &'static [&'static str] {
        &[
            "time wait bucket table overflow",
            "consider tuning tcp_mem",
            "Out of socket memory",
            "orphaned sockets",
            "ossible SYN flooding on port ",
        ]
    }

    fn folds(&self) -> bool {
        true
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        if let Some(event) = line.text.contains("SYN flooding").then(|| syn_flood(line)).flatten() {
            sink.limited(event, line);
            return true;
        }
        let Some((kind, ct)) = plain(line.text).map(|kind| (kind, None)).or_else(|| of_openvz(line.text)) else {
            return false;
        };
        sink.fold(kind, ct.unwrap_or_default(), line, |event| event.put("ct", ct.and_then(|n| n.parse::<i64>().ok())));
        true
    }
}

/// The kind of `TCP: …`, once or twice `TCP: `.
fn plain(text: &str) -> Option<&'static str> {
    let says = text.trim_start_matches("TCP: ").trim_end_matches(['.', '!']);
    FOLDED.iter().find(|(words, _)| *words == says).map(|(_, kind)| *kind)
}

/// OpenVZ says which container: `CT: 101: TCP: …`, `TCP: … (CT101)`.
fn of_openvz(line: &str) -> Option<(&'static str, Option<&str>)> {
    let caps = re!(r"^(?:(?:CT|VE)[: ]*(\d+):? )?(.*?)(?: \((?:CT|VE)[: ]*(\d+)\))?$").captures(line)?;
    Some((plain(text(&caps, 2)?)?, text(&caps, 1).or_else(|| text(&caps, 3))))
}

fn syn_flood(line: &Line<'_>) -> Option<LogEvent> {
    let re = re!(
        r"^(?:(?:CT|VE)[: ]*\d+:? )?(?:TCP: )?(?:(\w+): )?[Pp]ossible SYN flooding on port (?:\[?([^\]\s]+?)\]?:)?(\d+)\. +(Sending cookies|Dropping request)"
    );
    let caps = re.captures(line.text)?;
    let address = text(&caps, 2);
    // Without an address the name tells IPv6 for sure, but IPv4 also stands for a `::` listener.
    let v6 = text(&caps, 1).is_some_and(|name| name.ends_with("v6"));
    let family = match address {
        Some(address) => Some(if address.contains(':') { "inet6" } else { "inet" }),
        None => v6.then_some("inet6"),
    };
    let action = if text(&caps, 4) == Some("Sending cookies") { "cookies" } else { "drop" };
    let port: Option<i64> = number(&caps, 3);
    let event = LogEvent::of("syn_flood", line).with("port", port).with("address", address);
    Some(event.with("family", family).with("action", action))
}
