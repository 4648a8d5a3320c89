//! What a lab that was killed has left on this host: frozen file systems, mounts, an engine, cgroups with all that dead
//! ones hold, network namespaces, scratch directories. It would be said of the next one's scenarios, and rightly.

use super::stage::may;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Ends and removes what is named after a lab that no longer runs; gives the names.
pub fn sweep() -> Vec<String> {
    let mut names = Vec::new();
    let mounts = mounts();
    for (from, at) in &mounts {
        names.extend([from, at].into_iter().filter_map(|path| left(path)));
    }
    let hierarchies = hierarchies();
    let places = hierarchies.iter().map(PathBuf::as_path).chain([Path::new("/run/netns")]);
    for place in places.map(Path::to_owned).chain([std::env::temp_dir()]) {
        names.extend(entries(&place).filter_map(|entry| left(entry.to_str()?)));
    }
    names.sort();
    names.dedup();

    for name in &names {
        end_engine(&std::env::temp_dir().join(name));
    }
    for (from, at) in mounts.iter().rev() {
        if left(from).or(left(at)).is_some() {
            may("fsfreeze", &["-u", at]);
            may("umount", &[at]);
        }
    }
    for name in &names {
        for root in &hierarchies {
            remove_cgroup(&root.join(name));
        }
        if Path::new("/run/netns").join(name).exists() {
            may("ip", &["netns", "del", name]);
        }
        std::fs::remove_dir_all(std::env::temp_dir().join(name)).ok();
    }
    names
}

/// `whytop-lab-PID…` in a path, where that process is no lab, or none at all.
fn left(path: &str) -> Option<String> {
    let name = path.split('/').find(|part| part.starts_with("whytop-lab-"))?;
    let pid = name.strip_prefix("whytop-lab-")?.split('-').next()?.parse::<u32>().ok()?;
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let runs = exe.file_name().is_some_and(|file| file.as_encoded_bytes().starts_with(b"lab"));
    (!runs).then(|| name.to_owned())
}

/// What is mounted, oldest first: the path within its file system, and where.
fn mounts() -> Vec<(String, String)> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let fields = |line: &str| {
        let mut words = line.split(' ').skip(3).map(str::to_owned);
        Some((words.next()?, words.next()?))
    };
    text.lines().filter_map(fields).collect()
}

fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    entries(&root).filter(|entry| entry.is_dir()).chain([root.clone()]).collect()
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Ends the engine whose data is here, and its containers with it.
fn end_engine(dir: &Path) {
    let Ok(pid) = std::fs::read_to_string(dir.join("pid")) else { return };
    let process = Path::new("/proc").join(pid.trim());
    let is_it = || std::fs::read(process.join("cmdline")).is_ok_and(|line| contains(&line, dir));
    if is_it() {
        may("kill", &["-TERM", pid.trim()]);
        patiently(|| !is_it());
    }
}

fn contains(line: &[u8], dir: &Path) -> bool {
    String::from_utf8_lossy(line).contains(&*dir.to_string_lossy())
}

/// Kills what is in it, and removes it with those below.
fn remove_cgroup(dir: &Path) {
    if !dir.is_dir() {
        return;
    }
    entries(dir).filter(|entry| entry.is_dir()).for_each(|below| remove_cgroup(&below));
    for (file, thawed) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        std::fs::write(dir.join(file), thawed).ok();
    }
    patiently(|| {
        for pid in std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().lines() {
            may("kill", &["-9", pid]);
        }
        std::fs::remove_dir(dir).is_ok() || !dir.exists()
    });
}

/// Waits until `done`, ten seconds at most: what stays is for the scenarios to stumble over.
fn patiently(done: impl Fn() -> bool) {
    for _ in 0..200 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
