//! The real binary as a command: its flags, exit statuses and what it prints.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A command line in an environment of its own: no configuration, no colours asked for.
fn whytop(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whytop"));
    command.args(args).env_clear().env("HOME", "/nonexistent").env("TERM", "xterm").stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    whytop(args).output().unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", err(output)))
}

/// A failed command: its status, and its message, which is the only thing it prints.
fn failure(args: &[&str]) -> (i32, String) {
    let output = run(args);
    assert_eq!(out(&output), "", "{args:?}");
    (output.status.code().unwrap(), err(&output).to_owned())
}

#[test]
fn help_has_an_example_for_every_command() {
    let top = run(&["--help"]);
    assert_eq!(top.status.code(), Some(0));
    let commands = [
        "why",
        "show",
        "snapshot",
        "kill",
        "log",
        "record",
        "info",
        "report",
        "export",
        "doctor",
        "completions",
        "man",
    ];
    for command in commands {
        assert!(out(&top).contains(&format!("\n  {command} ")), "{command} in {}", out(&top));
        let help = run(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0));
        assert!(out(&help).contains("Example") && out(&help).contains(&format!("whytop {command}")), "{}", out(&help));
        assert!(out(&help).contains("--max-cpu"), "global options are in every help");
    }
}

#[test]
fn bad_use_is_told_and_ends_with_2() {
    for (args, said) in [
        (&["--frobnicate"][..], "--frobnicate"),
        (&["why", "--for", "5 parsecs"], "needs a unit of ms, s, m, h or d"),
        (&["--interval", "1ms"], "must lie between 100ms and 1h"),
        (&["--max-cpu", "0"], "must be above 0"),
        (&["frobnicate"], "frobnicate"),
        (&["snapshot", "--proc", "/nonexistent"], "--proc /nonexistent: No such file"),
        (&["snapshot", "--sys", "/etc/passwd"], "--sys /etc/passwd: not a directory"),
        (&["snapshot", "--theme", "nope"], "no theme `nope`"),
        (&["snapshot", "--config", "/nonexistent"], "/nonexistent: No such file"),
    ] {
        let (status, message) = failure(args);
        assert_eq!(status, 2, "{args:?}: {message}");
        assert!(message.contains(said), "{args:?}: {message}");
    }
}

#[test]
fn a_mistake_in_the_configuration_is_never_ignored() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("whytop/config.toml");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let with = |text: &str| {
        std::fs::write(&file, text).unwrap();
        whytop(&["snapshot"]).env("XDG_CONFIG_HOME", home.path()).output().unwrap()
    };
    assert_eq!(with("interval = \"2s\"\n").status.code(), Some(0));
    let mistake = with("intervall = 2\n");
    assert_eq!(mistake.status.code(), Some(2));
    let want = format!("whytop: {}: unknown key `intervall`; did you mean `interval`?\n", file.display());
    assert_eq!(err(&mistake), want);
}

#[test]
fn without_a_terminal_it_says_why_as_text() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(err(&output), "whytop: standard output is no terminal: no live screens, this is `whytop why`\n");
    assert!(out(&output).contains("looked for 5."), "{}", out(&output));
    assert!(!out(&output).contains('\x1b'));
}

