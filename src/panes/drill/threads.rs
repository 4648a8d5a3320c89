//! The threads of a process one by one.

use super::{Cx, Page, ended};
use crate::snapshot::{Subject, TaskKey, TaskState, Thread};
use crate::view::{Line, Role, num};

/// The page.
pub(super) fn page(cx: &Cx<'_>, key: TaskKey) -> Page {
    let frame = cx.frame;
    let title = "threads".to_owned();
    let Some(task) = frame.task(key) else {
        return Page { lines: ended(&title), title, gone: true, ..Page::default() };
    };
    let detail = frame.snap.detail.as_ref().and_then(|d| d.task.as_ref()).filter(|d| d.key == key);
    let threads = detail.map_or(task.awake.as_slice(), |d| d.threads.as_slice());
    let head = format!("{:>8} S {:>7}  {:<15}  waits in", "tid", "stuck", "name");
    let mut lines = vec![Line::plain(Role::Head, head)];
    lines.extend(threads.iter().map(|thread| {
        let stuck = frame.model.blocked_threads.get(&(key, thread.tid)).map(|b| frame.snap.at.since(b.since));
        row(thread, &stuck.map(num::span).unwrap_or_default())
    }));
    let more = usize::try_from(task.threads).unwrap_or(usize::MAX).saturating_sub(threads.len());
    if more > 0 {
        lines.push(Line::plain(Role::Dim, format!("  and {} more, asleep", num::grouped(more as u64))));
    }
    let note =
        format!("{} threads of {}", num::grouped(task.threads.into()), super::subject_name(frame, &Subject::Task(key)));
    Page { title, note, lines, gone: false }
}

fn row(thread: &Thread, stuck: &str) -> Line {
    let letter = thread.state.letter();
    let role = if thread.state == TaskState::Blocked { Role::Warn } else { Role::Text };
    let line = Line::default().text(format!("{:>8} ", thread.tid)).with(role, letter.to_string());
    let line = line.text(format!(" {stuck:>7}  ")).text(format!("{:<15}  ", thread.comm));
    let mut line = line.text(thread.wchan.as_deref().unwrap_or("–").to_owned());
    if !thread.stack.is_empty() {
        let frames: Vec<&str> = thread.stack.iter().map(|f| &**f).collect();
        line = line.dim(format!("  {}", frames.join(" ← ")));
    }
    if thread.sigkill_pending == Some(true) { line.with(Role::Warn, "  SIGKILL pending") } else { line }
}
