//! The shapes of cgroup paths: which container, pod or systemd unit a path names.
//!
//! Nothing is read: the kernel log's paths of cgroups long gone are understood as well as living ones.

use crate::snapshot::{Container, Text};

/// What a cgroup path says by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathMeaning {
    /// The innermost container that the path is, or lies inside; with its pod's uid where the path has one. The
    /// runtime is `kubernetes` where the path does not tell docker from containerd, empty where it tells nothing.
    pub container: Option<Container>,
    /// The last component, when it is a systemd unit (`nginx.service`, `session-3.scope`, `user.slice`).
    pub unit: Option<Text>,
    /// Kubernetes pod uid, dashes as in the API, when the path is a pod's own cgroup.
    pub pod_uid: Option<Text>,
}

/// Reads `path` (below the root of any hierarchy, as in `/proc/PID/cgroup` or the kernel log).
#[must_use]
pub fn of_path(path: &str) -> PathMeaning {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let mut meaning = PathMeaning::default();
    let mut pod: Option<Text> = None;
    let mut above = "";
    let mut depth = 0_usize;
    for part in path.split('/').filter(|p| !p.is_empty()) {
        depth += 1;
        let (slice, scope) = split_disagreeing(part);
        let own_pod = slice.and_then(pod_uid);
        if let Some(uid) = &own_pod {
            pod = Some(uid.clone());
        }
        let found = match scope {
            Some((prefix, id)) => prefixed(prefix, id),
            None => named(above, part, depth, own_pod.is_none() && pod.is_some()),
        };
        if let Some(mut container) = found {
            container.pod_uid.clone_from(&pod);
            meaning.container = Some(container);
        }
        meaning.pod_uid = own_pod.filter(|_| scope.is_none());
        meaning.unit = is_unit(part).then(|| part.into());
        above = part;
    }
    meaning
}

/// `SLICE:PREFIX:ID`, which containerd and docker make of a systemd cgroup parent under the cgroupfs driver. Any other
/// component may be a slice by itself.
fn split_disagreeing(part: &str) -> (Option<&str>, Option<(&str, &str)>) {
    let mut fields = part.split(':');
    match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some(slice), Some(prefix), Some(id), None) => (Some(slice), Some((prefix, id))),
        _ => (Some(part), None),
    }
}

/// The uid in `pod<uid>` or in `…kubepods…-pod<uid with _>.slice`.
fn pod_uid(part: &str) -> Option<Text> {
    let uid = match part.strip_suffix(".slice") {
        Some(slice) => slice.contains("kubepods").then(|| slice.rsplit_once("-pod")).flatten()?.1,
        None => part.strip_prefix("pod")?,
    };
    // The API's form has 36 characters; a static pod's uid is the 32 hex digits of its manifest's hash.
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = uid.bytes().filter(|b| matches!(b, b'-' | b'_')).count();
    (digits == 32 && matches!(dashes, 0 | 4) && digits + dashes == uid.len()).then(|| uid.replace('_', "-").into())
}

/// The container that `part` below `above` names.
fn named(above: &str, part: &str, depth: usize, in_pod: bool) -> Option<Container> {
    if let Some(machine) = machine(part) {
        return Some(machine);
    }
    if let Some(name) = part.strip_prefix("lxc.payload.").or((above == "lxc.payload" || above == "lxc").then_some(part))
    {
        return Some(by_name("lxc", name));
    }
    let scope = part.strip_suffix(".scope").unwrap_or(part);
    if let Some((prefix, id)) = scope.rsplit_once('-') {
        // `<task>-<number>`: the only name that Fargate gives.
        if above_is_fargate_task(above, prefix) {
            return Some(by_name("ecs", part));
        }
        return prefixed(prefix, id);
    }
    if is_id(part) {
        let runtime = match above {
            "docker" => "docker",
            _ if in_pod => "kubernetes",
            "default" | "k8s.io" => "containerd",
            // A podman pod, not a container.
            "libpod_parent" => return None,
            _ => "",
        };
        return Some(Container { runtime: runtime.into(), id: part.into(), ..Container::default() });
    }
    // `ctr run IMAGE NAME`: ids of containerd are free words.
    (depth == 2 && above == "default").then(|| by_name("containerd", part))
}

