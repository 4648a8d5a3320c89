//! Commands that show a finding's evidence with everyday tools, as they can be copied.

use super::Look;
use crate::snapshot::{Cgroup, CgroupLayout, NetnsId};

/// A command inside a network namespace: one of its processes is the door, the host's own needs none.
pub(super) fn in_netns(look: &Look<'_>, id: NetnsId, command: &str) -> Option<String> {
    if look.first_netns().is_some_and(|first| first.id == id) {
        return Some(command.to_owned());
    }
    let pid = look.netns(id)?.pid?;
    Some(format!("nsenter -t {pid} -n {command}"))
}

/// A name as a word of a command, or what stands for it: anyone may name an interface or a cgroup, and a shell would
/// read some names otherwise.
pub(super) fn word<'a>(name: &'a str, otherwise: &'static str) -> &'a str {
    if is_plain(name) { name } else { otherwise }
}

/// Whether a name stands for itself in a shell.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@._:-".contains(&b);
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(plain)
}

/// Prints files of a cgroup's memory controller, each line after its file's name; the names of v1 or those of v2.
pub(super) fn memory_files(cgroup: &Cgroup, v1: &str, v2: &str) -> Option<String> {
    let is_v1 = cgroup.memory.as_ref()?.oom.is_some();
    let (root, names) = if is_v1 { ("/sys/fs/cgroup/memory", v1) } else { ("/sys/fs/cgroup", v2) };
    let names: Vec<String> = names.split(' ').map(|name| format!("memory.{name}")).collect();
    Some(format!("(cd {root}{} && grep . {})", pattern(&cgroup.key.path)?, names.join(" ")))
}

/// Prints files of another controller of a cgroup, each line after its file's name.
pub(super) fn controller_files(look: &Look<'_>, cgroup: &Cgroup, controller: &str, names: &str) -> Option<String> {
    let v2 = look.snap.cgroups.data()?.layout == CgroupLayout::V2;
    let root = if v2 { String::new() } else { format!("/{controller}") };
    Some(format!("(cd /sys/fs/cgroup{root}{} && grep . {names})", pattern(&cgroup.key.path)?))
}

/// The command that changes a cgroup's limit, where whoever set it has one: `docker update` with `docker` as its
/// options, or a property of its systemd unit.
pub(super) fn change_limit(cgroup: &Cgroup, docker: &str, property: &str, now: &str) -> Option<String> {
    match (&cgroup.container, &cgroup.unit) {
        (Some(c), _) if &*c.runtime == "docker" && c.pod.is_none() && c.pod_uid.is_none() && is_plain(&c.label()) => {
            Some(format!("docker update {docker} {}   # now {now}", c.label()))
        }
        (None, Some(unit)) if is_plain(unit) => Some(format!("systemctl set-property {unit} {property}   # now {now}")),
        _ => None,
    }
}

/// A cgroup path as a shell pattern: of a container's id twelve digits do. `None` for one that would need quotes.
fn pattern(path: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/@._:-".contains(&b);
    let parts = path.split('/').map(|part| {
        let Some(at) = id_at(part) else { return part.to_owned() };
        format!("{}*{}", part.get(..at + 12).unwrap_or(part), part.get(at + ID_DIGITS..).unwrap_or(""))
    });
    (path != "/" && path.bytes().all(plain)).then(|| parts.collect::<Vec<_>>().join("/"))
}

/// Digits of a container's id.
const ID_DIGITS: usize = 64;

/// Where a container's id begins in a part of a path.
fn id_at(part: &str) -> Option<usize> {
    part.as_bytes().windows(ID_DIGITS).position(|id| id.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{MemUse, OomState};

    #[test]
    fn files_are_named_as_their_hierarchy_has_them() {
        let id = "4b1d2341943bc7ff488fddd07a84a15e132182b580c52262029357151ddf1fab";
        let mut cgroup = Cgroup { memory: Some(MemUse::default()), ..Cgroup::default() };
        cgroup.key.path = format!("/system.slice/docker-{id}.scope").into();
        assert_eq!(
            memory_files(&cgroup, "failcnt", "events.local max").unwrap(),
            "(cd /sys/fs/cgroup/system.slice/docker-4b1d2341943b*.scope && grep . memory.events.local memory.max)"
        );
        cgroup.memory = Some(MemUse { oom: Some(OomState::default()), ..MemUse::default() });
        cgroup.key.path = "/web".into();
        let v1 = memory_files(&cgroup, "failcnt", "events.local").unwrap();
        assert_eq!(v1, "(cd /sys/fs/cgroup/memory/web && grep . memory.failcnt)");
    }

    #[test]
    fn only_plain_names_are_words() {
        assert_eq!(
            ["eth0", "veth1a@if3", "-n", "$(reboot)", "a;b", ""].map(|n| word(n, "IFACE")),
            ["eth0", "veth1a@if3", "IFACE", "IFACE", "IFACE", "IFACE"]
        );
    }

    #[test]
    fn a_name_that_a_shell_would_read_otherwise_gives_no_command() {
        for path in ["/", "/a b", "/$(reboot)", "/a;b", "/日本"] {
            assert_eq!(pattern(path), None, "{path}");
        }
    }
}
