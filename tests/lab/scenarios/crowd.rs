//! Counting: on a crowded host, two network namespaces, every process has the sockets `ss` gives it and the threads `ps`
//! gives it, state by state.

use crate::kit::{Expect, Look, Scenario, Stage, must, until, whytop};
use serde_json::Value;
use std::collections::BTreeMap;

pub const ALL: &[Scenario] = &[Scenario {
    name: "crowd_counts_equal_ss_and_ps",
    root: true,
    tools: &["ss", "ps", "nsenter", "unshare", "ip"],
    stage,
    expects,
    may_say: &["tcp.listen_overflow"],
    check,
    ..Scenario::BASE
}];

fn stage() -> Stage {
    let mut stage = Stage::default();
    for _ in 0..30 {
        stage.actor(&["threads", "10"]);
    }
    stage.actor(&["server", "22001", "250"]);
    stage.actor(&["client", "22001", "3000"]);
    stage.actor(&["syn-sent", "22002", "200"]);
    stage.actor(&["zombies", "40"]);
    stage.pid = stage.actor_in(&["unshare", "-n"], &["server", "22001", "10"]);
    let inside = stage.pid.to_string();
    stage.actor_in(&["nsenter", "-t", &inside, "-n"], &["client", "22001", "700"]);
    until("the closed connections are in CLOSE_WAIT", || {
        must("ss", &["-tanH", "state", "close-wait", "dport = :22001"]).lines().count() == 250
    });
    stage
}

/// Whether a process is one of this crowd: others come and go between two looks.
fn crowd(comm: &str) -> bool {
    ["crowd-", "amq-", "bad-"].iter().any(|c| comm.starts_with(c))
}

/// Sockets or threads by process and state.
type Tally = BTreeMap<(u64, String), u64>;

fn expects(_: &Stage) -> Vec<Expect> {
    let about = |comm: &'static str| move |s: &Value| s["comm"] == comm;
    vec![
        Expect::warning("tcp.syn_sent_pile").about(about("amq-client")).to(22002),
        Expect::warning("tcp.close_wait_pile").about(about("crowd-client")),
        Expect::warning("task.zombie_pile").about(about("bad-parent")),
    ]
}

fn check(_: &Look, stage: &Stage) -> Result<(), String> {
    let inside = stage.pid.to_string();
    let mut by_ss = Tally::new();
    for text in [must("ss", &["-tanpH"]), must("nsenter", &["-t", &inside, "-n", "ss", "-tanpH"])] {
        tally_ss(&text, &mut by_ss);
    }
    let ours = tally_ours(&read(&["show", "tcp", "--json"]));
    differ("sockets of (pid, state)", &by_ss, &ours)?;

    let ps = must("ps", &["-eLo", "pid=,stat=,comm="]);
    let mut threads = Tally::new();
    for words in ps.lines().map(|l| l.split_whitespace().collect::<Vec<_>>()) {
        if words.len() > 2 && crowd(words[2]) {
            *threads.entry((words[0].parse().unwrap_or(0), words[1].chars().take(1).collect())).or_default() += 1;
        }
    }
    let snapshot = read(&["snapshot", "--json"]);
    differ("threads of (pid, state)", &threads, &tally_threads(&snapshot))
}

fn read(args: &[&str]) -> Value {
    serde_json::from_slice(&whytop(args).output().expect("run whytop").stdout).expect("JSON")
}

fn differ(what: &str, theirs: &Tally, ours: &Tally) -> Result<(), String> {
    let keys: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    let wrong: Vec<String> = keys
        .into_iter()
        .filter(|k| theirs.get(k) != ours.get(k))
        .map(|k| format!("{k:?}: theirs {:?}, ours {:?}", theirs.get(k), ours.get(k)))
        .collect();
    if theirs.is_empty() || !wrong.is_empty() { Err(format!("{what}: {}", wrong.join("; "))) } else { Ok(()) }
}

/// Lines of `ss -tanpH`: state, queues, local, remote, and `users:(("comm",pid=1,fd=2))` where a process holds it. A
/// connection that was not accepted yet belongs to the process that listens on its local port.
fn tally_ss(text: &str, into: &mut Tally) {
    let pid = |line: &str| {
        line.split("((\"")
            .nth(1)
            .filter(|users| crowd(users))?
            .split("pid=")
            .nth(1)
            .and_then(|r| r.split(',').next()?.parse::<u64>().ok())
    };
    let local = |line: &str| line.split_whitespace().nth(3).map(str::to_owned);
    let listeners: BTreeMap<_, _> =
        text.lines().filter(|l| l.starts_with("LISTEN")).filter_map(|l| Some((local(l)?, pid(l)?))).collect();
    for line in text.lines() {
        let state = match line.split_whitespace().next().unwrap_or("") {
            "ESTAB" => "established",
            "SYN-SENT" => "syn_sent",
            "CLOSE-WAIT" => "close_wait",
            "LISTEN" => "listen",
            _ => continue,
        };
        let Some(pid) = pid(line).or_else(|| listeners.get(&local(line)?).copied()) else { continue };
        *into.entry((pid, state.to_owned())).or_default() += 1;
    }
}

fn tally_ours(json: &Value) -> Tally {
    let mut tally = Tally::new();
    for row in json["rows"].as_array().into_iter().flatten() {
        let Some(pid) = row["task"]["pid"].as_u64() else { continue };
        if !crowd(row["task"]["comm"].as_str().unwrap_or("")) {
            continue;
        }
        for state in ["established", "syn_sent", "close_wait", "listen"] {
            let n = row["states"][state].as_u64().unwrap_or(0);
            if n > 0 {
                *tally.entry((pid, state.to_owned())).or_default() += n;
            }
        }
    }
    tally
}

fn tally_threads(json: &Value) -> Tally {
    let mut tally = Tally::new();
    let tasks = json.pointer("/tasks/Ok/data/rows").and_then(Value::as_array);
    for row in tasks.into_iter().flatten().filter(|r| crowd(r["comm"].as_str().unwrap_or(""))) {
        let pid = row["key"]["pid"].as_u64().unwrap_or(0);
        for (field, letter) in [("sleeping", "S"), ("running", "R"), ("blocked", "D"), ("zombie", "Z")] {
            let n = row["by_state"][field].as_u64().unwrap_or(0);
            if n > 0 {
                *tally.entry((pid, letter.to_owned())).or_default() += n;
            }
        }
    }
    tally
}
