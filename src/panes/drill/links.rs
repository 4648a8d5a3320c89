//! Subjects that a text names: `java(16951)`, a cgroup path. What lives now can be gone to.

use crate::model::Frame;
use crate::snapshot::Subject;
use crate::view::{Line, Target};

/// Links from one text at most.
const LINKS_MAX: usize = 4;

/// The processes and cgroups that `text` names and that live, each once, in the order of the text.
pub(super) fn named(frame: &Frame, text: &str) -> Vec<Subject> {
    let mut found: Vec<Subject> = Vec::new();
    for (at, _) in text.match_indices('(') {
        found.extend(task_at(frame, text, at));
    }
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '`' | ','));
    let paths = words
        .map(|word| word.trim_end_matches([':', ';', ')', '.']))
        .filter(|word| word.starts_with('/') && word.len() > 1);
    found.extend(paths.filter_map(|path| frame.cgroup(path)).map(|c| Subject::Cgroup(c.key.clone())));
    let mut seen = Vec::new();
    found.retain(|subject| {
        !seen.contains(subject) && {
            seen.push(subject.clone());
            true
        }
    });
    found.truncate(LINKS_MAX);
    found
}

/// The task of `name(pid)` whose bracket opens at `at`, if it still has that name.
fn task_at(frame: &Frame, text: &str, at: usize) -> Option<Subject> {
    let (before, after) = text.split_at_checked(at)?;
    let (digits, _) = after.strip_prefix('(')?.split_once(')')?;
    let key = *frame.model.by_pid.get(&digits.parse::<u32>().ok()?)?;
    let task = frame.task(key)?;
    before.ends_with(&*task.comm).then_some(Subject::Task(key))
}

/// The line, leading to the first subject that it names.
pub(super) fn linked(frame: &Frame, line: Line) -> Line {
    if line.target.is_some() {
        return line;
    }
    match named(frame, &line.words()).into_iter().next() {
        Some(subject) => line.to(Target::Subject(subject)),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Before, Model};
    use crate::snapshot::{Cgroup, CgroupKey, Cgroups, Moment, Section, Snapshot, Task, TaskKey, Tasks};
    use std::sync::Arc;

    #[test]
    fn names_with_pids_and_paths_lead_to_what_lives() {
        let key = TaskKey { pid: 12, start_ticks: 3 };
        let task = Task { key, comm: "my (odd) app".into(), ..Task::default() };
        let path = CgroupKey { path: "/a/b".into(), inode: 7 };
        let snap = Snapshot {
            tasks: Section::ok(Moment(1), Tasks { rows: vec![task], ..Tasks::default() }),
            cgroups: Section::ok(
                Moment(1),
                Cgroups { rows: vec![Cgroup { key: path.clone(), ..Cgroup::default() }], ..Cgroups::default() },
            ),
            ..Snapshot::default()
        };
        let model = Model::build(&snap, &Before::default());
        let frame = Frame { snap: Arc::new(snap), model, ..Frame::default() };
        let text = "killed my (odd) app(12) in /a/b, again my (odd) app(12), other(12), gone(13), /c";
        assert_eq!(named(&frame, text), [Subject::Task(key), Subject::Cgroup(path)]);
        assert!(named(&frame, "(12 /a/bc (").is_empty());
    }
}
