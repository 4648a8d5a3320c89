//! `nfs_not_responding` (a line for each waiting request) and `nfs_ok`.

use super::Kind;
use crate::collect::klog::fields::Fields;
use crate::collect::klog::line::Line;
use crate::collect::klog::scan::{re, text};
use crate::collect::klog::sink::Sink;
use crate::snapshot::LogEvent;

/// Reads single lines.
#[derive(Default)]
pub(super) struct Machine;

impl Kind for Machine {
    fn literals(&self) -> &'static [&'static str] {
        &["nfs: server ", "lockd: server "]
    }

    fn folds(&self) -> bool {
        true
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        let re = re!(r"^(?:nfs|lockd): server (\S+) (OK|not responding)");
        let Some(caps) = re.captures(line.text) else { return false };
        let server = text(&caps, 1).unwrap_or_default();
        if text(&caps, 2) == Some("OK") {
            sink.push(LogEvent::of("nfs_ok", line).with("server", server));
        } else {
            sink.fold("nfs_not_responding", server, line, |e| e.put("server", server));
        }
        true
    }
}
