//! Container names, read on a thread of their own that no pass waits for, and kept.

use super::docker::Docker;
use super::runtimes::{Answer, Runtimes, look_up};
use crate::collect::now;
use crate::snapshot::{Container, Gap, Moment, Text};
use rustc_hash::FxHashMap;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Duration;

/// The thread parses JSON and nothing deep.
const STACK_BYTES: usize = 256 * 1024;
/// Questions under way at most; the rest is asked in later passes.
const ASKED_MAX: usize = 1024;
/// Containers remembered at most: those of a host that starts one a second for hours.
const KNOWN_MAX: usize = 16_384;
/// First and longest time until a container without a name is looked up again, seconds.
const RETRY_SECS: (f64, f64) = (10.0, 3600.0);
/// From here on the files are said to hang, seconds.
const LATE_SECS: f64 = 5.0;

struct Ask {
    id: Text,
    path: Text,
}

/// What runtimes say about containers, by id, for ever.
#[derive(Debug)]
pub struct Names {
    asks: Option<SyncSender<Ask>>,
    answers: Receiver<(Text, Answer)>,
    known: FxHashMap<Text, Known>,
    denied: bool,
}

#[derive(Debug)]
enum Known {
    Asked { at: Moment, waited_secs: f64 },
    Found(Container),
    Nothing { at: Moment, retry_secs: f64 },
}

