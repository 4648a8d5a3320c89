//! What container runtimes wrote down: files of docker, containerd, cri-o and podman.
//!
//! These files lie on disks that may hang, so a look-up asks for them and is run again when they have come. Those on
//! tmpfs come first.

use super::files::Look;
use crate::collect::Roots;
use crate::snapshot::{Container, Text};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// More than any container's own configuration.
const CONFIG_MAX: u32 = 4 << 20;
/// More than a list of thousands of containers.
const LIST_MAX: u32 = 16 << 20;

/// Where runtimes keep their state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runtimes {
    /// containerd's task directories: `NAMESPACE/ID/config.json` below.
    pub containerd: Vec<PathBuf>,
    /// Storage of cri-o and podman: `DRIVER-containers/ID/userdata/config.json` and `…/containers.json` below.
    pub storage: Vec<PathBuf>,
    /// docker's data roots: `containers/ID/config.v2.json` below.
    pub docker: Vec<PathBuf>,
    /// docker's `daemon.json`, which may name another data root.
    pub docker_config: Option<PathBuf>,
    /// docker's sockets, each with the pid file of its daemon.
    pub docker_sockets: Vec<(PathBuf, PathBuf)>,
    /// `passwd`, for the homes in which rootless runtimes keep their state.
    pub passwd: Option<PathBuf>,
    /// Where the paths in those files begin.
    pub root: PathBuf,
    /// `/proc`, to see whether a daemon lives.
    pub proc: PathBuf,
}

impl Runtimes {
    /// The usual places on the host that `roots` shows.
    #[must_use]
    pub fn of(roots: &Roots) -> Self {
        let root = roots.host_root();
        let all = |paths: &[&str]| paths.iter().map(|p| root.join(p)).collect::<Vec<_>>();
        let containerd = ["run/containerd", "run/docker/containerd/daemon", "run/k3s/containerd", "run/k0s/containerd"]
            .iter()
            .flat_map(|state| ["v2.task", "v1.linux"].map(|v| root.join(format!("{state}/io.containerd.runtime.{v}"))))
            .collect();
        Self {
            containerd,
            storage: all(&["run/containers/storage", "var/lib/containers/storage"]),
            docker: all(&["var/lib/docker", "var/snap/docker/common/var-lib-docker"]),
            docker_config: Some(root.join("etc/docker/daemon.json")),
            // A socket in another mount namespace's /run belongs to the same host.
            docker_sockets: vec![(root.join("run/docker.sock"), root.join("run/docker.pid"))],
            passwd: Some(root.join("etc/passwd")),
            root,
            proc: roots.proc.clone(),
        }
    }

    /// The home directory of the user in whose slice `path` lies.
    fn home(&self, path: &str, look: &mut Look<'_>) -> Option<PathBuf> {
        let uid = path.split('/').find_map(|part| part.strip_prefix("user-")?.strip_suffix(".slice"))?;
        let file = self.passwd.as_ref()?;
        let passwd = look.file(file, file, CONFIG_MAX)?;
        let text = String::from_utf8_lossy(&passwd);
        let home = text.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.nth(2)? == uid).then(|| fields.nth(2)).flatten()
        })?;
        Some(self.root.join(home.trim_start_matches('/')))
    }
}

/// Looks a container's files up: its names, without the id. Where `look` says pending, the answer is not yet known.
pub fn look_up(runtimes: &Runtimes, path: &str, id: &str, look: &mut Look<'_>) -> Option<Container> {
    // Ids come from directory names: never one that could leave its place.
    if id.is_empty() || id.contains('/') || id.starts_with('.') {
        return None;
    }
    let home = runtimes.home(path, look);
    let share = |below: &str| home.iter().map(|h| h.join(".local/share").join(below)).collect::<Vec<_>>();
    let storage: Vec<PathBuf> = runtimes.storage.iter().cloned().chain(share("containers/storage")).collect();
    let stores: Vec<(&Path, PathBuf)> = storage.iter().flat_map(|dir| stores(dir, look)).collect();
    let moved = runtimes.docker_config.as_ref().and_then(|file| data_root(file, &runtimes.root, look));
    let docker = moved.into_iter().chain(runtimes.docker.iter().cloned()).chain(share("docker"));

    containerd(&runtimes.containerd, id, look)
        .or_else(|| stores.iter().find_map(|(place, store)| userdata(place, store, id, look)))
        .or_else(|| {
            docker.into_iter().find_map(|dir| {
                let file = dir.join("containers").join(id).join("config.v2.json");
                docker_names(&json(&dir, &file, look)?)
            })
        })
        .or_else(|| stores.iter().find_map(|(place, store)| stored(place, store, id, look)))
}

