//! Kernel logs of many hosts and kernels, as files: `tests/fixtures/kmsg` and what can be made of it.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use std::fmt::Write;
use std::path::PathBuf;
use whytop::collect::klog::{Parser, json, parse_log};
use whytop::snapshot::LogEvent;

/// The logs with what is expected of them; none in a published package, which leaves them out.
fn corpus() -> Vec<(String, Vec<u8>, Value)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kmsg");
    let Ok(entries) = std::fs::read_dir(&dir) else {
        println!("SKIPPED: no {}", dir.display());
        return Vec::new();
    };
    let mut logs: Vec<_> = entries
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|x| x == "log"))
        .map(|p| {
            let spec = serde_json::from_slice(&std::fs::read(p.with_extension("json")).unwrap()).unwrap();
            (p.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&p).unwrap(), spec)
        })
        .collect();
    logs.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(logs.len() > 50, "{} logs", logs.len());
    logs
}

/// Whether `got` has all that `want` says; a null stands for an absent field.
fn holds(got: &Value, want: &Value) -> Result<(), String> {
    for (name, value) in want.as_object().unwrap() {
        let has = got.get(name).unwrap_or(&Value::Null);
        if has != value {
            return Err(format!("{name} is {has}, not {value}, in {got}"));
        }
    }
    Ok(())
}

#[test]
fn every_log_gives_its_events_and_no_others() {
    for (name, log, spec) in corpus() {
        let mut left: Vec<Value> = parse_log(&log).iter().map(json).collect();
        for want in spec["expected_events"].as_array().unwrap() {
            let same = |e: &Value| e["kind"] == want["kind"] && e["line"] == want["line"];
            let at = left.iter().position(same).unwrap_or_else(|| panic!("{name}: no {want} in {left:#?}"));
            if let Err(why) = holds(&left.remove(at), want) {
                panic!("{name}: {why}");
            }
        }
        assert!(left.is_empty(), "{name}: unexpected {left:#?}");
    }
}

#[test]
fn blocks_and_single_lines_are_one_log() {
    for (name, log, _) in corpus() {
        let whole = parse_log(&log);
        let mut parser = Parser::new();
        for (no, line) in log.split(|b| *b == b'\n').enumerate() {
            parser.feed(no as u64 + 1, line);
        }
        let mut single = parser.finish();
        single.sort_by_key(|e| e.line);
        assert_eq!(single, whole, "{name}");
    }
}

/// A kill must be told when its Killed line is there, not when something comes after it.
#[test]
fn a_live_log_tells_a_kill_at_once() {
    for (name, log, spec) in corpus() {
        let of_kind =
            |kind: &str| spec["expected_events"].as_array().unwrap().iter().filter(|e| e["kind"] == kind).count();
        let mut parser = Parser::new();
        let mut kills = 0;
        for (no, line) in log.split(|b| *b == b'\n').enumerate() {
            parser.feed(no as u64 + 1, line);
            if memchr::memmem::find(line, b"Killed process").is_some() {
                kills += parser.flush_idle().iter().filter(|e| &*e.kind == "oom_kill").count();
            }
        }
        assert_eq!(kills, of_kind("oom_kill"), "{name}");
        assert!(!parser.finish().iter().any(|e| &*e.kind == "oom_kill"), "{name}");
    }
}

/// A record of the kernel's: level, microseconds, text.
struct Record {
    prio: u32,
    level: &'static str,
    usec: u64,
    text: Vec<u8>,
}

/// The records of a log in the form of /dev/kmsg.
fn records(log: &[u8]) -> Vec<Record> {
    let text = String::from_utf8(log.to_vec()).unwrap();
    let mut records = Vec::new();
    for line in text.lines().filter(|l| !l.starts_with(' ')) {
        let (head, text) = line.split_once(';').unwrap();
        let mut head = head.split(',');
        let prio: u32 = head.next().unwrap().parse().unwrap();
        let usec = head.nth(1).unwrap().parse().unwrap();
        let text = text.replace("\\x0a", "\n").replace("\\x09", "\t");
        assert!(!text.contains("\\x"), "{text}");
        if prio < 8 {
            let level = LEVELS.get(prio as usize).unwrap();
            records.push(Record { prio, level, usec, text: text.into_bytes() });
        }
    }
    records
}