fn above_is_fargate_task(above: &str, prefix: &str) -> bool {
    prefix == above && prefix.len() == 32 && prefix.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `PREFIX-ID` or `SLICE:PREFIX:ID`. Monitors (`crio-conmon-…`, `libpod-conmon-…`) are no containers.
fn prefixed(prefix: &str, id: &str) -> Option<Container> {
    if !is_id(id) || prefix.split('-').any(|word| word == "conmon") {
        return None;
    }
    let runtime = match prefix {
        "cri-containerd" | "nerdctl" => "containerd",
        "crio" => "cri-o",
        "libpod" => "podman",
        other => other,
    };
    Some(Container { runtime: runtime.into(), id: id.into(), ..Container::default() })
}

/// `machine-NAME.scope` (systemd-nspawn, libvirt) and `systemd-nspawn@NAME.service`.
fn machine(part: &str) -> Option<Container> {
    if let Some(name) = part.strip_prefix("systemd-nspawn@").and_then(|p| p.strip_suffix(".service")) {
        return Some(by_name("nspawn", &unescape(name)));
    }
    let id = unescape(part.strip_prefix("machine-")?.strip_suffix(".scope")?);
    // libvirt: DRIVER-NUMBER-NAME.
    let mut words = id.splitn(3, '-');
    match (words.next(), words.next(), words.next()) {
        (Some("qemu" | "lxc"), Some(number), Some(name)) if number.bytes().all(|b| b.is_ascii_digit()) => {
            Some(Container { name: Some(name.into()), ..by_name("libvirt", &id) })
        }
        _ => Some(by_name("nspawn", &id)),
    }
}

/// A container whose id is a name for people.
fn by_name(runtime: &str, name: &str) -> Container {
    Container { runtime: runtime.into(), id: name.into(), name: Some(name.into()), ..Container::default() }
}

/// The 64 lower-case hex digits of an OCI container id.
fn is_id(word: &str) -> bool {
    word.len() == 64 && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_unit(part: &str) -> bool {
    [".service", ".scope", ".slice", ".socket", ".mount", ".swap"]
        .iter()
        .any(|suffix| part.strip_suffix(suffix).is_some_and(|stem| !stem.is_empty()))
}

/// systemd's `\xHH` escapes undone. What is no escape stays as it is.
fn unescape(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        match rest {
            [b'\\', b'x', high, low, after @ ..] => {
                if let (Some(h), Some(l)) = (char::from(*high).to_digit(16), char::from(*low).to_digit(16)) {
                    bytes.push(u8::try_from(h * 16 + l).unwrap_or(b'?'));
                    rest = after;
                    continue;
                }
                bytes.push(first);
            }
            _ => bytes.push(first),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "4b1d2341943bc7ff488fddd07a84a15e132182b580c52262029357151ddf1fab";
    const B: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const POD: &str = "7c1d2e34-5a6b-4c7d-8e9f-0a1b2c3d4e5f";
    const POD_: &str = "7c1d2e34_5a6b_4c7d_8e9f_0a1b2c3d4e5f";

    /// `(path, runtime, id, pod of the container)`; `{A}` and so on are filled in.
    #[rustfmt::skip]
    const CONTAINERS: &[(&str, &str, &str, &str)] = &[
        ("/docker/{A}", "docker", A, ""),
        ("/docker/{A} (deleted)", "docker", A, ""),
        ("/system.slice/docker-{A}.scope", "docker", A, ""),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope", "docker", A, ""),
        ("/system.slice:docker:{A}", "docker", A, ""),
        ("/docker/{A}/init.scope", "docker", A, ""),
        ("/docker/{A}/system.slice/nginx.service", "docker", A, ""),
        ("/../../docker/{A}", "docker", A, ""),
        ("/kubepods/burstable/pod{POD}/{A}", "kubernetes", A, POD),
        ("/kubepods/pod{POD}/{A}", "kubernetes", A, POD),
        ("/kubepods/besteffort/pod0123456789abcdef0123456789abcdef/{A}", "kubernetes", A, "0123456789abcdef0123456789abcdef"),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD_}.slice/docker-{A}.scope", "docker", A, POD),
        ("/kubepods.slice/kubepods-pod{POD_}.slice/cri-containerd-{A}.scope", "containerd", A, POD),
        ("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{POD_}.slice/cri-containerd-{A}.scope", "containerd", A, POD),
        ("/system.slice/containerd.service/kubepods-burstable-pod{POD_}.slice:cri-containerd:{A}", "containerd", A, POD),
        ("/kubepods/burstable/pod{POD}/crio-{A}", "cri-o", A, POD),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{POD_}.slice/crio-{A}.scope", "cri-o", A, POD),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{POD_}.slice/crio-{A}.scope/container", "cri-o", A, POD),
        ("/default/{A}", "containerd", A, ""),
        ("/default/redis", "containerd", "redis", ""),
        ("/system.slice/nerdctl-{A}.scope", "containerd", A, ""),
        ("/libpod_parent/libpod-{A}", "podman", A, ""),
        ("/libpod_parent/{B}/libpod-{A}", "podman", A, ""),
        ("/machine.slice/libpod-{A}.scope", "podman", A, ""),
        ("/machine.slice/libpod-{A}.scope/container", "podman", A, ""),
        ("/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope/container", "podman", A, ""),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container", "podman", A, ""),
        ("/lxc/web", "lxc", "web", ""),
        ("/lxc/101/ns/system.slice/cron.service", "lxc", "101", ""),
        ("/lxc.payload/web", "lxc", "web", ""),
        ("/lxc.payload.web-1", "lxc", "web-1", ""),
        ("/lxc.payload.node/kubepods/pod{POD}/{A}", "kubernetes", A, POD),
        ("/docker/{B}/kubepods/burstable/pod{POD}/{A}", "kubernetes", A, POD),
        ("/docker/{B}/docker/{A}", "docker", A, ""),
        ("/machine.slice/machine-deb\\x2dtest.scope", "nspawn", "deb-test", ""),
        ("/machine.slice/systemd-nspawn@deb\\x2dtest.service", "nspawn", "deb-test", ""),
        ("/machine.slice/machine-qemu\\x2d12\\x2dweb\\x2d1.scope/libvirt/emulator", "libvirt", "qemu-12-web-1", ""),
        ("/ecs/0123456789abcdef0123456789abcdef/{A}", "", A, ""),
        ("/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-2531612879", "ecs", "0123456789abcdef0123456789abcdef-2531612879", ""),
        ("/ecstasks.slice/ecstasks-0123456789abcdef0123456789abcdef.slice/docker-{A}.scope", "docker", A, ""),
        ("/actions_job/{A}", "", A, ""),
    ];

    #[rustfmt::skip]
    const NO_CONTAINERS: &[&str] = &[
        "", "/", "/docker", "/kubepods", "/kubepods/burstable", "/kubepods.slice/kubepods-burstable.slice",
        "/kubepods/burstable/pod{POD}", "/kubepods.slice/kubepods-pod{POD_}.slice",
        "/kubepods.slice/kubepods-pod{POD_}.slice/crio-conmon-{A}.scope", "/kubepods/pod{POD}/crio-conmon-{A}",
        "/machine.slice/libpod-conmon-{A}.scope", "/libpod_parent/libpod-conmon-{A}", "/libpod_parent/conmon",
        "/libpod_parent/{A}", "/machine.slice/machine-libpod_pod_{A}.slice", "/lxc", "/lxc.payload", "/lxc.monitor/web",
        "/lxc.monitor.web", "/lxc.pivot", "/system.slice/nginx.service", "/system.slice/docker.service",
        "/system.slice/containerd.service", "/user.slice/user-1000.slice/session-3.scope", "/process_api/7591046cf5113630",
        "/ecs/0123456789abcdef0123456789abcdef", "/a/default/b", "/docker/buildkit", "/system.slice/docker-{A}x.scope",
    ];

    fn fill(path: &str) -> String {
        path.replace("{A}", A).replace("{B}", B).replace("{POD}", POD).replace("{POD_}", POD_)
    }

    #[test]
    fn every_runtime_is_known_by_its_paths() {
        for (path, runtime, id, pod) in CONTAINERS {
            let path = fill(path);
            let container = of_path(&path).container.unwrap_or_else(|| panic!("no container in {path}"));
            assert_eq!((&*container.runtime, &*container.id), (*runtime, *id), "{path}");
            assert_eq!(container.pod_uid.as_deref().unwrap_or(""), *pod, "{path}");
        }
    }

    #[test]
    fn slices_pods_monitors_and_services_are_no_containers() {
        for path in NO_CONTAINERS {
            let path = fill(path);
            assert_eq!(of_path(&path).container, None, "{path}");
        }
    }

    #[test]
    fn a_pod_is_only_its_own_cgroup() {
        let pod = |path: &str| of_path(&fill(path)).pod_uid;
        assert_eq!(pod("/kubepods/burstable/pod{POD}").as_deref(), Some(POD));
        assert_eq!(
            pod("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD_}.slice").as_deref(),
            Some(POD)
        );
        assert_eq!(pod("/kubepods/burstable/pod{POD}/{A}"), None);
        assert_eq!(pod("/system.slice/containerd.service/kubepods-pod{POD_}.slice:cri-containerd:{A}"), None);
        assert_eq!(pod("/podman"), None);
        assert_eq!(pod("/my-pod{POD_}.slice"), None);
    }

    #[test]
    fn units_are_the_last_component() {
        let unit = |path: &str| of_path(path).unit;
        assert_eq!(unit("/system.slice/nginx.service").as_deref(), Some("nginx.service"));
        assert_eq!(unit("/user.slice/user-0.slice/session-3.scope").as_deref(), Some("session-3.scope"));
        assert_eq!(unit("/system.slice/nginx.service/workers"), None);
        assert_eq!(unit("/.service"), None);
    }

    #[test]
    fn names_for_people_become_labels() {
        let label = |path: &str| of_path(path).container.map(|c| c.label());
        assert_eq!(label("/machine.slice/machine-qemu\\x2d12\\x2dweb\\x2d1.scope").as_deref(), Some("web-1"));
        assert_eq!(label("/lxc.payload.a-name-longer-than-twelve").as_deref(), Some("a-name-longer-than-twelve"));
    }

    proptest! {
        #[test]
        fn never_panics(path in "(/|\\\\x2|[a-f0-9]{64}|docker-|:|pod|.slice|.scope|machine-|lxc|\\PC){0,12}") {
            let _ = of_path(&path);
        }
    }
}
