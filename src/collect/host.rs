//! Who the host is.

use super::io::read_path;
use super::text::{lines, number, text, words};
use super::{Collector, Context, Roots};
use crate::snapshot::{Host, NetnsId, Section, Text};
use sysinfo::{CpuRefreshKind, RefreshKind, System};

/// Reads what tells this host and this boot from others. It keeps nothing: once a minute is often enough.
#[derive(Debug)]
pub struct HostCollector {
    roots: Roots,
}

impl HostCollector {
    /// A collector of the trees below `roots`.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self { roots: roots.clone() }
    }

    fn read(&self, buf: &mut Vec<u8>) -> Host {
        let roots = &self.roots;
        let mut line = |path: &str| -> Text {
            match read_path(&roots.proc(path), buf) {
                Ok(()) => text(buf.trim_ascii_end()),
                Err(_) => Text::default(),
            }
        };
        let mut host = Host {
            boot_id: line("sys/kernel/random/boot_id"),
            boot_cmdline: line("cmdline"),
            page_bytes: rustix::param::page_size() as u64,
            ticks_per_sec: rustix::param::clock_ticks_per_second(),
            euid: rustix::process::geteuid().as_raw(),
            netns: self.netns(),
            foreign_proc: !self.proc_is_ours(),
            ..Host::default()
        };
        if roots.is_live() {
            host.name = System::host_name().unwrap_or_default().into();
            host.kernel = System::kernel_version().unwrap_or_default().into();
            host.os = [System::name(), System::os_version()].into_iter().flatten().collect::<Vec<_>>().join(" ").into();
            let cpus = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
            host.cpus = System::new_with_specifics(cpus).map_or(0, |system| clamp(system.cpus().len()));
        } else {
            host.name = line("sys/kernel/hostname");
            host.kernel = line("sys/kernel/osrelease");
            if read_path(&roots.proc("1/root/etc/os-release"), buf).is_ok() {
                host.os = pretty_name(buf).unwrap_or_default();
            }
            if read_path(&roots.proc("stat"), buf).is_ok() {
                host.cpus = clamp(super::cpu::parse_stat(buf).each.len());
            }
        }
        if read_path(&roots.proc("meminfo"), buf).is_ok() {
            host.mem_total_bytes = mem_total(buf).unwrap_or(0);
        }
        host
    }

    /// Our own namespace; of a foreign tree the one of its pid 1.
    fn netns(&self) -> NetnsId {
        let link = if self.roots.is_live() { "self/ns/net" } else { "1/ns/net" };
        NetnsId(rustix::fs::stat(self.roots.proc(link)).map_or(0, |stat| stat.st_ino))
    }

    /// Whether `self` in this tree is us and our pid namespace is the tree's own: a `/proc` mounted for an outer
    /// namespace knows us by two pids (`NSpid`, 4.1 and later).
    fn proc_is_ours(&self) -> bool {
        let Ok(link) = std::fs::read_link(self.roots.proc("self")) else { return false };
        let ours = rustix::process::getpid().as_raw_nonzero().to_string();
        let mut status = Vec::new();
        link.as_os_str() == ours.as_str()
            && read_path(&self.roots.proc("self/status"), &mut status).is_ok()
            && lines(&status).find_map(|l| l.strip_prefix(b"NSpid:")).is_none_or(|pids| words(pids).count() == 1)
    }
}

impl Collector for HostCollector {
    type Out = Host;

    fn name(&self) -> &'static str {
        "host"
    }

    fn collect(&mut self, _: &Context) -> Section<Host> {
        Section::ok(super::now(), self.read(&mut Vec::new()))
    }
}

fn clamp(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// `PRETTY_NAME` of an `os-release`, without its quotes.
fn pretty_name(os_release: &[u8]) -> Option<Text> {
    let value = lines(os_release).find_map(|line| line.strip_prefix(b"PRETTY_NAME="))?.trim_ascii();
    let bare = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
    Some(text(bare))
}

fn mem_total(meminfo: &[u8]) -> Option<u64> {
    let line = lines(meminfo).find_map(|line| line.strip_prefix(b"MemTotal:"))?;
    words(line).next().and_then(number).map(|kb| kb.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_with_and_without_quotes() {
        let debian = b"NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(pretty_name(debian).as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(pretty_name(b"PRETTY_NAME=Alpine").as_deref(), Some("Alpine"));
        assert_eq!(pretty_name(b"NAME=x\n"), None);
    }

    #[test]
    fn the_running_host() {
        let section = HostCollector::new(&Roots::default()).collect(&Context::default());
        let host = section.data().unwrap();
        assert!(!host.foreign_proc);
        assert_eq!(host.boot_id.len(), 36);
        assert!(host.cpus > 0 && host.mem_total_bytes > 0 && host.page_bytes >= 4096 && host.netns.0 > 0);
        assert_eq!(*host.kernel, *rustix::system::uname().release().to_string_lossy());
    }

    #[test]
    fn another_machines_tree() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots { proc: dir.path().to_owned(), sys: dir.path().to_owned() };
        let put = |path: &str, text: &str| {
            let path = roots.proc(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("sys/kernel/hostname", "db7\n");
        put("sys/kernel/osrelease", "3.10.0-1062.el7.x86_64\n");
        put("meminfo", "MemTotal:        1016288 kB\n");
        put("stat", "cpu  1 2 3 4\ncpu0 1 2 3 4\ncpu3 1 2 3 4\n");
        put("1/root/etc/os-release", "PRETTY_NAME=\"CentOS Linux 7 (Core)\"\n");
        let section = HostCollector::new(&roots).collect(&Context::default());
        let host = section.data().unwrap();
        assert_eq!((&*host.name, &*host.kernel), ("db7", "3.10.0-1062.el7.x86_64"));
        assert_eq!((&*host.os, host.cpus), ("CentOS Linux 7 (Core)", 2));
        assert_eq!(host.mem_total_bytes, 1_016_288 * 1024);
        assert!(host.foreign_proc);
    }
}
