//! Who promised to start a process again: its systemd unit, or its container's runtime. Read from their own files, so
//! that it works when neither manager answers.

use super::facts::{ContainerFacts, Restart, RestartOn};
use super::lookup::Lookup;
use crate::snapshot::Text;
use serde_json::Value;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// More than any unit file or container's configuration.
const FILE_MAX: u32 = 4 << 20;

/// Where units are defined, those that win first.
const UNIT_DIRS: &[&str] = &[
    "run/systemd/transient",
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
];
/// The same for users' managers.
const USER_UNIT_DIRS: &[&str] =
    &["etc/systemd/user", "run/systemd/user", "usr/local/lib/systemd/user", "usr/lib/systemd/user"];

/// A service in a cgroup path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitPath {
    /// `nginx.service`.
    pub name: String,
    /// Whether a user's manager runs it.
    pub of_user: bool,
}

/// The innermost service that a cgroup path lies in. The user's manager itself (`user@1000.service`) counts only for
/// what is in no unit of its own.
#[must_use]
pub fn unit_of_path(path: &str) -> Option<UnitPath> {
    let mut found = None;
    let mut below_manager = false;
    for part in path.split('/') {
        if part.ends_with(".service") && part.len() > ".service".len() {
            found = Some(UnitPath { name: part.to_owned(), of_user: below_manager });
            below_manager |= part.starts_with("user@");
        } else if part.rsplit_once('.').is_some_and(|(_, kind)| kind == "scope") {
            found = None;
        }
    }
    found
}

/// `Restart=` of a unit, from the file that defines it and the drop-ins beside it; `None` for `no`, and when none of
/// these can be read.
pub fn unit_restart(root: &Path, unit: &UnitPath, lookup: &mut Lookup) -> Option<Restart> {
    let dirs = if unit.of_user { USER_UNIT_DIRS } else { UNIT_DIRS };
    // An instance is defined by its template: `getty@tty1.service` by `getty@.service`.
    let template = unit.name.split_once('@').map(|(name, _)| format!("{name}@.service"));
    let names: Vec<&str> = std::iter::once(&*unit.name).chain(template.as_deref()).collect();
    let mut restart = None;
    let paths = || names.iter().flat_map(|name| dirs.iter().map(move |dir| root.join(dir).join(name)));
    for path in paths() {
        if let Ok(text) = lookup.file(&path, FILE_MAX) {
            restart = restart_of_unit(&text);
            break;
        }
    }
    for (name, dir) in drop_ins(root, dirs, &names, lookup) {
        if let Ok(text) = lookup.file(&dir.join(name), FILE_MAX) {
            restart = restart_of_unit(&text).or(restart);
        }
    }
    restart.and_then(|value| promise_of_unit(&value))
}

/// Drop-ins by name, from all directories; of the same name the first directory's wins.
fn drop_ins(root: &Path, dirs: &[&str], names: &[&str], lookup: &mut Lookup) -> Vec<(std::ffi::OsString, PathBuf)> {
    let mut found: Vec<(std::ffi::OsString, PathBuf)> = Vec::new();
    for name in names {
        for dir in dirs {
            let dir = root.join(dir).join(format!("{name}.d"));
            for file in lookup.names(&dir).unwrap_or_default() {
                let file = std::ffi::OsStr::from_bytes(&file).to_owned();
                if file.as_bytes().ends_with(b".conf") && !found.iter().any(|(known, _)| *known == file) {
                    found.push((file, dir.clone()));
                }
            }
        }
    }
    found.sort_unstable();
    found
}

/// The last `Restart=` of a unit file's `[Service]`.
fn restart_of_unit(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let mut in_service = false;
    let mut value = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_service = line == "[Service]";
        } else if in_service
            && let Some((key, set)) = line.split_once('=')
            && key.trim() == "Restart"
        {
            value = Some(set.trim().to_owned());
        }
    }
    value
}

fn promise_of_unit(value: &str) -> Option<Restart> {
    let on = match value {
        "always" => RestartOn::Always,
        "on-success" => RestartOn::Success,
        "on-failure" => RestartOn::Failure,
        "on-abnormal" | "on-abort" => RestartOn::Abnormal,
        _ => return None,
    };
    Some(Restart { policy: format!("Restart={value}").into(), on })
}

