use super::*;
use crate::snapshot::StateCounts;

fn pass(collector: &mut TasksCollector) -> Arc<Tasks> {
    match collector.collect(&Context::default()) {
        Section::Ok { data, .. } => data,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sees_itself_with_its_threads() {
    let (tx, rx) = std::sync::mpsc::channel::<()>();
    let sleeper = std::thread::Builder::new().name("asleep".into()).spawn(move || rx.recv()).unwrap();
    let mut collector = TasksCollector::new(&Roots::default(), None);
    // Another test's thread may be in D this moment; then the command line is left for a later pass.
    let mut passes = (0..200).map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        pass(&mut collector)
    });
    let own_of = |tasks: &Tasks| tasks.rows.iter().find(|t| t.key.pid == std::process::id()).cloned().unwrap();
    let tasks = passes.find(|tasks| own_of(tasks).cmdline.is_some()).unwrap();
    let own = own_of(&tasks);
    let counts = |c: &StateCounts| c.running + c.sleeping + c.blocked + c.zombie + c.stopped + c.idle + c.other;
    assert!(own.threads >= 2 && counts(&own.by_state) >= 2, "{own:?}");
    assert!(
        own.awake.iter().any(|t| t.state == crate::snapshot::TaskState::Running),
        "the reader itself runs: {own:?}"
    );
    assert!(own.cmdline.as_deref().is_some_and(|c| c.contains("whytop")), "{own:?}");
    assert_eq!(own.uid, Some(rustix::process::getuid().as_raw()));
    assert!(own.netns.is_some() && own.cgroup.is_some() && own.fd_limit.is_some() && own.rss_bytes > 0);
    assert!(tasks.rows.is_sorted_by_key(|t| t.key.pid));
    drop(tx);
    let _ = sleeper.join().unwrap();
}

#[test]
fn unchanged_text_is_shared_between_passes() {
    let mut collector = TasksCollector::new(&Roots::default(), None);
    let (one, two) = (pass(&mut collector), pass(&mut collector));
    let of = |tasks: &Tasks| tasks.rows.iter().find(|t| t.key.pid == 1).cloned().unwrap();
    let (one, two) = (of(&one), of(&two));
    assert!(Arc::ptr_eq(&one.comm, &two.comm));
    assert!(Arc::ptr_eq(&one.cgroup.unwrap(), &two.cgroup.unwrap()));
}

#[test]
fn command_lines_are_joined_and_keep_hostile_bytes_apart_from_utf8() {
    assert_eq!(command_line(b"java\0-jar\0a b.jar\0").as_deref(), Some("java -jar a b.jar"));
    assert_eq!(command_line(b"x\x1b[31m\xff\0\0").as_deref(), Some("x\u{1b}[31m\u{fffd}"));
    assert_eq!(command_line(b"\0\0"), None);
    assert_eq!(command_line(b""), None);
}

#[test]
fn a_tree_that_is_not_there_is_absent() {
    let roots = Roots { proc: "/nonexistent/proc".into(), ..Roots::default() };
    assert_eq!(TasksCollector::new(&roots, None).collect(&Context::default()).word(), "absent");
}

#[test]
fn another_tree_is_read_and_a_torn_process_loses_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let line = |pid: u32, comm: &str, state: &str, threads: u32| {
        format!("{pid} ({comm}) {state} 1 1 1 0 -1 0 5 0 6 0 7 8 0 0 20 0 {threads} 0 900 4096 3 0\n")
    };
    put("700/stat", &line(700, "D) leader", "S", 3));
    put("700/task/700/stat", &line(700, "D) leader", "S", 3));
    put("700/task/701/stat", &line(701, "pool", "D", 3));
    put("700/task/701/wchan", "percpu_rwsem_wait");
    put("700/task/701/status", "SigPnd:\t0000000000000100\nvoluntary_ctxt_switches:\t5\n");
    put("700/task/701/stack", "[<0>] percpu_rwsem_wait+0x11b/0x140\n");
    put("700/task/702/stat", &line(702, "pool", "D", 3));
    put("700/task/702/wchan", "0");
    put("700/status", "Uid:\t7\t7\t7\t7\nNSpid:\t700\t1\nVmSwap:\t   8 kB\n");
    put("700/cgroup", "4:memory:/docker/ab\n0::/\n");
    let limits =
        "Limit\nMax processes             60                   60 processes\nMax open files            9  9  files\n";
    put("700/limits", limits);
    put("800/stat", "800 (torn");
    put("900/stat", &line(900, "gone", "Z", 1));
    let roots = Roots { proc: dir.path().into(), ..Roots::default() };
    let tasks = pass(&mut TasksCollector::new(&roots, None));
    assert_eq!(tasks.rows.iter().map(|t| t.key.pid).collect::<Vec<_>>(), [700, 900]);
    let task = &tasks.rows[0];
    assert_eq!(task.by_state, StateCounts { sleeping: 1, blocked: 2, ..StateCounts::default() });
    assert_eq!((task.uid, task.inner_pid, task.swap_bytes), (Some(7), Some(1), Some(8192)));
    assert_eq!((task.fd_limit, task.nproc_limit), (Some(9), Some(60)));
    assert!(task.is_container_init());
    assert_eq!(task.cgroup.as_deref(), Some("/docker/ab"));
    assert_eq!(task.cmdline, None, "never of a process with a thread in D");
    let thread = task.awake.iter().find(|t| t.tid == 701).unwrap();
    assert_eq!((thread.sigkill_pending, thread.switches), (Some(true), Some(5)));
    assert_eq!(thread.stack.iter().map(|f| &**f).collect::<Vec<_>>(), ["percpu_rwsem_wait"]);
    let known: Vec<(&str, u32)> = tasks.blocked_by_wchan.iter().map(|(w, n)| (&**w, *n)).collect();
    assert_eq!(known, [("", 1), ("percpu_rwsem_wait", 1)]);
    assert!(tasks.rows[1].is_zombie());
    assert!(tasks.gaps.iter().any(|gap| gap.what.starts_with("1 processes")), "{:?}", tasks.gaps);
}