/// What a kind of file writes before each line of a record.
type Prefix = fn(&Record) -> String;

fn seconds(r: &Record) -> String {
    format!("{:5}.{:06}", r.usec / 1_000_000, r.usec % 1_000_000)
}

fn clock(r: &Record) -> String {
    let s = r.usec / 1_000_000;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];

#[rustfmt::skip]
const PREFIXES: &[(&str, Prefix)] = &[
    ("dmesg", |r| format!("[{}] ", seconds(r))),
    ("dmesg, callers", |r| format!("[{}][  T104] ", seconds(r))),
    ("dmesg of util-linux 2.41, callers", |r| format!("[{}] [    C1] ", seconds(r))),
    ("dmesg -r", |r| format!("<{}>[{}] ", r.prio, seconds(r))),
    ("dmesg -x", |r| format!("kern  :{:<6}: [{}] ", r.level, seconds(r))),
    ("dmesg -x -T", |r| format!("kern  :{:<6}: [Sat Nov 21 {} 2026] ", r.level, clock(r))),
    ("dmesg -d", |r| format!("[{} <    0.000012>] ", seconds(r))),
    ("dmesg -T", |r| format!("[Sat Nov 21 {} 2026] ", clock(r))),
    ("dmesg -e", |r| if r.prio == 3 { "[Nov21 12:35] ".into() } else { "[  +0.000012] ".into() }),
    ("dmesg iso", |r| format!("2026-11-21T{},{:06}+00:00 ", clock(r), r.usec % 1_000_000)),
    ("dmesg, colours", |r| format!("\x1b[32m[{}] \x1b[0m\x1b[1m", seconds(r))),
    ("bare", |_| String::new()),
    ("syslog", |r| format!("Nov 21 {} web03 kernel: ", clock(r))),
    ("syslog, one digit", |r| format!("Nov  1 {} web03 kernel: ", clock(r))),
    ("syslog, time", |r| format!("Nov 21 {} web03 kernel: [{}] ", clock(r), seconds(r))),
    ("syslog, priority", |r| format!("<{}>Nov 21 {} web03 kernel: [{}] ", r.prio, clock(r), seconds(r))),
    ("syslog, callers", |r| format!("Nov 21 {} web03 kernel: [{}][  T104] ", clock(r), seconds(r))),
    ("rsyslog", |r| format!("2026-11-21T{}.{:06}+01:00 web03 kernel: [{}] ", clock(r), r.usec % 1_000_000, seconds(r))),
    ("RFC 5424", |r| format!("<{}>1 2026-11-21T{}.1Z web03 kernel - - - [{}] ", r.prio, clock(r), seconds(r))),
    ("journal", |r| format!("Nov 21 {} web03 kernel: ", clock(r))),
    ("journal, short-precise", |r| format!("Nov 21 {}.{:06} web03 kernel: ", clock(r), r.usec % 1_000_000)),
    ("journal, short-iso", |r| format!("2026-11-21T{}+0000 web03 kernel: ", clock(r))),
    ("journal, short-iso-precise", |r| format!("2026-11-21T{}.{:06}+00:00 web03 kernel: ", clock(r), r.usec % 1_000_000)),
    ("journal, short-full", |r| format!("Sat 2026-11-21 {} UTC web03 kernel: ", clock(r))),
    ("journal, short-unix", |r| format!("17{:08}.{:06} web03 kernel: ", r.usec / 1_000_000, r.usec % 1_000_000)),
    ("journal, short-monotonic", |r| format!("[{}] web03 kernel: ", seconds(r))),
    ("logread", |r| format!("Sat Nov 21 {} 2026 kern.{} kernel: [{}] ", clock(r), r.level, seconds(r))),
    ("busybox syslogd", |r| format!("Nov 21 {} web03 kern.{} kernel: [{}] ", clock(r), r.level, seconds(r))),
];