impl Names {
    /// Starts the thread. Without one, containers keep the names that their paths give.
    #[must_use]
    pub fn start(runtimes: Runtimes) -> Self {
        let (asks, inbox) = sync_channel::<Ask>(ASKED_MAX);
        let (outbox, answers) = channel();
        let body = move || {
            let mut docker = Docker::default();
            while let Ok(ask) = inbox.recv() {
                let mut answer = look_up(&runtimes, &ask.path, &ask.id);
                answer.found = answer.found.or_else(|| docker.find(&runtimes, &ask.id));
                if outbox.send((ask.id, answer)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("container-names".into()).stack_size(STACK_BYTES).spawn(body);
        Self { asks: thread.is_ok().then_some(asks), answers, known: FxHashMap::default(), denied: false }
    }

    /// Takes the answers that have come.
    pub fn absorb(&mut self) {
        while let Ok((id, answer)) = self.answers.try_recv() {
            self.take(id, answer);
        }
    }

    /// Waits for the answers under way, `longest` at most, unless the thread hangs already: one look at a host, without
    /// a second one, has names as well.
    pub fn settle(&mut self, longest: Duration) {
        let began = now();
        while self.waiting_since().is_some() && self.late_secs(now()) < LATE_SECS {
            let gone = Duration::from_nanos(now().0.saturating_sub(began.0));
            let Some(left) = longest.checked_sub(gone) else { return };
            let Ok((id, answer)) = self.answers.recv_timeout(left) else { return };
            self.take(id, answer);
        }
    }

    fn take(&mut self, id: Text, answer: Answer) {
        self.denied |= answer.denied && answer.found.is_none();
        let waited = match self.known.get(&id) {
            Some(Known::Asked { waited_secs, .. }) => *waited_secs,
            _ => 0.0,
        };
        let retry_secs = (waited * 4.0).clamp(RETRY_SECS.0, RETRY_SECS.1);
        let known = answer.found.map_or(Known::Nothing { at: now(), retry_secs }, Known::Found);
        self.known.insert(id, known);
    }

    /// Adds what is known to `container`, which lives at `path`, and asks for what isn't. `true`: it is complete.
    pub fn fill(&mut self, path: &Text, container: &mut Container, at: Moment) -> bool {
        if container.name.is_some() {
            return true;
        }
        let waited_secs = match self.known.get(&container.id) {
            Some(Known::Found(found)) => {
                merge(container, found);
                return true;
            }
            Some(Known::Asked { .. }) => return false,
            Some(Known::Nothing { at: asked, retry_secs }) if at.since(*asked) < *retry_secs => return false,
            Some(Known::Nothing { retry_secs, .. }) => *retry_secs,
            None => 0.0,
        };
        let ask = Ask { id: container.id.clone(), path: path.clone() };
        if self.asks.as_ref().is_some_and(|asks| asks.try_send(ask).is_ok()) {
            if self.known.len() >= KNOWN_MAX {
                self.known.retain(|_, known| matches!(known, Known::Asked { .. }));
            }
            self.known.insert(container.id.clone(), Known::Asked { at, waited_secs });
        }
        false
    }

    /// What keeps names from being known.
    #[must_use]
    pub fn gap(&self, at: Moment) -> Option<Gap> {
        let (what, fix) = if self.asks.is_none() {
            ("names of containers: no thread could be started", "free tasks (pids.max, threads-max)")
        } else if self.late_secs(at) > LATE_SECS {
            ("names of new containers: their runtime's files do not answer", "the disk that holds them")
        } else if self.denied {
            ("names of containers", "root: runtimes keep their files private")
        } else {
            return None;
        };
        Some(Gap { what: what.into(), fix: fix.into() })
    }

    fn waiting_since(&self) -> Option<Moment> {
        let asked = |known: &Known| if let Known::Asked { at, .. } = known { Some(*at) } else { None };
        self.known.values().filter_map(asked).min()
    }

    fn late_secs(&self, at: Moment) -> f64 {
        self.waiting_since().map_or(0.0, |since| at.since(since))
    }
}

/// What a runtime wrote is truer than what a path tells; the id and the pod's uid stand in the path.
fn merge(container: &mut Container, found: &Container) {
    let Container { runtime, id: _, name, image, pod, pod_namespace, pod_uid } = found;
    if !runtime.is_empty() {
        container.runtime = runtime.clone();
    }
    container.name.clone_from(name);
    container.image.clone_from(image);
    container.pod.clone_from(pod);
    container.pod_namespace.clone_from(pod_namespace);
    container.pod_uid = container.pod_uid.take().or_else(|| pod_uid.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: &str) -> Container {
        Container { runtime: "kubernetes".into(), id: id.into(), ..Container::default() }
    }

    fn host(text: &str) -> (tempfile::TempDir, Runtimes) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("containers/ab")).unwrap();
        std::fs::write(dir.path().join("containers/ab/config.v2.json"), text).unwrap();
        let docker = vec![dir.path().to_owned()];
        (dir, Runtimes { docker, ..Runtimes::default() })
    }

    #[test]
    fn a_name_comes_late_and_stays() {
        let (dir, runtimes) = host(r#"{"Name":"/web"}"#);
        let mut names = Names::start(runtimes);
        let (path, at) = (Text::from("/docker/ab"), now());
        assert!(!names.fill(&path, &mut container("ab"), at));
        names.settle(Duration::from_secs(20));
        std::fs::remove_dir_all(dir.path().join("containers")).unwrap();
        let mut web = container("ab");
        assert!(names.fill(&path, &mut web, at));
        assert_eq!((&*web.runtime, web.name.as_deref(), &*web.id), ("docker", Some("web"), "ab"));
        assert_eq!(names.gap(at), None);
    }

    #[test]
    fn nothing_found_is_asked_again_ever_more_seldom() {
        let mut names = Names::start(Runtimes::default());
        let path = Text::from("/docker/cd");
        let mut at = now();
        let mut asks = 0;
        for _ in 0..600 {
            names.fill(&path, &mut container("cd"), at);
            asks += usize::from(names.waiting_since().is_some());
            names.settle(Duration::from_secs(20));
            at = Moment(at.0 + 1_000_000_000);
        }
        assert!((3..=5).contains(&asks), "{asks} look-ups in ten minutes");
    }

    #[test]
    fn a_hanging_disk_is_told_and_waits_for_nobody() {
        let (_outbox, answers) = channel();
        let (asks, _inbox) = sync_channel(8);
        let mut names = Names { asks: Some(asks), answers, known: FxHashMap::default(), denied: false };
        let then = Moment(now().0.saturating_sub(6_000_000_000));
        names.fill(&"/docker/ab".into(), &mut container("ab"), then);
        let began = now();
        names.settle(Duration::from_secs(20));
        assert!(now().since(began) < 5.0);
        assert!(names.gap(now()).is_some_and(|gap| gap.what.contains("do not answer")));
    }
}
