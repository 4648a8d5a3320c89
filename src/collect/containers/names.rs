//! Container names, looked up a little in every pass, which waits for none of them, and kept.

use super::docker::Docker;
use super::files::{Files, Look};
use super::runtimes::{Runtimes, look_up};
use crate::collect::now;
use crate::collect::readers::{FileAsk, Readers};
use crate::snapshot::{Container, Gap, Moment, Text};
use rustc_hash::FxHashMap;
use std::time::Duration;

/// Look-ups under way at most; the rest begins in later passes.
const ASKED_MAX: usize = 1024;
/// Containers remembered at most: those of a host that starts one a second for hours.
const KNOWN_MAX: usize = 16_384;
/// First and longest time until a container without a name is looked up again, seconds.
const RETRY_SECS: (f64, f64) = (10.0, 3600.0);
/// From here on the files are said to hang, seconds.
const LATE_SECS: f64 = 5.0;
/// Longest time that the look-ups of one turn may take, seconds.
const TURN_SECS: f64 = 0.02;

/// What runtimes say about containers, by id, for ever.
#[derive(Debug)]
pub struct Names {
    runtimes: Runtimes,
    files: Files,
    docker: Docker,
    known: FxHashMap<Text, Known>,
    under_way: Vec<Question>,
    denied: bool,
}

#[derive(Debug)]
struct Question {
    id: Text,
    path: Text,
    at: Moment,
    waited_secs: f64,
}

#[derive(Debug)]
enum Known {
    Asked,
    Found(Container),
    Nothing { at: Moment, retry_secs: f64 },
}

impl Names {
    /// Names that `runtimes` keep, read through `readers`; without them files are read here and now, and may hang.
    #[must_use]
    pub fn new(runtimes: Runtimes, readers: Option<Readers<FileAsk>>) -> Self {
        Self {
            runtimes,
            files: Files::new(readers),
            docker: Docker::default(),
            known: FxHashMap::default(),
            under_way: Vec::new(),
            denied: false,
        }
    }

    /// Takes what has come, and asks for what is needed next. Never blocks.
    pub fn turn(&mut self) {
        let began = now();
        self.files.sweep(began);
        loop {
            self.run(began);
            let came = [self.files.turn(now()), self.docker.turn(now())].contains(&true);
            if !came || now().since(began) > TURN_SECS {
                return;
            }
        }
    }

    /// Turns until nothing is under way, for `longest` at most, unless files hang already: one look at a host, without a
    /// second one, has names as well.
    pub fn settle(&mut self, longest: Duration) {
        let began = now();
        while !self.under_way.is_empty()
            && self.late_secs(now()) < LATE_SECS
            && now().since(began) < longest.as_secs_f64()
        {
            std::thread::sleep(Duration::from_millis(1));
            self.turn();
        }
    }