/// Completes what is known of a docker container from the files in its directory, `…/containers/ID`.
pub fn docker(dir: &Path, pid: u32, container: &mut ContainerFacts, lookup: &mut Lookup) {
    let mut json =
        |name: &str| -> Option<Value> { serde_json::from_slice(&lookup.file(&dir.join(name), FILE_MAX).ok()?).ok() };
    if let Some(config) = json("config.v2.json") {
        if let Some(name) = config.get("Name").and_then(Value::as_str) {
            container.name = Some(name.trim_start_matches('/').into());
            container.label = name.trim_start_matches('/').into();
        }
        let state = config.get("State");
        container.is_main |= state.and_then(|s| s.get("Pid")).and_then(Value::as_u64) == Some(u64::from(pid));
    }
    container.runtime = "docker".into();
    container.restart = json("hostconfig.json").as_ref().and_then(docker_policy);
}

/// `RestartPolicy` of a `hostconfig.json`.
fn docker_policy(config: &Value) -> Option<Restart> {
    let policy = config.get("RestartPolicy")?;
    let name = policy.get("Name")?.as_str()?;
    let on = match name {
        "always" | "unless-stopped" => RestartOn::Always,
        "on-failure" => RestartOn::NonZero,
        _ => return None,
    };
    Some(Restart { policy: format!("--restart={name}").into(), on })
}

/// Kubernetes starts containers of its pods again unless told otherwise, which no file of the node says.
#[must_use]
pub fn kubernetes() -> Restart {
    Restart { policy: Text::from("the restart policy of its pod, Always unless set"), on: RestartOn::Always }
}

