//! What can be done to what is selected: rows and pages as actions, pinned to the identities on the screen.

use super::App;
use super::layer::Layer;
use crate::model::Frame;
use crate::snapshot::{Action, CgroupKey, Signal, SocketSelection, Subject, Task, TaskKey};
use crate::view::{RowId, Target};

impl App {
    /// What `k` plans here: for the tagged tasks, else for the selected row, else for what the page is about.
    pub(super) fn to_kill(&self) -> Option<Action> {
        if self.options.read_only {
            return None;
        }
        match self.layers.last() {
            None if !self.tags.is_empty() => {
                Some(Action::Signal { tasks: self.tags.iter().copied().collect(), signal: Signal::TERM })
            }
            None => self.pile().or_else(|| self.kill_of(&self.row_target()?)),
            // A page is about what its title names; only where that can't be ended the selected line counts.
            Some(Layer::Page(page)) => self.kill_of(&page.target).or_else(|| self.kill_of(page.selected.as_ref()?)),
            Some(_) => None,
        }
    }

    fn kill_of(&self, target: &Target) -> Option<Action> {
        let frame = &*self.frame;
        match target {
            Target::Subject(subject) => kill_of(frame, subject).or_else(|| owner_of_finding(frame, subject, None)),
            Target::Finding(id, subject) => {
                kill_of(frame, subject).or_else(|| owner_of_finding(frame, subject, Some(id)))
            }
            Target::Threads(key) => kill_of(frame, &Subject::Task(*key)),
            Target::Log(..) => None,
        }
    }

    /// The children in a row that stands for several: zombies are their parent's to reap.
    fn pile(&self) -> Option<Action> {
        let (view, frame) = (self.view()?, &*self.frame);
        let (sheet, row) = (&view.listing.as_ref()?.sheet, view.row()?);
        sheet.id(row)?.part?;
        let below =
            (0..sheet.len()).filter(|at| sheet.parent(*at) == Some(row)).filter_map(|at| tagged_by(&sheet.id(at)?));
        let tasks: Vec<TaskKey> = below.collect();
        let first = frame.task(*tasks.first()?)?;
        if first.is_zombie() {
            return reap(frame, first);
        }
        Some(Action::Signal { tasks, signal: Signal::TERM })
    }

    /// The task that Space tags.
    pub(super) fn to_tag(&self) -> Option<TaskKey> {
        let view = self.view().filter(|_| self.layers.is_empty() && !self.options.read_only)?;
        let key = tagged_by(&view.listing.as_ref()?.sheet.id(view.row()?)?)?;
        self.frame.task(key).map(|task| task.key)
    }

    /// The sockets that `x` would destroy: those of the selected row of the TCP pane, or of the selected line of a page.
    pub(super) fn to_destroy(&self) -> Option<SocketSelection> {
        if self.options.read_only {
            return None;
        }
        let frame = &*self.frame;
        match self.layers.last() {
            None => {
                let here = crate::panes::PANES.get(self.pane).is_some_and(|pane| pane.name == "tcp");
                match self.row_target().filter(|_| here)? {
                    Target::Subject(subject) => sockets_of(frame, &subject, None),
                    _ => None,
                }
            }
            Some(Layer::Page(page)) => {
                let Some(Target::Subject(line @ Subject::Remote(_))) = &page.selected else {
                    return match &page.target {
                        Target::Subject(subject @ Subject::Remote(_)) => sockets_of(frame, subject, None),
                        _ => None,
                    };
                };
                let owner = match &page.target {
                    Target::Subject(Subject::Task(key)) => Some(*key),
                    _ => None,
                };
                sockets_of(frame, line, owner)
            }
            Some(_) => None,
        }
    }

    /// The frozen cgroup that `u` would thaw.
    pub(super) fn to_thaw(&self) -> Option<CgroupKey> {
        if self.options.read_only {
            return None;
        }
        let target = match self.layers.last() {
            None => self.row_target()?,
            Some(Layer::Page(page)) => page.target.clone(),
            Some(_) => return None,
        };
        match target {
            Target::Subject(Subject::Cgroup(key)) => frozen_above(&self.frame, &key.path),
            Target::Subject(Subject::Task(key)) => frozen_above(&self.frame, self.frame.task(key)?.freezer_path()?),
            _ => None,
        }
    }
}

/// The task that a row is about, where it is about one and nothing else.
fn tagged_by(id: &RowId) -> Option<TaskKey> {
    match (&id.subject, &id.part) {
        (Subject::Task(key), None) => Some(*key),
        _ => None,
    }
}

/// The row that shows a tagged task.
pub(super) fn tag_row(key: TaskKey) -> RowId {
    Subject::Task(key).into()
}

fn kill_of(frame: &Frame, subject: &Subject) -> Option<Action> {
    let sockets = || frame.snap.sockets.data();
    let owner = match subject {
        Subject::Task(key) => Some(*key),
        Subject::Cgroup(key) if key.path.len() > 1 => return Some(Action::KillCgroup { cgroup: key.clone() }),
        Subject::Listener(key) => sockets()?.listeners.iter().find(|l| l.key == *key)?.owner,
        Subject::Socket(key) => sockets()?.udp.iter().find(|s| s.key == *key)?.owner,
        _ => None,
    }?;
    let task = frame.task(owner)?;
    if task.is_zombie() {
        return reap(frame, task);
    }
    Some(Action::Signal { tasks: vec![task.key], signal: Signal::TERM })
}

/// A zombie is dead already: its parent is asked to take it away.
pub(super) fn reap(frame: &Frame, zombie: &Task) -> Option<Action> {
    frame.model.by_pid.get(&zombie.ppid).map(|parent| Action::Reap { parent: *parent })
}

/// The process that a finding names beside its subject.
fn owner_of_finding(frame: &Frame, subject: &Subject, id: Option<&str>) -> Option<Action> {
    let mut about = frame.findings.iter().filter(|f| f.subject == *subject && id.is_none_or(|id| f.id == id));
    let (owner, _) = about.find_map(|found| found.label.owner.as_ref())?;
    kill_of(frame, &Subject::Task(*owner))
}

fn sockets_of(frame: &Frame, subject: &Subject, owner: Option<TaskKey>) -> Option<SocketSelection> {
    let all = SocketSelection { owner, ..SocketSelection::default() };
    Some(match subject {
        Subject::Task(key) => SocketSelection { netns: frame.task(*key)?.netns?, owner: Some(*key), ..all },
        Subject::Remote(key) => {
            SocketSelection { netns: key.netns, remote_addr: Some(key.addr), remote_port: key.port, ..all }
        }
        Subject::Listener(key) => SocketSelection { netns: key.netns, local_port: Some(key.local.port()), ..all },
        _ => return None,
    })
}

/// The topmost frozen cgroup at or above a path: thawing one below it changes nothing.
pub(super) fn frozen_above(frame: &Frame, path: &str) -> Option<CgroupKey> {
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).chain([path.len()]);
    let above = ends.filter_map(|end| frame.cgroup(path.get(..end)?));
    above.into_iter().find(|c| c.frozen == Some(true)).map(|c| c.key.clone())
}
