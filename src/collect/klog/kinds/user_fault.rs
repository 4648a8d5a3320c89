//! `user_fault`: a process that the CPU caught: `segfault`, `general_protection`, `invalid_opcode`, …

use super::Kind;
use crate::collect::klog::fields::Fields;
use crate::collect::klog::line::Line;
use crate::collect::klog::scan::{hex, number, re, text};
use crate::collect::klog::sink::Sink;
use crate::snapshot::LogEvent;

/// Reads single lines.
#[derive(Default)]
pub(super) struct Machine;

impl Kind for Machine {
    fn literals(&self) -> &'static [&'static str] {
        &["]: segfault", "sp:"]
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        let Some(mut event) = segfault(line).or_else(|| trap(line)) else { return false };
        let object = re!(r" in (.+)\[[0-9a-f,]+\+[0-9a-f]+\]").captures(line.text);
        event.put("object", object.and_then(|c| text(&c, 1)));
        sink.limited(event, line);
        true
    }
}

/// `java[101]: segfault at cafe000 ip 000000000cafe000 sp 00007ffcd8664de8 error 14`; 2.6.18 says `rip`, PowerPC `nip`.
fn segfault(line: &Line<'_>) -> Option<LogEvent> {
    let re = re!(
        r"^(?:traps: )?(.+)\[(\d+)\]: segfault(?: \(\d+\))? at ([0-9a-f]+) (?:r|n)?ip [0-9a-f]+ (?:r?sp|lr) [0-9a-f]+(?: error ([0-9a-f]+))?"
    );
    let caps = re.captures(line.text)?;
    let event = fault(line, &caps).with("fault", "segfault").with("error", hex(&caps, 4));
    let address = text(&caps, 3)?.trim_start_matches('0');
    Some(event.with("address", &*format!("0x{}", if address.is_empty() { "0" } else { address })))
}

/// `traps: nginx[102] general protection fault ip:401721 sp:7fffeebf7a50 error:0 in …`; the trap's words name the fault.
fn trap(line: &Line<'_>) -> Option<LogEvent> {
    let re = re!(r"^(?:traps: )?(.+)\[(\d+)\]:? ([a-z][a-z0-9 -]*?) r?ip:[0-9a-f]+ r?sp:[0-9a-f]+ error:([0-9a-f]+)");
    let caps = re.captures(line.text)?;
    let words = text(&caps, 3)?;
    let words = words.strip_prefix("trap ").unwrap_or(words);
    let words = words.strip_suffix(" fault").unwrap_or(words);
    Some(fault(line, &caps).with("fault", &*words.replace([' ', '-'], "_")).with("error", hex(&caps, 4)))
}

fn fault(line: &Line<'_>, caps: &regex::Captures<'_>) -> LogEvent {
    LogEvent::of("user_fault", line).with("comm", text(caps, 1)).with("pid", number::<i64>(caps, 2))
}