fn data_root(file: &Path, root: &Path, look: &mut Look<'_>) -> Option<PathBuf> {
    let config = json(file, file, look)?;
    let dir = text_at(&config, "data-root").or_else(|| text_at(&config, "graph"))?;
    Some(root.join(dir.trim_start_matches('/')))
}

fn containerd(dirs: &[PathBuf], id: &str, look: &mut Look<'_>) -> Option<Container> {
    dirs.iter().find_map(|dir| {
        look.names(dir).iter().find_map(|namespace| {
            let config = json(dir, &dir.join(namespace).join(id).join("config.json"), look)?;
            cri_names(config.get("annotations")?)
        })
    })
}

/// The `DRIVER-containers` directories of a storage of cri-o and podman, whichever the driver.
fn stores<'a>(storage: &'a Path, look: &mut Look<'_>) -> Vec<(&'a Path, PathBuf)> {
    let mut names = look.names(storage);
    names.retain(|name| name.as_bytes().ends_with(b"-containers"));
    names.iter().map(|name| (storage, storage.join(name))).collect()
}

/// cri-o's and podman's OCI configuration: cri-o keeps the pod's names in its annotations.
fn userdata(place: &Path, store: &Path, id: &str, look: &mut Look<'_>) -> Option<Container> {
    crio_names(json(place, &store.join(id).join("userdata/config.json"), look)?.get("annotations")?)
}

/// The list that podman and cri-o share.
fn stored(place: &Path, store: &Path, id: &str, look: &mut Look<'_>) -> Option<Container> {
    let raw = look.file(place, &store.join("containers.json"), LIST_MAX)?;
    // It is long: read only when nothing else can be better.
    if look.pending {
        return None;
    }
    let list: Vec<Stored<'_>> = serde_json::from_slice(&raw).ok()?;
    stored_names(list.iter().find(|entry| entry.id == id)?)
}

/// An entry of `containers.json`.
#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    names: Vec<Cow<'a, str>>,
    /// JSON in a string.
    #[serde(borrow)]
    metadata: Option<Cow<'a, str>>,
}

/// `config.v2.json`: name, image, and kubelet's labels.
fn docker_names(config: &Value) -> Option<Container> {
    let own = text_at(config, "Name").map(|n| n.trim_start_matches('/'))?;
    let inner = config.get("Config");
    Some(with_labels("docker", own, inner.and_then(|c| text_at(c, "Image")), inner.and_then(|c| c.get("Labels"))))
}

/// A docker container's own name, image and labels; kubelet's labels are the truer names.
pub fn with_labels(runtime: &str, own: &str, image: Option<&str>, labels: Option<&Value>) -> Container {
    let label = |name: &str| labels.and_then(|l| text_at(l, name)).map(Text::from);
    Container {
        runtime: runtime.into(),
        name: label("io.kubernetes.container.name").or((!own.is_empty()).then(|| own.into())),
        image: image.map(Text::from),
        pod: label("io.kubernetes.pod.name"),
        pod_namespace: label("io.kubernetes.pod.namespace"),
        pod_uid: label("io.kubernetes.pod.uid"),
        ..Container::default()
    }
}

