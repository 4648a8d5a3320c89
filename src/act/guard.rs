//! What holds for every action: who we are, and whether we may act at all.

use super::census::Census;
use super::plan::Guard;
use crate::collect::Roots;
use crate::collect::io;
use crate::collect::tasks::status;
use crate::snapshot::{Actor, Text};

/// Looks at ourselves.
pub fn guard(roots: &Roots, read_only: bool, census: &Census) -> Guard {
    let own_pid = std::process::id();
    let forbidden = if read_only {
        Some("whytop is read-only here (--read-only, or read_only in the configuration)".into())
    } else {
        foreign(roots)
    };
    let ancestors = census.ancestors(own_pid).map(|person| (person.key.pid, person.comm.clone())).collect();
    Guard { own_pid, ancestors, forbidden }
}

/// Why pids in this `/proc` don't mean our processes: it shows another host's, or another pid namespace's.
#[must_use]
pub fn foreign(roots: &Roots) -> Option<Text> {
    let shown = roots.proc.display();
    let link = rustix::fs::readlink(roots.proc("self"), Vec::new());
    let own = link.ok().and_then(|link| std::str::from_utf8(link.as_bytes()).ok()?.parse::<u32>().ok());
    if own != Some(std::process::id()) {
        return Some(
            format!("{shown} shows the processes of another host or pid namespace: its pids are not ours").into(),
        );
    }
    // Seen from the namespace of that /proc we have one pid for each namespace from there down to our own.
    let mut text = Vec::new();
    io::read_path(&roots.proc("self/status"), &mut text).ok()?;
    let pids = status::pairs(&text).find(|(key, _)| *key == b"NSpid").map(|(_, value)| value.to_vec())?;
    let inner = pids.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count() > 1;
    inner.then(|| format!("{shown} is of a pid namespace above ours: its pids are not ours").into())
}

/// Who we act as.
#[must_use]
pub fn actor(roots: &Roots, by: &str) -> Actor {
    let mut text = Vec::new();
    let login =
        io::read_path(&roots.proc("self/loginuid"), &mut text).ok().and_then(|()| status::number(text.trim_ascii()));
    Actor {
        uid: rustix::process::getuid().as_raw(),
        euid: rustix::process::geteuid().as_raw(),
        login_uid: login.and_then(|uid| u32::try_from(uid).ok()).filter(|uid| *uid != u32::MAX),
        pid: std::process::id(),
        by: by.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_proc_may_be_acted_on() {
        assert_eq!(foreign(&Roots::default()), None);
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots { proc: dir.path().into(), ..Roots::default() };
        assert!(foreign(&roots).unwrap().contains("another host"));
        std::os::unix::fs::symlink(std::process::id().to_string(), dir.path().join("self")).unwrap();
        assert_eq!(foreign(&roots), None, "it may be mounted anywhere");
        std::fs::remove_file(dir.path().join("self")).unwrap();
        std::fs::create_dir(dir.path().join(std::process::id().to_string())).unwrap();
        std::os::unix::fs::symlink(std::process::id().to_string(), dir.path().join("self")).unwrap();
        let status = dir.path().join("self/status");
        std::fs::write(&status, format!("Name:\tx\nNSpid:\t812\t{}\n", std::process::id())).unwrap();
        assert!(foreign(&roots).unwrap().contains("above ours"));
    }

    #[test]
    fn our_parents_are_known() {
        let guard = guard(&Roots::default(), false, &Census::take(std::path::Path::new("/proc")).unwrap());
        assert_eq!(guard.ancestors[0].0, std::os::unix::process::parent_id());
        assert_eq!(guard.forbidden, None);
    }
}