#[test]
fn why_as_json_has_every_key() {
    let output = run(&["why", "--for", "1s", "--json"]);
    let why = json(&output);
    assert_eq!(why["schema"], 1);
    for key in ["host", "taken_at", "window_s", "cost", "sections", "stories", "findings", "history"] {
        assert!(!why[key].is_null(), "{key}");
    }
    assert!(why["taken_at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{}", why["taken_at"]);
    assert!((1.0..3.0).contains(&why["window_s"].as_f64().unwrap()), "{}", why["window_s"]);
    for key in ["cpu_ms", "samples", "rss_bytes"] {
        assert!(why["cost"][key].as_f64().unwrap() > 0.0, "{key}");
    }
    assert!(why["cost"]["samples"].as_u64().unwrap() >= 2, "at least one sample a second, and one at the end");
    let sections = why["sections"].as_object().unwrap();
    assert_eq!(sections.len(), 10);
    assert!(sections.values().all(|s| ["ok", "stale", "denied", "absent"].contains(&s.as_str().unwrap())));
}

#[test]
fn what_could_not_be_looked_at_is_not_calm() {
    let empty = tempfile::tempdir().unwrap();
    let dir = empty.path().to_str().unwrap();
    let args = ["why", "--for", "500ms", "--json", "--exit-code", "--proc", dir, "--sys", dir];
    let output = run(&args);
    assert_eq!(output.status.code(), Some(3), "{}", err(&output));
    assert_eq!(json(&output)["sections"]["memory"], "absent");
    assert_eq!(run(&["why", "--exit-code", "--config", "/nonexistent"]).status.code(), Some(3));
}

#[test]
fn another_tree_is_read_and_its_numbers_come_out() {
    let proc = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proc/linux-6.18");
    let sys = tempfile::tempdir().unwrap();
    let args = ["snapshot", "--json", "--proc", proc.to_str().unwrap(), "--sys", sys.path().to_str().unwrap()];
    let snap = json(&run(&args));
    assert_eq!(snap["own"]["pid"], 0, "a tree that is no procfs has no self");
    let meminfo = std::fs::read_to_string(proc.join("meminfo")).unwrap();
    let slab_kb: u64 = meminfo
        .lines()
        .find_map(|l| l.strip_prefix("SUnreclaim:")?.trim().strip_suffix(" kB"))
        .unwrap()
        .parse()
        .unwrap();
    let read = &snap["memory"]["Ok"]["data"]["meminfo"];
    let at = read["names"].as_array().unwrap().iter().position(|n| n == "SUnreclaim").unwrap();
    assert_eq!(read["values"][at], slab_kb * 1024);
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    for args in [&["completions", "bash"][..], &["snapshot", "--json"], &["man"], &["doctor"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = whytop(args).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), err(&output)), (Some(0), ""), "{args:?}");
    }
}

const OOM: &str =
    "[  100.000000] Out of memory: Killed process 7 (ja\u{9b}va) total-vm:1kB, anon-rss:2kB, file-rss:3kB\n";

#[test]
fn a_log_is_read_from_files_and_from_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("messages");
    std::fs::write(&file, OOM).unwrap();
    let path = file.to_str().unwrap();

    let of_file = run(&["log", "--json", path]);
    let mut child = whytop(&["log", "--json", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(OOM.as_bytes()).unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, of_file.stdout);
    assert!(out(&of_file).is_ascii(), "kernel text reaches no terminal as controls");
    let events = &json(&of_file)["events"];
    assert_eq!(
        (&events[0]["kind"], &events[0]["line"], &events[0]["victim_pid"]),
        (&"oom_kill".into(), &1.into(), &7.into())
    );

    let two = json(&run(&["log", "--json", path, path]));
    assert_eq!((two["events"].as_array().unwrap().len(), &two["events"][1]["file"]), (2, &path.into()));
    let text = run(&["log", path]);
    assert!(out(&text).contains("oom_kill") && !out(&text).contains('\u{9b}'), "{}", out(&text));

    let (status, message) = failure(&["log", "/nonexistent"]);
    assert_eq!(status, 1);
    assert!(message.contains("/nonexistent can't be read: No such file"), "{message}");
}

#[test]
fn completions_and_the_manual_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        for command in ["why", "show", "snapshot", "kill", "log", "doctor"] {
            assert!(out(&output).contains(command), "{shell}: {command}");
        }
    }
    let page = run(&["man"]);
    assert!(out(&page).contains(".TH whytop 1") && out(&page).contains("doctor"), "{}", out(&page));
}

#[test]
fn doctor_says_where_the_screens_write() {
    let state = tempfile::tempdir().unwrap();
    let detail = |args: &[&str], home: &Path| {
        let out = whytop(args).env("XDG_STATE_HOME", home).output().unwrap();
        let checks = json(&out);
        let checks = checks["checks"].as_array().unwrap().clone();
        checks.into_iter().find(|c| c["name"] == "files").unwrap()["detail"].as_str().unwrap().to_owned()
    };
    let words = detail(&["doctor", "--json"], state.path());
    let dir = state.path().join("whytop");
    assert!(words.contains(&*dir.to_string_lossy()) && words.contains("when work begins to fail"), "{words}");
    assert!(!dir.exists(), "it only looks");
    assert!(detail(&["doctor", "--json", "--read-only"], state.path()).contains("only on w"));
}

