//! The lines of an OOM report, each in all its shapes from 2.6.18 to 6.18.

use crate::collect::klog::scan::{number, re, text};

/// `java invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0`
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub comm: &'a str,
    pub gfp_mask: &'a str,
    pub order: Option<i64>,
}

pub(super) fn head(line: &str) -> Option<Head<'_>> {
    let (comm, rest) = line.split_once(" invoked oom-killer: ")?;
    let caps = re!(r"^gfp_mask=(0x[0-9a-f]+)(?:.*?[ ,]order=(-?\d+))?").captures(rest)?;
    Some(Head { comm, gfp_mask: text(&caps, 1)?, order: number(&caps, 2) })
}

/// `Task in A killed as a result of limit of B` (up to 4.20): the victim's cgroup, the limit's.
pub(super) fn task_in(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("Task in ")?.split_once(" killed as a result of limit of ")
}

/// `memory: usage 49152kB, limit 49152kB, failcnt 20`
#[derive(Debug)]
pub(super) struct Usage<'a> {
    /// `memory`, `memory+swap`, `kmem`, `swap`.
    pub what: &'a str,
    pub used_kb: Option<i64>,
    pub limit_kb: Option<i64>,
    pub failcnt: Option<i64>,
}

pub(super) fn usage(line: &str) -> Option<Usage<'_>> {
    let caps = re!(r"^(memory|memory\+swap|kmem|swap): usage (\d+)kB, limit (\d+)kB, failcnt (\d+)").captures(line)?;
    Some(Usage {
        what: text(&caps, 1)?,
        used_kb: number(&caps, 2),
        limit_kb: number(&caps, 3),
        failcnt: number(&caps, 4),
    })
}

/// `oom-kill:constraint=CONSTRAINT_MEMCG,…,oom_memcg=B,task_memcg=A,task=java,pid=1449,uid=0` (5.0 and later)
#[derive(Debug)]
pub(super) struct OomKill<'a> {
    pub constraint: String,
    /// Whose limit was hit; `None` when it was the host's memory.
    pub oom_memcg: Option<&'a str>,
    pub task_memcg: &'a str,
    /// The process.
    pub pid: Option<i64>,
    /// Its name.
    pub comm: Option<&'a str>,
}

pub(super) fn oom_kill(line: &str) -> Option<OomKill<'_>> {
    let re = re!(
        r"^oom-kill:constraint=CONSTRAINT_([A-Z_]+),.*?,(?:global_oom|oom_memcg=(.*?)),task_memcg=(.*),task=(.*),pid=(\d+),uid=\d+"
    );
    let caps = re.captures(line)?;
    Some(OomKill {
        constraint: text(&caps, 1)?.to_ascii_lowercase(),
        oom_memcg: text(&caps, 2),
        task_memcg: text(&caps, 3)?,
        comm: text(&caps, 4),
        pid: number(&caps, 5),
    })
}

/// What a line says ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// A memory cgroup's limit.
    Memcg,
    /// The host's memory.
    Global,
}

impl Scope {
    fn of(words: Option<&str>) -> Option<Self> {
        words.map(|w| if w.starts_with("Memory") { Self::Memcg } else { Self::Global })
    }
}

/// `Out of memory: Kill process 1203 (mysqld) score 511 or sacrifice child` (up to 5.0): the selected thread, which
/// may be spared for a child.
#[derive(Debug)]
pub(super) struct Selected<'a> {
    pub scope: Option<Scope>,
    pub pid: i64,
    pub comm: &'a str,
    pub score: Option<i64>,
}

pub(super) fn selected(line: &str) -> Option<Selected<'_>> {
    let re = re!(
        r"^(Out of [Mm]emory|Memory cgroup out of memory)(?: \([^)]*\))?: [Kk]ill process (\d+) \((.*)\) score (-?\d+)"
    );
    let caps = re.captures(line)?;
    Some(Selected {
        scope: Scope::of(text(&caps, 1)),
        pid: number(&caps, 2)?,
        comm: text(&caps, 3)?,
        score: number(&caps, 4),
    })
}

/// The line that names the victim.
#[derive(Debug, Default)]
pub(super) struct Killed<'a> {
    /// Said on this line itself since 5.1: then no `Kill process` line came before.
    pub scope: Option<Scope>,
    pub pid: i64,
    pub comm: Option<&'a str>,
    pub uid: Option<i64>,
    pub total_vm_kb: Option<i64>,
    pub anon_rss_kb: Option<i64>,
    pub file_rss_kb: Option<i64>,
    pub shmem_rss_kb: Option<i64>,
    /// As printed: bytes up to 5.4, in spite of its `kB`.
    pub pgtables: Option<i64>,
    pub oom_score_adj: Option<i64>,
}

