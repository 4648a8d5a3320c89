use super::CgroupsCollector;
use crate::collect::containers::Runtimes;
use crate::collect::{Collector, Context, Roots};
use crate::snapshot::{Cgroup, CgroupLayout, Cgroups, Section};
use std::path::Path;

const ID1: &str = "4b1d2341943bc7ff488fddd07a84a15e132182b580c52262029357151ddf1fab";
const POD: &str = "/kubepods.slice/kubepods-burstable-pod7c1d2e34_5a6b_4c7d_8e9f_0a1b2c3d4e5f.slice";
const ID2: &str = "448b144bfe9de78ee277b9c9af5723e16dcd8691e15e67f4c3695afda19aa66c";

pub(super) fn reading(roots: &Roots) -> CgroupsCollector {
    CgroupsCollector::new(roots, Runtimes::of(roots), None)
}

fn collector(fixture: &str) -> CgroupsCollector {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    reading(&Roots { proc: dir.join("proc"), sys: dir.join("sys") })
}

fn look(collector: &mut CgroupsCollector) -> Cgroups {
    collector.collect(&Context::default()).data().unwrap().clone()
}

fn row(cgroups: &Cgroups, path: &str) -> Cgroup {
    cgroups.rows.iter().find(|r| &*r.key.path == path).unwrap_or_else(|| panic!("no {path}")).clone()
}

#[test]
fn v1_controllers_meet_in_one_row() {
    let all = look(&mut collector("cgroup1"));
    assert_eq!(all.layout, CgroupLayout::Hybrid);
    assert_eq!(all.gaps, []);
    let paths: Vec<_> = all.rows.iter().map(|r| &*r.key.path).collect();
    assert_eq!(paths, ["/", "/docker", &format!("/docker/{ID1}")]);
    let row = row(&all, &format!("/docker/{ID1}"));
    assert_eq!(row.container.as_ref().map(|c| &*c.id), Some(ID1));
    let memory = row.memory.unwrap();
    assert_eq!(memory.limit_bytes, Some(20 << 20));
    assert_eq!(memory.usage_bytes, Some(417_792));
    assert_eq!((memory.limit_hits, memory.oom_kills, memory.peak_bytes), (Some(36), Some(1), Some(20 << 20)));
    assert_eq!((memory.swap_bytes, memory.swap_limit_bytes, memory.swap_limit_hits), (Some(0), None, Some(0)));
    assert_eq!((memory.kmem_bytes, memory.kmem_limit_bytes, memory.kmem_hits), (Some(20_480), None, Some(0)));
    let oom = memory.oom.unwrap();
    assert!(!oom.kill_disabled && !oom.under_oom);
    let pids = row.pids.unwrap();
    assert_eq!((pids.current, pids.limit, pids.limit_hits), (0, Some(7), Some(0)));
    let cpu = row.cpu.unwrap();
    assert_eq!((cpu.usage_usec, cpu.quota_usec, cpu.period_usec), (Some(247_923), Some(20_000), Some(100_000)));
    assert_eq!((cpu.periods, cpu.throttled_periods, cpu.throttled_usec), (Some(14), Some(11), Some(491_335)));
    assert_eq!(row.frozen, Some(true));
    assert_eq!(row.psi_cpu.map(|p| p.some_usec), Some(700_579));
}

#[test]
fn v1_dying_is_what_is_counted_and_not_there() {
    let all = look(&mut collector("cgroup1"));
    let memory = all.hierarchies.iter().find(|h| &*h.controller == "memory").unwrap();
    assert_eq!((memory.cgroups, memory.directories), (18, Some(3)));
    assert_eq!((all.live, all.dying, &*all.dying_source), (Some(3), Some(15), "/proc/cgroups:memory"));
}