fn wrapped(records: &[Record], prefix: Prefix, end: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        for line in record.text.split(|b| *b == b'\n') {
            out.extend_from_slice(prefix(record).as_bytes());
            out.extend_from_slice(line);
            out.extend_from_slice(end);
        }
    }
    out
}

/// What events say, without where and when.
fn said(events: &[LogEvent]) -> Vec<String> {
    let mut said: Vec<_> = events
        .iter()
        .map(|e| {
            let mut e = e.clone();
            e.fields.remove("stamp");
            format!("{} {:?} {}", e.kind, e.fields, e.text)
        })
        .collect();
    said.sort();
    said
}

#[test]
fn the_wrapping_makes_no_difference() {
    for (name, log, _) in corpus().into_iter().filter(|(name, ..)| name.contains(".kmsg.")) {
        let records = records(&log);
        let want = said(&parse_log(&log));
        for (form, prefix) in PREFIXES {
            let got = said(&parse_log(&wrapped(&records, *prefix, b"\n")));
            assert_eq!(got, want, "{name} as {form}");
        }
        let got = said(&parse_log(&wrapped(&records, PREFIXES[0].1, b"\r\n")));
        assert_eq!(got, want, "{name} from a serial console");
        let mut journal = Vec::new();
        for r in &records {
            let entry = serde_json::json!({"_TRANSPORT": "kernel", "PRIORITY": r.level.to_string(), "SYSLOG_FACILITY": "0",
                "_SOURCE_MONOTONIC_TIMESTAMP": r.usec.to_string(), "MESSAGE": String::from_utf8_lossy(&r.text)});
            journal.extend_from_slice(entry.to_string().as_bytes());
            journal.push(b'\n');
        }
        // A multi-line record stays one entry here: the journal's exporter keeps its line breaks.
        assert_eq!(said(&parse_log(&journal)), want, "{name} as the journal's JSON");
    }
}

#[test]
fn what_programs_write_is_never_the_kernels() {
    #[rustfmt::skip]
    let foreign: &[Prefix] = &[
        |r| format!("{},1,{},-;", 8 + r.prio, r.usec),
        |r| format!("<{}>[{}] ", 24 + r.prio, seconds(r)),
        |r| format!("user  :{:<6}: [{}] ", r.level, seconds(r)),
        |r| format!("Nov 21 {} web03 sshd[1]: ", clock(r)),
        |r| format!("2026-11-21T{}.1+00:00 web03 systemd[1]: ", clock(r)),
        |r| format!("<30>1 2026-11-21T{}.1Z web03 app 77 - - ", clock(r)),
        |r| format!("Nov 21 {} web03 k3s: kernel: ", clock(r)),
    ];
    for (name, log, _) in corpus().into_iter().filter(|(name, ..)| name.contains(".kmsg.")) {
        for prefix in foreign {
            let events = parse_log(&wrapped(&records(&log), *prefix, b"\n"));
            assert!(events.is_empty(), "{name}: {events:#?}");
        }
    }
    let journal = br#"{"_TRANSPORT":"syslog","SYSLOG_IDENTIFIER":"kernel","MESSAGE":"possible SYN flooding on port 80. Sending cookies."}"#;
    assert!(parse_log(journal).is_empty());
}

#[test]
fn boot_times_are_told_and_wall_clocks_are_not_invented() {
    let line = "TCP: time wait bucket table overflow\n";
    let only = |log: String| json(&parse_log(log.as_bytes())[0]);
    assert_eq!(only(format!("[  153.556289] {line}"))["boot_time_s"], 153.556_289);
    let year_less = only(format!("May 28 08:12:30 www2 kernel: {line}"));
    assert_eq!((&year_less["boot_time_s"], &year_less["stamp"]), (&Value::Null, &Value::from("May 28 08:12:30")));
    let bare = only(line.into());
    assert_eq!((&bare["boot_time_s"], &bare["stamp"]), (&Value::Null, &Value::Null));
}