#[test]
fn doctor_gives_a_fix_for_everything_refused() {
    let checks = json(&run(&["doctor", "--json"]));
    let checks = checks["checks"].as_array().unwrap();
    for name in ["tasks", "sockets", "klog", "slab", "memory locked", "entering network namespaces", "docker"] {
        assert!(checks.iter().any(|c| c["name"] == name), "{name}");
    }
    for check in checks {
        assert_eq!(check["state"] == "denied", check["fix"].is_string(), "{check}");
        assert_ne!(check["detail"], "", "{check}");
    }
}

/// The binary where every user can run it, and the arguments to run it as one without rights.
fn as_ordinary_user(args: &[&str]) -> (tempfile::TempDir, Command) {
    let dir = tempfile::tempdir().unwrap();
    let binary: PathBuf = dir.path().join("whytop");
    std::fs::copy(env!("CARGO_BIN_EXE_whytop"), &binary).unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(binary);
    command.args(args).env_clear().current_dir("/").stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    (dir, command)
}

#[test]
fn an_ordinary_user_sees_what_it_may_and_is_told_the_rest() {
    let (_dir, mut command) = as_ordinary_user(&["why", "--for", "1s", "--json"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let sections = &json(&output)["sections"];
    assert_eq!(
        (&sections["tasks"], &sections["sockets"], &sections["memory"]),
        (&"ok".into(), &"ok".into(), &"ok".into())
    );
    assert_eq!(sections["slab"], "denied");

    let (_dir, mut command) = as_ordinary_user(&["why", "--for", "500ms"]);
    let text = command.output().unwrap();
    assert!(out(&text).contains("not seen   slab (/proc/slabinfo): "), "{}", out(&text));
}

/// In a container whose pid 1 never waits, what a program leaves behind stays as a zombie.
#[test]
fn no_process_is_left_behind() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    assert_eq!(run(&["snapshot"]).status.code(), Some(0));
    let ours = format!(" {} ", std::process::id());
    for entry in std::fs::read_dir("/proc").unwrap() {
        let stat = std::fs::read_to_string(entry.unwrap().path().join("stat")).unwrap_or_default();
        let left = stat.contains("(whytop-reader) ")
            && stat.split(") ").last().is_some_and(|s| s.get(1..).is_some_and(|s| s.starts_with(&ours)));
        assert!(!left, "{stat}");
    }
}

#[test]
fn a_pane_is_rows_by_column_or_a_table() {
    let this = std::process::id().to_string();
    let tasks = json(&run(&["show", "tasks", "--json", "--interval", "500ms", "--filter", &format!("pid={this}")]));
    assert_eq!(tasks["schema"], 1);
    let rows = tasks["rows"].as_array().unwrap();
    assert!(rows.iter().any(|r| r["pid"].to_string().trim_matches('"') == this), "{tasks}");

    let table = run(&["show", "tasks", "--interval", "500ms", "--top", "2"]);
    assert_eq!(out(&table).lines().count(), 3, "{}", out(&table));
    assert!(err(&table).starts_with("whytop: 2 of "), "{}", err(&table));

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = json(&run(&["show", "tcp", "--json", "--interval", "500ms"]));
    drop(listener);
    let own = tcp["rows"].as_array().unwrap().iter().find(|r| r["task"]["pid"] == std::process::id()).unwrap();
    assert!(own["states"]["listen"].as_u64().unwrap() >= 1 && own["states"]["syn_sent"] == 0, "{own}");
    assert_eq!(own["states"].as_object().unwrap().len(), 11);
}

#[test]
fn what_show_can_not_show_is_bad_use() {
    for (args, said) in [
        (&["show", "nope"][..], "possible values: why, tcp, tasks"),
        (&["show", "tasks", "--sort", "nope"], "no column `nope`; columns: "),
        (&["show", "tasks", "--filter", "nope>1"], "filter: no column `nope`"),
        (&["show", "tcp", "--view", "nope"], "no view `nope`; views: process remote"),
    ] {
        let (status, message) = failure(args);
        assert_eq!(status, 2, "{args:?}: {message}");
        assert!(message.contains(said), "{args:?}: {message}");
    }
}

#[test]
fn one_bad_file_of_many_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good");
    std::fs::write(&good, "[1.0] Out of memory: Killed process 7 (java) total-vm:1kB, anon-rss:2kB\n").unwrap();
    let (dir, good) = (dir.path().to_str().unwrap(), good.to_str().unwrap());
    let output = run(&["log", dir, good]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains(&format!("{dir} can't be read")), "{}", err(&output));
    assert!(out(&output).contains("java(7)"), "{}", out(&output));
}