#[test]
fn v2_limit_above_and_victim_below() {
    let all = look(&mut collector("cgroup2"));
    assert_eq!(all.layout, CgroupLayout::V2);
    assert_eq!(all.gaps, []);
    let (pod, inside) = (row(&all, POD), row(&all, &format!("{POD}/cri-containerd-{ID2}.scope")));
    assert_eq!(pod.pod_uid.as_deref(), Some("7c1d2e34-5a6b-4c7d-8e9f-0a1b2c3d4e5f"));
    let memory = pod.memory.unwrap();
    assert_eq!((memory.limit_bytes, memory.high_bytes), (Some(30 << 20), None));
    assert_eq!((memory.limit_hits, memory.ooms, memory.oom_kills), (Some(35), Some(1), Some(0)));

    let container = inside.container.unwrap();
    assert_eq!((&*container.runtime, &*container.id), ("containerd", ID2));
    let memory = inside.memory.unwrap();
    assert_eq!((memory.usage_bytes, memory.peak_bytes), (Some(19_431_424), Some(31_711_232)));
    assert_eq!((memory.limit_bytes, memory.high_bytes, memory.high_hits), (None, Some(12 << 20), Some(177)));
    assert_eq!((memory.limit_hits, memory.ooms, memory.oom_kills), (Some(0), Some(0), Some(1)));
    assert_eq!(memory.oom_group_kills, Some(0));
    assert_eq!(memory.swap_bytes, Some(2 << 20));
    assert_eq!((memory.swap_limit_bytes, memory.swap_limit_hits), (Some(2 << 20), Some(484)));
    assert_eq!(memory.kmem_bytes, Some(143_360));
    assert_eq!(
        (memory.anon_bytes, memory.file_bytes, memory.shmem_bytes),
        (Some(16_371_712), Some(1_552_384), Some(1_552_384))
    );
    assert_eq!((memory.inactive_file_bytes, memory.active_file_bytes), (Some(0), Some(0)));
    assert_eq!(memory.slab_bytes, Some(25_480));
    let pids = inside.pids.unwrap();
    assert_eq!((pids.current, pids.limit, pids.limit_hits), (3, Some(4), Some(8)));
    assert_eq!(pod.pids.map(|p| (p.limit, p.limit_hits)), Some((None, Some(0))));
    let cpu = inside.cpu.unwrap();
    assert_eq!((cpu.usage_usec, cpu.quota_usec, cpu.period_usec), (Some(5_837_017), Some(20_000), Some(100_000)));
    assert_eq!((cpu.periods, cpu.throttled_periods, cpu.throttled_usec), (Some(294), Some(291), Some(23_009_823)));
    assert_eq!((inside.frozen, pod.frozen), (Some(true), Some(false)));
    assert_eq!(inside.psi_memory.map(|p| (p.some_usec, p.full_usec)), Some((11_914_871, Some(1_332_161))));
}

#[test]
fn v2_refused_swap_counts_for_all_above() {
    let pod = row(&look(&mut collector("cgroup2")), POD).memory.unwrap();
    assert_eq!((pod.swap_limit_bytes, pod.swap_limit_hits), (None, Some(484)));
    assert_eq!((pod.limit_hits, pod.high_hits, pod.counts_subtree), (Some(35), Some(0), false));
}

#[test]
fn v2_before_local_events_and_kernel_sums() {
    let (dir, mut collector) = copy("cgroup2");
    let pod = dir.path().join(format!("sys/fs/cgroup{POD}"));
    for file in ["memory.events.local", "memory.peak", "memory.swap.events"] {
        std::fs::remove_file(pod.join(file)).unwrap();
    }
    let stat = std::fs::read_to_string(pod.join("memory.stat")).unwrap();
    std::fs::write(pod.join("memory.stat"), stat.replace("kernel 151552\n", "")).unwrap();
    let memory = row(&look(&mut collector), POD).memory.unwrap();
    assert_eq!((memory.limit_hits, memory.ooms, memory.oom_kills), (Some(35), Some(1), Some(1)));
    assert!(memory.counts_subtree);
    assert_eq!((memory.peak_bytes, memory.swap_limit_hits), (None, None));
    assert_eq!(memory.kmem_bytes, Some(81_920 + 5_352 + 25_480));
}

#[test]
fn v2_root_counts_the_dying() {
    let all = look(&mut collector("cgroup2"));
    assert_eq!((all.live, all.dying), (Some(5), Some(30)));
    assert!(all.dying_source.ends_with("/sys/fs/cgroup/cgroup.stat:nr_dying_descendants"), "{}", all.dying_source);
    assert_eq!(row(&all, "/kubepods.slice").dying_descendants, Some(30));
    assert_eq!(row(&all, "/old.slice").unit.as_deref(), Some("old.slice"));
    let root = row(&all, "/");
    assert_eq!((root.memory, root.pids), (None, None));
    assert_eq!(root.cpu.and_then(|c| c.usage_usec), Some(10_128_000));
}

/// A copy of a fixture that may be changed.
fn copy(fixture: &str) -> (tempfile::TempDir, CgroupsCollector) {
    fn all(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                all(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture), dir.path());
    let collector = reading(&Roots { proc: dir.path().join("proc"), sys: dir.path().join("sys") });
    (dir, collector)
}

