//! What filesystems print when they break: `fs_error`, `fs_readonly`, `fs_shutdown`, `journal_abort`.

use super::Kind;
use crate::collect::klog::fields::Fields;
use crate::collect::klog::line::Line;
use crate::collect::klog::scan::{number, re, text};
use crate::collect::klog::sink::Sink;
use crate::snapshot::LogEvent;

/// Reads single lines.
#[derive(Default)]
pub(super) struct Machine;

impl Kind for Machine {
    fn literals(&self) -> &'static [&'static str] {
        &["-fs error", "-fs warning", "-fs (", "XFS (", "Filesystem \"", "BTRFS", "Aborting journal on device "]
    }

    fn line(&mut self, line: &Line<'_>, sink: &mut Sink) -> bool {
        let found = journal_abort(line).or_else(|| ext_error(line)).or_else(|| ext_state(line)).or_else(|| xfs(line));
        let Some(event) = found.or_else(|| btrfs(line)) else { return false };
        sink.limited(event, line);
        true
    }
}

/// `Aborting journal on device sdd-8.`: an inner journal adds its inode to the device's name.
fn journal_abort(line: &Line<'_>) -> Option<LogEvent> {
    let name = line.text.strip_prefix("Aborting journal on device ")?.trim_end_matches('.');
    let device = match name.rsplit_once('-') {
        // An outer journal on `dm-0`.
        Some((device, inode)) if device != "dm" && inode.bytes().all(|b| b.is_ascii_digit()) => device,
        _ => name,
    };
    Some(LogEvent::of("journal_abort", line).with("device", device))
}

/// `EXT4-fs error (device sdd): ext4_put_super:1021: comm umount: Couldn't clean up the journal`
fn ext_error(line: &Line<'_>) -> Option<LogEvent> {
    let re = re!(r"^(EXT[234])-fs (warning|error|critical) \(device ([^)]+)\)(?: in|:) (\w+)(?::(\d+))?: (.*)$");
    let caps = re.captures(line.text)?;
    let message = text(&caps, 6)?;
    let inode = re!(r"\binode #?(\d+)").captures(message);
    let mut event = LogEvent::of("fs_error", line)
        .with("fs", &*text(&caps, 1)?.to_ascii_lowercase())
        .with("severity", text(&caps, 2))
        .with("device", text(&caps, 3))
        .with("function", text(&caps, 4))
        .with("code_line", number::<i64>(&caps, 5));
    event.put("inode", inode.and_then(|c| number::<i64>(&c, 1)));
    event.put("comm", comm(message));
    Some(event)
}

/// The task of `inode #12: comm ls: …`. A name may hold `: `, but then it mostly fills its 15 bytes.
fn comm(message: &str) -> Option<&str> {
    let start = if message.starts_with("comm ") { 0 } else { message.find(": comm ")? + 2 };
    let name = message.get(start + 5..)?;
    match name.split_at_checked(15) {
        Some((whole, rest)) if rest.starts_with(": ") => Some(whole),
        _ => name.split_once(": ").map(|(name, _)| name),
    }
}

/// `EXT4-fs (sdd): Remounting filesystem read-only` and its like, and a shutdown that was asked for.
fn ext_state(line: &Line<'_>) -> Option<LogEvent> {
    let caps = re!(r"^(EXT[234]|FAT|F2FS)-fs \(([^)]+)\): (?:error: )?(.*)$").captures(line.text)?;
    let message = text(&caps, 3)?;
    let is = |words: &str| message.get(..words.len()).is_some_and(|m| m.eq_ignore_ascii_case(words));
    let kind = if is("Remounting filesystem read-only") || is("Filesystem has been set read-only") {
        "fs_readonly"
    } else if is("shut down requested") {
        "fs_shutdown"
    } else {
        return None;
    };
    Some(LogEvent::of(kind, line).with("fs", &*text(&caps, 1)?.to_ascii_lowercase()).with("device", text(&caps, 2)))
}

/// XFS tells a shutdown in several lines: the one that says so is the event.
fn xfs(line: &Line<'_>) -> Option<LogEvent> {
    let caps = re!(r#"^(?:XFS \(([^)]+)\)|Filesystem "([^"]+)"): (.*)$"#).captures(line.text)?;
    let device = text(&caps, 1).or_else(|| text(&caps, 2));
    let message = text(&caps, 3)?;
    let is_shutdown = ["hutting down filesystem", "ilesystem has been shut down"].iter().any(|w| message.contains(w));
    if is_shutdown {
        return Some(LogEvent::of("fs_shutdown", line).with("fs", "xfs").with("device", device));
    }
    let re = re!(r"^(?:Metadata corruption detected|Metadata CRC error detected|Internal error|Corruption detected)(?:.*? at (\w+)\+0x)?");
    let caps = re.captures(message)?;
    let event = LogEvent::of("fs_error", line).with("fs", "xfs").with("severity", "error").with("device", device);
    Some(event.with("function", text(&caps, 1)))
}

fn btrfs(line: &Line<'_>) -> Option<LogEvent> {
    let re = re!(r"^BTRFS:? (\w+) \(device ([^):\s]+)[^)]*\):?(?: in (\w+):(\d+):)? ?(.*)$");
    let caps = re.captures(line.text)?;
    let (severity, device) = (text(&caps, 1)?, text(&caps, 2));
    if text(&caps, 5).is_some_and(|m| m.starts_with("forced readonly")) {
        return Some(LogEvent::of("fs_readonly", line).with("fs", "btrfs").with("device", device));
    }
    // Most warnings are about mount options.
    let matters = match severity {
        "error" | "critical" => true,
        "warning" => text(&caps, 5).is_some_and(|m| ["csum", "checksum", "i/o error"].iter().any(|w| m.contains(w))),
        _ => false,
    };
    let event = matters.then(|| LogEvent::of("fs_error", line))?.with("fs", "btrfs").with("severity", severity);
    Some(event.with("device", device).with("function", text(&caps, 3)).with("code_line", number::<i64>(&caps, 4)))
}