#[test]
fn what_a_filter_cannot_mean_is_bad_use() {
    for filter in ["rss>", "rss>abc", "nosuch>5"] {
        let output = run(&["show", "tasks", "--filter", filter]);
        assert_eq!((output.status.code(), out(&output)), (Some(2), ""), "{filter}");
        assert!(err(&output).starts_with("whytop: filter: "), "{}", err(&output));
    }
}

#[test]
fn a_tree_without_a_process_is_no_calm_host() {
    let dir = tempfile::tempdir().unwrap();
    let proc = dir.path().to_str().unwrap();
    let why = run(&["why", "--for", "500ms", "--proc", proc]);
    assert!(out(&why).contains("whytop could not look at this host."), "{}", out(&why));
    let show = run(&["show", "tasks", "--proc", proc, "--interval", "500ms"]);
    assert_eq!(show.status.code(), Some(1));
    assert!(err(&show).contains("no process in it"), "{}", err(&show));
}

/// Children of a process that have exited and were not waited for.
fn zombies(pid: u32) -> usize {
    let parent = format!(" Z {pid} ");
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = all.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(&parent))).count()
}

#[test]
fn what_looks_for_zombies_leaves_none() {
    let mut watch = whytop(&["watch", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let (mut said, mut line) = (BufReader::new(watch.stdout.take().unwrap()), String::new());
    said.read_line(&mut line).unwrap();
    assert!(line.contains("looking"), "{line}");
    let left = zombies(watch.id());
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(left, 0);
}

#[test]
fn a_mistake_in_a_file_is_shown_in_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    std::fs::write(&file, "interval = [\x1b").unwrap();
    let output = run(&["--config", file.to_str().unwrap(), "doctor"]);
    assert_eq!(output.status.code(), Some(2));
    let told = err(&output);
    assert!(told.lines().count() > 2 && told.contains("\n1 | ") && !told.contains('\x1b'), "{told}");
}

/// A recording of this repository: in it a container kills again and again from its 13th to its 30th second of 37.
fn story_d() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stories/d-oom-spiral.wtr")
}

fn why_from(file: &Path, more: &[&str]) -> (Value, Option<i32>) {
    let output = run(&[&["why", "--exit-code", "--json", "--from", file.to_str().unwrap()], more].concat());
    (json(&output), output.status.code())
}

/// Ids of the findings, those that are true at the end marked.
fn found(said: &Value) -> Vec<(&str, bool)> {
    let all = said["findings"].as_array().unwrap().iter();
    all.map(|f| (f["id"].as_str().unwrap(), f["active"].as_bool().unwrap())).collect()
}

#[test]
fn why_from_a_recording_says_what_happened_in_it() {
    let (said, status) = why_from(&story_d(), &[]);
    assert_eq!((&said["schema"], status), (&1.into(), Some(2)));
    assert_eq!((&said["host"]["name"], &said["taken_at"]), (&"dock-4".into(), &"2026-11-22T08:57:52.874Z".into()));
    assert_eq!((&said["cost"]["samples"], said["window_s"].as_f64().unwrap() > 37.0), (&40.into(), true));
    for id in ["cgroup.at_limit", "cgroup.oom_kill", "task.respawn_loop", "task.zombie_pile"] {
        assert!(found(&said).iter().any(|(found, _)| *found == id), "{id}: {said:#}");
    }
    assert!(found(&said).contains(&("cgroup.at_limit", false)), "it was over at the end");

    let text = run(&["why", "--from", story_d().to_str().unwrap()]);
    assert!(out(&text).starts_with("whytop dock-4 "), "{}", out(&text));
    assert!(out(&text).contains("recorded for 37.5 s, 40 samples"), "{}", out(&text));
    assert!(out(&text).contains("\nCRITICAL  docker container 3f1c8a52d9e0 hits its memory limit"), "{}", out(&text));
}