/// Annotations of containerd's CRI plugin, or of nerdctl. docker's own containers have none here.
fn cri_names(annotations: &Value) -> Option<Container> {
    let cri = |name: &str| text_at(annotations, &format!("io.kubernetes.cri.{name}")).map(Text::from);
    let sandbox = cri("container-type").is_some_and(|kind| &*kind == "sandbox");
    let name = cri("container-name")
        .or_else(|| sandbox.then(|| "pause".into()))
        .or_else(|| text_at(annotations, "nerdctl/name").map(Text::from))?;
    Some(Container {
        runtime: "containerd".into(),
        name: Some(name),
        image: cri("image-name"),
        pod: cri("sandbox-name"),
        pod_namespace: cri("sandbox-namespace"),
        pod_uid: cri("sandbox-uid"),
        ..Container::default()
    })
}

/// cri-o's annotations.
fn crio_names(annotations: &Value) -> Option<Container> {
    let get = |name: &str| text_at(annotations, name).map(Text::from);
    Some(Container {
        runtime: "cri-o".into(),
        name: Some(get("io.kubernetes.container.name")?),
        image: get("io.kubernetes.cri-o.ImageName").or_else(|| get("io.kubernetes.cri-o.Image")),
        pod: get("io.kubernetes.pod.name"),
        pod_namespace: get("io.kubernetes.pod.namespace"),
        pod_uid: get("io.kubernetes.pod.uid"),
        ..Container::default()
    })
}

fn stored_names(entry: &Stored<'_>) -> Option<Container> {
    let name = entry.names.first()?;
    let metadata: Option<Value> = entry.metadata.as_ref().and_then(|m| serde_json::from_str(m).ok());
    let image = metadata.as_ref().and_then(|m| text_at(m, "image-name")).map(Text::from);
    Some(Container { name: Some((&**name).into()), image, ..Container::default() })
}

fn text_at<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
}