#[test]
fn what_moves_is_read_at_once_and_the_rest_in_turn() {
    let (dir, mut collector) = copy("cgroup1");
    let path = format!("/docker/{ID1}");
    let set = |controller: &str, file: &str, text: &str| {
        std::fs::write(dir.path().join(format!("sys/fs/cgroup/{controller}{path}/{file}")), text).unwrap();
    };
    set("pids", "pids.current", "1\n");
    look(&mut collector);
    // Quiet: a new limit is seen in turn only.
    set("memory", "memory.limit_in_bytes", "41943040\n");
    let limits: Vec<_> = (0..11).map(|_| row(&look(&mut collector), &path).memory.unwrap().limit_bytes).collect();
    assert_eq!(limits.last(), Some(&Some(40 << 20)));
    // A hit: everything at once.
    set("memory", "memory.failcnt", "37\n");
    set("memory", "memory.max_usage_in_bytes", "41943040\n");
    set("memory", "memory.stat", "total_rss 77\n");
    let memory = row(&look(&mut collector), &path).memory.unwrap();
    assert_eq!((memory.limit_hits, memory.peak_bytes, memory.anon_bytes), (Some(37), Some(40 << 20), Some(77)));
    // A kill anywhere on the host: the kill counters of all.
    set("memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
    std::fs::write(dir.path().join("proc/vmstat"), "oom_kill 9\n").unwrap();
    assert_eq!(row(&look(&mut collector), &path).memory.unwrap().oom_kills, Some(2));
    // CPU time used: throttling and pids too.
    set("cpuacct", "cpuacct.usage", "300000000\n");
    set("cpu", "cpu.stat", "nr_periods 20\nnr_throttled 15\nthrottled_time 500000000\n");
    assert_eq!(row(&look(&mut collector), &path).cpu.unwrap().throttled_periods, Some(15));
}

#[test]
fn an_empty_cgroup_is_probed_by_its_cpu_time_alone() {
    let (dir, mut collector) = copy("cgroup1");
    let path = format!("/docker/{ID1}");
    let set = |file: &str, text: &str| std::fs::write(dir.path().join(format!("sys/fs/cgroup/{file}")), text).unwrap();
    assert_eq!(row(&look(&mut collector), &path).pids.unwrap().current, 0);
    set(&format!("memory{path}/memory.usage_in_bytes"), "4096\n");
    let usage = |row: Cgroup| row.memory.unwrap().usage_bytes;
    // Reclaim may change its memory: that is found in turn.
    assert!((0..11).any(|_| usage(row(&look(&mut collector), &path)) == Some(4096)));
    set(&format!("cpuacct{path}/cpuacct.usage"), "300000000\n");
    set(&format!("memory{path}/memory.usage_in_bytes"), "8192\n");
    let row = row(&look(&mut collector), &path);
    assert_eq!((row.pids.unwrap().current, usage(row)), (0, Some(8192)));
}

#[test]
fn waiting_tasks_move_pressure_alone_and_that_is_seen_at_once() {
    let (dir, mut collector) = copy("cgroup2");
    let inside = format!("{POD}/cri-containerd-{ID2}.scope");
    let wait = |path: &str, usec: u64| {
        let text = |n: u64| {
            format!(
                "some avg10=0.00 avg60=0.00 avg300=0.00 total={n}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total={n}\n"
            )
        };
        std::fs::write(dir.path().join(format!("sys/fs/cgroup{path}/io.pressure")), text(usec)).unwrap();
    };
    let io = |all: &Cgroups| row(all, &inside).psi_io.unwrap().some_usec;
    // A cgroup near a limit is read in every pass, this one is to be quiet.
    std::fs::write(dir.path().join(format!("sys/fs/cgroup{inside}/memory.high")), "max\n").unwrap();
    look(&mut collector);
    for path in ["", "/kubepods.slice", POD, &inside] {
        wait(path, 7_000_000_000);
    }
    assert_eq!(io(&look(&mut collector)), 7_000_000_000);
    // Without more of it above, the kernel has none to show here.
    wait(&inside, 7_000_000_009);
    assert_eq!(io(&look(&mut collector)), 7_000_000_000);
}

#[test]
fn a_controller_switched_on_later_is_found() {
    let (dir, mut collector) = copy("cgroup2");
    let pids = dir.path().join("sys/fs/cgroup/old.slice/pids.current");
    std::fs::rename(&pids, dir.path().join("kept")).unwrap();
    assert_eq!(row(&look(&mut collector), "/old.slice").pids, None);
    std::fs::rename(dir.path().join("kept"), &pids).unwrap();
    let seen = (0..11).any(|_| row(&look(&mut collector), "/old.slice").pids.is_some());
    assert!(seen);
}

#[test]
fn no_hierarchy_is_absent_and_a_missing_one_a_gap() {
    let (dir, mut collector) = copy("cgroup1");
    std::fs::remove_dir_all(dir.path().join("sys/fs/cgroup/pids")).unwrap();
    let all = look(&mut collector);
    assert!(all.gaps.iter().any(|g| g.what.contains("cgroup/pids")), "{:?}", all.gaps);
    assert_eq!(row(&all, &format!("/docker/{ID1}")).pids, None);

    let (dir, mut collector) = copy("cgroup1");
    std::fs::write(dir.path().join("proc/self/mountinfo"), "23 27 0:22 / /sys rw - sysfs sysfs rw\n").unwrap();
    assert!(matches!(collector.collect(&Context::default()), Section::Absent { .. }));
}