pub(super) fn killed(line: &str) -> Option<Killed<'_>> {
    let re = re!(
        r"^(?:(Out of [Mm]emory|Memory cgroup out of memory)(?: \([^)]*\))?: )?Killed process (\d+)(?:, UID (\d+),)? \((.*)$"
    );
    let caps = re.captures(line)?;
    let mut killed = Killed {
        scope: Scope::of(text(&caps, 1)),
        pid: number(&caps, 2)?,
        uid: number(&caps, 3),
        ..Killed::default()
    };
    // A name may hold parentheses: it ends at the last one before what can follow it.
    let rest = text(&caps, 4)?;
    let end = [") total-vm:", ") vsz:", "), UID "].iter().find_map(|end| rest.rfind(end)).or_else(|| rest.rfind(')'));
    let (comm, rest) = rest.split_at_checked(end?)?;
    killed.comm = Some(comm);
    for caps in re!(r"([A-Za-z][A-Za-z_-]*)[: ](-?\d+)").captures_iter(rest) {
        let value = number(&caps, 2);
        match text(&caps, 1)? {
            "UID" => killed.uid = value,
            "total-vm" | "vsz" => killed.total_vm_kb = value,
            "anon-rss" => killed.anon_rss_kb = value,
            "file-rss" => killed.file_rss_kb = value,
            "shmem-rss" => killed.shmem_rss_kb = value,
            "pgtables" => killed.pgtables = value,
            "oom_score_adj" => killed.oom_score_adj = value,
            _ => {}
        }
    }
    Some(killed)
}

/// `Tasks in /x are going to be killed due to memory.oom.group set`
pub(super) fn group(line: &str) -> Option<&str> {
    line.strip_prefix("Tasks in ")?.split_once(" are going to be killed due to memory.oom.group set").map(|(path, _)| path)
}

/// `oom_reaper: reaped process 100 (x), now anon-rss:0kB…` or `oom_reaper: unable to reap pid:100 (x)`: the pid, and
/// whether it worked.
pub(super) fn reaper(line: &str) -> Option<(i64, bool)> {
    let caps = re!(r"^oom_reaper: (?:reaped process |unable to reap pid:)(\d+)").captures(line)?;
    Some((number(&caps, 1)?, line.contains(": reaped")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn killed_lines_of_all_ages() {
        let say = |line| {
            let k = killed(line).unwrap();
            format!("{:?} {} {:?} {:?} {:?} {:?}", k.scope, k.pid, k.comm.unwrap(), k.uid, k.total_vm_kb, k.pgtables)
        };
        assert_eq!(
            say("Killed process 1203, UID 27, (mysqld) total-vm:6252962kB, anon-rss:1190414kB, file-rss:518kB"),
            "None 1203 \"mysqld\" Some(27) Some(6252962) None"
        );
        assert_eq!(
            say("Killed process 7 (a) b (c)), UID 99, total-vm:1kB, anon-rss:2kB, file-rss:3kB, shmem-rss:4kB"),
            "None 7 \"a) b (c)\" Some(99) Some(1) None"
        );
        assert_eq!(say("Killed process 9 (httpd) vsz:77kB, anon-rss:2kB, file-rss:3kB"), "None 9 \"httpd\" None Some(77) None");
        assert_eq!(
            say("Out of memory (oom_kill_allocating_task): Killed process 5 (x) total-vm:8kB, UID:3 pgtables:4kB oom_score_adj:-5"),
            "Some(Global) 5 \"x\" Some(3) Some(8) Some(4)"
        );
        assert_eq!(say("Out of memory: Killed process 123, UID 48, (httpd)."), "Some(Global) 123 \"httpd\" Some(48) None None");
        assert!(killed("agent: Killed process 1 (x)").is_none());
    }

    #[test]
    fn heads_of_all_ages() {
        let say = |line| head(line).map(|h| (h.comm, h.gfp_mask, h.order)).unwrap();
        assert_eq!(say("httpd invoked oom-killer: gfp_mask=0x201da, order=0, oom_adj=0"), ("httpd", "0x201da", Some(0)));
        assert_eq!(
            say("CPU 0/KVM invoked oom-killer: gfp_mask=0x14200ca(GFP_HIGHUSER_MOVABLE), nodemask=(null),  order=3, oom_score_adj=0"),
            ("CPU 0/KVM", "0x14200ca", Some(3))
        );
        assert_eq!(
            say("kworker/0:1 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=-1, oom_score_adj=0"),
            ("kworker/0:1", "0xcc0", Some(-1))
        );
    }
}