#[test]
fn the_report_of_many_of_a_kind_tells_one_and_lists_the_others() {
    let report = run(&["report", story_d().to_str().unwrap()]);
    let text = out(&report);
    assert!(
        text.contains("\n19 more like it:\n") && text.contains("java(147) in 3f1c8a52d9e0 and 19 more |"),
        "{text}"
    );
    assert!(text.lines().count() < 300, "{text}");
}

#[test]
fn why_at_a_time_of_a_recording_says_what_was_true_then() {
    let (calm, status) = why_from(&story_d(), &["--at", "2026-11-22T08:57:18Z"]);
    assert_eq!((found(&calm), status, &calm["cost"]["samples"]), (vec![], Some(0), &1.into()));
    let (sick, status) = why_from(&story_d(), &["--at", "08:57:40"]);
    assert_eq!((&sick["taken_at"], status), (&"2026-11-22T08:57:39.940Z".into(), Some(2)));
    assert!(found(&sick).contains(&("cgroup.at_limit", true)), "{sick:#}");
    assert!(found(&sick).iter().all(|(_, active)| *active), "{sick:#}");
    for story in sick["stories"].as_array().unwrap() {
        let members = story["findings"].as_array().unwrap();
        assert!(members.contains(&story["root"]), "{story}");
        assert!(members.iter().all(|i| i.as_u64().unwrap() < found(&sick).len() as u64), "{story}");
    }
    // From the end, and a minute that the recording begins in.
    assert_eq!(why_from(&story_d(), &["--at=-12900ms"]).0, sick);
    assert_eq!(why_from(&story_d(), &["--at", "08:57"]).0["taken_at"], "2026-11-22T08:57:15.404Z");

    let text = run(&["why", "--from", story_d().to_str().unwrap(), "--at", "08:57:40"]);
    assert!(out(&text).contains("08:57:39.940Z: recorded, as it was then\n"), "{}", out(&text));
}

#[test]
fn why_from_a_torn_recording_says_what_is_left_and_from_none_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let whole = std::fs::read(story_d()).unwrap();
    // Its last index and the end of its last sample are gone.
    let (torn, status) = why_from(&write("torn", &whole[..whole.len() - 1500]), &[]);
    assert_eq!(status, Some(2));
    assert!(torn["cost"]["samples"].as_u64().unwrap() < 40, "{torn:#}");
    assert!(found(&torn).contains(&("cgroup.oom_kill", true)), "{torn:#}");

    let refused = |path: &Path, more: &[&str]| failure(&[&["why", "--from", path.to_str().unwrap()], more].concat());
    let (missing, other) = (dir.path().join("missing"), write("other", b"MemTotal:  16 kB\n"));
    assert_eq!(
        refused(&missing, &[]),
        (1, format!("whytop: {}: No such file or directory (os error 2)\n", missing.display()))
    );
    assert_eq!(refused(&other, &[]), (1, format!("whytop: {}: is no recording of whytop\n", other.display())));
    let empty = write("empty", b"");
    assert_eq!(refused(&empty, &[]), (1, format!("whytop: {}: is empty\n", empty.display())));
    // A header and nothing more.
    let begun = write("begun", &whole[..300]);
    assert_eq!(refused(&begun, &[]), (1, format!("whytop: {}: holds no sample\n", begun.display())));
    assert_eq!(refused(dir.path(), &[]), (1, format!("whytop: {}: is a directory\n", dir.path().display())));
    let (status, said) = refused(&story_d(), &["--at", "noon"]);
    assert_eq!((status, said.starts_with("whytop: --at: \"noon\" is no time")), (2, true), "{said}");
    let outside = "whytop: --at: 03:12 lies outside the recording, which is from 2026-11-22T08:57:15.404Z to 2026-11-22T08:57:52.874Z\n";
    assert_eq!(refused(&story_d(), &["--at", "03:12"]), (2, outside.into()));
    // Of a recording that cannot be read nothing is known: as of a host that can't be looked at.
    let output = run(&["why", "--exit-code", "--from", missing.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
}