    /// Runs the look-ups, in turn, as far as they come with what is there.
    fn run(&mut self, began: Moment) {
        let questions = std::mem::take(&mut self.under_way);
        let mut questions = questions.into_iter();
        let mut later = Vec::new();
        for question in questions.by_ref() {
            let mut look = Look::new(&mut self.files, began);
            let mut found = look_up(&self.runtimes, &question.path, &question.id, &mut look);
            if found.is_none() && !look.pending {
                found = self.docker.find(&self.runtimes, &question.id, &mut look);
            }
            let Look { pending, denied, .. } = look;
            if pending {
                later.push(question);
            } else {
                self.denied |= denied && found.is_none();
                let retry_secs = (question.waited_secs * 4.0).clamp(RETRY_SECS.0, RETRY_SECS.1);
                let known = found.map_or(Known::Nothing { at: began, retry_secs }, Known::Found);
                self.known.insert(question.id, known);
            }
            if now().since(began) > TURN_SECS {
                break;
            }
        }
        // Those that had no turn come first in the next one.
        self.under_way.extend(questions.chain(later));
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
            Some(Known::Asked) => return false,
            Some(Known::Nothing { at: asked, retry_secs }) if at.since(*asked) < *retry_secs => return false,
            Some(Known::Nothing { retry_secs, .. }) => *retry_secs,
            None => 0.0,
        };
        if self.under_way.len() < ASKED_MAX {
            if self.known.len() >= KNOWN_MAX {
                self.known.retain(|_, known| matches!(known, Known::Asked));
            }
            self.known.insert(container.id.clone(), Known::Asked);
            self.under_way.push(Question { id: container.id.clone(), path: path.clone(), at, waited_secs });
        }
        false
    }

    /// What keeps names from being known.
    #[must_use]
    pub fn gap(&self, at: Moment) -> Option<Gap> {
        let (what, fix) = if self.files.alive() == Some(0) {
            ("names of new containers: every reader process is stuck", "restart whytop when the host is well")
        } else if self.files.hang(at) || self.late_secs(at) > LATE_SECS {
            ("names of new containers: their runtime's files do not answer", "the disk that holds them")
        } else if self.denied {
            ("names of containers", "root: runtimes keep their files private")
        } else {
            return None;
        };
        Some(Gap { what: what.into(), fix: fix.into() })
    }

    fn late_secs(&self, at: Moment) -> f64 {
        self.under_way.iter().map(|question| at.since(question.at)).fold(0.0, f64::max)
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
    use std::path::Path;

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

    fn asked(names: &mut Names, path: &str, id: &str, at: Moment) -> Option<Container> {
        let mut container = container(id);
        names.fill(&path.into(), &mut container, at).then_some(container)
    }

    #[test]
    fn a_name_comes_late_and_stays() {
        let (dir, runtimes) = host(r#"{"Name":"/web"}"#);
        for readers in [None, Readers::start(Path::new("/proc")).ok()] {
            let through_readers = readers.is_some();
            let mut names = Names::new(runtimes.clone(), readers);
            assert_eq!(asked(&mut names, "/docker/ab", "ab", now()), None);
            names.settle(Duration::from_secs(20));
            std::fs::rename(dir.path().join("containers"), dir.path().join("gone")).unwrap();
            let web = asked(&mut names, "/docker/ab", "ab", now()).unwrap();
            assert_eq!((&*web.runtime, web.name.as_deref(), &*web.id), ("docker", Some("web"), "ab"));
            assert_eq!(names.gap(now()), None);
            std::fs::rename(dir.path().join("gone"), dir.path().join("containers")).unwrap();
            assert_eq!(names.files.alive(), through_readers.then_some(3));
        }
    }

    #[test]
    fn nothing_found_is_asked_again_ever_more_seldom() {
        let mut names = Names::new(Runtimes::default(), None);
        let mut at = now();
        let mut asks = 0;
        for _ in 0..600 {
            asked(&mut names, "/docker/cd", "cd", at);
            asks += names.under_way.len();
            names.settle(Duration::from_secs(20));
            at = Moment(at.0 + 1_000_000_000);
        }
        assert!((3..=5).contains(&asks), "{asks} look-ups in ten minutes");
    }

    #[test]
    fn more_containers_than_a_pipe_holds_all_get_their_names() {
        let (dir, runtimes) = host("{}");
        // Each longer than a frame: a reply comes in pieces.
        for n in 0..600 {
            let one = dir.path().join(format!("containers/c{n}"));
            std::fs::create_dir(&one).unwrap();
            std::fs::write(one.join("config.v2.json"), format!(r#"{{"Name":"/n{n}","x":"{}"}}"#, "x".repeat(9000)))
                .unwrap();
        }
        let mut names = Names::new(runtimes, Readers::start(Path::new("/proc")).ok());
        for n in 0..600 {
            asked(&mut names, "/docker/x", &format!("c{n}"), now());
        }
        names.settle(Duration::from_secs(20));
        for n in 0..600 {
            let found = asked(&mut names, "/docker/x", &format!("c{n}"), now()).unwrap();
            assert_eq!(found.name.as_deref(), Some(&*format!("n{n}")));
        }
    }

    #[test]
    fn a_stuck_reader_is_told_and_waits_for_nobody() {
        let (_dir, runtimes) = host(r#"{"Name":"/web"}"#);
        let readers = Readers::start(Path::new("/proc")).unwrap();
        for reader in readers.pids() {
            let pid = rustix::process::Pid::from_raw(reader.try_into().unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        }
        let mut names = Names::new(runtimes, Some(readers));
        let then = Moment(now().0.saturating_sub(6_000_000_000));
        asked(&mut names, "/docker/ab", "ab", then);
        let began = now();
        for _ in 0..10 {
            names.turn();
        }
        names.settle(Duration::from_secs(20));
        assert!(now().since(began) < 10.0);
        assert!(names.gap(now()).is_some_and(|gap| gap.what.contains("do not answer")));
    }
}
