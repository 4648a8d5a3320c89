//! `fork_rejected`: the pids controller refused a fork. Once for each cgroup; the path is the forking task's, whoever
//! owns the limit.

use super::Kind;
use crate::collect::klog::fields::Fields;
use crate::collect::klog::line::Line;
use crate::collect::klog::sink::Sink;
use crate::snapshot::LogEvent;

/// Reads single lines.
#[derive(Default)]
pub(super) struct Machine;

impl Kind for Machine {
    fn literals(&self) -> &'static [&'static str] {
        &["fork rejected by pids controller"]
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        let text = line.text.strip_prefix("cgroup: ").unwrap_or(line.text);
        let Some(path) = text.strip_prefix("fork rejected by pids controller in ") else { return false };
        let mut event = LogEvent::of("fork_rejected", line).with("cgroup", path);
        event.put_container(&[Some(path)]);
        sink.push(event);
        true
    }
}