/// The directory of a docker container's files, from the `mountinfo` of a process in it: docker binds `hostname` and
/// `resolv.conf` from there. `own` is our own `mountinfo`, which says where that file system is mounted for us.
#[must_use]
pub fn docker_dir(theirs: &[u8], own: &[u8], id: &str) -> Option<PathBuf> {
    let lines = |text: &[u8]| String::from_utf8_lossy(text).lines().map(str::to_owned).collect::<Vec<_>>();
    // `36 35 98:0 ROOT POINT …`: the device, the directory of it that is mounted, and where.
    let fields = |line: &str| -> Option<(String, String, String)> {
        let mut words = line.split(' ').skip(2).map(str::to_owned);
        Some((words.next()?, words.next()?, words.next()?))
    };
    let end = format!("/containers/{id}");
    let (device, dir) = lines(theirs).iter().find_map(|line| {
        let (device, root, _) = fields(line)?;
        let (dir, _file) = root.rsplit_once('/')?;
        dir.ends_with(&end).then(|| (device, dir.to_owned()))
    })?;
    let own = lines(own);
    let mut place = own.iter().rev().filter_map(|line| {
        let (of, root, point) = fields(line)?;
        let below = if root == "/" { Some(&*dir) } else { dir.strip_prefix(&*root) };
        let below = below.filter(|below| below.starts_with('/'))?;
        (of == device).then(|| format!("{}{below}", point.trim_end_matches('/')))
    });
    place.next().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Signal;
    use proptest::prelude::*;

    fn unit(path: &str) -> Option<(String, bool)> {
        unit_of_path(path).map(|unit| (unit.name, unit.of_user))
    }

    #[test]
    fn services_in_cgroup_paths() {
        assert_eq!(unit("/system.slice/nginx.service"), Some(("nginx.service".into(), false)));
        assert_eq!(unit("/system.slice/docker.service/init"), Some(("docker.service".into(), false)));
        assert_eq!(
            unit("/system.slice/system-getty.slice/getty@tty1.service"),
            Some(("getty@tty1.service".into(), false))
        );
        let user = "/user.slice/user-1000.slice/user@1000.service/app.slice/sync.service";
        assert_eq!(unit(user), Some(("sync.service".into(), true)));
        assert_eq!(unit("/user.slice/user-1000.slice/user@1000.service"), Some(("user@1000.service".into(), false)));
        assert_eq!(unit("/user.slice/user-0.slice/session-3.scope"), None);
        assert_eq!(unit("/system.slice/docker-0a1b.scope"), None);
        assert_eq!(unit("/"), None);
        assert_eq!(unit("/.service"), None);
    }

    #[test]
    fn unit_files_with_drop_ins_and_templates() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "usr/lib/systemd/system/web.service",
            "[Unit]\nRestart=no\n[Service]\nExecStart=/bin/web\nRestart = on-failure\n",
        );
        write("usr/lib/systemd/system/job@.service", "[Service]\nRestart=no\n");
        write("etc/systemd/system/job@.service.d/10.conf", "[Service]\nRestart=always\n");
        write("lib/systemd/system/once.service", "[Service]\nType=oneshot\n");
        let mut lookup = Lookup::default();
        let mut restart = |name: &str| {
            let unit = UnitPath { name: name.into(), of_user: false };
            unit_restart(root.path(), &unit, &mut lookup).map(|restart| (restart.policy.to_string(), restart.on))
        };
        assert_eq!(restart("web.service"), Some(("Restart=on-failure".into(), RestartOn::Failure)));
        assert_eq!(restart("job@7.service"), Some(("Restart=always".into(), RestartOn::Always)));
        assert_eq!((restart("once.service"), restart("gone.service")), (None, None));
        write("etc/systemd/system/web.service", "[Service]\nRestart=always\n");
        write("run/systemd/system/web.service.d/a.conf", "[Service]\nRestart=no\n");
        assert_eq!(restart("web.service"), None);
    }

    #[test]
    fn what_follows_an_end() {
        let follows = |on, signal, caught| Restart { policy: "".into(), on }.follows(signal, caught);
        assert_eq!(follows(RestartOn::Always, Signal::TERM, true), Some(true));
        assert_eq!(follows(RestartOn::Failure, Signal::TERM, false), Some(false));
        assert_eq!(follows(RestartOn::Failure, Signal::KILL, false), Some(true));
        assert_eq!(follows(RestartOn::Failure, Signal::TERM, true), None);
        assert_eq!(follows(RestartOn::Success, Signal::KILL, false), Some(false));
        assert_eq!(follows(RestartOn::NonZero, Signal::TERM, false), Some(true));
    }

    #[test]
    fn docker_files_are_found_on_any_data_root() {
        let id = "0a1b";
        let theirs = b"601 580 254:1 /lib/docker/containers/0a1b/hostname /etc/hostname rw - ext4 /dev/vda1 rw\n";
        let own = b"22 1 254:0 / / rw - ext4 /dev/vda rw\n24 22 254:1 / /var rw - ext4 /dev/vda1 rw\n";
        assert_eq!(docker_dir(theirs, own, id), Some("/var/lib/docker/containers/0a1b".into()));
        let bound = b"24 22 254:1 /lib /data rw - ext4 /dev/vda1 rw\n";
        assert_eq!(docker_dir(theirs, bound, id), Some("/data/docker/containers/0a1b".into()));
        assert_eq!(docker_dir(theirs, own, "ffff"), None);
        assert_eq!(docker_dir(theirs, b"24 22 9:9 / / rw - x y rw\n", id), None);
    }

    #[test]
    fn docker_says_name_process_and_policy() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.v2.json"), r#"{"Name":"/web","State":{"Pid":812,"Running":true}}"#)
            .unwrap();
        let policy = r#"{"RestartPolicy":{"Name":"unless-stopped","MaximumRetryCount":0}}"#;
        std::fs::write(dir.path().join("hostconfig.json"), policy).unwrap();
        let mut container = ContainerFacts::default();
        docker(dir.path(), 812, &mut container, &mut Lookup::default());
        assert_eq!((container.name.as_deref(), container.is_main), (Some("web"), true));
        assert_eq!(container.restart.unwrap().policy.as_ref(), "--restart=unless-stopped");
        assert_eq!(docker_policy(&serde_json::json!({"RestartPolicy":{"Name":"no"}})), None);
    }

    proptest! {
        #[test]
        fn never_panics(noise: Vec<u8>, text in "\\PC{0,60}") {
            let _ = (restart_of_unit(&noise), docker_dir(&noise, &noise, "x"), unit_of_path(&text));
            let _ = docker_dir(text.as_bytes(), text.as_bytes(), "");
        }
    }
}