/// Two reports that run at once on two CPUs, told apart by the caller that the kernel prints.
#[test]
fn interleaved_reports_stay_apart() {
    let logs = corpus();
    let of = |name: &str| logs.iter().find(|l| l.0.starts_with(name)).map(|l| records(&l.1));
    let (Some(a), Some(b)) = (of("k61-v1-memcg-oom-docker.kmsg"), of("k61-v2-pod-limit.kmsg")) else { return };
    let one =
        |r: &Record, caller: &str| wrapped(std::slice::from_ref(r), PREFIXES[11].1, format!("|{caller}\n").as_bytes());
    let mut mixed = String::new();
    for (x, y) in a.iter().zip(&b) {
        for (record, caller) in [(x, "T101"), (y, "T106")] {
            for line in String::from_utf8(one(record, caller)).unwrap().lines() {
                let text = line.strip_suffix(&format!("|{caller}")).unwrap();
                writeln!(mixed, "[{}][{caller:>6}] {text}", seconds(x)).unwrap();
            }
        }
    }
    let mut apart = said(&parse_log(&wrapped(&a, PREFIXES[11].1, b"\n")));
    apart.extend(said(&parse_log(&wrapped(&b, PREFIXES[11].1, b"\n"))));
    apart.sort();
    assert_eq!(said(&parse_log(mixed.as_bytes())), apart);
}

/// 3.10 has no callers and no lock round a memcg's report.
#[test]
fn interleaved_reports_of_el7_are_told_apart_by_what_they_say() {
    let report = |comm: &str, pid: u32, path: &str, kb: u32| {
        vec![
            format!("{comm} invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0"),
            format!("{comm} cpuset=x mems_allowed=0-1"),
            format!("CPU: 5 PID: {pid} Comm: {comm} Not tainted 3.10.0-862.el7.x86_64 #1"),
            "Call Trace:".into(),
            " [<ffffffff8158fc1c>] dump_stack+0x19/0x1b".into(),
            format!("Task in {path} killed as a result of limit of {path}"),
            format!("memory: usage {kb}kB, limit {kb}kB, failcnt {pid}"),
            format!("memory+swap: usage {kb}kB, limit 9007199254740988kB, failcnt 0"),
            format!("kmem: usage {pid}kB, limit 9007199254740988kB, failcnt 0"),
            format!("Memory cgroup out of memory: Kill process {pid} ({comm}) score 900 or sacrifice child"),
            format!("Killed process {pid} ({comm}) total-vm:{kb}kB, anon-rss:{kb}kB, file-rss:0kB"),
        ]
    };
    let (a, b) = (report("java", 101, "/docker/a", 1000), report("node", 202, "/docker/b", 2000));
    let apart = [said(&parse_log(a.join("\n").as_bytes())), said(&parse_log(b.join("\n").as_bytes()))].concat();
    // b runs `lag` lines behind a.
    for lag in 0..=a.len() {
        let mut lines: Vec<(usize, &String)> = a.iter().enumerate().map(|(i, l)| (2 * i, l)).collect();
        lines.extend(b.iter().enumerate().map(|(i, l)| (2 * (i + lag) + 1, l)));
        lines.sort_by_key(|(order, _)| *order);
        let mixed: Vec<_> = lines.iter().map(|(_, l)| l.as_str()).collect();
        assert_eq!(said(&parse_log(mixed.join("\n").as_bytes())), apart, "lag {lag}");
    }
}