fn json(place: &Path, file: &Path, look: &mut Look<'_>) -> Option<Value> {
    serde_json::from_slice(&look.file(place, file, CONFIG_MAX)?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::files::Files;
    use super::*;
    use crate::collect::now;
    use proptest::prelude::*;

    const ID: &str = "4b1d2341943bc7ff488fddd07a84a15e132182b580c52262029357151ddf1fab";

    struct Host(tempfile::TempDir);

    impl Host {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn put(&self, path: &str, text: &str) -> &Self {
            let path = self.0.path().join("1/root").join(path.replace("{ID}", ID));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text.replace("{ID}", ID)).unwrap();
            self
        }

        fn look(&self, path: &str) -> Option<Container> {
            let runtimes = Runtimes::of(&Roots { proc: self.0.path().into(), sys: "/nowhere".into() });
            in_full(&runtimes, path, ID)
        }

        fn label(&self, path: &str) -> String {
            self.look(path).map_or_else(String::new, |c| format!("{} {}", c.runtime, c.label()))
        }
    }

    /// Runs a look-up until nothing is pending.
    fn in_full(runtimes: &Runtimes, path: &str, id: &str) -> Option<Container> {
        let mut files = Files::new(None);
        for _ in 0..10 {
            let mut look = Look::new(&mut files, now());
            let found = look_up(runtimes, path, id, &mut look);
            if !look.pending {
                return found;
            }
            files.turn(now());
        }
        panic!("it does not end");
    }

    /// Cut from a file that docker 20.10 wrote.
    const DOCKER: &str = r#"{"StreamConfig":{},"State":{"Running":true,"Pid":9},"ID":"{ID}","Config":{"Hostname":"ab","Image":"bb","Labels":{}},"Name":"/web","Driver":"vfs"}"#;

    #[test]
    fn docker_and_its_other_data_roots() {
        let host = Host::new();
        assert_eq!(host.look("/docker/x"), None);
        host.put("var/lib/docker/containers/{ID}/config.v2.json", DOCKER);
        assert_eq!(host.label("/docker/x"), "docker web");
        assert_eq!(host.look("/docker/x").unwrap().image.as_deref(), Some("bb"));

        let moved = Host::new();
        moved.put("etc/docker/daemon.json", r#"{"data-root":"/srv/dk"}"#);
        moved.put("srv/dk/containers/{ID}/config.v2.json", DOCKER);
        assert_eq!(moved.label("/docker/x"), "docker web");

        let rootless = Host::new();
        rootless.put("etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1000:Ann:/home/ann:/bin/sh\n");
        rootless.put("home/ann/.local/share/docker/containers/{ID}/config.v2.json", DOCKER);
        assert_eq!(rootless.label("/user.slice/user-1000.slice/user@1000.service/x"), "docker web");
        assert_eq!(rootless.look("/docker/x"), None);
    }

    #[test]
    fn kubelet_s_labels_are_the_truer_names() {
        let host = Host::new();
        host.put(
            "var/lib/docker/containers/{ID}/config.v2.json",
            r#"{"Name":"/k8s_app_web-0_shop_1_0","Config":{"Image":"sha256:1","Labels":{"io.kubernetes.container.name":"app","io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"u"}}}"#,
        );
        assert_eq!(host.label("/kubepods/x"), "docker shop/web-0/app");
    }

    #[test]
    fn containerd_in_any_namespace_but_not_docker_s() {
        let host = Host::new();
        let state = "run/containerd/io.containerd.runtime.v2.task";
        host.put(&format!("{state}/moby/{{ID}}/config.json"), r#"{"hostname":"x"}"#);
        assert_eq!(host.look("/docker/x"), None);
        host.put(
            &format!("{state}/k8s.io/{{ID}}/config.json"),
            r#"{"annotations":{"io.kubernetes.cri.container-type":"container","io.kubernetes.cri.container-name":"app","io.kubernetes.cri.sandbox-name":"web-0","io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.image-name":"i"}}"#,
        );
        assert_eq!(host.label("/kubepods/x"), "containerd shop/web-0/app");

        let nerdctl = Host::new();
        nerdctl.put(&format!("{state}/default/{{ID}}/config.json"), r#"{"annotations":{"nerdctl/name":"web"}}"#);
        assert_eq!(nerdctl.label("/x"), "containerd web");
    }

    #[test]
    fn crio_and_podman_share_a_store() {
        let host = Host::new();
        host.put(
            "var/lib/containers/storage/overlay-containers/containers.json",
            r#"[{"id":"other","names":["no"]},{"id":"{ID}","names":["web"],"image":"f00","metadata":"{\"image-name\":\"docker.io/library/nginx:1\"}"}]"#,
        );
        let podman = host.look("/machine.slice/x").unwrap();
        assert_eq!((podman.label().as_str(), podman.image.as_deref()), ("web", Some("docker.io/library/nginx:1")));
        host.put(
            "run/containers/storage/overlay-containers/{ID}/userdata/config.json",
            r#"{"annotations":{"io.kubernetes.container.name":"app","io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop"}}"#,
        );
        assert_eq!(host.label("/kubepods/x"), "cri-o shop/web-0/app");
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let host = Host::new();
        host.put("var/lib/docker/containers/{ID}/other", "");
        let file = host.0.path().join("1/root/var/lib/docker/containers").join(ID).join("config.v2.json");
        rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(host.look("/docker/x"), None);
    }

    proptest! {
        #[test]
        fn never_panics(raw: Vec<u8>, path in "(/|user-[0-9]{0,3}|.slice|\\PC){0,8}", id in "(\\.|/|[a-f0-9]|\\PC){0,9}") {
            if let Ok(value) = serde_json::from_slice::<Value>(&raw) {
                let _ = (docker_names(&value), cri_names(&value), crio_names(&value));
            }
            if let Ok(list) = serde_json::from_slice::<Vec<Stored<'_>>>(&raw) {
                let _ = list.iter().filter_map(stored_names).count();
            }
            let _ = in_full(&Runtimes { passwd: Some("/etc/passwd".into()), ..Runtimes::default() }, &path, &id);
        }
    }
}