/// As 6.18 printed it: the leader had ended, so the OOM killer took hold of the process by another thread.
#[test]
fn a_victim_whose_leader_has_ended_is_its_process() {
    let oom_kill = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/web,task_memcg=/web,task=agent,pid=17962,uid=0";
    let killed = "Memory cgroup out of memory: Killed process 17975 (agent) total-vm:1170144kB, anon-rss:153344kB, file-rss:2704kB, shmem-rss:0kB, UID:0 pgtables:468kB oom_score_adj:0";
    let log = [
        "agent invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        "CPU: 1 UID: 0 PID: 17975 Comm: agent Not tainted 6.18.44-fc-v669 #1 PREEMPT(none) ",
        oom_kill,
        killed,
        "oom_reaper: reaped process 17975 (agent), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
    ];
    let events = parse_log(log.join("\n").as_bytes());
    assert_eq!(events.len(), 1, "{events:?}");
    let e = &events[0];
    assert_eq!(
        (e.int("victim_pid"), e.int("trigger_pid"), e.str("oom_memcg")),
        (Some(17962), Some(17975), Some("/web"))
    );
    assert_eq!((e.int("anon_rss_kb"), e.fields.contains_key("partial")), (Some(153_344), false));
}

#[test]
fn a_long_log_needs_little() {
    // A day of unrelated lines between two bursts must neither fold them nor be remembered.
    let mut log = String::new();
    for hour in 0..24 {
        writeln!(log, "[{}.000000] TCP: time wait bucket table overflow", hour * 3600).unwrap();
        log.push_str(&format!("[{}.000000] eth0: link up\n", hour * 3600 + 1).repeat(5000));
    }
    let events = parse_log(log.as_bytes());
    assert_eq!(events.len(), 24);
    assert!(events.iter().all(|e| e.int("lines") == Some(1)));
    assert_eq!(events[23].line, 23 * 5001 + 1);
}

#[test]
fn syslog_daemons_fold_repeats() {
    let log = "May 28 08:12:30 w kernel: TCP: time wait bucket table overflow\n\
        May 28 08:12:31 w last message repeated 8 times\n\
        May 28 08:12:31 w kernel: message repeated 3 times: [ TCP: time wait bucket table overflow]\n\
        May 28 08:12:32 w last message repeated 2 times\n\
        May 28 08:12:32 w sshd[3]: x\n\
        May 28 08:12:33 w last message repeated 99 times\n";
    let events = parse_log(log.as_bytes());
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].int("lines"), Some(14));
}

/// A run that keeps no file of failures beside this one.
fn no_files() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// Lines of all logs, to be mixed.
fn all_lines() -> Vec<Vec<u8>> {
    corpus().iter().flat_map(|(_, log, _)| log.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
}

#[test]
fn no_mixture_of_lines_or_cut_lines_panics() {
    let lines = all_lines();
    if lines.is_empty() {
        return;
    }
    let mut runner = TestRunner::new(no_files());
    let pick = proptest::collection::vec((0..lines.len(), 0..400_usize, any::<u8>()), 1..120);
    runner
        .run(&pick, |picks| {
            let mut parser = Parser::new();
            let mut log = Vec::new();
            for (line, cut, action) in picks {
                let line = &lines[line];
                let cut = &line[..cut.min(line.len())];
                log.extend_from_slice(cut);
                log.push(b'\n');
                parser.feed(u64::from(action), cut);
                if action % 7 == 0 {
                    let _ = parser.flush_idle();
                }
            }
            let _ = parser.finish();
            for event in parse_log(&log) {
                prop_assert!(json(&event).is_object() && event.line > 0);
            }
            Ok(())
        })
        .unwrap();
}

proptest! {
    #![proptest_config(no_files())]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse_log(&bytes);
    }

    #[test]
    fn no_text_panics(text in r#"(<[0-9]{1,3}>|\[ {0,3}[0-9.]{1,12}\]|[A-Z][a-z]{2} [0-9 ]{2} [0-9:]{8} |[0-9,]{1,12};|kern :warn : |\{"|kernel: |host |INFO: task |Killed process |oom-kill:constraint=|[a-z():,\[\] 0-9=\\-]{0,12}|é|\n){0,40}"#) {
        let _ = parse_log(text.as_bytes());
    }
}
